"""What the operator's arguments must be: checks with errors that say how to mend a call, and their common form."""

from __future__ import annotations

import torch
from torch import Tensor

from icnn_core.errors import (
    ArgumentError,
    DeviceError,
    DtypeError,
    NameNotFoundError,
    ShapeError,
    nearest_names,
)
from icnn_core.kinds import INTERPOLATIONS
from icnn_core.ops.geometry import Geometry

WHO = "irregular_conv2d"


def to_geometry(
    x: Tensor,
    weight: Tensor,
    stride: int | tuple[int, int],
    padding: int | tuple[int, int],
    dilation: int | tuple[int, int],
    groups: int,
) -> Geometry:
    """The sizes of a call.

    Raises:
        ShapeError, ArgumentError: they do not fit together, or are out of range.
    """
    if x.ndim != 4:
        raise ShapeError(
            WHO, needed="x of shape (N, C_in, H, W)", got=_describe(x), fix="Add a batch axis: x[None]."
        )
    if weight.ndim != 4 or 0 in weight.shape[2:]:
        needed = "weight of shape (C_out, C_in/groups, kH, kW)"
        raise ShapeError(WHO, needed=needed, got=_describe(weight), fix="Give it conv2d's four axes.")
    if groups < 1 or x.shape[1] != weight.shape[1] * groups or weight.shape[0] % groups:
        needed = "C_in = groups · weight.shape[1], and C_out divisible by groups"
        got = f"x {_describe(x)}, weight {_describe(weight)}, groups {groups}"
        raise ShapeError(WHO, needed=needed, got=got, fix="Change groups or the weight's shape.")
    geometry = Geometry(
        batch=x.shape[0],
        in_channels=x.shape[1],
        out_channels=weight.shape[0],
        input_size=(x.shape[2], x.shape[3]),
        kernel_size=(weight.shape[2], weight.shape[3]),
        stride=_pair("stride", stride, 1),
        padding=_pair("padding", padding, 0),
        dilation=_pair("dilation", dilation, 1),
        groups=groups,
    )
    if min(geometry.output_size) < 1:
        needed = "an input at least as large as the kernel"
        got = f"{_describe(x)}, which would give an output of {geometry.output_size}"
        raise ShapeError(WHO, needed=needed, got=got, fix="Give a larger input or more padding.")
    return geometry


def _pair(name: str, value: int | tuple[int, int], least: int) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2 or not all(isinstance(v, int) and v >= least for v in pair):
        needed, got = f"{name} as an int or (y, x), each at least {least}", f"{name}={value!r}"
        raise ArgumentError(WHO, needed=needed, got=got, fix="Give whole numbers in that range.")
    return pair[0], pair[1]


def check_positions(positions: Tensor, geometry: Geometry) -> None:
    """Raises ShapeError unless positions are (1, K, 2), (C_in, K, 2) or (C_out, C_in/groups, K, 2)."""
    g, taps = geometry, geometry.taps
    shared = [(1, taps, 2), (g.in_channels, taps, 2)]
    full = (g.out_channels, g.in_channels // g.groups, taps, 2)
    if tuple(positions.shape) not in [*shared, full]:
        fix = "Order the last axis (y, x) and the taps row-major."
        if tuple(positions.shape) == (taps, 2):
            fix = "Add the leading axis: positions[None]."
        needed = f"positions of shape {shared[0]}, {shared[1]} or {full}"
        raise ShapeError(WHO, needed=needed, got=_describe(positions), fix=fix)


def check_tensors(x: Tensor, weight: Tensor, positions: Tensor, bias: Tensor | None) -> None:
    """Raises DtypeError, DeviceError or ShapeError unless all are floating-point, on one device, and fit x."""
    named = {"x": x, "weight": weight, "positions": positions}
    if bias is not None:
        named["bias"] = bias
        if bias.shape != weight.shape[:1]:
            needed = f"bias of shape ({weight.shape[0]},)"
            raise ShapeError(WHO, needed=needed, got=_describe(bias), fix="One number per kernel.")
    for name, tensor in named.items():
        if not tensor.is_floating_point():
            raise DtypeError(
                WHO,
                needed=f"a real floating-point {name}",
                got=_describe(tensor),
                fix="Leave the layer out of quantisation (qconfig = None), or fix_positions first."
                if tensor.is_quantized
                else f"Convert it: {name}.float().",
            )
        if tensor.device != x.device:
            needed, got = f"all tensors on {x.device}", f"{name} {_describe(tensor)}"
            raise DeviceError(WHO, needed=needed, got=got, fix=f"Move it: {name}.to({str(x.device)!r}).")
    for name in ("weight", "bias"):
        if name in named and named[name].dtype != x.dtype and not autocasts(x.device.type):
            got, fix = _describe(named[name]), f"Convert one of them, e.g. x.to({named[name].dtype})."
            raise DtypeError(WHO, needed=f"{name} of x's dtype, {x.dtype}", got=got, fix=fix)


def autocasts(device_type: str) -> bool:
    """Whether autocast is on for a kind of device."""
    return torch.amp.is_autocast_available(device_type) and torch.is_autocast_enabled(device_type)


def to_width(interpolation: str, sigma: Tensor | float | None, positions: Tensor) -> Tensor | None:
    """The Gaussian's standard deviation as a tensor that broadcasts to positions, or None for bilinear."""
    if interpolation not in INTERPOLATIONS:
        needed, got = "the name of an interpolation", f"interpolation={interpolation!r}"
        raise NameNotFoundError(WHO, needed=needed, got=got, fix=nearest_names(interpolation, INTERPOLATIONS))
    if (interpolation == "gaussian") != (sigma is not None):
        needed = 'sigma with interpolation="gaussian", and only then'
        got = f"interpolation={interpolation!r} and sigma={'None' if sigma is None else 'given'}"
        fix = 'Give both, e.g. interpolation="gaussian", sigma=0.5.'
        raise ArgumentError(WHO, needed=needed, got=got, fix=fix)
    if sigma is None:
        return None
    if not isinstance(sigma, Tensor):
        dtype = torch.promote_types(positions.dtype, torch.float32)
        return torch.full((), float(sigma), dtype=dtype, device=positions.device)
    if sigma.ndim > positions.ndim or any(
        ours not in (1, theirs)
        for ours, theirs in zip(sigma.shape[::-1], positions.shape[::-1], strict=False)
    ):
        needed, got = f"sigma that broadcasts to positions, {tuple(positions.shape)}", _describe(sigma)
        raise ShapeError(WHO, needed=needed, got=got, fix="Give a number, or one per tap and axis.")
    return sigma


def _describe(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')} on {tensor.device}"
