"""No option is taken and passed over: where it would have no effect, that is an error."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from icnn_core.cli import main as core
from icnn_viz.cli import main as viz
from icnn_viz.data import builtin_path

Run = Callable[..., Any]
KERNELS = ("kernels", "a.safetensors")
HEATMAP = ("heatmap", "a.safetensors", "--regular", "b.safetensors")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the built-in pair as a.safetensors and b.safetensors, and an image."""
    monkeypatch.chdir(tmp_path)
    for name, kind in (("a", "irregular"), ("b", "regular")):
        shutil.copy(builtin_path(f"shapes-{kind}.safetensors"), tmp_path / f"{name}.safetensors")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 52, 3), np.uint8)).save("photo.png")
    return tmp_path


@pytest.mark.parametrize(
    ("call", "option"),
    [
        (("train", "shapes", "--sharing", "layer"), "--sharing"),
        (("train", "shapes", "--set", "shift=0.1"), "--set shift"),
        (("train", "shapes", "--set", "position_warmup=0.5"), "--set position_warmup"),
        (("train", "shapes", "--irregular", "fc1", "--set", "sigma=0.9"), "--set sigma"),
        (("train", "shapes", "--irregular", "fc1", "--set", "momentum=0.5"), "--set momentum"),
        (("train", "shapes", "--reader", "numpy:load"), "--reader"),
        (("train", "shapes", "--irregular", "none", "--position-lr", "0.1"), "--position-lr"),
        (("train", "shapes", "--position-rule", "sgd"), "--position-rule"),
        (("train", "shapes", "--init", "a.safetensors", "--sharing", "layer"), "--sharing"),
        (("train", "shapes", "--irregular", "fc1", "--root", "."), "folder"),
        (("evaluate", "a.safetensors", "--root", "."), "folder"),
        (("evaluate", "a.safetensors", "--stride", "8"), "window"),
        (
            ("convert", "a.safetensors", "-o", "c.pt", "--irregular", "none", "--sharing", "layer"),
            "--sharing",
        ),
        (("convert", "a.safetensors", "-o", "c.pt", "--irregular", "none", "--shift", "0.5"), "--shift"),
        (("convert", "a.safetensors", "-o", "c.pt", "--irregular", "none", "--seed", "3"), "--seed"),
    ],
    ids=" ".join,
)
def test_of_icnn(run_main: Run, site: Path, call: tuple[str, ...], option: str) -> None:
    check(run_main(core, *call), option, site)


@pytest.mark.parametrize(
    ("call", "option"),
    [
        ((*KERNELS, "--format", "gif"), "--format"),
        ((*KERNELS, "--view", "heat", "--format", "html"), "--format"),
        ((*KERNELS, "--view", "3d", "--view", "heat", "--format", "html"), "--view"),
        ((*KERNELS, "--view", "cloud", "--channel", "3"), "--channel"),
        ((*KERNELS, "--view", "inspect", "--kernel", "1"), "--kernel"),
        ((*KERNELS, "--view", "heat", "--slot", "0"), "--slot"),
        ((*KERNELS, "--view", "cloud", "--third-axis", "weight"), "--third-axis"),
        ((*KERNELS, "--view", "qq", "--magnify", "2"), "--magnify"),
        ((*KERNELS, "--kernel-size", "5"), "--kernel-size"),
        ((*KERNELS, "a.safetensors", "--magnify", "2"), "--magnify"),
        ((*KERNELS, "a.safetensors", "--format", "html"), "--format"),
        ((*HEATMAP, "--data", "shapes", "--image", "photo.png"), "--image"),
        ((*HEATMAP, "--data", "shapes", "--labels", "photo.png"), "--labels"),
        ((*HEATMAP, "--data", "shapes", "--class", "ring"), "--class"),
        ((*HEATMAP, "--data", "shapes", "--against", "ring"), "--against"),
        ((*HEATMAP, "--data", "shapes", "--component"), "--component"),
        ((*HEATMAP, "--data", "shapes", "--max-size", "9"), "--max-size"),
        ((*HEATMAP, "--data", "shapes", "--sampling"), "--sampling"),
        ((*HEATMAP, "--data", "shapes", "--overlay"), "--overlay"),
        ((*HEATMAP, "--data", "shapes", "--no-photo"), "--photo"),
        ((*HEATMAP, "--data", "shapes", "--gamma", "1"), "--gamma"),
        ((*HEATMAP, "--data", "shapes", "--root", "."), "folder"),
        ((*HEATMAP, "-p", "3,4", "--root", "."), "--root"),
        ((*HEATMAP, "-p", "3,4", "--split", "test"), "--split"),
        ((*HEATMAP, "-p", "3,4", "--pixels", "9"), "--pixels"),
        ((*HEATMAP, "-p", "3,4", "--stratify", "boundary"), "--stratify"),
        ((*HEATMAP, "-p", "3,4", "--target", "predicted"), "--target"),
        ((*HEATMAP, "-p", "3,4", "--class", "ring", "--against", "ring"), "--against"),
        ((*HEATMAP, "-p", "3,4", "--class", "Background", "--against", "0"), "--against"),
        (("report", "a.safetensors", "--root", "."), "--root"),
        (("report", "a.safetensors", "--image", "photo.png", "--split", "test"), "--split"),
        (("report", "a.safetensors", "--image", "photo.png", "--target", "predicted"), "--target"),
        (("report", "a.safetensors", "--image", "photo.png", "--pixels", "0"), "--image"),
        (("report", "a.safetensors", "--pixels", "0", "--no-photo"), "--photo"),
        (("report", "a.safetensors", "--image", "photo.png", "-p", "3,4", "--pixels", "2"), "--pixels"),
        (("explore", "a.safetensors", "--root", "."), "--root"),
        (("explore", "a.safetensors", "--split", "test"), "--split"),
        (("explore", "a.safetensors", "--overwrite"), "--overwrite"),
        (("explore", "a.safetensors", "--export", "page.html", "--port", "80"), "--port"),
        (("explore", "a.safetensors", "--export", "page.html", "--host", "::"), "--host"),
        (("explore", "a.safetensors", "--export", "page.html", "--no-browser"), "--browser"),
        (("explore", "a.safetensors", "--export", "page.html", "--snapshots", "."), "--snapshots"),
    ],
    ids=" ".join,
)
def test_of_icnn_viz(run_main: Run, site: Path, call: tuple[str, ...], option: str) -> None:
    check(run_main(viz, *call), option, site)


def check(ended: Any, option: str, site: Path) -> None:
    """One message that names the option, and nothing written."""
    assert ended.code in (1, 2)
    told = " ".join(ended.err.split())
    assert option in told
    assert any(
        word in told
        for word in (
            "has no effect",
            "leave",
            "Leave",
            "Give",
            "othing would be left",
            "kind of file",
            "drawn as",
        )
    )
    assert sorted(path.name for path in site.iterdir()) == ["a.safetensors", "b.safetensors", "photo.png"]
