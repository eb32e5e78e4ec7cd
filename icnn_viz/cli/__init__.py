"""The console script `icnn-viz`: kernels, heatmap, taps, ablation, report, explore, demo. One module per command."""

from __future__ import annotations

import gc
from typing import NoReturn

import typer

from icnn_core.cli.app import add_commands, make_app, run

_COMMANDS = ("kernels", "heatmap", "taps", "ablation", "report", "explore", "demo")
_ALLOCATIONS = 50_000
"""After so many new objects garbage is looked for. Python's 700 take a tenth of a command's time: modules and figures
are many objects, and nearly all of them stay."""
_EARLIER = {"reduce": "reduction", "smooth": "smoothing", "height": "third-axis"}
"""Options' names that are still taken, for one version."""


def build_app() -> typer.Typer:
    """The app with all its commands."""
    app = make_app(
        "icnn-viz",
        "Look at irregular convolutions: shapes of kernels, and what a pixel depends on.\n\n"
        "Example: icnn-viz heatmap --pixel 74,45",
        _EARLIER,
    )
    add_commands(app, "icnn_viz.cli", _COMMANDS)
    return app


def main() -> NoReturn:
    """Run `icnn-viz` on the command line."""
    before = gc.get_threshold()
    gc.set_threshold(_ALLOCATIONS)
    try:
        run(build_app())
    finally:
        gc.set_threshold(*before)
