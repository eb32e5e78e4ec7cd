"""What commands write never mixes with what another call wrote, nor takes the place of a user's file."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from icnn_core.cli import main as core
from icnn_viz.cli import main
from icnn_viz.data import builtin_path

Run = Callable[..., Any]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the built-in pair as a.safetensors and b.safetensors, a photo and a study."""
    monkeypatch.chdir(tmp_path)
    for name, kind in (("a", "irregular"), ("b", "regular")):
        shutil.copy(builtin_path(f"shapes-{kind}.safetensors"), tmp_path / f"{name}.safetensors")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 52, 3), np.uint8)).save("photo.png")
    (tmp_path / "runs.csv").write_text(
        "variant,seed,mean_iou\nnone,0,0.5\nfc1,0,0.6\nnone,1,0.4\nfc1,1,0.6\n"
    )
    return tmp_path


def kept(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_kernels_of_another_network_or_view_are_refused_and_the_same_ones_replaced(
    run_main: Run, site: Path
) -> None:
    call = ("kernels", "a.safetensors", "--view", "heat", "--format", "png", "--out", "out")
    assert run_main(main, *call).code == 0
    assert (site / "out" / "heat.png").exists()
    before = kept(site / "out")
    assert run_main(main, *call).code == 0
    assert kept(site / "out") == before
    assert (
        run_main(core, "convert", "a.safetensors", "--irregular", "none", "--out", "c.safetensors").code == 0
    )
    again = ("--irregular", "classifier", "--out", "d.safetensors")
    assert run_main(core, "convert", "c.safetensors", *again).code == 0
    for other in (
        ("kernels", "d.safetensors", "--view", "heat", "--format", "png", "--out", "out"),
        ("kernels", "a.safetensors", "--view", "rose", "--format", "png", "--out", "out"),
        ("heatmap", "--image", "photo.png", "-p", "3,4", "--out", "out"),
        ("train", "shapes", "--out", "out"),
    ):
        ended = run_main(core if other[0] == "train" else main, *other)
        assert (ended.code, ended.err.count("\n")) == (1, 1), ended.err
        assert "icnn" in ended.err
        assert "out" in ended.err
        assert kept(site / "out") == before
    call = ("kernels", "d.safetensors", "--view", "rose", "--format", "svg", "--out", "out", "--overwrite")
    ended = run_main(main, *call)
    assert ended.code == 0, ended.err
    assert not (site / "out" / "heat.png").exists()
    assert (site / "out" / "rose.svg").exists()


def test_heatmaps_of_another_pixel_are_refused(run_main: Run, site: Path) -> None:
    call = ("heatmap", "--image", "photo.png", "--out", "out", "--device", "cpu")
    assert run_main(main, *call, "-p", "3,4").code == 0
    ended = run_main(main, *call, "-p", "5,4")
    assert ended.code == 1
    assert "pixel=3,4" in ended.err
    assert "--overwrite" in ended.err
    assert run_main(main, *call, "-p", "5,4", "--overwrite").code == 0
    assert {path.name for path in (site / "out").glob("heatmap*")} == {
        f"heatmap-x5-y4.{kind}" for kind in ("png", "npz")
    }


def test_a_network_is_never_converted_onto_itself_nor_over_another_file(run_main: Run, site: Path) -> None:
    before = kept(site)
    for out, options in (("a.safetensors", ()), ("./a.safetensors", ("--overwrite",)), ("b.safetensors", ())):
        ended = run_main(core, "convert", "a.safetensors", "--irregular", "none", "--out", out, *options)
        assert (ended.code, ended.err.count("\n")) == (1, 1), ended.err
        assert kept(site) == before
    call = ("convert", "a.safetensors", "--irregular", "none", "--out", "b.safetensors", "--overwrite")
    assert run_main(core, *call).code == 0


@pytest.mark.parametrize(
    "call",
    [
        ("report", "a.safetensors", "--out", "page.html"),
        ("explore", "a.safetensors", "--export", "page.html"),
        ("ablation", ".", "--out", "page.html"),
    ],
    ids=lambda call: call[0],
)
def test_a_file_in_the_way_is_told_at_once(
    run_main: Run, site: Path, monkeypatch: pytest.MonkeyPatch, call: tuple[str, ...]
) -> None:
    (site / "page.html").write_text("mine")
    monkeypatch.setattr(
        "icnn_core.checkpoint.read_checkpoint", lambda path: pytest.fail("something was read")
    )
    ended = run_main(main, *call)
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "page.html: needs a free name" in ended.err
    assert "--overwrite" in ended.err
    assert (site / "page.html").read_text() == "mine"


def test_a_figure_of_a_study_is_replaced_on_request(run_main: Run, site: Path) -> None:
    assert run_main(main, "ablation", ".").code == 0
    assert run_main(main, "ablation", ".").code == 1
    assert run_main(main, "ablation", ".", "--overwrite").code == 0


def test_a_demo_takes_no_place_of_a_run(run_main: Run, site: Path) -> None:
    (site / "out" / "regular").mkdir(parents=True)
    (site / "out" / "regular" / "last.pt").write_text("mine")
    ended = run_main(main, "demo", "--out", "out", "--iterations", "2")
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "a trained network" in ended.err
    assert [path.name for path in (site / "out").rglob("*")] == ["regular", "last.pt"]
