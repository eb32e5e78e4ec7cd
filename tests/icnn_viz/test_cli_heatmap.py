"""`icnn-viz heatmap`: what it writes, prints and refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import ExifTags, Image
from torch import nn

from icnn_core.checkpoint import build_model, read_checkpoint, write_checkpoint
from icnn_core.models.deeplab import deeplab_largefov
from icnn_core.surgery import make_irregular, snap_to_slots
from icnn_viz.cli import main
from icnn_viz.gradients import pixel_gradient

Run = Callable[..., Any]
HEIGHT, WIDTH = 41, 56
CLASSES = ("ground", "bicycle", "tree")

FACTORY = """
from torch import nn
from icnn_core.models.deeplab import deeplab_largefov

def make_net():
    return deeplab_largefov("tiny", 3)

def broken():
    raise RuntimeError("no weights for you")
"""


def _load(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a file, which is closed again: one that is left open warns whenever it is collected."""
    with np.load(path) as saved:
        return dict(saved)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints irregular, regular, plain (a state dict), foreign (other classes); image.png, labels.png."""
    folder = tmp_path_factory.mktemp("heatmap")
    torch.manual_seed(0)
    regular = deeplab_largefov("tiny", 3, classifier_dilation=2).eval()
    with torch.no_grad():
        regular.classifier.fc1.weight.normal_(std=0.1)
    write_checkpoint(folder / "regular.safetensors", regular, classes=CLASSES)
    write_checkpoint(folder / "foreign.safetensors", regular, classes=("a", "b", "c"))
    write_checkpoint(folder / "half.safetensors", regular, classes=CLASSES, dataset={"size": [20, 28]})
    torch.save(regular.state_dict(), folder / "plain.pt")
    make_irregular(regular, "classifier", shift=0.9)
    write_checkpoint(folder / "irregular.safetensors", regular, classes=CLASSES)
    with torch.no_grad():
        regular.classifier.fc1.positions[0, 0, 0] = float("nan")
    write_checkpoint(folder / "broken.safetensors", regular, classes=CLASSES)
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)).save(folder / "image.png")
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[10:20, 30:45] = labels[30:, :10] = 1
    Image.fromarray(labels).save(folder / "labels.png")
    (folder / "mynets.py").write_text(FACTORY)
    return folder


@pytest.fixture
def run(run_main: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `icnn-viz heatmap` in the folder, on the CPU, with its image."""
    monkeypatch.chdir(folder)

    def run(*arguments: object, image: str = "image.png") -> Any:
        return run_main(
            main, "heatmap", *arguments, "-i", image, "-o", tmp_path, "--device", "cpu", "--overwrite"
        )

    return run


def model_of(path: Path) -> nn.Module:
    return build_model(read_checkpoint(path))


def test_a_pair_gives_figures_gradients_and_a_table(run: Run, folder: Path, tmp_path: Path) -> None:
    ended = run("irregular.safetensors", "--regular", "regular.safetensors", "-p", "33,12", "-p", "5,35")
    assert ended.code == 0
    assert ended.err == ""
    stems = ("heatmap-x33-y12", "heatmap-x5-y35")
    files = {f"{stem}.{kind}" for stem in stems for kind in ("png", "npz")} | {"measures.csv", "grid.png"}
    assert {path.name for path in tmp_path.glob("[!.]*")} == files
    assert "6 files" in ended.out
    assert str(tmp_path / "heatmap-x33-y12.png") in ended.out
    saved = _load(tmp_path / "heatmap-x33-y12.npz")
    image = np.array(Image.open(folder / "image.png"))
    assert saved["pixel"].tolist() == [12, 33]
    for name in ("irregular", "regular"):
        expected = pixel_gradient(
            model_of(folder / f"{name}.safetensors"), image, (12, 33), class_id=int(saved["class_id"])
        )
        np.testing.assert_array_equal(saved[name], expected.gradient)
        assert saved[name].shape == (3, HEIGHT, WIDTH)
    own = pixel_gradient(model_of(folder / "irregular.safetensors"), image, (12, 33))
    assert own.class_id == saved["class_id"]
    table = pd.read_csv(tmp_path / "measures.csv")
    assert set(zip(table.x, table.y, strict=True)) == {(33, 12), (5, 35)}
    assert set(table.model) == {"irregular", "regular"}
    energy = table[(table.x == 33) & (table.model == "irregular") & (table.measure == "energy")].value.item()
    assert energy == pytest.approx(np.abs(saved["irregular"]).max(0).sum(), rel=1e-5)


