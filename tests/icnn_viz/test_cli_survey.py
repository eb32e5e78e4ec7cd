"""`icnn-viz heatmap --data`: every pixel once, whatever happens, and the summary of what was found."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from icnn_core.checkpoint import write_checkpoint
from icnn_core.errors import ArgumentError, CheckpointError
from icnn_core.models.deeplab import deeplab_largefov
from icnn_core.surgery import make_irregular
from icnn_viz.cli import main
from icnn_viz.cli._survey import Survey, finished_rows, run_survey
from icnn_viz.gradients import Network, pixel_gradient
from icnn_viz.heatmaps import elongation, energy_in_mask, to_heatmap

CLASSES = ("ground", "square", "bar")
Run = Callable[..., Any]


class Scenes:
    """Seven images of 48 × 56 with a square and a bar."""

    name, classes, ignore_index = "scenes", CLASSES, 255
    palette = ((0, 0, 0), (255, 0, 0), (0, 0, 255))

    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at = stop_at

    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        if index == self.stop_at:
            raise KeyboardInterrupt
        rng = np.random.default_rng(index)
        labels = np.zeros((48, 56), np.int64)
        y, x = rng.integers(2, 20, 2)
        labels[y : y + 14, x : x + 12] = 1
        labels[40:44, 4:50] = 2
        labels[:, 54:] = 255
        image = rng.integers(0, 256, (3, 48, 56), np.uint8)
        return torch.from_numpy(image), torch.from_numpy(labels)


@pytest.fixture(scope="module")
def networks() -> list[Network]:
    torch.manual_seed(0)
    models = [deeplab_largefov("tiny", 3, classifier_dilation=2).eval() for _ in range(2)]
    with torch.no_grad():
        for model in models:
            model.classifier.fc1.weight.normal_(std=0.1)
    return [Network(name, m, None, CLASSES) for name, m in zip(("irregular", "regular"), models, strict=True)]


SURVEY = Survey(
    networks={"irregular": "aa", "regular": "bb"},
    data="scenes",
    split="test",
    pixels=18,
    stratify=("class", "boundary"),
    method="gradient",
    reduction="max",
    smoothing=0.0,
    seed=3,
)


@pytest.fixture(autouse=True)
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def expected(networks: list[Network], tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("whole")
    progress = run_survey(networks, Scenes(), SURVEY, folder)
    assert (progress.done, progress.total) == (18, 18)
    assert 0 < progress.seconds_in_networks < progress.seconds
    return finished_rows(folder, 2)


def test_a_row_is_what_one_pixel_gives(networks: list[Network], expected: pd.DataFrame) -> None:
    assert expected["pixel_id"].tolist() == [n for n in range(18) for _ in networks]
    assert expected["model"].tolist() == ["irregular", "regular"] * 18
    row = expected.iloc[17]
    tensor, labels = Scenes()[row["image"]]
    label = int(labels[row["y"], row["x"]])
    assert row["class"] == CLASSES[label]
    image = tensor.permute(1, 2, 0).numpy()
    record = pixel_gradient(networks[1].model, image, (row["y"], row["x"]), class_id=label)
    heatmap = to_heatmap(record)
    assert row["logit"] == pytest.approx(record.logit)
    assert row["energy"] == pytest.approx(heatmap.values.sum())
    assert row["energy_in_class"] == pytest.approx(energy_in_mask(heatmap, labels.numpy() == label))
    assert row["elongation"] == pytest.approx(elongation(heatmap))
    assert set(expected["object_elongation"]) == {"elongation below 2", "elongation from 4"}
    assert row["correct"] == (record.prediction[row["y"], row["x"]] == label)
    shares = expected[[f"energy_on {name}" for name in CLASSES]].sum(axis=1)
    assert (shares < 1).all()  # void has some
    assert (shares > 0.8).all()


def test_strata_have_even_shares(expected: pd.DataFrame) -> None:
    counts = expected.groupby(["class", "boundary"]).size()
    assert counts.max() - counts.min() <= 2


@pytest.mark.parametrize("stop_at", [0, 3, 6])
def test_a_run_that_was_stopped_goes_on(
    networks: list[Network], expected: pd.DataFrame, tmp_path: Path, stop_at: int
) -> None:
    run_plan_only(networks, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run_survey(networks, Scenes(stop_at), SURVEY, tmp_path)
    rows = tmp_path / "rows" / "0.csv"
    before = set(finished_rows(tmp_path, 2)["pixel_id"]) if rows.exists() else set()
    assert len(before) < 18
    if rows.exists():
        with rows.open("ab") as file:
            file.write(b"17,3,")  # torn by the kill
    run_survey(networks, Scenes(), SURVEY, tmp_path)
    pd.testing.assert_frame_equal(finished_rows(tmp_path, 2), expected)
    assert rows.read_text().count("\n") == 1 + 2 * 18
    assert run_survey(networks, Scenes(stop_at), SURVEY, tmp_path).done == 18  # nothing is left to look at


def run_plan_only(networks: list[Network], folder: Path) -> None:
    from icnn_viz.cli._survey import check_settings, load_plan

    check_settings(SURVEY, folder)
    load_plan(Scenes(), SURVEY, folder)


def test_processes_share_the_work(
    networks: list[Network], expected: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = []
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        done.append(run_survey(networks, Scenes(), SURVEY, tmp_path).done)
    assert 0 < done[0] < done[1] == 18
    assert {p.name for p in (tmp_path / "rows").iterdir()} == {"0.csv", "1.csv"}
    pd.testing.assert_frame_equal(finished_rows(tmp_path, 2), expected)


def test_a_folder_of_another_survey_is_refused(networks: list[Network], tmp_path: Path) -> None:
    run_plan_only(networks, tmp_path)
    with pytest.raises(ArgumentError, match="another method, seed"):
        run_survey(networks, Scenes(), replace(SURVEY, seed=4, method="guided"), tmp_path)


def test_other_classes_are_refused(networks: list[Network], tmp_path: Path) -> None:
    others = [replace(n, classes=("a", "b", "c")) for n in networks]
    with pytest.raises(CheckpointError, match=r"a, b, c.*ground, square, bar"):
        run_survey(others, Scenes(), SURVEY, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_command_writes_differences_and_their_figure(
    run_main: Run, networks: list[Network], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("icnn_core.datasets.registry.open_dataset", lambda *_: Scenes())
    irregular = networks[0].model
    write_checkpoint(tmp_path / "regular.safetensors", networks[1].model, classes=CLASSES)
    make_irregular(irregular, start="classifier", shift=0.9)
    write_checkpoint(tmp_path / "irregular.safetensors", irregular, classes=CLASSES)
    out = tmp_path / "out"
    arguments = (
        *("heatmap", tmp_path / "irregular.safetensors", "--regular", tmp_path / "regular.safetensors"),
        *("--data", "scenes", "--pixels", "16", "--device", "cpu", "-o", out, "--json", "--controls"),
    )
    ended = run_main(main, *arguments)
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert (found["done"], found["total"]) == (16, 16)
    names = {path.name for path in out.iterdir()}
    pictures = {f"differences{kind}.png" for kind in ("", "-snapped-to-slots", "-random-weights")}
    assert names == {"rows", "plan.csv", "survey.json", "measures.csv", "differences.csv"} | pictures
    table, summary = pd.read_csv(out / "measures.csv"), pd.read_csv(out / "differences.csv")
    assert len(table) == 64
    sides = [
        table.loc[table["model"] == name, "energy_in_object"].to_numpy() for name in ("irregular", "regular")
    ]
    whole = summary[(summary["group"] == "all") & (summary["measure"] == "energy_in_object")].iloc[0]
    assert list(summary["against"].unique()) == [
        *("regular", "irregular, snapped to slots", "irregular, random weights")
    ]
    assert list(summary.loc[summary["group"] == "class", "stratum"].unique()) == list(CLASSES)
    assert whole["difference"] == pytest.approx((sides[0] - sides[1]).mean())
    assert whole["low"] <= whole["difference"] <= whole["high"]
    assert set(summary["group"]) == {"all", "class", "boundary", "object_elongation", "outcome"}
    again = run_main(main, *arguments)  # all is done: the same summary, no second look
    assert pd.read_csv(out / "differences.csv").equals(summary)
    assert json.loads(again.out)["differences"] == found["differences"]


def test_pixel_and_data_exclude_each_other(run_main: Run) -> None:
    ended = run_main(main, "heatmap", "--data", "shapes", "-p", "3,3")
    assert ended.code == 2
