"""`icnn train` with a network and images of the user's own, and what it says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from icnn_core import build_model, read_checkpoint
from icnn_core.cli import main
from icnn_core.errors import CheckpointError

_ROOT = Path(__file__).resolve().parents[2]
_QUICK = ["--iterations", "2", "--batch-size", "2"]
_SMALL = [*_QUICK, "--train-images", "4", "--val-images", "2"]
_OWN = """
from pathlib import Path

import torch
from torch import nn

Path("imported").touch()


class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.body = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.head = nn.Conv2d(6, num_classes, (3, 1), padding=(1, 0))

    def forward(self, x):
        return {"out": self.head(torch.relu(self.body(x)))}


def make(num_classes):
    return Net(num_classes)
"""


@pytest.fixture
def icnn(run_main):
    return lambda *arguments: run_main(main, *arguments)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder with a module of the user's, in which the command is called."""
    (tmp_path / "netstotrain.py").write_text(_OWN, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    yield tmp_path
    sys.modules.pop("netstotrain", None)


def test_a_network_of_ones_own_is_trained_resumed_and_never_imported_because_a_file_says_so(
    icnn, own, monkeypatch
):
    command = [
        "train",
        "shapes",
        *_SMALL,
        "--model",
        "netstotrain:make",
        "--irregular",
        "head",
        "--out",
        "run",
    ]
    ended = icnn(*command, "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["mean_displacement"] > 0
    assert (own / "imported").exists()

    checkpoint = read_checkpoint(own / "run" / "last.pt")
    assert checkpoint.dataset["config"]["model"] == "netstotrain:make"
    assert checkpoint.architecture is None
    assert 'model = "netstotrain:make"' in (own / "run" / "config.toml").read_text()
    sys.modules.pop("netstotrain")
    (own / "imported").unlink()

    with monkeypatch.context() as patch:  # before another network is built, or its weights are downloaded
        patch.setattr("icnn_core.training.setup.prepare", lambda *a, **k: pytest.fail("built"))
        refused = icnn("train", "shapes", *_SMALL, "--out", "run", "--resume")
    assert refused.code == 1
    assert len(refused.err.splitlines()) == 1
    assert "model='netstotrain:make'" in refused.err
    with pytest.raises(CheckpointError, match="--model"):
        build_model(checkpoint)
    again = icnn("train", "shapes", "--config", "run/config.toml", "--out", "again")
    assert again.code == 1
    assert "--model" in again.err
    assert not (own / "imported").exists(), "nothing but the command line may import it"

    assert icnn(*command, "--resume").code == 0
    started = icnn("train", *_SMALL, "--model", "netstotrain:make", "--init", "run/last.pt", "--out", "next")
    assert started.code == 0, started.err
    assert [layer.name for layer in read_checkpoint(own / "next" / "last.pt").irregular] == ["head"]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("netstotrain", "package.module:function"),
        ("nowhere:make", "can be imported from here"),
        ("netstotrain:mak", "Did you mean make"),
        ("netstotrain:Path", "returns a torch.nn.Module"),
    ],
)
def test_a_network_that_cannot_be_built_is_one_line(icnn, own, model, words):
    ended = icnn("train", *_SMALL, "--model", model)
    assert ended.code == 1
    assert ended.err.count("\n") == 1
    assert words in ended.err


@pytest.fixture
def photos(tmp_path):
    """Five images of the user's, the last of which (validation) and the second are cut off."""
    rng = np.random.default_rng(0)
    root = tmp_path / "photos"
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    (root / "classes.txt").write_text("ground\nthing\n")
    for number in range(5):
        mask = np.zeros((40, 56), np.uint8)
        mask[10:30, 5 * number : 5 * number + 20] = 1
        image = (mask[..., None] * 120 + rng.integers(0, 99, (40, 56, 3))).astype(np.uint8)
        Image.fromarray(image).save(root / "images" / f"{number}.png")
        Image.fromarray(mask).save(root / "masks" / f"{number}.png")
    for number in (1, 4):
        path = root / "images" / f"{number}.png"
        path.write_bytes(path.read_bytes()[:2000])
    return root


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_images_stop_a_run_or_are_skipped_and_listed(icnn, photos, tmp_path, workers):
    command = ["train", "folder", "--root", photos, "--backbone", "tiny", "--weights", "none", *_QUICK,
               "--batch-size", 4, "--size", "40x56", "--crop", "33x41", "--scale", "0.8,1.2", "--workers", workers,
               "--set", "classifier_dilation=2", "--balance", 0, "--batch-norm", "train",
               "--out", tmp_path / "run"]  # fmt: skip
    stopped = icnn(*command)
    assert stopped.code == 1
    made_up, error = stopped.err.splitlines()
    assert "val" in made_up
    assert "WARNING" in made_up, "of a split that no list gives"
    assert "1.png" in error
    assert "--skip-bad" in error

    done = icnn(*command, "--skip-bad", "--overwrite", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert [Path(p).name for p in found["skipped"]] == ["1.png", "4.png"]
    assert "Skipped 2 images" in done.err
    assert 0 <= found["waiting_for_data"] <= 1
    assert "waiting for data" in done.err
    config = read_checkpoint(found["checkpoint"]).dataset["config"]
    assert (config["crop"], config["scale"], config["classifier_dilation"]) == ([33, 41], [0.8, 1.2], 2)


def test_the_course_of_a_run_is_written_for_tensorboard(icnn, tmp_path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    command = ["train", *_SMALL, "--evaluate-every", 1, "--irregular", "fc1", "--out", tmp_path]
    assert icnn(*command).code == 0
    assert icnn(*command, "--overwrite").code == 0
    events = reader.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    steps = {tag: [event.step for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    for tag in (
        "loss",
        "mean_iou",
        "displacement",
        "displacement/classifier.fc1",
        "rate/positions",
        "waiting",
    ):
        assert steps[tag] == [1, 2], tag
    saved = read_checkpoint(tmp_path / "last.pt").metrics["mean_iou"]
    assert events.Scalars("mean_iou")[-1].value == pytest.approx(saved)


def test_without_tensorboard_a_run_says_so_once_and_goes_on(icnn, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard.writer", None)
    ended = icnn("-v", "train", *_SMALL, "--out", tmp_path)
    assert ended.code == 0
    assert ended.err.count("TensorBoard is not installed") == 1
    assert not (tmp_path / "tensorboard").exists()


def test_a_line_an_evaluation_says_how_far_and_how_good(icnn, tmp_path):
    ended = icnn("train", *_SMALL, "--evaluate-every", 1, "--irregular", "fc1", "--out", tmp_path)
    line = next(line for line in ended.out.splitlines() if line.startswith("iteration 1 of 2"))
    for words in ("loss ", "mean IoU ", "images/s", "moved ", " s left"):
        assert words in line


def test_the_package_can_be_run_as_a_module_which_launchers_do():
    command = [sys.executable, "-m", "icnn_core.cli", "train", "--help"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=_ROOT, timeout=60)
    assert ended.returncode == 0
    assert "accelerate launch -m icnn_core.cli train" in " ".join(ended.stdout.split())


def test_other_processes_than_the_first_say_nothing(icnn, tmp_path, monkeypatch):
    from icnn_core.cli import _training

    monkeypatch.setattr(_training, "is_main_process", lambda: False)
    ended = icnn("train", *_SMALL, "--out", tmp_path, "--json")
    assert (ended.code, ended.out, ended.err) == (0, "", "")
