#!/usr/bin/env bash
# A newcomer's five commands (docs/walkthrough.md) in a fresh folder and environment, each timed by the clock.
#
#     benchmarks/newcomer.sh PHOTO x,y
set -euo pipefail
photo=$(realpath "$1") pixel=$2
repository=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
unset PYTHONPATH
TIMEFORMAT='    %R s'
timed() { echo "$ $*" && time "$@"; }

timed python3 -m venv icnn-env
. icnn-env/bin/activate
timed pip install --quiet --disable-pip-version-check "$repository"
timed icnn-viz heatmap --image "$photo" --pixel "$pixel" --out my-heatmap
timed icnn-viz demo --out my-networks
timed icnn-viz heatmap my-networks/irregular/last.pt --regular my-networks/regular/last.pt \
    --image "$photo" --pixel "$pixel" --out my-second-heatmap
