"""The public operator: validate, choose a back end, call it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function

from icnn_core.errors import NameNotFoundError, UnsupportedError, nearest_names
from icnn_core.ops import cuda_costs
from icnn_core.ops.arguments import WHO, autocasts, check_positions, check_tensors, to_geometry, to_width
from icnn_core.ops.backends import BACKENDS, Backend, choose_unseen, read_reach
from icnn_core.ops.geometry import Geometry
from icnn_core.ops.registration import needs_native
from icnn_core.ops.request import Request


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

    `out[n,o,i,j] = bias[o] + Σ_c Σ_k weight[o,c,k] · x̃[n,c](stride·(i,j) - padding + centre + positions[…,k])`, with
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
        backend: None chooses one; or "fused", "sampled", "sparse", "blended", "dense", "gathered", "reference". See
            `explain`.

    Returns:
        (N, C_out, H_out, W_out), sizes as conv2d's.

    Raises:
        ShapeError, DtypeError, DeviceError, ArgumentError: an argument does not fit.
        UnsupportedError: the forced back end cannot serve this call.
    """
    if has_torch_function((x, weight, positions)):  # a subclass, or a mode that follows calls
        given = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        given |= {"interpolation": interpolation, "sigma": sigma, "backend": backend}
        every = (x, weight, positions, bias)
        return handle_torch_function(irregular_conv2d, every[:3], *every, **given)
    if not torch.jit.is_tracing():
        check_tensors(x, weight, positions, bias)
    geometry = to_geometry(x, weight, stride, padding, dilation, groups)
    check_positions(positions, geometry)
    width = to_width(interpolation, sigma, positions)
    request = make_request(x, weight, positions, geometry, width)
    chosen = choose_unseen(request) if backend is None else None
    if chosen is None:
        request = request.with_reach(read_reach(positions, geometry, width))
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
    """Say which back end `irregular_conv2d` would choose for these arguments, and why.

    Computes nothing, but reads the positions: unlike the call itself it may wait for a GPU.
    """
    geometry = to_geometry(x, weight, stride, padding, dilation, groups)
    check_positions(positions, geometry)
    width = to_width(interpolation, sigma, positions)
    unseen = make_request(x, weight, positions, geometry, width)
    request = unseen.with_reach(read_reach(positions, geometry, width))
    chosen = choose_unseen(unseen) or _choose(request)
    others = {}
    for name, backend in BACKENDS.items():
        if name == chosen.name:
            continue
        others[name] = "; ".join(backend.reasons(request)) or _compare_cost(backend, chosen, request)
    return Explanation(chosen.name, chosen.summary, others)


def _compare_cost(backend: Backend, chosen: Backend, request: Request) -> str:
    ratio = backend.cost(request) / max(chosen.cost(request), 1.0)
    if math.isinf(ratio):
        return "slow here, and for tests: it serves only where it is asked for"
    estimate = f"estimated to take {ratio:.3g} times as long"
    if request.device.type != "cuda":
        return estimate
    unasked = (
        "; the positions' reach is not looked at unless it is asked for" if backend.name == "dense" else ""
    )
    return f"{estimate} (by {cuda_costs.SOURCE} costs){unasked}"


def _choose(request: Request) -> Backend:
    best, *others = [backend for backend in BACKENDS.values() if not backend.reasons(request)]
    for backend in others:  # no min by key: the compiler of torch 2.11 cannot trace it
        if backend.cost(request) < best.cost(request):
            best = backend
    return best


def _forced(name: str, request: Request) -> Backend:
    if name not in BACKENDS:
        raise NameNotFoundError(
            WHO, needed="the name of a back end", got=f"backend={name!r}", fix=nearest_names(name, BACKENDS)
        )
    reasons = BACKENDS[name].reasons(request)
    if reasons:
        needed, fix = "a call that it can serve", "Leave backend=None to have one chosen."
        raise UnsupportedError(f"back end {name!r}", needed=needed, got="; ".join(reasons), fix=fix)
    return BACKENDS[name]


def make_request(
    x: Tensor, weight: Tensor, positions: Tensor, geometry: Geometry, sigma: Tensor | None
) -> Request:
    """Without a look at the positions' reach."""
    return Request(
        geometry=geometry,
        dtype=_computing_dtype(x),
        device=x.device,
        shared=positions.ndim == 3,
        gaussian=sigma is not None,
        native=needs_native(x, weight, positions, sigma),
        reach=None,
        one_shape=positions.ndim == 3 and positions.shape[0] == 1,
    )


def _computing_dtype(x: Tensor) -> torch.dtype:
    """On the CPU the compiled back end computes in the input's dtype even under autocast, on a GPU in autocast's."""
    cast = x.device.type != "cpu" and autocasts(x.device.type) and x.dtype != torch.float64
    return torch.get_autocast_dtype(x.device.type) if cast else x.dtype
