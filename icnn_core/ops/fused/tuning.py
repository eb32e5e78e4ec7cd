"""Block sizes of the matrix kernels, and which one a GPU runs fastest, measured once and kept on disk."""

from __future__ import annotations

import functools
import json
import os
import tempfile
import threading
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TypeVar

import torch
import triton
from triton.runtime.errors import OutOfResources

_Result = TypeVar("_Result")
_lock = threading.RLock()


@dataclass(frozen=True)
class Config:
    """A block's size along kernels (output channels), pixels and rows (channels · taps); warps; loads in flight."""

    kernels: int
    pixels: int
    rows: int
    warps: int
    stages: int


CONFIGS: dict[tuple[str, str], tuple[Config, ...]] = {
    ("forward", "matrix"): (
        Config(kernels=256, pixels=64, rows=64, warps=8, stages=3),
        Config(kernels=256, pixels=64, rows=16, warps=8, stages=3),
        Config(kernels=128, pixels=128, rows=32, warps=8, stages=3),
        Config(kernels=128, pixels=64, rows=32, warps=4, stages=3),
        Config(kernels=64, pixels=64, rows=32, warps=4, stages=3),
        Config(kernels=32, pixels=64, rows=32, warps=4, stages=3),
        Config(kernels=16, pixels=128, rows=16, warps=4, stages=3),
    ),
    ("column", "matrix"): (
        Config(kernels=64, pixels=128, rows=128, warps=8, stages=3),
        Config(kernels=32, pixels=64, rows=128, warps=4, stages=4),
        Config(kernels=16, pixels=64, rows=64, warps=4, stages=2),
    ),
    ("weight", "matrix"): (
        Config(kernels=256, pixels=32, rows=64, warps=8, stages=3),
        Config(kernels=256, pixels=64, rows=32, warps=8, stages=3),
        Config(kernels=128, pixels=64, rows=64, warps=8, stages=3),
        Config(kernels=64, pixels=32, rows=64, warps=4, stages=3),
        Config(kernels=16, pixels=64, rows=64, warps=4, stages=3),
    ),
    ("forward", "scalar"): (
        Config(kernels=64, pixels=64, rows=16, warps=4, stages=2),
        Config(kernels=16, pixels=64, rows=16, warps=4, stages=2),
    ),
    ("column", "scalar"): (
        Config(kernels=16, pixels=64, rows=64, warps=4, stages=2),
        Config(kernels=16, pixels=64, rows=32, warps=4, stages=2),
    ),
    ("weight", "scalar"): (
        Config(kernels=64, pixels=16, rows=64, warps=4, stages=2),
        Config(kernels=16, pixels=16, rows=64, warps=4, stages=2),
    ),
}
"""(kernel, unit) -> configurations. Unit "scalar" serves float32 where TF32 is not allowed."""


def candidates(kernel: str, unit: str, kernels: int) -> list[Config]:
    """The configurations worth trying for `kernels` output channels a group.

    Their blocks are as wide as that number, rounded up to a power of 2, or half as wide; or as near as there are any.
    """
    known = CONFIGS[kernel, unit]
    widths = [config.kernels for config in known]
    wanted = min(max(triton.next_power_of_2(kernels), min(widths)), max(widths))
    widest = max(width for width in widths if width <= wanted)
    return [config for config in known if widest // 2 <= config.kernels <= widest]


def run_fastest(
    kernel: str,
    unit: str,
    dtype: torch.dtype,
    sizes: tuple[int, ...],
    device: torch.device,
    launch: Callable[[Config], _Result],
) -> _Result:
    """Launch with the configuration that was fastest for calls like this one, timing them all the first time.

    `sizes` begin with the output channels of a group; calls are alike if all sizes have the same next power of 2.

    Nothing is timed while a CUDA graph is captured, where deterministic algorithms are asked for (the choice decides
    the order of sums), or in the interpreter: then the first configuration that fits the GPU runs.
    """
    tried = candidates(kernel, unit, sizes[0])
    if device.type != "cuda" or torch.are_deterministic_algorithms_enabled():
        return _first_that_fits(tried, launch)
    buckets = "x".join(str(triton.next_power_of_2(size)) for size in sizes)
    key = f"{torch.cuda.get_device_name(device)}|{triton.__version__}|{kernel}|{unit}|{dtype}|{buckets}"
    with _lock:
        chosen = _choices().get(key)
        if chosen not in tried:
            if torch.cuda.is_current_stream_capturing():
                return _first_that_fits(tried, launch)
            chosen = min(tried, key=lambda config: _milliseconds(config, launch))
            _choices()[key] = chosen
            write_choices(_choices_file(), _choices())
    return _first_that_fits([chosen, *tried], launch)


def _first_that_fits(tried: list[Config], launch: Callable[[Config], _Result]) -> _Result:
    for config in tried[:-1]:
        try:
            return launch(config)
        except OutOfResources:  # a GPU with less shared memory than the largest blocks need
            continue
    return launch(tried[-1])


def _milliseconds(config: Config, launch: Callable[[Config], object], repeats: int = 5) -> float:
    try:
        launch(config)
    except OutOfResources:
        return float("inf")
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(repeats):
        launch(config)
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / repeats


def _choices_file() -> Path:
    folder = triton.knobs.cache.dir  # pyright: ignore[reportAttributeAccessIssue]
    return Path(folder) / "icnn-fused.json"


@functools.cache
def _choices() -> dict[str, Config]:
    return read_choices(_choices_file())


def read_choices(path: Path) -> dict[str, Config]:
    """What earlier processes measured; empty if the file is missing or damaged."""
    try:
        return {
            key: Config(*map(int, sizes))
            for key, sizes in json.loads(path.read_text(encoding="utf-8")).items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def write_choices(path: Path, choices: dict[str, Config]) -> None:
    """Add `choices` to the file. A folder that cannot be written only means measuring again."""
    merged = {key: astuple(config) for key, config in {**read_choices(path), **choices}.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
            json.dump(merged, file, indent=1)
        os.replace(file.name, path)
    except OSError:
        return
