"""Time the operator beside a convolution and torchvision's deformable one: interleaved, in one run, as ratios."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import deform_conv2d

from icnn_core.errors import NameNotFoundError, UnsupportedError, nearest_names
from icnn_core.ops.geometry import regular_slots
from icnn_core.ops.irregular_conv import irregular_conv2d


@dataclass(frozen=True)
class Layer:
    """A 3×3 (or `kernel`×`kernel`) layer of equal input and output size, to be timed."""

    batch: int
    in_channels: int
    out_channels: int
    size: int
    dilation: int
    groups: int = 1
    kernel: int = 3

    @property
    def padding(self) -> int:
        return self.dilation * (self.kernel - 1) // 2


LAYERS = {
    "res4": Layer(1, 256, 256, 41, 2),
    "res4 ×4": Layer(4, 256, 256, 41, 2),
    "res5": Layer(1, 512, 512, 41, 4),
    "fc1": Layer(1, 2048, 21, 41, 12),
    "shallow": Layer(2, 64, 64, 80, 1),
    "depthwise": Layer(1, 384, 384, 41, 1, groups=384, kernel=7),
}
"""Layers of DeepLab-LargeFOV ResNet-101 at crop 321, a shallow one, and a depthwise one."""
SPREADS = {"near": 0.5, "far": 4.0}
"""Standard deviation of the positions around their slots, in pixels."""


_HOPELESS = 20  # times as long as conv2d: one round of it is enough


@dataclass(frozen=True)
class Timing:
    """Median and quartiles over the rounds, in seconds, and the median's ratio to conv2d's."""

    layer: str
    spread: str
    method: str
    backward: bool
    median: float
    quartiles: tuple[float, float]
    ratio: float


def time_layer(
    name: str, spread: str, *, rounds: int = 7, deformable: bool = False, device: torch.device | str = "cpu"
) -> list[Timing]:
    """Time every method on a layer, forward and forward with backward.

    Each round runs each method once, so that a busy moment hits all alike; a method that takes 20 times as long as
    conv2d runs in one round alone.

    Args:
        name: a key of `LAYERS`. spread: a key of `SPREADS`.
        deformable: include torchvision's deform_conv2d, which takes some seconds a call on a CPU.

    Raises:
        NameNotFoundError: an unknown layer.
    """
    if name not in LAYERS:
        raise NameNotFoundError("bench", needed="a layer", got=repr(name), fix=nearest_names(name, LAYERS))
    methods = _methods(LAYERS[name], SPREADS[spread], torch.device(device), deformable)
    timings = []
    for backward in (False, True):
        warm = [
            {m: _time(run, backward, torch.device(device)) for m, run in methods.items()} for _ in range(2)
        ][1]
        times: dict[str, list[float]] = {method: [] for method in methods}
        for _ in range(rounds):
            for method, run in methods.items():
                if warm[method] < _HOPELESS * warm["conv2d"] or not times[method]:
                    times[method].append(_time(run, backward, torch.device(device)))
        base = statistics.median(times["conv2d"])
        for method, values in times.items():
            low, median, high = statistics.quantiles(values * 2, n=4)
            timings.append(Timing(name, spread, method, backward, median, (low, high), median / base))
    return timings


def _methods(
    layer: Layer, spread: float, device: torch.device, deformable: bool
) -> dict[str, Callable[[], tuple[Tensor, list[Tensor]]]]:
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(device).requires_grad_()

    kernel = (layer.kernel, layer.kernel)
    x = random(layer.batch, layer.in_channels, layer.size, layer.size)
    weight = random(layer.out_channels, layer.in_channels // layer.groups, *kernel)
    slots = regular_slots(kernel, (layer.dilation, layer.dilation)).to(device)
    noise = random(layer.in_channels, layer.kernel**2, 2).detach()
    positions = (slots + spread * noise).requires_grad_()
    call: dict[str, Any] = {"padding": layer.padding, "dilation": layer.dilation, "groups": layer.groups}
    leaves = [x, weight, positions]

    def irregular(backend: str | None) -> Callable[[], tuple[Tensor, list[Tensor]]]:
        return lambda: (irregular_conv2d(x, weight, positions, **call, backend=backend), leaves)

    def deform() -> tuple[Tensor, list[Tensor]]:
        offset = (positions - slots).reshape(1, -1, 1, 1).expand(layer.batch, -1, layer.size, layer.size)
        options: dict[str, Any] = {"padding": layer.padding, "dilation": layer.dilation}
        return deform_conv2d(x, offset.contiguous(), weight, **options), leaves

    methods: dict[str, Callable[[], tuple[Tensor, list[Tensor]]]] = {
        "conv2d": lambda: (F.conv2d(x, weight, **call), [x, weight]),
        "automatic": irregular(None),
    }
    for backend in ("fused", "sampled", "dense", "gathered"):
        try:
            irregular(backend)()
        except UnsupportedError:
            continue
        methods[backend] = irregular(backend)
    if deformable and layer.groups == 1:
        methods["deform_conv2d"] = deform
    return methods


def _time(run: Callable[[], tuple[Tensor, list[Tensor]]], backward: bool, device: torch.device) -> float:
    _wait(device)
    start = time.perf_counter()
    if backward:
        out, leaves = run()
        torch.autograd.grad(out, leaves, torch.ones_like(out))
    else:
        with torch.no_grad():
            run()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
