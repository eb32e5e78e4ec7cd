"""How many files of this package take part in a trip: those of whose functions at least one runs.

    python benchmarks/trace_files.py            # counts
    python benchmarks/trace_files.py --files    # and their names

What runs while modules are imported (decorators, registers) does not count, nor does other packages' code.
"""

from __future__ import annotations

import argparse
import inspect
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

from icnn_viz.data import builtin_path

PACKAGES = ("icnn_core", "icnn_viz")
PIXEL = (45, 74)  # (y, x) in the sample image
IRREGULAR, REGULAR = (builtin_path(f"shapes-{kind}.safetensors") for kind in ("irregular", "regular"))


def trace(trip: Callable[[], Any]) -> list[str]:
    """The files of these packages in which a function runs during a trip, sorted."""
    seen: set[str] = set()
    root = Path(sys.modules["icnn_viz"].__path__[0]).parent

    def watch(frame: FrameType, event: str, argument: object) -> None:
        if (
            event == "call" and frame.f_code.co_flags & inspect.CO_OPTIMIZED
        ):  # no module's and no class's body
            seen.add(frame.f_code.co_filename)

    trip()  # once before: what imports and caches do is no part of it
    sys.setprofile(watch)
    try:
        trip()
    finally:
        sys.setprofile(None)
    inside = (Path(name).relative_to(root) for name in seen if Path(name).is_relative_to(root))
    return sorted(path.as_posix() for path in inside if path.parts[0] in PACKAGES)


def draw_kernels(folder: Path) -> None:
    """From a checkpoint to the figure of its deepest layer."""
    from icnn_viz import KernelDisplay

    KernelDisplay.from_checkpoint(IRREGULAR).plot("cloud")


def make_heatmap(folder: Path) -> None:
    """From a network in memory, an image and a pixel to the map alone."""
    from icnn_viz import pixel_gradient, to_heatmap

    to_heatmap(pixel_gradient(network(), sample(), PIXEL))


def draw_heatmap(folder: Path) -> None:
    """From two checkpoints, an image and a pixel to the figure of both heatmaps."""
    from icnn_viz import HeatmapDisplay

    HeatmapDisplay.from_checkpoints(IRREGULAR, REGULAR, sample(), PIXEL, device="cpu").plot()


def call_heatmap(folder: Path) -> None:
    """The same by the command, which writes it."""
    call("heatmap", "--pixel", f"{PIXEL[1]},{PIXEL[0]}", "--out", str(folder / "heatmap"), "--device", "cpu")


def call_kernels(folder: Path) -> None:
    """The kernels by the command: the view cloud, and all tables."""
    call("kernels", "--view", "cloud", "--format", "png", "--out", str(folder / "kernels"))


def train_a_step(folder: Path) -> None:
    """From drawn images through one step of an irregular network to its checkpoint."""
    from icnn_core.devices import choose_device
    from icnn_core.training.config import make_config
    from icnn_core.training.loop import train
    from icnn_core.training.setup import prepare

    config = make_config("shapes", iterations=1, irregular="backbone.layer4", train_images=8, val_images=2)
    made = prepare(config)
    train(
        made.model,
        made.train_set,
        made.val_samples,
        made.transform,
        config,
        folder / "run",
        overwrite=True,
        device=choose_device("cpu"),
    )


def call(*arguments: str) -> None:
    """`icnn-viz`, silent."""
    import contextlib
    import io

    from icnn_viz.cli import main

    before, sys.argv = sys.argv, ["icnn-viz", *arguments]
    code: object = 1
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            main()
    except SystemExit as end:
        code = end.code
    finally:
        sys.argv = before
    if code:
        raise RuntimeError(f"icnn-viz {arguments[0]} ended with {code}")


@cache
def network() -> Any:
    """The built-in irregular network, read once."""
    from icnn_core.checkpoint import build_model, read_checkpoint

    return build_model(read_checkpoint(IRREGULAR))


@cache
def sample() -> Any:
    """The sample image."""
    import numpy as np
    from PIL import Image

    return np.array(Image.open(builtin_path("sample.png")).convert("RGB"))


TRIPS = {
    "checkpoint → kernels figure": draw_kernels,
    "the same and all tables, by the command": call_kernels,
    "pixel → heatmap, the network in memory": make_heatmap,
    "two checkpoints and a pixel → figure": draw_heatmap,
    "the same, by the command": call_heatmap,
    "image → step → checkpoint": train_a_step,
}


def main() -> None:
    """Print the table: files in all, of `icnn_viz`, of `icnn_core` without the operator, of the operator."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--files", action="store_true", help="name the files")
    named = parser.parse_args().files
    with tempfile.TemporaryDirectory() as folder:
        for name, trip in TRIPS.items():
            found = trace(lambda trip=trip: trip(Path(folder)))
            of_core, of_operator = (
                sum(path.startswith(f"icnn_core/{part}") for path in found) for part in ("", "ops")
            )
            print(
                f"| {name} | {len(found)} | {len(found) - of_core} | {of_core - of_operator} | {of_operator} |"
            )
            for path in found if named else ():
                print(f"    {path}")


if __name__ == "__main__":
    main()