def test_without_a_second_network_it_is_compared_with_itself_snapped(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    ended = run("irregular.safetensors", "-p", "20,20", "-c", "bicycle", "--json", "-f", "svg", "-f", "png")
    assert ended.code == 0
    found = json.loads(ended.out)
    (pixel,) = found["pixels"]
    assert [m["model"] for m in pixel["models"]] == ["irregular", "irregular, snapped to slots"]
    assert (pixel["class"], pixel["class_id"], pixel["x"], pixel["y"]) == ("bicycle", 1, 20, 20)
    assert sorted(Path(p).name for p in found["written"]) == sorted(p.name for p in tmp_path.glob("[!.]*"))
    assert (tmp_path / "heatmap-x20-y20.svg").exists()
    saved = _load(tmp_path / "heatmap-x20-y20.npz")
    assert saved["models"].tolist() == ["irregular", "irregular, snapped to slots"]
    snapped = snap_to_slots(model_of(folder / "irregular.safetensors"))
    image = np.array(Image.open(folder / "image.png"))
    expected = pixel_gradient(snapped, image, (20, 20), class_id=1)
    np.testing.assert_array_equal(saved["regular"], expected.gradient)
    assert pixel["models"][1]["logit"] == pytest.approx(expected.logit)
    assert np.abs(saved["irregular"] - saved["regular"]).max() > 0


def test_labels_give_measures_of_masks(run: Run, tmp_path: Path) -> None:
    ended = run("irregular.safetensors", "-p", "33,12", "--labels", "labels.png", "--json")
    found = json.loads(ended.out)["pixels"][0]
    assert found["label"] == "bicycle"
    saved = _load(tmp_path / "heatmap-x33-y12.npz")
    heat = np.abs(saved["irregular"].astype(float)).max(0)
    measures = found["models"][0]["measures"]
    inside = heat[10:20, 30:45].sum()
    assert measures["energy_in_object"] == pytest.approx(inside / heat.sum())
    assert measures["energy_in_class"] == pytest.approx((inside + heat[30:, :10].sum()) / heat.sum())
    assert measures["energy_on bicycle"] == pytest.approx(measures["energy_in_class"])
    assert measures["energy_on tree"] == 0


def test_what_is_done_to_an_image_is_said(run: Run, folder: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3
    deep = (np.indices((HEIGHT, WIDTH))[1] * 1000).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png", exif=exif)
    arguments = "irregular.safetensors", "-p", "33,12", "--size", "40x24"
    for labels in ((), ("--labels", "labels.png")):
        ended = run(*arguments, *labels, image=str(tmp_path / "deep.png"))
        told = " ".join(ended.err.split())
        assert ended.code == 0, told
        assert "has 16 bits a channel" in told
        assert ("its labels are taken to lie on it as shown" in told) == bool(labels)
        assert f"stretched from {HEIGHT} × {WIDTH} to 40 × 24 for the network" in " ".join(ended.out.split())
    ended = run("irregular.safetensors", "-p", "33,12", "--size", "20x28")
    assert "stretched" not in ended.out


@pytest.mark.parametrize("method", ["guided", "gradient*input"])
def test_options_reach_the_gradient(run: Run, folder: Path, tmp_path: Path, method: str) -> None:
    ended = run(
        "irregular.safetensors", "-p", "20,20", "-c", "2", "-m", method, "--size", "20x28", "-f", "pdf"
    )
    assert ended.code == 0
    image = np.array(Image.open(folder / "image.png"))
    model = model_of(folder / "irregular.safetensors")
    expected = pixel_gradient(model, image, (20, 20), class_id=2, method=method, size=(20, 28))
    np.testing.assert_array_equal(_load(tmp_path / "heatmap-x20-y20.npz")["irregular"], expected.gradient)


def test_the_network_sees_the_size_it_was_trained_with(run: Run, folder: Path, tmp_path: Path) -> None:
    assert run("irregular.safetensors", "--regular", "half.safetensors", "-p", "20,20").code == 0
    saved = _load(tmp_path / "heatmap-x20-y20.npz")
    image = np.array(Image.open(folder / "image.png"))
    model = model_of(folder / "half.safetensors")
    expected = pixel_gradient(model, image, (20, 20), class_id=int(saved["class_id"]), size=(20, 28))
    np.testing.assert_array_equal(saved["regular"], expected.gradient)


def test_component_and_difference_of_classes_are_the_same_for_both(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    ended = run(
        *("irregular.safetensors", "--regular", "regular.safetensors", "-p", "20,20"),
        *("-c", "tree", "--against", "ground", "--component", "--json"),
    )
    assert ended.code == 0
    saved = _load(tmp_path / "heatmap-x20-y20.npz")
    image = np.array(Image.open(folder / "image.png"))
    own = pixel_gradient(model_of(folder / "irregular.safetensors"), image, (20, 20), region="component")
    same = own.prediction == own.prediction[20, 20]
    from icnn_viz.heatmaps import connected_part

    region = connected_part(same, (20, 20))
    for name in ("irregular", "regular"):
        model = model_of(folder / f"{name}.safetensors")
        expected = pixel_gradient(model, image, (20, 20), class_id=2, against=0, region=region)
        np.testing.assert_allclose(saved[name], expected.gradient, atol=1e-6)


def test_controls_sampling_overlay_and_grid(run: Run, folder: Path, tmp_path: Path) -> None:
    ended = run(
        *("irregular.safetensors", "--regular", "regular.safetensors", "-p", "33,12", "-p", "5,35", "--json"),
        *("--controls", "--sampling", "--overlay", "-f", "svg"),
    )
    assert ended.code == 0
    stems = [f"heatmap-{pixel}" for pixel in ("x33-y12", "x5-y35")]
    pictures = {f"{stem}{kind}.svg" for stem in stems for kind in ("", "-overlay", "-sampling")} | {
        "grid.svg"
    }
    assert {p.name for p in tmp_path.glob("[!.]*")} == pictures | {f"{s}.npz" for s in stems} | {
        "measures.csv"
    }
    models = json.loads(ended.out)["pixels"][0]["models"]
    assert [m["model"] for m in models] == [
        *("irregular", "regular", "irregular, snapped to slots", "irregular, random weights")
    ]
    assert [m["measures"]["beyond_field"] for m in models] == [0, 0, 0, 0]
    saved = _load(tmp_path / "heatmap-x33-y12.npz")
    assert {"irregular", "regular", "other_2", "other_3"} < set(saved)
    snapped = snap_to_slots(model_of(folder / "irregular.safetensors"))
    image = np.array(Image.open(folder / "image.png"))
    expected = pixel_gradient(snapped, image, (12, 33), class_id=int(saved["class_id"]))
    np.testing.assert_array_equal(saved["other_2"], expected.gradient)


def test_overlay_without_photo_is_a_usage_error(run: Run) -> None:
    ended = run("irregular.safetensors", "-p", "3,3", "--overlay", "--no-photo")
    assert ended.code == 2
    assert "--no-photo" in ended.err


def test_a_network_of_ones_own(run: Run, tmp_path: Path) -> None:
    arguments = ("plain.pt", "--regular", "plain.pt", "-p", "3,4")
    assert run(*arguments, "--model", "mynets:make_net").code == 0
    saved = _load(tmp_path / "heatmap-x3-y4.npz")
    np.testing.assert_array_equal(saved["irregular"], saved["regular"])
    for text, fragment in [
        ("mynets:make_nets", "Did you mean make_net"),
        ("nowhere_at_all:f", "No module named 'nowhere_at_all'"),
        ("mynets", "package.module:function"),
    ]:
        ended = run(*arguments, "--model", text)
        assert ended.code == 1
        assert fragment in ended.err
        assert_one_line(ended.err)


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (
            ["irregular.safetensors", "-p", "56,3"],
            ["x in 0…55", "y in 0…40", "y = 3, x = 56"],
        ),
        (["irregular.safetensors", "-p", "-1,3"], ["y = 3, x = -1"]),
        (["irregular.safetensors", "-p", "3,3", "-c", "bicicle"], ["bicicle", "Did you mean bicycle?"]),
        (["irregular.safetensors", "-p", "3,3", "-c", "3"], ["a class id from 0 to 2"]),
        (["regular.safetensors", "-p", "3,3"], ["irregular layers", "--regular"]),
        (["plain.pt", "--regular", "plain.pt", "-p", "3,3"], ["--model package.module:factory"]),
        (
            ["irregular.safetensors", "--regular", "foreign.safetensors", "-p", "3,3"],
            ["ground, bicycle, tree", "a, b, c"],
        ),
        (["broken.safetensors", "-p", "3,3"], ["NaN or infinite", "classifier.fc1"]),
        (["missing.safetensors", "-p", "3,3"], ["missing.safetensors", "nothing there"]),
        (
            ["irregular.safetensors", "-p", "3,3", "--max-size", "50"],
            ["at most 50 pixels", "56 × 41", "--max-size 56"],
        ),
        (["irregular.safetensors", "-p", "3,3", "--labels", "image.png"], ["one channel", "mode RGB"]),
    ],
)
def test_known_errors_are_one_line(
    run: Run, tmp_path: Path, arguments: list[str], fragments: list[str]
) -> None:
    ended = run(*arguments)
    assert ended.code == 1
    assert_one_line(ended.err)
    for fragment in fragments:
        assert fragment in ended.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "fragment"),
    [(None, "nothing there"), (b"", "no image"), (b"\x89PNG\r\n\x1a\n broken", "no image")],
)
def test_unreadable_images(run: Run, tmp_path: Path, content: bytes | None, fragment: str) -> None:
    path = tmp_path / "bad.png"
    if content is not None:
        path.write_bytes(content)
    ended = run("irregular.safetensors", "-p", "3,3", image=str(path))
    assert ended.code == 1
    assert fragment in ended.err
    assert_one_line(ended.err)


