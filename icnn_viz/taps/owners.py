"""Modules that apply offsets by operations of their own: found by name, and met as layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from torch import Tensor, nn

from icnn_core.errors import ArgumentError, check_name
from icnn_viz.taps.calls import deformed
from icnn_viz.taps.layers import Layer
from icnn_viz.taps.offsets import OffsetSource, arrange
from icnn_viz.taps.trace import Trace


@contextmanager
def attached(trace: Trace, model: nn.Module, source: OffsetSource | None) -> Iterator[None]:
    """Inside, the layer of a source is deformable by the offsets that pass.

    Raises:
        NameNotFoundError: no such module. ArgumentError: the offsets do not fit, or did not pass.
    """
    if source is None:
        yield
        return
    modules = dict(nn.Module.named_modules(model))
    owner = source.layer if source.layer is not None else _holder(source.module, modules)
    for name in (source.module, owner):
        check_name("--offsets", "a module of the network", name, modules)
    seen: list[np.ndarray] = []
    begun: list[Any] = []

    def keep(module: nn.Module, given: Any, named: Mapping[str, Any], made: Any) -> None:
        seen.append(_pick(source, (*given, *named.values()), made))

    def begin(module: nn.Module, given: Any, named: Mapping[str, Any]) -> None:
        tensor = next((t for t in (*given, *named.values()) if trace.of(t) is not None), None)
        begun.append(trace.of(tensor))

    def end(module: nn.Module, given: Any, named: Mapping[str, Any], made: Any) -> None:
        trail = begun.pop()
        if seen and trail is not None:
            trace.meet(_to_layer(source, owner, module, trail, seen[-1], trace, made), made)

    handles = [
        modules[owner].register_forward_pre_hook(begin, with_kwargs=True),
        modules[source.module].register_forward_hook(keep, with_kwargs=True),
        modules[owner].register_forward_hook(end, with_kwargs=True),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    if not seen:
        raise ArgumentError(
            "--offsets", needed="a module that runs", got=f"{source.module}, which did not", fix="Name another."
        )  # fmt: skip


def _holder(name: str, modules: Mapping[str, nn.Module]) -> str:
    """The module itself, if it has a kernel, or the nearest one around it that has."""
    while name and not hasattr(modules.get(name), "kernel_size"):
        name = name.rpartition(".")[0]
    parent = name.rpartition(".")[0]
    is_maker = isinstance(modules.get(name), nn.Conv2d) and hasattr(modules.get(parent), "kernel_size")
    return parent if is_maker else name


def _pick(source: OffsetSource, given: tuple[Any, ...], made: Any) -> np.ndarray:
    item, held = source.item, made if isinstance(made, tuple | list) else (made,)
    if item.startswith("in"):
        item, held = item[2:], given
    number = int(item) if item.isdigit() else 0
    tensor = held[number] if number < len(held) else None
    if not isinstance(tensor, Tensor) or tensor.ndim < 3 or (source.item and not item.isdigit()):
        raise ArgumentError(
            "--offsets", needed="a tensor of offsets, MODULE, MODULE:1 (an output) or MODULE:in1 (an argument)",
            got=f"{source.module}:{source.item}" if source.item else source.module, fix="Name another.",
        )  # fmt: skip
    return tensor.detach()[0].double().cpu().numpy()


def _to_layer(
    source: OffsetSource, name: str, module: Any, trail: Any, tensor: np.ndarray, trace: Trace, made: Tensor
) -> Layer:
    """The layer by what its module says of itself, in the words of PyTorch, mmcv and DCNv3."""
    rows, columns = (made.shape[axis] for axis in trail.axes)
    channels = int(made.shape[trail.channel_axis])
    if not hasattr(module, "kernel_size"):
        needed, got = "a module with a kernel_size", f"{name} ({type(module).__name__})"
        raise ArgumentError("--layer", needed=needed, got=got, fix="Name the one that samples.")
    size, stride, padding, dilation = (
        np.broadcast_to(next((v for v in (getattr(module, n, None) for n in names) if v is not None), default), 2)
        for names, default in (
            (("kernel_size",), 1), (("stride",), 1), (("padding", "pad"), 0), (("dilation",), 1)
        )
    )  # fmt: skip
    taps = int(size.prod())
    weight, groups = _weight_of(module, taps), max(1, int(getattr(module, "groups", 1)))
    if weight is None:  # it only samples, channel by channel
        weight, groups = np.ones((channels, 1, taps)), channels
    layer = Layer.regular(
        name, len(trace.layers), trail, weight, size.tolist(), stride, padding, dilation, groups, (rows, columns)
    )  # fmt: skip
    sets = getattr(module, "group", None) if source.layout.startswith("dcn") else None
    offsets, mask = arrange(
        tensor, source.layout, tuple(size), (rows, columns), layer.channels, groups=sets,
        scale=float(getattr(module, "offset_scale", 1.0)) if source.layout.startswith("dcn") else 1.0,
        layer=layer,
    )  # fmt: skip
    return deformed(layer, offsets, mask)


def _weight_of(module: nn.Module, taps: int) -> np.ndarray | None:
    """(C_out, C_in/groups, K): its own weight, or that of a convolution in it with as many taps and no other use."""
    own = getattr(module, "weight", None)
    children = [
        m.weight for m in nn.Module.modules(module) if isinstance(m, nn.Conv2d) and m.stride != (1, 1)
    ]
    for weight in (own, *children):
        if isinstance(weight, Tensor) and weight.ndim == 4 and weight.shape[2] * weight.shape[3] == taps:
            return weight.detach().double().cpu().numpy().reshape(*weight.shape[:2], taps)
    return None
