"""`icnn-viz heatmap --data`: every pixel once, whatever happens, and the summary of what was found."""

from __future__ import annotations

import copy
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
from icnn_core.errors import ArgumentError, CheckpointError, DataError, NameNotFoundError
from icnn_core.models.deeplab import deeplab_largefov
from icnn_core.preparation import Preparation
from icnn_core.surgery import make_irregular
from icnn_viz.cli import main
from icnn_viz.displays import SurveyDisplay
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


OPTIONS: dict[str, Any] = {"split": "test", "pixels": 18, "stratify": ("class", "boundary"), "seed": 3}


def make_survey(
    networks: list[Network], folder: Path, stop_at: int | None = None, **changes: Any
) -> SurveyDisplay:
    return SurveyDisplay(networks, Scenes(stop_at), folder=folder, **(OPTIONS | changes))  # pyright: ignore


def rows_of(networks: list[Network], folder: Path) -> pd.DataFrame:
    return make_survey(networks, folder)._rows()


@pytest.fixture(autouse=True)
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def expected(networks: list[Network], tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("whole")
    progress = make_survey(networks, folder).run()
    assert (progress.done, progress.total) == (18, 18)
    assert 0 < progress.seconds_in_networks < progress.seconds
    return rows_of(networks, folder)


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
    assert (shares <= 1 + 1e-9).all()
    assert (shares < 1).mean() > 0.5, "void has some"
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
        make_survey(networks, tmp_path, stop_at).run()
    rows = tmp_path / "rows" / "0.csv"
    before = set(rows_of(networks, tmp_path)["pixel_id"]) if rows.exists() else set()
    assert len(before) < 18
    if rows.exists():
        with rows.open("ab") as file:
            file.write(b"17,3,")  # torn by the kill
    make_survey(networks, tmp_path).run()
    pd.testing.assert_frame_equal(rows_of(networks, tmp_path), expected)
    assert rows.read_text().count("\n") == 1 + 2 * 18
    assert make_survey(networks, tmp_path, 3).run().done == 18  # nothing is left to look at


def test_the_average_map_is_the_same_however_a_survey_was_stopped(
    networks: list[Network], expected: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make_survey(networks, tmp_path / "whole")
    whole.run()
    wanted = whole.average()
    assert (wanted.ids, wanted.pixels) == (set(range(18)), 18)
    folder = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        make_survey(networks, folder, 3).run()
    assert len(make_survey(networks, folder).average().ids) < 18
    make_survey(networks, folder).run()
    (folder / "maps" / "0.npz").unlink()  # as a kill between two writes leaves it: rows without their maps
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        make_survey(networks, folder).run()
    found = make_survey(networks, folder).average()
    np.testing.assert_allclose(found.mean(), wanted.mean())
    np.testing.assert_allclose(found.mean_curves(), wanted.mean_curves())
    assert found.ids == wanted.ids
    pd.testing.assert_frame_equal(rows_of(networks, folder), expected)
    table = whole.tables()["average"]
    assert list(table.columns) == ["distance", "irregular", "regular"]
    assert table["regular"].iloc[-1] == pytest.approx(1)
    (folder / "maps" / "0.npz").write_bytes(b"PK torn")
    with pytest.raises(DataError, match="looked at again"):
        make_survey(networks, folder).average()


def run_plan_only(networks: list[Network], folder: Path) -> None:
    make_survey(networks, folder)._load_plan(iter)


def test_processes_share_the_work(
    networks: list[Network], expected: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = []
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        done.append(make_survey(networks, tmp_path).run().done)
    assert 0 < done[0] < done[1] == 18
    assert {p.name for p in (tmp_path / "rows").iterdir()} == {"0.csv", "1.csv"}
    pd.testing.assert_frame_equal(rows_of(networks, tmp_path), expected)


class Others(Scenes):
    """As many images of the same size, other ones."""

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return super().__getitem__(index + 1)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 4, "method": "guided"}, "method, seed"),
        ({"target": "predicted"}, "target"),
        ({"pixels": 17}, "pixels"),
        ({"split": "val"}, "split"),
        ({"smoothing": 1.5}, "smoothing"),
        ({"size": (24, 28)}, "sizes.regular"),
        ({"preparation": Preparation(mean=(0.1, 0.2, 0.3))}, "channels.regular"),
        ({"weights": True}, "networks.regular"),
        ({"data": True}, "data.images"),
    ],
)
def test_a_folder_of_another_survey_is_refused(
    networks: list[Network], tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    run_plan_only(networks, tmp_path)
    first, second = networks
    of_network = {key: changes[key] for key in ("size", "preparation") if key in changes}
    if "weights" in changes:
        model = copy.deepcopy(second.model)
        with torch.no_grad():
            next(model.parameters()).flatten()[0] += 1e-3
        of_network["model"] = model
    survey = make_survey(
        [first, replace(second, **of_network)],
        tmp_path,
        **{
            key: value
            for key, value in changes.items()
            if key in OPTIONS | {"method": 0, "target": 0, "smoothing": 0}
        },
    )
    survey.dataset = Others() if "data" in changes else survey.dataset  # pyright: ignore
    with pytest.raises(ArgumentError, match=f"others for {named}"):
        survey.run()


def test_no_two_surveys_have_one_name(networks: list[Network], tmp_path: Path) -> None:
    survey, other = (make_survey(networks, tmp_path / "a", seed=seed) for seed in (3, 4))
    assert survey.folder_name() == make_survey(networks, tmp_path / "b").folder_name() != other.folder_name()
    assert survey.folder_name().startswith("scenes-test-")


def test_other_classes_are_refused_and_other_names_told(
    networks: list[Network], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As `icnn evaluate` does it: of as many classes names may be another spelling, but not another order."""
    for classes in (("ground", "square"), ("ground", "bar", "square")):
        with pytest.raises(CheckpointError, match="irregular: needs a network for the 3 classes of scenes"):
            make_survey([replace(n, classes=classes) for n in networks], tmp_path)
    assert not list(tmp_path.iterdir())
    make_survey([networks[0], replace(networks[1], classes=("ground", "box", "bar"))], tmp_path)
    assert "classes of regular are called otherwise: box as square" in caplog.text


@pytest.mark.parametrize("changes", [{"method": "gradien"}, {"target": "tru"}, {"stratify": ("clas",)}])
def test_what_does_not_exist_is_refused_and_leaves_no_folder(
    networks: list[Network], tmp_path: Path, changes: dict[str, Any]
) -> None:
    with pytest.raises(NameNotFoundError):
        make_survey(networks, tmp_path, **changes).run()
    assert not list(tmp_path.iterdir())


def test_the_predicted_class_is_followed_in_all_networks_where_it_is_asked_for(
    networks: list[Network], expected: pd.DataFrame, tmp_path: Path
) -> None:
    assert (expected["target"] == expected["class"]).all()
    table = make_survey(networks, tmp_path, target="predicted").tables()["measures"]
    first = table.loc[table["model"] == "irregular"].set_index("pixel_id")["predicted"]
    assert table["target"].tolist() == [first[number] for number in table["pixel_id"]]
    row = table.iloc[3]
    image = Scenes()[row["image"]][0].permute(1, 2, 0).numpy()
    record = pixel_gradient(
        networks[1].model, image, (row["y"], row["x"]), class_id=CLASSES.index(row["target"])
    )
    assert row["logit"] == pytest.approx(record.logit)


def test_maps_that_are_zero_everywhere_are_counted(networks: list[Network], tmp_path: Path) -> None:
    model = copy.deepcopy(networks[1].model)
    with torch.no_grad():
        model.classifier.fc1.weight.zero_()
    survey = make_survey([networks[0], replace(networks[1], model=model)], tmp_path, pixels=5)
    assert survey.zero_maps() == {"irregular": 0, "regular": 5}
    assert "5 maps zero everywhere, left out" in survey.describe()


def test_networks_of_one_name_or_alone_are_refused(networks: list[Network], tmp_path: Path) -> None:
    first, second = networks
    for given in ([first], [first, replace(second, name=first.name)]):
        with pytest.raises(ArgumentError, match="each of its own name"):
            make_survey(given, tmp_path)


def test_a_network_may_know_more_classes_than_the_data(networks: list[Network], tmp_path: Path) -> None:
    torch.manual_seed(1)
    more = deeplab_largefov("tiny", 9, classifier_dilation=2).eval()
    with torch.no_grad():
        more.classifier.fc1.weight.normal_(std=0.1)
        more.classifier.fc1.bias[7] = 1e3
    pair = [replace(network, model=more, classes=()) for network in networks]
    table = make_survey(pair, tmp_path, pixels=3, target="predicted").tables()["measures"]
    assert set(table["predicted"].astype(str)) == set(table["target"].astype(str)) == {"7"}
    assert table["correct"].sum() == 0


def test_a_figure_that_four_images_cannot_fill_is_said_to_lack(
    networks: list[Network], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Scenes, "__len__", lambda _: 4)
    survey = make_survey(networks, tmp_path)
    names = {path.name for path in survey.write()}
    assert "differences.png" not in names
    assert "average.png" in names
    assert survey.left_out().startswith("No figure of differences: fewer than five images")


def test_a_notebook_needs_no_folder(networks: list[Network], expected: pd.DataFrame) -> None:
    survey = SurveyDisplay(networks, Scenes(), **OPTIONS)  # pyright: ignore
    pd.testing.assert_frame_equal(survey.tables()["measures"], expected)
    assert survey.plot().figure_ is not None
    assert "18 pixels" in survey._repr_html_()


def test_the_command_writes_differences_and_their_figure(
    run_main: Run, networks: list[Network], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("icnn_viz.displays.datasets.open_dataset", lambda *_, **__: Scenes())
    irregular = networks[0].model
    write_checkpoint(tmp_path / "regular.safetensors", networks[1].model, classes=CLASSES)
    make_irregular(irregular, "classifier", shift=0.9)
    write_checkpoint(tmp_path / "irregular.safetensors", irregular, classes=CLASSES)
    out = tmp_path / "out"
    arguments = (
        *("heatmap", tmp_path / "irregular.safetensors", "--regular", tmp_path / "regular.safetensors"),
        *("--data", "scenes", "--pixels", "16", "--device", "cpu", "-o", out, "--controls"),
    )
    ended = run_main(main, *arguments)
    assert ended.code == 0, ended.err
    told = " ".join(ended.out.split())
    assert (
        "Student's t or a studentised bootstrap, whichever is wider; – where fewer than five images" in told
    )
    assert "No figure" not in told
    names = {path.name for path in out.glob("[!.]*")}
    pairs = ("", "-snapped-to-slots", "-random-weights")
    pictures = {f"{view}{pair}.png" for view in ("differences", "average") for pair in pairs}
    pictures |= {"average.csv", "average.npz", "maps"}
    assert (
        names
        == {"rows", "plan.csv", "survey.json", "measures.csv", "differences.csv", "effects.csv"} | pictures
    )
    with np.load(out / "average.npz") as average:
        assert average["maps"].shape[0] == 4
        assert average["maps"].shape[1:] == average["counts"].shape
        assert average["networks"].tolist()[:2] == ["irregular", "regular"]
        np.testing.assert_allclose(average["curves"][1], pd.read_csv(out / "average.csv")["regular"])
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
    ended = run_main(main, *arguments, "--json")  # all is done: the same summary, no second look
    again = json.loads(ended.out)
    assert (again["done"], again["total"]) == (16, 16)
    assert pd.read_csv(out / "differences.csv").equals(summary)
    said = np.array([each["difference"] for each in again["differences"]], float)  # null is not a number
    np.testing.assert_allclose(said, summary.loc[summary["group"] == "all", "difference"])


def test_pixel_and_data_exclude_each_other(run_main: Run) -> None:
    ended = run_main(main, "heatmap", "--data", "shapes", "-p", "3,3")
    assert ended.code == 2
