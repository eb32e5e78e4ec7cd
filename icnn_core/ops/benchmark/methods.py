"""The ways to compute a layer that are compared: conv2d, this operator by each back end, and its peers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from icnn_core.errors import UnsupportedError
from icnn_core.ops.benchmark.layers import Layer
from icnn_core.ops.geometry import regular_slots
from icnn_core.ops.irregular_conv import irregular_conv2d

_BACKENDS = ("fused", "sampled", "sparse", "dense", "gathered")
_MOST_KERNEL_BYTES = 1 << 30  # of DCLS's temporary; it makes several of them
_MOST_TAPS = 32  # of a dense kernel, times the layer's: a convolution takes as many times as long
_SPREADS_REACHED = 4  # the farthest of some thousand positions, in standard deviations


@dataclass(frozen=True)
class Method:
    """One way: `run()` gives the output; gradients are taken of `leaves`; `compiles`: the first run may compile."""

    name: str
    run: Callable[[], Tensor]
    leaves: tuple[Tensor, ...]
    compiles: bool = False


def make_methods(
    layer: Layer,
    spread: float,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    peers: bool = False,
    only: Collection[str] | None = None,
) -> list[Method]:
    """All methods that can serve a layer, with the same tensors; conv2d is the first. `dense` for near positions alone.

    Args:
        peers: also torchvision's deform_conv2d, where kernels share shapes and groups is 1, and DCLS, where it is
            installed and its temporary of a kernel's size stays below 1 GiB. Both are slow on a CPU.
        only: the names of those wanted; all by default.
    """
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(device, dtype).requires_grad_()

    kernel = (layer.kernel, layer.kernel)
    x = random(layer.batch, layer.in_channels, layer.size, layer.size)
    weight = random(layer.out_channels, layer.in_channels // layer.groups, *kernel)
    shapes = tuple(weight.shape[:2]) if layer.full else (layer.in_channels,)
    noise = torch.randn(*shapes, layer.taps, 2, generator=generator)
    slots = regular_slots(kernel, (layer.dilation, layer.dilation))
    positions = (slots + spread * noise).to(device).requires_grad_()
    tensors = x, weight, positions
    call: dict[str, Any] = {"padding": layer.padding, "dilation": layer.dilation, "groups": layer.groups}

    methods = [Method("conv2d", lambda: F.conv2d(x, weight, **call), (x, weight))]
    if x.is_cuda:
        x_last, weight_last = (
            t.detach().to(memory_format=torch.channels_last).requires_grad_() for t in (x, weight)
        )
        leaves = x_last, weight_last
        methods.append(Method("conv2d channels_last", lambda: F.conv2d(*leaves, **call), leaves))
    names = [name for name in (None, *_BACKENDS) if name != "dense" or _is_near(layer, spread)]
    methods += [m for m in (_irregular(name, tensors, call) for name in names) if m is not None]
    if peers:
        if layer.groups == 1 and not layer.full and (only is None or "deform_conv2d" in only):
            methods.append(_deformable(layer, tensors, slots.to(device)))
        methods += _dcls(layer, tensors) if only is None or "DCLS" in only else []
    return [method for method in methods if only is None or method.name in only]


def _is_near(layer: Layer, spread: float) -> bool:
    """Whether a dense kernel over the positions' reach is small enough to be worth a measurement."""
    side = layer.dilation * (layer.kernel - 1) + 2 + 2 * _SPREADS_REACHED * spread
    return min(side, 2 * layer.size - 1) ** 2 <= _MOST_TAPS * layer.taps


def _irregular(backend: str | None, tensors: tuple[Tensor, ...], call: dict[str, Any]) -> Method | None:
    x, *parameters = tensors
    try:
        irregular_conv2d(x[:0], *parameters, **call, backend=backend)
    except UnsupportedError:
        return None
    name = backend or "automatic"
    return Method(name, lambda: irregular_conv2d(*tensors, **call, backend=backend), tensors, compiles=True)


def _deformable(layer: Layer, tensors: tuple[Tensor, ...], slots: Tensor) -> Method:
    from torchvision.ops import deform_conv2d  # which brings a compiler along

    x, weight, positions = tensors

    def run() -> Tensor:
        offset = (positions - slots).to(x.dtype).reshape(1, -1, 1, 1)
        offset = offset.expand(layer.batch, -1, layer.size, layer.size).contiguous()
        padding, dilation = (layer.padding, layer.padding), (layer.dilation, layer.dilation)
        return deform_conv2d(x, offset, weight, padding=padding, dilation=dilation)

    return Method("deform_conv2d", run, tensors)


def _dcls(layer: Layer, tensors: tuple[Tensor, ...]) -> list[Method]:
    """DCLS's bilinear layer, with a box that holds every position; it has a position per kernel and channel."""
    try:
        from DCLS.construct.modules import Dcls2d
    except ImportError:
        return []
    x, weight, positions = tensors
    box = 2 * int(positions.detach().abs().max().ceil()) + 1
    kernels = layer.out_channels * layer.in_channels // layer.groups
    if kernels * layer.taps * box**2 * x.element_size() > _MOST_KERNEL_BYTES:
        return []
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it warns of every layer that it makes
    try:
        module = Dcls2d(
            layer.in_channels,
            layer.out_channels,
            kernel_count=layer.taps,
            dilated_kernel_size=box,
            padding=box // 2,
            groups=layer.groups,
            bias=False,
            version="v1",
        ).to(x.device, x.dtype)
    finally:
        root.setLevel(level)
    with torch.no_grad():
        per_kernel = positions
        if not layer.full:
            per_kernel = positions.view(layer.groups, 1, -1, layer.taps, 2)
            per_kernel = per_kernel.expand(-1, layer.out_channels // layer.groups, -1, -1, -1).flatten(0, 1)
        module.weight.copy_(weight.flatten(2))
        module.P.copy_(per_kernel.permute(3, 0, 1, 2).flip(0))  # (column, row)
    return [Method("DCLS", lambda: module(x), (x, module.weight, module.P))]