def test_a_cut_off_image(run: Run, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.png").write_bytes((folder / "image.png").read_bytes()[:2000])
    ended = run("irregular.safetensors", "-p", "3,3", image=str(tmp_path / "cut.png"))
    assert ended.code == 1
    assert "image file is truncated" in ended.err


def test_a_turned_grey_photograph_is_seen_upright(run: Run, tmp_path: Path) -> None:
    picture = Image.fromarray(np.arange(30 * 20, dtype=np.uint8).reshape(30, 20) % 251)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90° to see it upright
    picture.save(tmp_path / "turned.png", exif=exif)
    ended = run("irregular.safetensors", "-p", "25,3", "--json", image=str(tmp_path / "turned.png"))
    assert ended.code == 0
    assert json.loads(ended.out)["image_size"] == {"height": 20, "width": 30}


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["-p", "3"],
        ["-p", "a,b"],
        ["-p", "1.5,2"],
        ["-p", "1,1", "--size", "4x"],
        ["-p", "1,1", "--size", "²x3"],
        ["--pixel=--5,3"],
        ["--pixel=²,3"],
    ],
)
def test_usage_errors(run: Run, arguments: list[str]) -> None:
    ended = run("irregular.safetensors", *arguments)
    assert ended.code == 2
    assert "pixel" in ended.err or "HEIGHTxWIDTH" in ended.err or "x,y" in ended.err


def assert_one_line(text: str) -> None:
    assert text.startswith("icnn-viz: error: ")
    assert text.count("\n") == 1
