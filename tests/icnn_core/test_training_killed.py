"""A run that is killed with SIGKILL, at any moment, goes on to the very end that it would have come to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from icnn_core import read_checkpoint

_ROOT = Path(__file__).resolve().parents[2]
_SCRIPT = '''
"""Trains in forked processes, so that what a run loads is loaded once; some of them kill themselves."""
import os, signal, sys
from pathlib import Path

import accelerate, numba, scipy.linalg  # on the way, otherwise
import torch

import icnn_core.checkpoint as checkpoint
from icnn_core.training import loop, run_folder
from icnn_core.training.config import make_config
from icnn_core.training.setup import prepare

torch.set_num_threads(1)
OUT = Path(sys.argv[1])
SETTINGS = dict(
    size=(40, 56), train_images=7, val_images=2, batch_size=3, iterations=9, irregular="backbone.layer4",
    dropout=0.5, scale=(0.8, 1.2), crop=(36, 48), position_warmup=0.0, checkpoint_every=2, evaluate_every=3,
)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def run(folder, *, resume=False, on_progress=lambda progress: None):
    config = make_config("shapes", **SETTINGS)
    ready = prepare(config)
    loop.train(
        ready.model, ready.train_set, ready.val_samples, ready.transform, config, OUT / folder,
        resume=resume, on_progress=on_progress,
    )


def between_checkpoints():
    run("killed", on_progress=lambda progress: progress.iteration == 5 and die())


def in_the_middle_of_a_write():
    whole = torch.save

    def half(content, file):
        whole(content, file)
        if content["training"].get("iteration") == 6:
            file.flush()
            os.truncate(file.name, os.path.getsize(file.name) // 2)
            die()

    torch.save = half
    run("killed", resume=True)


def between_best_and_last():
    whole = run_folder.write_checkpoint

    def write(path, *arguments, **options):
        if path.name == "last.pt" and options["metrics"].get("mean_iou") and options["metrics"]["iteration"] == 6:
            die()
        return whole(path, *arguments, **options)

    run_folder.write_checkpoint = write
    run("killed", resume=True)


def before_anything_was_written():
    run_folder.RunFolder.write_last = lambda *arguments: die()
    run("early")


CHILDREN = [
    ("whole", lambda: run("whole"), 0),
    ("between checkpoints", between_checkpoints, 9),
    ("in the middle of a write", in_the_middle_of_a_write, 9),
    ("between best and last", between_best_and_last, 9),
    ("to the end", lambda: run("killed", resume=True), 0),
    ("before anything was written", before_anything_was_written, 9),
    ("to the end", lambda: run("early", resume=True), 0),
]
for name, work, signal_number in CHILDREN:
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    ended = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    print(name, ended, os.waitstatus_to_exitcode(status), sorted(map(str, (OUT / "killed").glob(".*"))))
    assert os.waitstatus_to_exitcode(status) == -signal_number, name
'''


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """One run that was left alone, one killed three times, one killed before its first checkpoint."""
    out = tmp_path_factory.mktemp("runs")
    script = out / "runs.py"
    script.write_text(_SCRIPT, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(_ROOT), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, str(script), str(out)], capture_output=True, text=True, env=environment, timeout=900
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return out


def _equal(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(_equal, a, b))
    return a == b


@pytest.mark.parametrize("killed", ["killed", "early"])
@pytest.mark.parametrize("name", ["last.pt", "best.pt"])
def test_a_killed_run_ends_bit_equal(folders, killed, name):
    whole, resumed = (read_checkpoint(folders / run / name) for run in ("whole", killed))
    assert _equal(whole.state, resumed.state)
    assert whole.metrics == resumed.metrics
    assert _equal(whole.training, resumed.training), "optimisers, schedules, random states"


@pytest.mark.parametrize("killed", ["killed", "early"])
def test_nothing_else_is_left_and_the_snapshots_agree(folders, killed):
    files = {run: sorted(p.name for p in (folders / run).rglob("*")) for run in ("whole", killed)}
    assert files["whole"] == files[killed]
    for snapshot in (folders / "whole" / "snapshots").iterdir():
        assert snapshot.read_bytes() == (folders / killed / "snapshots" / snapshot.name).read_bytes()
