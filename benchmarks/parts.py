"""Where the forward pass of a layer with shared shapes spends its time, and how passes divide among threads.

    python benchmarks/parts.py [--rounds 9] [--layer NAME …]

Times are processor time of one thread, the least of interleaved rounds, as shares of conv2d's: the pass as it is; the
same without its products (BLAS is replaced by a function that returns at once), which is sampling; those products
alone, by BLAS, in the pass's own tiles, which stay in cache; and as one product of the whole column in memory. What
the call does around the pass is `around`: checks, the choice, a plan.

Division is simulated: a thread that is free takes the next unit, which takes as long as its multiply-adds. `balance` is
the share of their time that threads work, `serial` what `around` is of the pass's time by that many threads.
"""

from __future__ import annotations

import argparse
import ctypes
import heapq
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from icnn_core.ops import sampled
from icnn_core.ops.benchmark import LAYERS, Layer
from icnn_core.ops.geometry import Geometry, regular_slots
from icnn_core.ops.irregular_conv import irregular_conv2d
from icnn_core.ops.sampled import job

THREADS = (1, 2, 8, 16)
DENSE = [name for name in LAYERS if name != "depthwise"]


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--layer", action="append", choices=DENSE, help="repeatable; all by default")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    for name in chosen.layer or DENSE:
        layer = LAYERS[name]
        times = _measure(layer, chosen.rounds)
        base = times["conv2d"]
        shares = {part: round(seconds / base, 3) for part, seconds in times.items()}
        print(f"{name}: conv2d {1e3 * base:.2f} ms; in its times: {shares}", flush=True)
        around = times["call"] - times["pass"]
        for direction, seconds in (("forward", times["pass"]), ("backward", 2 * times["pass"])):
            for threads in THREADS:
                units = _units(direction, layer, threads)
                balance = sum(units) / (threads * _makespan(units, threads))
                serial = around / (seconds / threads / balance + around)
                print(
                    f"    {direction}, {threads} threads: {len(units)} units, balance {balance:.3f}, "
                    f"serial {max(serial, 0):.3f}",
                    flush=True,
                )


def _geometry(layer: Layer) -> Geometry:
    size, kernel, one, padding, dilation = (
        (n, n) for n in (layer.size, layer.kernel, 1, layer.padding, layer.dilation)
    )
    channels = layer.in_channels, layer.out_channels
    return Geometry(layer.batch, *channels, size, kernel, one, padding, dilation, layer.groups)


def _measure(layer: Layer, rounds: int) -> dict[str, float]:
    geometry, generator = _geometry(layer), torch.Generator().manual_seed(0)
    x = torch.randn(layer.batch, layer.in_channels, layer.size, layer.size, generator=generator)
    weight = torch.randn(
        layer.out_channels, layer.in_channels, layer.kernel, layer.kernel, generator=generator
    )
    noise = 0.5 * torch.randn(layer.in_channels, layer.taps, 2, generator=generator)
    positions = regular_slots(geometry.kernel_size, geometry.dilation) + noise
    sizes: dict[str, Any] = {"padding": layer.padding, "dilation": layer.dilation}
    column = torch.ones(layer.in_channels * layer.taps, layer.batch * layer.size**2)
    flat = weight.flatten(1)
    actions = {
        "conv2d": lambda: F.conv2d(x, weight, **sizes),
        "call": lambda: irregular_conv2d(x, weight, positions, **sizes),
        "pass": lambda: sampled.forward(x, weight, positions, None, geometry),
        "sampling": lambda: _without_products(x, weight, positions, geometry),
        "products in tiles": _tiled_products(layer, geometry, flat),
        "one product": lambda: flat @ column,
    }
    with torch.inference_mode():
        return _interleave(rounds, actions)


def _without_products(
    x: torch.Tensor, weight: torch.Tensor, positions: torch.Tensor, geometry: Geometry
) -> None:
    nothing = ctypes.cast(ctypes.CDLL(None).getppid, ctypes.c_void_p).value or 0
    find, sampled.find_gemm = sampled.find_gemm, lambda dtype: nothing
    try:
        sampled.forward(x, weight, positions, None, geometry)
    finally:
        sampled.find_gemm = find


def _tiled_products(layer: Layer, geometry: Geometry, flat: torch.Tensor) -> Callable[[], None]:
    plan = job.make_plan("forward", geometry, layer.in_channels, 4, 1).record
    rows, channels = plan["block_rows"], plan["block_channels"]
    parts = []
    for first_row in range(0, layer.size, rows):
        pixels = min(rows, layer.size - first_row) * layer.size
        for start in range(0, layer.in_channels, channels):
            depth = min(channels, layer.in_channels - start) * layer.taps
            at = start * layer.taps
            parts.append((flat[:, at : at + depth], pixels, depth))
    tile = torch.ones(channels * layer.taps, rows * layer.size)
    outputs = {pixels: torch.zeros(layer.out_channels, pixels) for _, pixels, _ in parts}

    def run() -> None:
        for _ in range(layer.batch):
            for part, pixels, depth in parts:
                outputs[pixels].addmm_(part, tile[:depth, :pixels])

    return run


def _units(direction: str, layer: Layer, threads: int) -> list[float]:
    """The work of each unit, in their order."""
    geometry = _geometry(layer)
    plan = job.make_plan(direction, geometry, layer.in_channels, 4, threads).record
    if direction == "forward":
        rows = plan["block_rows"]
        kernels, part = layer.out_channels // layer.groups, plan["block_kernels"]
        cut = [
            float(min(rows, layer.size - first) * min(part, kernels - kernel))
            for kernel in range(0, kernels, part)
            for first in range(0, layer.size, rows)
        ]
        return cut * (layer.batch * layer.groups)
    channels, per_group = plan["block_channels"], layer.in_channels // layer.groups
    return [float(min(channels, per_group - first)) for first in range(0, per_group, channels)] * layer.groups


def _makespan(units: list[float], threads: int) -> float:
    free = [0.0] * threads
    for work in units:
        heapq.heappush(free, heapq.heappop(free) + work)
    return max(free)


def _interleave(rounds: int, actions: dict[str, Callable[[], object]]) -> dict[str, float]:
    """The least processor seconds of each; the first round is not counted."""
    least = dict.fromkeys(actions, float("inf"))
    for number in range(rounds + 1):
        for name, action in actions.items():
            start = time.process_time()
            action()
            if number:
                least[name] = min(least[name], time.process_time() - start)
    return least


if __name__ == "__main__":
    main()
