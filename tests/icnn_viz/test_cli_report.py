"""`icnn-viz report`: where its pixels come from, what it refuses, what it says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from icnn_core.checkpoint import write_checkpoint, write_snapshot
from icnn_core.models.deeplab import deeplab_largefov
from icnn_core.surgery import irregular_layers, make_irregular
from icnn_viz.cli import main
from icnn_viz.data import builtin_path
from icnn_viz.report.pictures import Picture

Run = Callable[..., Any]
CLASSES = ("ground", "bicycle", "tree")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints irregular, regular, plain (a state dict), snapshots of the first, and image.png."""
    folder = tmp_path_factory.mktemp("report")
    torch.manual_seed(0)
    model = deeplab_largefov("tiny", 3, classifier_dilation=2).eval()
    write_checkpoint(folder / "regular.safetensors", model, classes=CLASSES)
    make_irregular(model, "classifier", shift=0.9)
    write_checkpoint(folder / "irregular.safetensors", model, classes=CLASSES)
    torch.save(model.state_dict(), folder / "plain.pt")
    for step in (0, 20):
        with torch.no_grad():
            next(iter(irregular_layers(model).values())).positions.add_(0.1)
        write_snapshot(folder / "snapshots", model, step)
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (41, 56, 3), np.uint8)).save(folder / "image.png")
    return folder


@pytest.fixture
def run(run_main: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `icnn-viz report` in the folder, without drawing."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(
        "icnn_viz.report.panels.make_picture",
        lambda draw, budget, alt, dark=True, vector=False: Picture(
            "data:,", "data:," if dark else "", 300, 200, alt
        ),
    )

    def run(*arguments: object) -> Any:
        out = ("-o", tmp_path / "page.html", "--overwrite")
        return run_main(main, "report", *arguments, *out, "--device", "cpu")

    return run


def test_pixels_of_an_image_are_where_the_user_says(run: Run, tmp_path: Path) -> None:
    places = ("--pixel", "30,12", "--pixel", "5,40", "--pixel", "30,12")
    ended = run(
        "irregular.safetensors", "--regular", "regular.safetensors", "-i", "image.png", *places, "--json"
    )
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert found["pixels"] == [
        {"image": "image.png", "x": 30, "y": 12},
        {"image": "image.png", "x": 5, "y": 40},
    ]
    assert found["layers"] == ["classifier.fc1"]
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert found["bytes"] == len(page.encode()) < 15_000_000
    assert "icnn-viz report irregular.safetensors --regular regular.safetensors -i image.png" in page
    assert "iterations 0 to 20" in page  # of the snapshots beside the checkpoint


def test_pixels_of_an_image_are_chosen_by_what_is_seen(run: Run) -> None:
    ended = run("irregular.safetensors", "-i", "image.png", "--pixels", "2", "--json")
    assert ended.code == 0, ended.err
    pixels = json.loads(ended.out)["pixels"]
    assert 1 <= len(pixels) <= 2
    assert all(0 <= p["x"] < 56 and 0 <= p["y"] < 41 for p in pixels)
    assert (
        json.loads(run("irregular.safetensors", "-i", "image.png", "--pixels", "2", "--json").out)["pixels"]
        == pixels
    )


def test_without_image_and_data_the_page_says_how_to_get_heatmaps(run: Run, tmp_path: Path) -> None:
    for checkpoint in ("irregular.safetensors", "plain.pt"):
        ended = run(checkpoint)
        assert ended.code == 0, ended.err
        assert "add --data NAME --root DIR, or --image PATH" in (tmp_path / "page.html").read_text(
            encoding="utf-8"
        )


def test_the_built_in_pair_is_looked_at_on_drawn_shapes(run: Run, tmp_path: Path) -> None:
    ended = run("--pixels", "1", "-l", "fc1", "--json", "--no-photo")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert len(found["pixels"]) == 1
    assert found["pixels"][0]["image"].startswith("shapes val")
    assert {row["verdict"] for row in found["claims"]} <= {"holds", "does not hold", "cannot be said here"}


