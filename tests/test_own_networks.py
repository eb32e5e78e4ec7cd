"""Networks and files of one's own through the commands: train, evaluate, look."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from icnn_core import cli as core
from icnn_core import make_irregular
from icnn_core.checkpoint import read_checkpoint, write_checkpoint
from icnn_viz import cli as viz
from icnn_viz.displays.sources import read_display

_NETS = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, channels, classes, name=None):
        super().__init__()
        self.down = nn.Conv2d(channels, 6, 3, stride=4, padding=1)
        self.skip = nn.Conv2d(channels, 6, 1)
        self.head = nn.Conv2d(6, classes, 3, padding=1)
        self.name = name

    def forward(self, x):
        found = self.head(nn.functional.interpolate(self.down(x), scale_factor=4.0) + self.skip(x))
        return found if self.name is None else {self.name: found}


def binary():
    return Net(1, 1)


def plain(num_classes=3):
    return Net(3, num_classes)


def spectral(num_classes=3):
    return Net(4, num_classes, "scores")
"""
_SHORT = ("--iterations", 2, "--batch-size", 2, "--size", "22x30", "--crop", "22x30", "--seed", 1)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder with the networks of `ownnets`."""
    (tmp_path / "ownnets.py").write_text(_NETS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    yield tmp_path
    sys.modules.pop("ownnets", None)


def _draw(
    root: Path, classes: int, suffix: str, save: Callable[[Path, np.ndarray], Any], channels: int
) -> None:
    """Six images of 22 × 30 whose first channel tells the class."""
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for number in range(6):
        mask = np.repeat(np.repeat(rng.integers(0, classes, (2, 3), np.uint8), 11, 0), 10, 1)
        image = rng.integers(0, 60, (22, 30, channels)) + 70 * mask[..., None]
        save(root / "images" / f"{number}{suffix}", image)
        Image.fromarray(mask).save(root / "masks" / f"{number}.png")
    (root / "classes.txt").write_text("\n".join(["ground", "sheep", "cow"][:classes]))


def _run(run_main: Callable[..., Any], main: Callable[[], object], *words: object) -> Any:
    ended = run_main(main, *words)
    assert ended.code == 0, ended.err
    return ended


def test_a_binary_network_of_one_channel_trains_measures_and_is_looked_at(
    here: Path, run_main: Callable[..., Any]
) -> None:
    _draw(here / "data", 2, ".png", lambda path, image: Image.fromarray(image.astype(np.uint8)).save(path), 3)
    own = ("--model", "ownnets:binary")
    said = _run(
        run_main, core.main, "train", "folder", *_SHORT, *own, "--root", "data", "--divisor", 4, "--irregular", "head",
        "--json", "--out", "run",
    )  # fmt: skip
    trained = json.loads(said.out)
    assert set(trained["iou"]) <= {"ground", "sheep"}
    assert "1 channels; 255 as 1, mean 0.449" in said.err
    assert "padded to multiples of 4" in said.err
    kept = read_checkpoint("run/last.pt").preparation
    assert kept is not None
    assert (kept.divisor, kept.channels) == (4, 1)
    measured = json.loads(
        _run(run_main, core.main, "evaluate", "run/last.pt", *own, "--root", "data", "--json").out
    )
    assert measured["mean_iou"] == pytest.approx(trained["mean_iou"])
    looked = json.loads(
        _run(
            run_main, viz.main, "heatmap", "run/last.pt", *own, "--image", "data/images/1.png", "-p", "4,17",
            "--class", "sheep", "--json", "--out", "looked",
        ).out
    )  # fmt: skip
    models = looked["pixels"][0]["models"]
    assert looked["pixels"][0]["class"] == "sheep"
    assert "images of 22 × 30 padded to 24 × 32, multiples of 4" in looked["pixels"][0]["notes"][0]
    assert all(np.isfinite(model["logit"]) for model in models)


def test_four_channels_by_a_reader_of_ones_own_under_a_name_of_ones_own(
    here: Path, run_main: Callable[..., Any]
) -> None:
    _draw(here / "data", 3, ".npy", lambda path, image: np.save(path, image.astype(np.uint16)), 4)
    own = ("--model", "ownnets:spectral", "--reader", "numpy:load")
    wanted = ("--output", "scores", "--divisor", 8, "--fit", "resize", "--mean", "90", "--std", "70")
    command = ("train", "folder", *_SHORT, *own, "--root", "data")
    refused = run_main(core.main, *command, "--mean", "90", "--std", "70", "--divisor", 4, "--out", "none")
    assert (refused.code, refused.err.splitlines()[-1][:12]) == (1, "icnn: error:")
    assert "got dict with scores" in refused.err
    _run(run_main, core.main, *command, *wanted, "--irregular", "head", "--out", "run")
    measured = json.loads(
        _run(run_main, core.main, "evaluate", "run/last.pt", *own, "--root", "data", "--json").out
    )
    assert "4 channels; 255 as 1, mean 90, 90, 90, 90" in measured["prepared"]
    looked = json.loads(
        _run(
            run_main, viz.main, "heatmap", "run/last.pt", *own, "--image", "data/images/1.npy", "-p", "4,17",
            "--sampling", "--json", "--out", "looked",
        ).out
    )  # fmt: skip
    assert looked["image_size"] == {"height": 22, "width": 30}
    survey = ("--data", "folder", "--root", "data", "--pixels", 4)
    _run(run_main, viz.main, "heatmap", "run/last.pt", *own, *survey, "--out", "survey")
    page = ("--image", "data/images/1.npy", "--export", "page.html")
    _run(run_main, viz.main, "explore", "run/last.pt", *own, *page)
    assert Path("page.html").stat().st_size > 10_000
    _draw(
        here / "plain", 3, ".tif", lambda path, image: Image.fromarray(image.astype(np.uint8)).save(path), 4
    )
    without = ("evaluate", "run/last.pt", *own[:2], "--root", "plain")
    told = run_main(core.main, *without)
    assert "trained on images that --reader numpy:load read" in told.err
    elsewhere = (*survey[:3], "plain", *survey[4:], "--out", "other")
    told = run_main(viz.main, "heatmap", "run/last.pt", *own[:2], *elsewhere)
    assert "trained on images that --reader numpy:load read" in told.err
    assert (
        "--reader numpy:load read"
        not in run_main(core.main, "evaluate", "run/last.pt", *own, "--root", "data").err
    )
    again = run_main(core.main, *command, *wanted[2:], "--irregular", "head", "--out", "run", "--resume")
    assert again.code == 1
    assert "output" in again.err


def test_a_raw_error_of_sizes_or_channels_is_one_line_with_what_to_say(
    here: Path, run_main: Callable[..., Any]
) -> None:
    _draw(here / "data", 3, ".png", lambda path, image: Image.fromarray(image.astype(np.uint8)).save(path), 3)
    sys.path.insert(0, str(here))
    from ownnets import Net

    torch.save(Net(3, 3).state_dict(), here / "net.pt")
    command = ("heatmap", "net.pt", "--regular", "net.pt", "--model", "ownnets:plain", "-p", "3,4")
    ended = run_main(viz.main, *command, "--image", "data/images/1.png")
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "takes images of 3 channels of 22 × 30; got RuntimeError: The size of tensor a" in ended.err
    assert "--divisor 32" in ended.err
    _run(run_main, viz.main, *command, "--image", "data/images/1.png", "--divisor", 4)


def test_weights_of_a_network_of_ones_own_are_read_or_refused(
    here: Path, run_main: Callable[..., Any]
) -> None:
    _draw(here / "data", 2, ".png", lambda path, image: Image.fromarray(image.astype(np.uint8)).save(path), 3)
    own = ("--model", "ownnets:binary", "--divisor", 4, "--root", "data")
    _run(run_main, core.main, "train", "folder", *_SHORT, *own, "--out", "first")
    still = ("--set", "lr=1e-30", "--set", "weight_decay=0")
    _run(
        run_main,
        core.main,
        "train",
        "folder",
        *_SHORT,
        *own,
        *still,
        "--weights",
        "first/last.pt",
        "--out",
        "next",
    )
    before, after = (read_checkpoint(f"{run}/last.pt").state for run in ("first", "next"))
    assert torch.allclose(before["head.weight"], after["head.weight"], atol=1e-6)
    assert 'weights = "first/last.pt"' in (here / "next" / "config.toml").read_text()
    for wrong, words in (("absent.pt", "absent.pt"), ("imagenet", "Give a file with this network's weights")):
        ended = run_main(core.main, "train", "folder", *_SHORT, *own, "--weights", wrong, "--out", "no")
        assert (ended.code, ended.err.splitlines()[-1][:12]) == (1, "icnn: error:")
        assert words in ended.err


def _save_png(path: Path, image: np.ndarray) -> None:
    Image.fromarray(image.astype(np.uint8)).save(path)


def test_a_prefix_is_taken_off_the_names_wherever_a_network_is_read(
    here: Path, run_main: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _draw(here / "data", 3, ".png", _save_png, 3)
    sys.path.insert(0, str(here))
    from ownnets import plain

    torch.manual_seed(2)
    regular, network = plain().state_dict(), plain()
    make_irregular(network, "head", shift=0.4)
    bare = network.state_dict()
    student = {f"student.{name}": torch.zeros(1) for name in bare}
    torch.save(bare, "bare.pt")
    torch.save({f"teacher.{name}": tensor for name, tensor in bare.items()} | student, "both.pt")
    torch.save({f"teacher.{name}": tensor for name, tensor in regular.items()} | student, "regular.pt")
    own, wanted, prefix = ("--model", "ownnets:plain"), ("--divisor", 4), ("--prefix", "teacher.")
    pixel = ("--image", "data/images/1.png", "-p", "4,17")

    def ask(command: str, *words: object) -> tuple[Any, Any]:
        """What the command says of the file with bare names, and of the one with a prefix."""
        calls = (("bare.pt",), ("both.pt", *prefix))
        said = [_run(run_main, core.main, command, *call, *own, *words, "--json").out for call in calls]
        return json.loads(said[0]), json.loads(said[1])

    assert "--prefix, or read_checkpoint" in run_main(core.main, "layers", "both.pt", *own).err
    first, second = ask("layers")
    assert [layer["name"] for layer in first["layers"]] == ["down", "skip", "head"]
    assert first == second
    first, second = ask("evaluate", *wanted, "--data", "folder", "--root", "data")
    assert first["iou"] == second["iou"] != {}
    assert [cloud.layer for cloud in read_display([Path("both.pt")], prefix="teacher.").clouds] == ["head"]
    # What is drawn of it is not looked at here.
    drawn: list[Any] = []
    monkeypatch.setattr("icnn_viz.report.build_report", lambda found, **_: drawn.append(found) or "page")
    monkeypatch.setattr("icnn_viz.cli.explore._export", lambda session, *_: drawn.append(session))
    _run(run_main, viz.main, "report", "both.pt", *own, *wanted, *prefix, *pixel, "--out", "page.html")
    call = ("explore", "both.pt", *own, *wanted, *prefix, *pixel[:2], "--export", "explorer.html")
    _run(run_main, viz.main, *call)
    found, session = drawn
    assert (
        [cloud.layer for cloud in found.display.clouds]
        == [cloud.layer for cloud in session.clouds]
        == ["head"]
    )
    assert [look.pixel for look in found.comparisons] == [(17, 4)]
    # Of a pair it is taken off those that are no checkpoints of this package.
    write_checkpoint("own.pt", network)
    call = ("heatmap", "own.pt", *own, *wanted, *prefix, *pixel, "--out", "pair")
    _run(run_main, viz.main, *call, "--regular", "regular.pt")
    refused = run_main(viz.main, *call, "--overwrite")
    assert (refused.code, "Leave it out" in refused.err) == (1, True)
    # Training of no iterations measures alone.
    call = ("train", "folder", "--root", "data", "--size", "22x30", "--crop", "none", *own, *wanted, "--json")
    call = (*call, "--set", "iterations=0")
    begun = [
        json.loads(_run(run_main, core.main, *call, "--init", *file, "--out", file[0][:-3]).out)["iou"]
        for file in (("bare.pt",), ("both.pt", *prefix))
    ]
    assert begun[0] == begun[1]
    _run(run_main, core.main, *call, "--weights", "regular.pt", *prefix, "--out", "weights")
    kept = read_checkpoint("weights/last.pt").state
    assert all(torch.equal(kept[name], tensor) for name, tensor in regular.items())
    refused = run_main(core.main, *call, "--weights", "none", *prefix, "--out", "none")
    assert (refused.code, "prefix=teacher. without init" in refused.err) == (1, True)


def test_class_names_and_colours_of_a_file_train_and_are_kept(
    here: Path, run_main: Callable[..., Any]
) -> None:
    _draw(here / "data", 3, ".png", _save_png, 3)
    (here / "data" / "classes.txt").unlink()
    named = {"classes": ["soil", "lamb", "calf"], "palette": [[9, 8, 7], [0, 90, 0], [200, 1, 30]]}
    (here / "names.json").write_text(json.dumps(named))
    own = ("--model", "ownnets:plain", "--divisor", 4, "--set", "iterations=0", "--size", "22x30", "--json")
    call = ("train", "folder", "--root", "data", *own, "--crop", "none")
    assert "got neither" in run_main(core.main, *call, "--out", "none").err
    trained = json.loads(_run(run_main, core.main, *call, "--classes", "names.json", "--out", "run").out)
    kept = read_checkpoint("run/last.pt")
    assert kept.classes == ("soil", "lamb", "calf")
    assert kept.palette == ((9, 8, 7), (0, 90, 0), (200, 1, 30))
    # The folder has no names of its own, so those of the training are taken again.
    said = _run(
        run_main, core.main, "evaluate", "run/last.pt", *own[:2], "--root", "data", "--json",
        "--predictions", "drawn",
    )  # fmt: skip
    assert json.loads(said.out)["iou"] == trained["iou"]
    with Image.open(next((here / "drawn").glob("*.png"))) as drawn:
        assert drawn.getpalette()[:9] == [9, 8, 7, 0, 90, 0, 200, 1, 30]
    call = ("heatmap", "run/last.pt", *own[:2], "--data", "folder", "--root", "data", "--pixels", 2)
    _run(run_main, viz.main, *call, "--regular", "run/last.pt", "--out", "survey")
    with Path("survey/rows/0.csv").open(encoding="utf-8") as rows:
        predicted = [row["predicted"] for row in csv.DictReader(rows)]
    assert predicted
    assert set(predicted) <= set(kept.classes)
    (here / "data" / "classes.txt").write_text("soil\nlamb\n")
    refused = run_main(core.main, "evaluate", "run/last.pt", *own[:2], "--root", "data")
    assert "a network for the 2 classes of folder" in refused.err
    refused = run_main(core.main, "train", "shapes", "--classes", "names.json", "--out", "none")
    assert (refused.code, "got 'classes'" in refused.err) == (1, True)
