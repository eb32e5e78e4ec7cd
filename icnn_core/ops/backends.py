"""The table of back ends: who can serve a call, at what estimated cost, and why not."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import torch
from torch import Tensor

from icnn_core.ops import dense, fused, gathered, reference, registration, sampled
from icnn_core.ops.dense import Box
from icnn_core.ops.geometry import Geometry


@dataclass(frozen=True)
class Request:
    """What a back end must know of a call to say whether it serves, and at what cost.

    Attributes:
        geometry: the call's sizes.
        dtype: in which the call computes: the input's, or autocast's.
        device: of the input.
        shared: False if every kernel has shapes of its own (sharing "none").
        gaussian: whether interpolation is Gaussian, not bilinear.
        native: whether only native operations can serve, see `registration.needs_native`.
        box: the positions' reach, or None where their values cannot be read (tracing, vmap, meta tensors).
    """

    geometry: Geometry
    dtype: torch.dtype
    device: torch.device
    shared: bool
    gaussian: bool
    native: bool
    box: Box | None


@dataclass(frozen=True)
class Backend:
    """One way to compute the operator.

    `reasons` lists why it cannot serve a request (empty: it can); `cost` estimates its time in multiply-adds of a
    matrix product; `summary` says in a few words when it is the right one.
    """

    name: str
    summary: str
    reasons: Callable[[Request], list[str]]
    cost: Callable[[Request], float]
    run: Callable[[Tensor, Tensor, Tensor, Tensor | None, Tensor | None, Request], Tensor]


def _product_size(request: Request, taps: float) -> float:
    """Multiply-adds of a convolution with `taps` taps."""
    g = request.geometry
    height, width = g.output_size
    return g.batch * g.out_channels * (g.in_channels / g.groups) * height * width * taps


def _box_area(box: Box) -> int:
    (first_y, last_y), (first_x, last_x) = box
    return (last_y - first_y + 1) * (last_x - first_x + 1)


def _dense_reasons(request: Request) -> list[str]:
    if request.box is None:
        return [
            "the size of its kernel follows from the positions' values, which cannot be read while tracing"
        ]
    return []


def _dense_cost(request: Request) -> float:
    if request.box is None:
        return math.inf
    g = request.geometry
    area = _box_area(request.box)
    build = g.out_channels * (g.in_channels / g.groups) * g.taps * area
    # A convolution with few channels a group fills no vector unit: depthwise it is far from a matrix product's speed.
    width = min(1.0, g.in_channels / g.groups / _CHANNELS_FOR_FULL_SPEED)
    return _product_size(request, area) / width + build


def _gathered_cost(request: Request) -> float:
    g = request.geometry
    (height, width), (out_height, out_width) = g.input_size, g.output_size
    planes = g.batch * g.in_channels * g.taps
    if not request.shared:
        planes *= g.out_channels / g.groups
    sampling = planes * out_height * width * (height + out_width)
    traffic = planes * out_height * (out_width + width) * _MULTIPLY_ADDS_PER_ELEMENT_MOVED
    return sampling + traffic + _product_size(request, g.taps)


def _compiled_reasons(request: Request, module: ModuleType) -> list[str]:
    reasons = module.unsupported_reasons(
        request.dtype, request.device, shared=request.shared, gaussian=request.gaussian
    )
    if request.native:
        reasons.append("forward-mode derivatives, torch.func transforms and export need native operations")
    return reasons


def _compiled_cost(request: Request) -> float:
    g = request.geometry
    height, width = g.output_size
    sampling = g.batch * g.in_channels * g.taps * height * width * _MULTIPLY_ADDS_PER_SAMPLE
    return _product_size(request, g.taps) + sampling


def _fused_cost(request: Request) -> float:
    """On the CPU Triton interprets the kernels, for tests: never chosen, whatever the environment says."""
    return math.inf if request.device.type == "cpu" else _compiled_cost(request)


_MULTIPLY_ADDS_PER_ELEMENT_MOVED = 16
_MULTIPLY_ADDS_PER_SAMPLE = 32
_CHANNELS_FOR_FULL_SPEED = 16

BACKENDS: dict[str, Backend] = {
    backend.name: backend
    for backend in (
        Backend(
            "fused",
            "Triton kernels that sample, blend and multiply at once",
            lambda request: _compiled_reasons(request, fused),
            _fused_cost,
            lambda x, w, p, b, sigma, request: registration.run_fused(x, w, p, b, request.geometry),
        ),
        Backend(
            "sampled",
            "a column of samples in tiles by compiled loops, then a matrix product",
            lambda request: _compiled_reasons(request, sampled),
            _compiled_cost,
            lambda x, w, p, b, sigma, request: registration.run_sampled(x, w, p, b, request.geometry),
        ),
        Backend(
            "dense",
            "a dense kernel over the positions' reach, then conv2d",
            _dense_reasons,
            _dense_cost,
            lambda x, w, p, b, sigma, request: dense.forward(
                x, w, p, b, request.geometry, _box_now(p, request, sigma), sigma
            ),
        ),
        Backend(
            "gathered",
            "a column of samples by native matrix products, whatever the positions",
            lambda request: [],
            _gathered_cost,
            lambda x, w, p, b, sigma, request: gathered.forward(x, w, p, b, request.geometry, sigma),
        ),
        Backend(
            "reference",
            "the specification: loops, for tests",
            lambda request: _reference_reasons(request),
            lambda request: math.inf,
            lambda x, w, p, b, sigma, request: reference.forward(x, w, p, b, request.geometry, sigma),
        ),
    )
}


def _reference_reasons(request: Request) -> list[str]:
    return (
        ["it loops over the positions' values, which cannot be read while tracing"]
        if request.box is None
        else []
    )


def _box_now(positions: Tensor, request: Request, sigma: Tensor | None) -> Box:
    """The reach to compute with: the one kept may be older than what is written through `.data`, uncounted.

    While a CUDA graph is captured nothing can be read.
    """
    box = request.box
    if _is_kept(positions) and not (positions.is_cuda and torch.cuda.is_current_stream_capturing()):
        box = _try_reach(positions, request.geometry, sigma)
    assert box is not None
    return box


def read_box(positions: Tensor, geometry: Geometry, sigma: Tensor | None) -> Box | None:
    """The reach of the positions, or None where their values cannot be read.

    On a GPU the answer is kept with the tensor until its storage or version changes, so that one look per optimiser
    step suffices to choose a back end.
    """
    if torch.compiler.is_compiling() or positions.is_meta:
        return None
    if not _is_kept(positions):
        return _try_reach(positions, geometry, sigma)
    key = (positions.data_ptr(), positions._version, geometry, sigma is None)
    cached = getattr(positions, "_icnn_reach", None)
    if cached is None or cached[0] != key:
        cached = (key, _try_reach(positions, geometry, sigma))
        positions._icnn_reach = cached  # pyright: ignore[reportAttributeAccessIssue]
    return cached[1]


def _is_kept(positions: Tensor) -> bool:
    return positions.device.type != "cpu" and not positions.is_inference()


def _try_reach(positions: Tensor, geometry: Geometry, sigma: Tensor | None) -> Box | None:
    try:
        return dense.reach(positions, geometry, sigma)
    except RuntimeError:  # fake tensors and vmap have no values to read
        return None
