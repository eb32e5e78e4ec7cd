"""Time methods interleaved, in one run, as ratios to conv2d: a busy moment then hits all alike."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from icnn_core.ops.benchmark.layers import Case
from icnn_core.ops.benchmark.methods import Method, make_methods

_HOPELESS = 20  # times as long as conv2d: one round of it is enough
_LONG = 1.0  # seconds: of a hopeless method the first run is enough
_TOO_LONG = 5.0  # seconds of such a forward pass: its backward pass is not run
_BASES = ("conv2d", "conv2d channels_last")


def describe_machine(device: torch.device | str = "cpu") -> dict[str, str | int]:
    """What a time depends on: the device's name, threads, the version of torch."""
    where = torch.device(device)
    name = torch.cuda.get_device_name(where) if where.type == "cuda" else _processor()
    return {
        "device": str(where),
        "machine": name,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def _processor() -> str:
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text().splitlines() if listing.exists() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


@dataclass(frozen=True)
class Timing:
    """One method on one case, over all rounds.

    Attributes:
        case, spread: the layer's name, and the positions' standard deviation in pixels.
        method, backward: what was timed; `backward`: forward and backward together.
        median, quartiles: seconds.
        ratio: the median's to conv2d's (on CUDA to that of its faster memory format).
        gflops: the convolution's operations in 10⁹ per second of the median.
    """

    case: str
    spread: float
    method: str
    backward: bool
    median: float
    quartiles: tuple[float, float]
    ratio: float
    gflops: float


def time_case(
    case: Case,
    *,
    rounds: int = 7,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    peers: bool = False,
    only: Sequence[str] | None = None,
) -> list[Timing]:
    """Time every method on a case, forward, and forward with backward.

    Each round runs each method once, after two that are not counted. A method that takes 20 times as long as conv2d
    runs in one round alone; over a second the first run is its time (the second, where the first may have
    compiled), and over 5 seconds it is not run backward.

    Args:
        peers: also deform_conv2d and DCLS, see `make_methods`.
        only: names of methods, to leave out others; conv2d always runs.
    """
    wanted = None if only is None else {*only, *_BASES}
    methods = make_methods(case.layer, case.spread, device=device, dtype=dtype, peers=peers, only=wanted)
    timings: list[Timing] = []
    for backward in (False, True):
        times = _rounds(methods, rounds, backward)
        base = min(statistics.median(values) for name, values in times.items() if name in _BASES)
        for name, values in times.items():
            low, median, high = statistics.quantiles(values * 2, n=4)
            rate = case.layer.operations * (3 if backward else 1) / median / 1e9
            timings.append(
                Timing(case.name, case.spread, name, backward, median, (low, high), median / base, rate)
            )
        methods = [m for m in methods if statistics.median(times[m.name]) < _TOO_LONG]
    return timings


def _rounds(methods: list[Method], rounds: int, backward: bool) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {}
    base = min(_time(methods[0], backward) for _ in range(2))
    rest = []
    for method in methods:
        first, limit = _time(method, backward), max(_LONG, _HOPELESS * base)
        if first > limit and method.compiles:
            first = _time(method, backward)
        if first > limit:
            times[method.name] = [first]
        else:
            rest.append(method)
    warm = {method.name: _time(method, backward) for method in rest}
    times |= {method.name: [] for method in rest}
    for _ in range(rounds):
        for method in rest:
            if warm[method.name] < _HOPELESS * base or not times[method.name]:
                times[method.name].append(_time(method, backward))
    return {method.name: times[method.name] for method in methods}


def _time(method: Method, backward: bool) -> float:
    _wait(method)
    start = time.perf_counter()
    run_once(method, backward)
    _wait(method)
    return time.perf_counter() - start


def run_once(method: Method, backward: bool) -> None:
    """Forward, and with `backward` all gradients."""
    if not backward:
        with torch.no_grad():
            method.run()
        return
    out = method.run()
    torch.autograd.grad(out, method.leaves, torch.ones_like(out))


def _wait(method: Method) -> None:
    if method.leaves[0].is_cuda:
        torch.cuda.synchronize(method.leaves[0].device)
