"""What a run and a study remember of their data and starting weights: no number of one is taken for another's."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from icnn_core import read_checkpoint, write_checkpoint
from icnn_core.errors import CheckpointError
from icnn_core.models.deeplab import deeplab_largefov
from icnn_core.training.ablation import plan_runs
from icnn_core.training.config import TrainConfig, make_config
from icnn_core.training.loop import train
from icnn_core.training.runs import finish_run
from icnn_core.training.same_run import describe_run
from icnn_core.training.setup import prepare

SETTINGS = {
    "iterations": 2,
    "batch_size": 2,
    "size": (32, 48),
    "crop": None,
    "scale": (1.0, 1.0),
    "balance": 0.0,
    "backbone": "tiny",
    "weights": None,
    "classifier_dilation": 2,
    "batch_norm": "train",
}


def write_photos(root: Path, count: int, classes: str = "ground\nthing\n") -> Path:
    rng = np.random.default_rng(count)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    (root / "classes.txt").write_text(classes)
    for number in range(count):
        mask = np.zeros((32, 48), np.uint8)
        mask[8:20, 3 * number : 3 * number + 9] = 1
        image = (mask[..., None] * 120 + rng.integers(0, 99, (32, 48, 3))).astype(np.uint8)
        Image.fromarray(image).save(root / "images" / f"{number:02d}.png")
        Image.fromarray(mask).save(root / "masks" / f"{number:02d}.png")
    return root


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_photos(tmp_path / "photos", 7)


def config_of(root: Path, **settings: object) -> TrainConfig:
    return replace(make_config("folder", **SETTINGS), root=str(root), **settings)


def start(config: TrainConfig, out: Path, *, resume: bool = False) -> None:
    ready = prepare(config)
    data = (ready.train_set, ready.val_samples, ready.transform)
    train(ready.model, *data, config, out, resume=resume, sources=ready.sources)


def test_a_run_goes_on_with_its_own_data_wherever_that_lies(photos: Path, tmp_path: Path) -> None:
    start(config_of(photos), tmp_path / "run")
    before = read_checkpoint(tmp_path / "run" / "last.pt").classes
    fewer = write_photos(tmp_path / "fewer", 5)
    with pytest.raises(CheckpointError, match=r"train_data\.number=6.*val_data"):
        start(config_of(fewer), tmp_path / "run", resume=True)
    turned = write_photos(tmp_path / "turned", 7, "thing\nground\n")
    with pytest.raises(CheckpointError, match=r"train_data\.classes=ground, thing"):
        start(config_of(turned), tmp_path / "run", resume=True)
    assert read_checkpoint(tmp_path / "run" / "last.pt").classes == before, "it is not relabelled"
    photos.rename(tmp_path / "moved")
    start(config_of(tmp_path / "moved"), tmp_path / "run", resume=True)


def test_a_run_goes_on_from_the_weights_that_it_started_from(photos: Path, tmp_path: Path) -> None:
    torch.manual_seed(5)
    first, other = (deeplab_largefov("tiny", 2, classifier_dilation=2) for _ in range(2))
    write_checkpoint(tmp_path / "init.pt", first, classes=("ground", "thing"))
    torch.save(first.backbone.state_dict(), tmp_path / "backbone.pt")
    starts = {
        "init": {"init": str(tmp_path / "init.pt")},
        "weights": {"weights": str(tmp_path / "backbone.pt")},
    }
    for kind, settings in starts.items():
        start(config_of(photos, **settings), tmp_path / kind)
        shutil.copy(settings[kind], tmp_path / f"copy-of-{Path(settings[kind]).name}")
        copied = {kind: str(tmp_path / f"copy-of-{Path(settings[kind]).name}")}
        start(config_of(photos, **copied), tmp_path / kind, resume=True)
        with pytest.raises(CheckpointError, match=f"others for {kind} "):
            start(config_of(photos), tmp_path / kind, resume=True)
    write_checkpoint(tmp_path / "init.pt", other, classes=("ground", "thing"))
    torch.save(other.backbone.state_dict(), tmp_path / "backbone.pt")
    for kind, settings in starts.items():  # the same names, other weights
        with pytest.raises(CheckpointError, match=f"others for {kind} "):
            start(config_of(photos, **settings), tmp_path / kind, resume=True)


def test_weights_overwritten_while_they_were_read_are_told_by_what_was_read(
    photos: Path, tmp_path: Path
) -> None:
    first, other = (deeplab_largefov("tiny", 2, classifier_dilation=2) for _ in range(2))
    write_checkpoint(tmp_path / "init.pt", first, classes=("ground", "thing"))
    config = config_of(photos, init=str(tmp_path / "init.pt"))
    ready = prepare(config)
    write_checkpoint(tmp_path / "init.pt", other, classes=("ground", "thing"))
    data = (ready.train_set, ready.val_samples, ready.transform)
    train(ready.model, *data, config, tmp_path / "run", sources=ready.sources)
    with pytest.raises(CheckpointError, match="others for init "):
        start(config, tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    ("settings", "decides"),
    [
        ({"batch_norm": "frozen"}, set()),
        ({"batch_norm": "frozen", "dropout": 0.3}, {"accumulate", "processes"}),
        ({"batch_norm": "sync"}, {"accumulate", "processes"}),
        ({"batch_norm": "train"}, {"accumulate", "processes"}),
    ],
)
def test_how_a_batch_is_divided_counts_where_its_parts_depend_on_it(
    photos: Path, settings: dict, decides: set[str]
) -> None:
    config = config_of(photos, **settings)
    ready = prepare(config)
    data = (ready.train_set, ready.val_samples)
    one = describe_run(config, *data)
    two = describe_run(replace(config, accumulate=2), *data, processes=3)
    assert {key for key in one | two if one.get(key) != two.get(key)} == decides


def test_a_run_of_another_version_is_said_and_gone_on_with(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("icnn_core.checkpoint.snapshots.__version__", "0.0.9")
        start(config_of(photos), tmp_path / "run")
    with caplog.at_level(logging.WARNING):
        start(config_of(photos), tmp_path / "run", resume=True)
    assert any("written by icnn 0.0.9" in text for text in caplog.messages)


def study(root: Path, out: Path, *, from_regular: bool = False, **settings: object) -> list:
    return plan_runs(config_of(root, **settings), ["none", "fc1"], [4], out, from_regular=from_regular)


def test_finished_rows_are_taken_over_for_the_same_data_and_weights_alone(
    photos: Path, tmp_path: Path
) -> None:
    torch.manual_seed(5)
    backbone = str(tmp_path / "backbone.pt")
    torch.save(deeplab_largefov("tiny", 2).backbone.state_dict(), backbone)
    out = tmp_path / "study"
    (first,) = finish_run(study(photos, out, weights=backbone)[1], ["val"])
    fewer = write_photos(tmp_path / "fewer", 5)
    turned = write_photos(tmp_path / "turned", 7, "thing\nground\n")
    finish_run(study(photos, out, weights=backbone)[0], ["val"])
    for run, words in (
        (study(fewer, out, weights=backbone)[1], r"train_data\.number=6"),
        (study(turned, out, weights=backbone)[1], r"train_data\.classes=ground, thing"),
        (study(photos, out)[1], "others for weights"),
        (study(photos, out, weights=backbone, from_regular=True)[2], "others for .*init"),
        (study(photos, out, weights=backbone, val_images=None, train_images=3)[1], r"train_data\.number=6"),
    ):
        with pytest.raises(CheckpointError, match=words):
            finish_run(run, ["val"])
    photos.rename(tmp_path / "moved")
    assert finish_run(study(tmp_path / "moved", out, weights=backbone)[1], ["val"]) == [first]


def test_a_split_measured_before_is_measured_on_the_same_images(photos: Path, tmp_path: Path) -> None:
    (run, *_) = study(photos, tmp_path / "study")
    finish_run(run, ["val", "all"])
    more = next((photos / "images").glob("*04.png"))  # the fifth image is val's
    more.write_bytes(more.read_bytes() + b"\0")
    with pytest.raises(CheckpointError, match=r"measured\.(val|all)\.images"):
        finish_run(run, ["all", "val"])


def test_another_split_is_measured_on_the_network_that_was_trained(photos: Path, tmp_path: Path) -> None:
    (run, *_) = study(photos, tmp_path / "study")
    finish_run(run, ["val"])
    trained = read_checkpoint(run.folder / "last.pt")
    model = prepare(run.config).model
    write_checkpoint(run.folder / "last.pt", model, classes=trained.classes, training=trained.training)
    with pytest.raises(CheckpointError, match="network="):
        finish_run(run, ["all"])
