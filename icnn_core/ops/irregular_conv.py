"""The public operator: validate, choose a back end, call it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from icnn_core.errors import (
    ArgumentError,
    DeviceError,
    DtypeError,
    NameNotFoundError,
    ShapeError,
    UnsupportedError,
    nearest_names,
)
from icnn_core.ops.backends import BACKENDS, Backend, Request, read_box
from icnn_core.ops.geometry import Geometry
from icnn_core.ops.registration import needs_native

_WHO = "irregular_conv2d"
INTERPOLATIONS = ("bilinear", "gaussian")


def irregular_conv2d(
    x: Tensor,
    weight: Tensor,
    positions: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
    interpolation: str = "bilinear",
    sigma: Tensor | float | None = None,
    backend: str | None = None,
) -> Tensor:
    """Convolve with weights at learnt, fractional positions.

    out[n,o,i,j] = bias[o] + Σ_c Σ_k weight[o,c,k] · x̃[n,c](stride·(i,j) - padding + centre + positions[…,k]), with
    x̃ the bilinear interpolation of the image, 0 outside it, and centre = dilation·(kernel size - 1)/2. Source:
    arXiv 1706.07966, equations 3 and 4. At the regular positions this is `torch.nn.functional.conv2d`.

    At integer coordinates the derivative with respect to a position is the right-hand one. A position that is not
    finite makes the outputs of the kernels that use it NaN; one that lies far outside the image reads 0.

    Args:
        x: (N, C_in, H, W), floating point; N may be 0.
        weight: (C_out, C_in/groups, kH, kW), of x's dtype and device.
        positions: (y, x) from the kernel's centre, in input pixels; taps row-major, K = kH·kW. (1, K, 2): one shape
            for the layer; (C_in, K, 2): one per input channel; (C_out, C_in/groups, K, 2): one per kernel and channel.
        bias: (C_out,) or None.
        stride, padding, dilation: an int or (y, x), as in conv2d. The dilation only places the kernel's centre.
        groups: as in conv2d.
        interpolation: "bilinear" blends the 4 pixels around a position; "gaussian" 8 × 8 of them, so that gradients
            reach further (cf. DCLS's Gauss version, arXiv 2306.00817).
        sigma: standard deviation of the Gaussian in pixels, clamped to [0.1, 1]: a number, or a tensor that
            broadcasts to positions, last axis (y, x).
        backend: None chooses one; or "fused", "sampled", "dense", "gathered", "reference". See `explain`.

    Returns:
        (N, C_out, H_out, W_out), sizes as conv2d's.

    Raises:
        ShapeError, DtypeError, DeviceError, ArgumentError: an argument does not fit.
        UnsupportedError: the forced back end cannot serve this call.
    """
    if not torch.jit.is_tracing():
        _check_tensors(x, weight, positions, bias)
    geometry = _geometry(x, weight, stride, padding, dilation, groups)
    _check_positions(positions, geometry)
    width = _width(interpolation, sigma, positions)
    request = _request(x, weight, positions, geometry, width)
    chosen = _choose(request) if backend is None else _forced(backend, request)
    return chosen.run(x, weight, positions, bias, width, request)


@dataclass(frozen=True)
class Explanation:
    """Which back end serves a call, why, and why the others do not."""

    backend: str
    reason: str
    others: dict[str, str]

    def __str__(self) -> str:
        lines = [f"{self.backend}: {self.reason}"]
        return "\n".join(lines + [f"not {name}: {reason}" for name, reason in self.others.items()])


def explain(
    x: Tensor,
    weight: Tensor,
    positions: Tensor,
    *,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
    interpolation: str = "bilinear",
    sigma: Tensor | float | None = None,
) -> Explanation:
    """Say which back end `irregular_conv2d` would choose for these arguments, and why. Computes nothing."""
    geometry = _geometry(x, weight, stride, padding, dilation, groups)
    _check_positions(positions, geometry)
    request = _request(x, weight, positions, geometry, _width(interpolation, sigma, positions))
    chosen = _choose(request)
    others = {}
    for name, backend in BACKENDS.items():
        if name == chosen.name:
            continue
        reasons = backend.reasons(request)
        ratio = backend.cost(request) / max(chosen.cost(request), 1.0)
        others[name] = "; ".join(reasons) or f"estimated to take {ratio:.3g} times as long"
    return Explanation(chosen.name, chosen.summary, others)


def _choose(request: Request) -> Backend:
    able = [backend for backend in BACKENDS.values() if not backend.reasons(request)]
    return min(able, key=lambda backend: backend.cost(request))


def _forced(name: str, request: Request) -> Backend:
    if name not in BACKENDS:
        raise NameNotFoundError(
            _WHO, needed="the name of a back end", got=f"backend={name!r}", fix=nearest_names(name, BACKENDS)
        )
    reasons = BACKENDS[name].reasons(request)
    if reasons:
        raise UnsupportedError(
            f"back end {name!r}",
            needed="a call that it can serve",
            got="; ".join(reasons),
            fix="Leave backend=None to have one chosen.",
        )
    return BACKENDS[name]


def _request(
    x: Tensor, weight: Tensor, positions: Tensor, geometry: Geometry, sigma: Tensor | None
) -> Request:
    return Request(
        geometry=geometry,
        dtype=_computing_dtype(x),
        device=x.device,
        shared=positions.ndim == 3,
        gaussian=sigma is not None,
        native=needs_native(x, weight, positions, sigma),
        box=read_box(positions, geometry, sigma),
    )


def _geometry(
    x: Tensor,
    weight: Tensor,
    stride: int | tuple[int, int],
    padding: int | tuple[int, int],
    dilation: int | tuple[int, int],
    groups: int,
) -> Geometry:
    if x.ndim != 4:
        raise ShapeError(
            _WHO, needed="x of shape (N, C_in, H, W)", got=_describe(x), fix="Add a batch axis: x[None]."
        )
    if weight.ndim != 4 or 0 in weight.shape[2:]:
        raise ShapeError(
            _WHO,
            needed="weight of shape (C_out, C_in/groups, kH, kW)",
            got=_describe(weight),
            fix="Give it conv2d's four axes.",
        )
    if groups < 1 or x.shape[1] != weight.shape[1] * groups or weight.shape[0] % groups:
        raise ShapeError(
            _WHO,
            needed="C_in = groups · weight.shape[1], and C_out divisible by groups",
            got=f"x {_describe(x)}, weight {_describe(weight)}, groups {groups}",
            fix="Change groups or the weight's shape.",
        )
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
        raise ShapeError(
            _WHO,
            needed="an input at least as large as the kernel",
            got=f"{_describe(x)}, which would give an output of {geometry.output_size}",
            fix="Give a larger input or more padding.",
        )
    return geometry


def _pair(name: str, value: int | tuple[int, int], least: int) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2 or not all(isinstance(v, int) and v >= least for v in pair):
        raise ArgumentError(
            _WHO,
            needed=f"{name} as an int or (y, x), each at least {least}",
            got=f"{name}={value!r}",
            fix="Give whole numbers in that range.",
        )
    return pair[0], pair[1]


def _check_positions(positions: Tensor, geometry: Geometry) -> None:
    g, taps = geometry, geometry.taps
    shared = [(1, taps, 2), (g.in_channels, taps, 2)]
    full = (g.out_channels, g.in_channels // g.groups, taps, 2)
    if tuple(positions.shape) not in [*shared, full]:
        fix = "Order the last axis (y, x) and the taps row-major."
        if tuple(positions.shape) == (taps, 2):
            fix = "Add the leading axis: positions[None]."
        raise ShapeError(
            _WHO,
            needed=f"positions of shape {shared[0]}, {shared[1]} or {full}",
            got=_describe(positions),
            fix=fix,
        )


def _check_tensors(x: Tensor, weight: Tensor, positions: Tensor, bias: Tensor | None) -> None:
    named = {"x": x, "weight": weight, "positions": positions}
    if bias is not None:
        named["bias"] = bias
        if bias.shape != weight.shape[:1]:
            raise ShapeError(
                _WHO,
                needed=f"bias of shape ({weight.shape[0]},)",
                got=_describe(bias),
                fix="One number per kernel.",
            )
    for name, tensor in named.items():
        if not tensor.is_floating_point():
            raise DtypeError(
                _WHO,
                needed=f"a real floating-point {name}",
                got=_describe(tensor),
                fix=f"Convert it: {name}.float().",
            )
        if tensor.device != x.device:
            raise DeviceError(
                _WHO,
                needed=f"all tensors on {x.device}",
                got=f"{name} {_describe(tensor)}",
                fix=f"Move it: {name}.to({str(x.device)!r}).",
            )
    for name in ("weight", "bias"):
        if name in named and named[name].dtype != x.dtype and not _autocasts(x.device.type):
            raise DtypeError(
                _WHO,
                needed=f"{name} of x's dtype, {x.dtype}",
                got=_describe(named[name]),
                fix=f"Convert one of them, e.g. x.to({named[name].dtype}).",
            )


def _computing_dtype(x: Tensor) -> torch.dtype:
    """On the CPU the compiled back end computes in the input's dtype even under autocast, on a GPU in autocast's."""
    cast = x.device.type != "cpu" and _autocasts(x.device.type) and x.dtype != torch.float64
    return torch.get_autocast_dtype(x.device.type) if cast else x.dtype


def _autocasts(device_type: str) -> bool:
    return torch.amp.is_autocast_available(device_type) and torch.is_autocast_enabled(device_type)


def _width(interpolation: str, sigma: Tensor | float | None, positions: Tensor) -> Tensor | None:
    """The Gaussian's standard deviation as a tensor that broadcasts to positions, or None for bilinear."""
    if interpolation not in INTERPOLATIONS:
        raise NameNotFoundError(
            _WHO,
            needed="the name of an interpolation",
            got=f"interpolation={interpolation!r}",
            fix=nearest_names(interpolation, INTERPOLATIONS),
        )
    if (interpolation == "gaussian") != (sigma is not None):
        raise ArgumentError(
            _WHO,
            needed='sigma with interpolation="gaussian", and only then',
            got=f"interpolation={interpolation!r} and sigma={'None' if sigma is None else 'given'}",
            fix='Give both, e.g. interpolation="gaussian", sigma=0.5.',
        )
    if sigma is None:
        return None
    if not isinstance(sigma, Tensor):
        dtype = torch.promote_types(positions.dtype, torch.float32)
        return torch.full((), float(sigma), dtype=dtype, device=positions.device)
    if sigma.ndim > positions.ndim or any(
        ours not in (1, theirs)
        for ours, theirs in zip(sigma.shape[::-1], positions.shape[::-1], strict=False)
    ):
        raise ShapeError(
            _WHO,
            needed=f"sigma that broadcasts to positions, {tuple(positions.shape)}",
            got=_describe(sigma),
            fix="Give a number, or one per tap and axis.",
        )
    return sigma


def _describe(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')} on {tensor.device}"