def test_no_photo_leaves_the_image_out(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    of_panels = {"heatmap": "comparison.draw_comparison", "grid": "grid.draw_grid"}
    for name in of_panels.values():
        monkeypatch.setattr(f"icnn_viz.figures.{name}", lambda *a, photo, **k: asked.append(photo))

    def make_picture(
        draw: Callable[[str], object], budget: object, alt: str, dark: bool = True, vector: bool = False
    ) -> Picture:
        if alt.startswith("Heatmaps"):
            draw("light")
        return Picture("data:,", "", 3, 2, alt)

    monkeypatch.setattr("icnn_viz.report.panels.make_picture", make_picture)
    places = ("-p", "3,4", "-p", "5,6")
    assert run("irregular.safetensors", "-i", "image.png", *places, "--no-photo").code == 0
    assert asked == [False, False, False]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--pixel", "3,4"), 2, "add --image"),
        (("-i", "image.png", "--data", "shapes"), 2, "takes the place of --data"),
        (("-i", "image.png", "-p", "56,3"), 1, "x in 0…55"),
        (("--data", "shapes"), 1, "classes of shapes; got one for"),
        (("-l", "nothing.like.it"), 1, "nothing.like.it"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    run: Run, arguments: tuple[str, ...], code: int, words: str, tmp_path: Path
) -> None:
    ended = run("irregular.safetensors", *arguments)
    assert ended.code == code
    assert words in " ".join(ended.err.split())
    assert not (tmp_path / "page.html").exists()


def test_snapshots_of_another_network_are_left_out(run: Run, tmp_path: Path) -> None:
    other = tmp_path / "other"
    model = deeplab_largefov("tiny", 3, classifier_dilation=2)
    make_irregular(model, "backbone.layer4")
    write_checkpoint(other / "net.pt", model)
    narrow = deeplab_largefov("tiny", 5, classifier_dilation=2)
    make_irregular(narrow, names="backbone.layer3.*")
    for step in (0, 1):
        write_snapshot(other / "snapshots", narrow, step)
    ended = run(other / "net.pt")
    assert ended.code == 0, ended.err
    assert "snapshots beside the checkpoint are of another network" in ended.out


def test_the_built_in_pair_is_told_without_where_it_lies(run: Run, tmp_path: Path) -> None:
    ended = run("--pixels", 0)
    assert ended.code == 0, ended.err
    page = (tmp_path / "page.html").read_text()
    assert "icnn-viz kernels --view all" in page
    assert str(builtin_path("sample.png").parent) not in page


def test_a_network_beside_the_built_in_one_is_named_in_the_commands(
    run: Run, tmp_path: Path, folder: Path
) -> None:
    own = shutil.copy(builtin_path("shapes-regular.safetensors"), folder / "own.safetensors").name
    ended = run("--regular", own, "-i", "image.png", "--pixel", "3,4")
    assert ended.code == 0, ended.err
    wanted = f"icnn-viz heatmap --regular {own} --image image.png --pixel 3,4"
    assert wanted in (tmp_path / "page.html").read_text()


def test_the_page_names_files_and_not_where_they_lie_and_is_the_same_bytes_twice(
    run: Run, run_main: Run, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    pair = (folder / "irregular.safetensors", "--regular", folder / "regular.safetensors")
    place = (f"--image={folder / 'image.png'}", "--pixel", "3,4")
    assert run(*pair, *place).code == 0
    first = (tmp_path / "page.html").read_bytes()
    other = (*pair, *place, "--device", "cpu", f"--out={tmp_path / 'other.html'}")
    assert run_main(main, "report", *other).code == 0
    assert first == (tmp_path / "other.html").read_bytes()
    page = first.decode()
    assert "1970-01-02" in page
    assert str(folder) not in page
    assert "icnn-viz report irregular.safetensors --regular regular.safetensors --image=image.png" in page
    assert "icnn-viz heatmap irregular.safetensors --regular regular.safetensors --image image.png" in page


def test_a_page_in_the_way_is_told_before_anything_is_read(run_main: Run, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("mine")
    ended = run_main(main, "report", tmp_path / "nothing.pt", "-o", tmp_path / "page.html")
    assert ended.code == 1
    assert "a file that is there" in ended.err
    assert "--overwrite" in ended.err
    ended = run_main(main, "report", tmp_path / "nothing.pt", "-o", tmp_path / "page.html" / "p.html")
    assert "a file where a folder should be" in ended.err


@pytest.mark.parametrize("kind", ["npz", "csv", "folder of csv"])
def test_positions_of_other_programs_are_reported_without_a_network(run_main, tmp_path, make_cloud, kind):
    clouds = [make_cloud("their.layer", channels=30, seed=seed) for seed in range(2)]
    path = tmp_path / ("their" if kind == "folder of csv" else f"their.{kind}")
    if kind == "npz":
        np.savez(
            path, positions=clouds[0].positions[0], kernel_size=(3, 3), dilation=(2, 3), layer="their.layer"
        )
    elif kind == "csv":
        clouds[0].to_frame().to_csv(path, index=False)
    else:
        path.mkdir()
        for step, cloud in enumerate(clouds):
            cloud.to_frame().to_csv(path / f"step{step}.csv", index=False)
    ended = run_main(main, "report", path, "--out", tmp_path / "page.html", "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["layers"] == ["their.layer"]
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "the positions of 1 layer, and nothing of the network around them" in page
    assert "the file holds positions, not a network" in page
    refused = run_main(main, "report", path, "--data", "shapes", "--out", tmp_path / "other.html")
    assert (refused.code, "got positions alone" in refused.err) == (1, True)


def test_layers_of_dcls_are_reported_as_such(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["icnn-viz", "report", "dcls.pt", "--dcls", "v1", "--kernel-size", "9"])
    layer = {"weight": torch.ones(4, 3, 6), "P": torch.randn(2, 4, 3, 6)}
    state = {"stem.weight": torch.ones(3, 3, 4, 4), **{f"dw.{key}": value for key, value in layer.items()}}
    torch.save(state, tmp_path / "dcls.pt")
    ended = run(tmp_path / "dcls.pt", "--dcls", "v1", "--kernel-size", "9", "--json")
    assert json.loads(ended.out)["layers"] == ["dw"], ended.err
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    for words in (
        "The 72 weights of layer dw lie",
        "from the centre of their kernel.",  # there is no slot where they started
        "The shapes with the largest weights",
        "1 of 2 convolutions are irregular.",
        "icnn-viz kernels dcls.pt --dcls v1 --kernel-size 9 --view all",
    ):
        assert words in page
    for words in ("where they started", "whose weights went farthest", "All layers together"):
        assert words not in page
    assert "--kernel-size" in run(tmp_path / "dcls.pt", "--dcls", "v1").err
    assert "--dcls" in run(tmp_path / "dcls.pt", "--kernel-size", "9").err
