"""HeatmapDisplay: the same numbers as pixel_gradient, every view, tidy tables, itself in a notebook."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import nn

from icnn_core.checkpoint import write_checkpoint
from icnn_core.errors import ArgumentError, CheckpointError, IcnnError, NameNotFoundError
from icnn_core.models.deeplab import deeplab_largefov
from icnn_core.surgery import make_irregular
from icnn_viz import HeatmapDisplay, HeatmapExplorer, TapDisplay
from icnn_viz.displays import HEATMAP_VIEWS
from icnn_viz.displays.pixels import make_targets
from icnn_viz.gradients import Network, Target, load_pair, pixel_gradient, to_networks
from icnn_viz.heatmaps import measure_heatmap, to_heatmap

CLASSES = ("ground", "square", "bar")
PIXELS = [(9, 20), (17, 5)]


def _network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.Conv2d(5, 3, 5, padding=2)).eval()


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (24, 37, 3), np.uint8)


@pytest.fixture(scope="module")
def models() -> dict[str, nn.Module]:
    models = {"mine": _network(0), "theirs": _network(1)}
    make_irregular(models["mine"], shift=0.5)
    return models


def test_numbers_are_those_of_pixel_gradient_for_the_class_that_the_first_network_sees(
    models: dict[str, nn.Module], image: np.ndarray
) -> None:
    display = HeatmapDisplay.from_models(
        models, image, PIXELS, classes=CLASSES, reduction="l2", smoothing=1.5
    )
    for pixel, look in zip(PIXELS, display.records, strict=True):
        first = pixel_gradient(models["mine"], image, pixel)
        for model, gradient, heatmap in zip(models.values(), look.gradients, look.heatmaps, strict=True):
            alone = pixel_gradient(model, image, pixel, class_id=first.class_id)
            np.testing.assert_array_equal(gradient.gradient, alone.gradient)
            np.testing.assert_array_equal(heatmap.values, to_heatmap(alone, "l2", 1.5).values)
    assert [gradient.network for gradient in display.records[0].gradients] == ["mine", "theirs"]


def test_a_pixel_a_target_and_a_class_are_understood(models: dict[str, nn.Module], image: np.ndarray) -> None:
    one = HeatmapDisplay.from_models(models, image, (9, 20), class_id=2)
    array = HeatmapDisplay.from_models(models, image, np.array([9, 20]), class_id=2)  # type: ignore[arg-type]
    target = HeatmapDisplay.from_models(models, image, Target((9, 20), 2, 0))
    assert [len(d.records) for d in (one, array, target)] == [1, 1, 1]
    assert one.records[0].gradients[1].class_id == array.records[0].gradients[1].class_id == 2
    assert "minus" in target.records[0].gradients[0].target or target.records[0].gradients[0].target


@pytest.mark.parametrize("view", HEATMAP_VIEWS)
def test_every_view_is_a_figure(models: dict[str, nn.Module], image: np.ndarray, view: str) -> None:
    display = HeatmapDisplay.from_models(models, image, PIXELS, sampling=True)
    assert display.figure_ is None
    assert display.plot(view, 1, theme="dark") is display
    assert isinstance(display.figure_, Figure)


def test_tables_have_a_row_per_measure_and_labels_add_those_of_masks(
    models: dict[str, nn.Module], image: np.ndarray
) -> None:
    labels = np.zeros((24, 37), np.int64)
    labels[5:14, 12:30] = 1
    display = HeatmapDisplay.from_models(models, image, PIXELS, classes=CLASSES, labels=labels)
    summary = display.summary()
    row = summary[(summary["x"] == 20) & (summary["measure"] == "area_90")].iloc[0]
    gradient = pixel_gradient(models["mine"], image, (9, 20))
    assert row["mine"] == measure_heatmap(to_heatmap(gradient))["area_90"]
    assert row["unit"] == "pixels"
    assert set(display.to_frame().loc[lambda f: f["x"] == 20, "label"]) == {"square"}
    assert {"energy_in_object", "object_used"} <= set(summary["measure"])
    assert list(summary["measure"])[:2] == ["energy", "peak"]


def test_it_reads_checkpoints_and_compares_one_with_itself_snapped(tmp_path: Path, image: np.ndarray) -> None:
    torch.manual_seed(0)
    model = deeplab_largefov("tiny", 3)
    regular = write_checkpoint(tmp_path / "regular.pt", model, classes=CLASSES)
    make_irregular(model, "classifier", shift=0.5)
    irregular = write_checkpoint(tmp_path / "irregular.pt", model, classes=CLASSES)
    two = HeatmapDisplay.from_checkpoints(irregular, regular, image, (9, 20))
    assert [g.network for g in two.records[0].gradients] == ["irregular", "regular"]
    assert two.records[0].gradients[0].class_name in CLASSES
    one = HeatmapDisplay.from_checkpoints(irregular, None, image, (9, 20), controls=True)
    assert [g.network for g in one.records[0].gradients] == [
        "irregular",
        "irregular, snapped to slots",
        "irregular, random weights",
    ]
    with pytest.raises(CheckpointError, match=r"Did you mean .*regular\.pt"):
        HeatmapDisplay.from_checkpoints(tmp_path / "irregulr.pt", None, image, (9, 20))


def test_a_notebook_shows_the_measures_and_the_last_figure(
    models: dict[str, nn.Module], image: np.ndarray
) -> None:
    evil: dict[str, nn.Module] = dict(zip(("<script>", "b"), models.values(), strict=True))
    display = HeatmapDisplay.from_models(evil, image, (9, 20))
    assert repr(display) == "HeatmapDisplay of (y, x) (9, 20) through <script> | b"
    page = display._repr_html_()
    assert "area_90" in page
    assert "<img" not in page
    assert "<script>" not in page
    assert "data:image/png;base64," in display.plot()._repr_html_()


def test_names_of_networks_in_a_figure_break_between_words(
    models: dict[str, nn.Module], image: np.ndarray
) -> None:
    names = ["irregular", "regular", "irregular, snapped to slots", "irregular, random weights"]
    four = dict(zip(names, [*models.values()] * 2, strict=True))
    figure = HeatmapDisplay.from_models(four, image, (9, 20)).plot().figure_
    assert figure is not None
    words = {text.get_text() for text in figure.texts}
    assert {"snapped to", "slots", "random"} <= words
    assert not [word for word in words if "…" in word]


def test_a_map_without_energy_has_dashes_for_measures(image: np.ndarray) -> None:
    deaf = nn.Conv2d(3, 2, 1)
    nn.init.zeros_(deaf.weight)
    page = HeatmapDisplay.from_models({"a": deaf, "b": deaf}, image, (9, 20))._repr_html_()
    assert "<td>–</td>" in page
    assert "nan" not in page


def test_wrong_uses_are_refused(models: dict[str, nn.Module], image: np.ndarray) -> None:
    display = HeatmapDisplay.from_models(models, image, (9, 20))
    with pytest.raises(NameNotFoundError, match="Did you mean overlay"):
        display.plot("overly")
    with pytest.raises(NameNotFoundError, match="below 1"):
        display.plot("comparison", 1)
    with pytest.raises(ArgumentError, match="sampling=True"):
        display.plot("sampling")
    with pytest.raises(ArgumentError, match="at least one pixel"):
        HeatmapDisplay.from_models(models, image, [])
    for wrong, words in (
        ({"networks": {}}, "none"),
        ({"networks": {"mine": "net.pt"}}, r"here 'mine'.*str.*from_checkpoints"),
        ({"networks": "net.pt"}, "from_checkpoints"),
        ({"image": torch.rand(3, 24, 37)}, r"Tensor \(3, 24, 37\) torch.float32.*permute"),
        ({"image": image.tolist()}, "got list"),
        ({"image": None}, "NoneType"),
        ({"image": "nothing.png"}, "nothing.png"),
        ({"pixels": 7}, "whole numbers"),
        ({"pixels": (9, 20.5)}, "whole numbers"),
        ({"pixels": ["9,20"]}, "whole numbers"),
        ({"pixels": (9, 20, 3)}, "whole numbers"),
        ({"class_id": "squar"}, "Did you mean square"),
    ):
        given = {"networks": models, "image": image, "pixels": (9, 20)} | wrong
        options = {"classes": CLASSES, "class_id": given.get("class_id")}
        with pytest.raises(IcnnError, match=words) as told:
            HeatmapDisplay.from_models(given["networks"], given["image"], given["pixels"], **options)
        assert "\n" not in str(told.value)


def test_files_in_the_place_of_networks_are_refused_by_every_display(image: np.ndarray) -> None:
    path: Any = "net.pt"
    ways: dict[str, Callable[[], object]] = {
        "HeatmapDisplay": lambda: HeatmapDisplay.from_models(path, image, (9, 20)),
        "TapDisplay": lambda: TapDisplay.from_models(path, image, (9, 20)),
        "HeatmapExplorer": lambda: HeatmapExplorer(path, path, image),
    }
    for who, ask in ways.items():
        with pytest.raises(ArgumentError, match=rf"{who}: needs networks .*got str.*from_checkpoints"):
            ask()


def test_networks_see_images_as_they_are_told_to(models: dict[str, nn.Module]) -> None:
    own = Network("own", models["mine"], None, ("a",))
    first, second = to_networks(
        "me", {"x": models["theirs"], "y": own}, classes=("b",), size=(8, 9), divisor=4
    )
    assert (first.name, first.size, first.classes, first.prepared.divisor) == ("x", (8, 9), ("b",), 4)
    assert second is own


def test_one_network_a_pil_image_a_path_and_a_class_by_name_are_taken(
    models: dict[str, nn.Module], image: np.ndarray, tmp_path: Path
) -> None:
    picture = Image.fromarray(image)
    picture.save(tmp_path / "photo.png")
    known = {"classes": CLASSES, "class_id": "Square"}
    displays = [
        HeatmapDisplay.from_models(models["mine"], given, (9, 20), **known)
        for given in (image, picture, tmp_path / "photo.png", str(tmp_path / "photo.png"))
    ]
    expected = pixel_gradient(models["mine"], image, (9, 20), class_id=1).gradient
    for display in displays:
        [gradient] = display.records[0].gradients
        np.testing.assert_array_equal(gradient.gradient, expected)
    for view in ("comparison", "overlay", "grid"):
        figure = displays[0].draw(view)
        assert not [text for text in figure.texts if "−" in text.get_text()]
    assert list(displays[0].summary().columns)[-2] == "network"


def test_networks_are_named_for_what_they_are_whichever_place_they_were_given(tmp_path: Path) -> None:
    model = deeplab_largefov("tiny", 3, classifier_dilation=2)
    regular, irregular = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    write_checkpoint(regular, model, classes=CLASSES)
    make_irregular(model, irregular="classifier", shift=0.3)
    write_checkpoint(irregular, model, classes=CLASSES)
    for first, second, names in (
        (
            irregular,
            regular,
            ["irregular", "regular", "irregular, snapped to slots", "irregular, random weights"],
        ),
        (regular, irregular, ["regular", "irregular", "regular, random weights"]),
        (regular, regular, ["regular", "regular, second", "regular, random weights"]),
    ):
        assert [network.name for network in load_pair(first, second, controls=True, device="cpu")] == names
    assert [n.name for n in load_pair(irregular, irregular, device="cpu")] == [
        "irregular",
        "irregular, second",
    ]


def test_a_class_by_number_counts_where_no_names_are_known(image: np.ndarray) -> None:
    [target] = make_targets([(9, 20)], image, (), "2", "0")
    assert (target.class_id, target.against) == (2, 0)
