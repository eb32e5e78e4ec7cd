"""Block sizes of the forward kernel, and which way of several a GPU runs fastest, measured once and kept on disk."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass

import torch
import triton
from torch import Tensor

from icnn_core.ops.fused.launching import deterministic, is_capturing
from icnn_core.ops.fused.remembered import Remembered

_TOLERANCE = 0.05  # of norms, relative: rounding stays below, a wrong block is of the size of 1
_choices = Remembered("choices")
_lock = threading.RLock()


@dataclass(frozen=True)
class Config:
    """A block's size along kernels (output channels), pixels and rows (channels · taps); warps; loads in flight."""

    kernels: int
    pixels: int
    rows: int
    warps: int
    stages: int

    def __str__(self) -> str:
        return f"{self.kernels} kernels, {self.pixels} pixels, {self.rows} rows"


CONFIGS = (
    Config(kernels=64, pixels=64, rows=32, warps=4, stages=2),
    Config(kernels=32, pixels=128, rows=32, warps=4, stages=2),
    Config(kernels=32, pixels=64, rows=32, warps=4, stages=2),
    Config(kernels=16, pixels=64, rows=32, warps=4, stages=2),
    Config(kernels=16, pixels=128, rows=32, warps=4, stages=2),
)
"""The first of a width is the first choice: none of these spills a register on an architecture that is compiled for."""
MOST_KERNELS = max(config.kernels for config in CONFIGS)


def candidates(kernels: int) -> list[Config]:
    """The blocks that hold all of a group's kernels, and no more than that number, rounded up to a power of 2."""
    wanted = max(triton.next_power_of_2(kernels), min(config.kernels for config in CONFIGS))
    return [config for config in CONFIGS if config.kernels == wanted]


def run_fastest(key: str, ways: dict[str, Callable[[], Tensor]], device: torch.device) -> Tensor:
    """Run the way of `ways` that was fastest for calls of this key, timing them all the first time.

    A way that fails, however, or whose result is not the first's, is infinitely slow. Nothing is timed while a CUDA
    graph is captured, where deterministic algorithms are asked for (the choice decides the order of sums), or on the
    CPU: then the first that does not fail runs.
    """
    if device.type != "cuda" or deterministic():
        return _first_that_runs(list(ways.values()))
    with _lock:
        chosen = _choices.get(key)
        if chosen not in ways and not is_capturing():
            chosen = _measure(ways)
            _choices.put(key, chosen)
    return _first_that_runs([ways[chosen], *ways.values()] if chosen in ways else list(ways.values()))


def _first_that_runs(ways: list[Callable[[], Tensor]]) -> Tensor:
    for run in ways[:-1]:
        try:
            return run()
        except torch.OutOfMemoryError:
            raise
        except Exception:  # a GPU with less shared memory than this block needs, a compiler that refuses it
            continue
    return ways[-1]()


def _measure(ways: dict[str, Callable[[], Tensor]]) -> str:
    expected: Tensor | None = None
    times: dict[str, float] = {}
    for name, run in ways.items():
        try:
            found = run().double()  # a copy: all ways fill one tensor
            expected = found if expected is None else expected
            times[name] = milliseconds(run) if _agree(found, expected) else math.inf
        except Exception:
            times[name] = math.inf
    return min(times, key=lambda name: times[name])


def _agree(found: Tensor, expected: Tensor) -> bool:
    """What is not finite in both is equal: positions may be lost."""
    found, expected = found.nan_to_num(0.0, 0.0, 0.0), expected.nan_to_num(0.0, 0.0, 0.0)
    norm = torch.linalg.vector_norm
    return bool(norm(found - expected) <= _TOLERANCE * norm(expected))


def milliseconds(run: Callable[[], object], repeats: int = 5) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(repeats):
        run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / repeats
