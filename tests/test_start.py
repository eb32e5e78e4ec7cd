"""What each command loads: a start is mostly imports, and heavy ones stay out of the paths that need none of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[1]
_COMPILERS = {"torchvision", "torch._dynamo", "sympy"}
_LOADED = (
    "import sys, atexit; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); sys.argv[1:] = {!r}\n"
)


def _loaded_by(arguments: list[str]) -> set[str]:
    """The modules that a call of `icnn-viz` leaves loaded."""
    code = _LOADED.format(arguments) + "from icnn_viz.cli import main; main()"
    env = os.environ | {"PYTHONPATH": str(_ROOT)}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert result.returncode == 0, result.stderr[-2000:]
    return set(result.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("layer", [[], ["--layer", "fc1"]])
def test_kernels_of_a_safetensors_file_load_no_torch(layer: list[str], tmp_path: Path) -> None:
    views = ["--view", "strip"] if not layer else []
    loaded = _loaded_by(["kernels", *layer, *views, "--out", str(tmp_path / "shapes")])
    assert {"numpy", "matplotlib"} <= loaded
    assert not loaded & {"torch", *_COMPILERS}


def test_a_heatmap_loads_neither_torchvision_nor_a_compiler(tmp_path: Path) -> None:
    loaded = _loaded_by(["heatmap", "--pixel", "60,40", "--out", str(tmp_path / "pixel")])
    assert "torch" in loaded
    assert not loaded & _COMPILERS


def test_taps_load_no_compiler(tmp_path: Path) -> None:
    loaded = _loaded_by(["taps", "--pixel", "60,40", "--out", str(tmp_path / "taps"), "--format", "png"])
    assert "torch" in loaded
    assert not loaded & _COMPILERS
