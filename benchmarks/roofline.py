"""How far a layer is from what the machine can do: from the products it needs, and from moving its tensors once."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from icnn_core.ops.benchmark import Case, Layer, make_methods, run_once

_COPIED_BYTES = 1 << 28  # far beyond any cache
_SAMPLE_OPERATIONS = {False: 9, True: 33}
"""Of a sample: three blends of two numbers, each a difference and a multiplication with an addition; with the backward
pass those again, 4 for the two slopes, 4 to reduce them and 7 to spread the gradient to 4 pixels."""


@dataclass(frozen=True)
class Roofline:
    """One pass of one case on the CPU, float32; `backward`: forward and backward together.

    Attributes:
        operations: multiplications and additions of the products.
        sampling: those of sampling, spreading and reducing, which the floor leaves out.
        bytes: of inputs and outputs, each moved once.
        product, moving: seconds that the products alone take by BLAS, and those of copying as many bytes. For a
            depthwise layer, which has no such product, all operations at the rate of a large one.
        seconds: of the layer, the automatic choice's median.
        distance: seconds over the floor, which is the larger of `product` and `moving`.
    """

    case: str
    spread: float
    backward: bool
    operations: int
    sampling: int
    bytes: int
    product: float
    moving: float
    seconds: float
    distance: float


def measure_roofline(case: Case, rounds: int = 7) -> list[Roofline]:
    """Time the layer, its products and a copy, interleaved: forward, then forward with backward."""
    layer = case.layer
    (method,) = make_methods(layer, case.spread, only=["automatic"])
    copied = torch.zeros(_COPIED_BYTES // 4)
    target = torch.empty_like(copied)
    products, rate = _make_products(layer)
    found = []
    for backward in (False, True):
        wanted = products if backward else products[:1]
        times = _interleave(
            rounds,
            lambda backward=backward: run_once(method, backward),
            lambda wanted=wanted: [product() for product in wanted],
            lambda: target.copy_(copied),
        )
        seconds, product, copy = times
        operations = layer.operations * (3 if backward else 1)
        samples = layer.batch * layer.in_channels * layer.taps * layer.size**2
        sampling = samples * _SAMPLE_OPERATIONS[backward]
        if layer.groups > 1:
            product *= (operations + sampling) / (rate * len(wanted))
        moved = _moved_bytes(layer, method.leaves, backward)
        moving = copy * moved / (2 * _COPIED_BYTES)
        floor = max(product, moving)
        found.append(
            Roofline(
                case.name, case.spread, backward, operations, sampling, moved, product, moving, seconds, seconds / floor
            )
        )  # fmt: skip
    return found


def _make_products(layer: Layer) -> tuple[list[Callable[[], Tensor]], int]:
    """The products of the forward pass and of the gradients of the samples and weights; operations of one of them.

    For a layer with groups three large ones instead.
    """
    kernels, depth = layer.out_channels, layer.in_channels * layer.taps
    pixels = layer.batch * layer.size**2
    if layer.groups > 1:
        kernels = depth = pixels = 1024
    weight, column = torch.ones(kernels, depth), torch.ones(depth, pixels)
    grad_out = torch.ones(kernels, pixels)
    products: list[Callable[[], Tensor]] = [
        lambda: weight @ column,
        lambda: weight.T @ grad_out,
        lambda: grad_out @ column.T,
    ]
    return products, 2 * kernels * depth * pixels


def _moved_bytes(layer: Layer, leaves: tuple[Tensor, ...], backward: bool) -> int:
    """Forward the inputs and the output; backward the inputs again, the output's gradient, and the inputs'."""
    inputs = sum(leaf.numel() for leaf in leaves)
    output = layer.batch * layer.out_channels * layer.size**2
    return 4 * (inputs + output + (2 * inputs + output) * backward)


def _interleave(rounds: int, *actions: Callable[[], object]) -> list[float]:
    """The median seconds of each; two rounds more are not counted."""
    times: list[list[float]] = [[] for _ in actions]
    for number in range(rounds + 2):
        for action, so_far in zip(actions, times, strict=True):
            start = time.perf_counter()
            action()
            if number > 1:
                so_far.append(time.perf_counter() - start)
    return [statistics.median(so_far) for so_far in times]
