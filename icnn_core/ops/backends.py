"""The table of back ends: who can serve a call, at what estimated cost, and why not."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import ModuleType

import torch
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode
from torch.utils.weak import WeakTensorKeyDictionary

from icnn_core.ops import blended, dense, fused, gathered, reference, registration, sampled, sparse, trusted
from icnn_core.ops.cpu_costs import estimate
from icnn_core.ops.dense import Reach
from icnn_core.ops.estimates import blended_cost, dense_cost, fused_cost, gathered_cost
from icnn_core.ops.geometry import Geometry
from icnn_core.ops.kept import has_version, version_of
from icnn_core.ops.request import Request

_NATIVE = "forward-mode derivatives, torch.func transforms and export need native operations"


@dataclass(frozen=True)
class Backend:
    """One way to compute the operator.

    `reasons` lists why it cannot serve a request (empty: it can); `cost` estimates its time, see
    `estimates`; `summary` says in a few words when it is the right one.
    """

    name: str
    summary: str
    reasons: Callable[[Request], list[str]]
    cost: Callable[[Request], float]
    run: Callable[[Tensor, Tensor, Tensor, Tensor | None, Tensor | None, Request], Tensor]


def _unless_read(request: Request, what: str) -> list[str]:
    """Of a back end for which positions must have values."""
    why = f"{what} the positions' values, which cannot be read while tracing"
    return [why] if request.reach is None else []


def _compiled_reasons(request: Request, module: ModuleType) -> list[str]:
    reasons = module.unsupported_reasons(
        request.dtype, request.device, shared=request.shared, gaussian=request.gaussian
    )
    if request.native:
        reasons.append(_NATIVE)
    return reasons


def _sparse_reasons(request: Request) -> list[str]:
    reasons = sparse.unsupported_reasons(request.dtype, request.device, shared=request.shared)
    if request.native:
        reasons.append(_NATIVE)
    elif request.reach is None:
        reasons.append("it serves no code that is traced")
    return reasons


def _fused_reasons(request: Request) -> list[str]:
    reasons = _compiled_reasons(request, fused)
    if not reasons and not torch.compiler.is_compiling():  # compiled code tries it when it runs
        why_not = trusted.why_not(request.device, request.dtype, request.geometry)
        reasons += [why_not] if why_not else []
    return reasons


def choose_unseen(request: Request) -> Backend | None:
    """What serves a call on a GPU without a look at the positions' reach, for which one would wait; None: look."""
    if request.device.type != "cuda" or _fused_reasons(request):
        return None
    few = request.one_shape and blended_cost(request) < fused_cost(request)
    return BACKENDS["blended" if few else "fused"]


def _blended_reasons(request: Request) -> list[str]:
    reasons = _sampling_reasons(request.with_geometry(blended.planes_geometry(request.geometry)))
    if not request.one_shape:
        reasons.append(
            "channels have shapes of their own: what is multiplied with them cannot be moved afterwards"
        )
    return reasons


def _sampling_reasons(request: Request) -> list[str]:
    """Of the back end that samples what was multiplied."""
    return _fused_reasons(request) if request.device.type == "cuda" else _compiled_reasons(request, sampled)


def _run_blended(
    x: Tensor, weight: Tensor, positions: Tensor, bias: Tensor | None, sigma: Tensor | None, request: Request
) -> Tensor:
    run = registration.run_fused if request.device.type == "cuda" else registration.run_sampled
    return blended.forward(x, weight, positions, bias, request.geometry, run)


BACKENDS: dict[str, Backend] = {
    backend.name: backend
    for backend in (
        Backend(
            "fused",
            "Triton kernels that sample, then cuBLAS (compiled and interpreted, not run on a GPU; tried at first use)",
            _fused_reasons,
            fused_cost,
            lambda x, w, p, b, sigma, request: registration.run_fused(x, w, p, b, request.geometry),
        ),
        Backend(
            "sampled",
            "a column of samples in tiles by compiled loops, then a matrix product",
            lambda request: _compiled_reasons(request, sampled),
            partial(estimate, "sampled"),
            lambda x, w, p, b, sigma, request: registration.run_sampled(x, w, p, b, request.geometry),
        ),
        Backend(
            "sparse",
            "a shape per kernel: shifted multiply-adds by compiled loops, whatever the positions",
            _sparse_reasons,
            partial(estimate, "sparse"),
            lambda x, w, p, b, sigma, request: registration.run_sparse(x, w, p, b, request.geometry, sigma),
        ),
        Backend(
            "blended",
            "multiplied first, blended after: few kernels, one shape for all channels",
            _blended_reasons,
            blended_cost,
            _run_blended,
        ),
        Backend(
            "dense",
            "a dense kernel over the positions' reach, then conv2d",
            lambda request: _unless_read(request, "the size of its kernel follows from"),
            dense_cost,
            lambda x, w, p, b, sigma, request: dense.forward(
                x, w, p, b, request.geometry, _reach_now(p, request, sigma), sigma
            ),
        ),
        Backend(
            "gathered",
            "a column of samples by native matrix products, whatever the positions",
            lambda request: [],
            gathered_cost,
            lambda x, w, p, b, sigma, request: _gather(x, w, p, b, sigma, request),
        ),
        Backend(
            "reference",
            "the specification: loops, for tests",
            lambda request: _unless_read(request, "it loops over"),
            lambda request: math.inf,
            lambda x, w, p, b, sigma, request: reference.forward(x, w, p, b, request.geometry, sigma),
        ),
    )
}


def _gather(
    x: Tensor, weight: Tensor, positions: Tensor, bias: Tensor | None, sigma: Tensor | None, request: Request
) -> Tensor:
    """`gathered`; but on a CPU the specification computes an image with pixels that are not finite.

    The matrices would multiply such a pixel by 0 in every output, which is NaN, also where no tap reads it.
    """
    looks = x.device.type == "cpu" and request.reach is not None and not request.native
    # A dispatch mode is that of a trace, to which the look would be a decision.
    looks = looks and _get_current_dispatch_mode() is None
    back_end = reference if looks and not x.isfinite().all() else gathered
    return back_end.forward(x, weight, positions, bias, request.geometry, sigma)


def _reach_now(positions: Tensor, request: Request, sigma: Tensor | None) -> Reach:
    """The reach to compute with: the one kept may be older than what is written through `.data`, uncounted.

    While a CUDA graph is captured nothing can be read.
    """
    span = request.reach
    if has_version(positions) and not (positions.is_cuda and torch.cuda.is_current_stream_capturing()):
        span = _try_reach(positions, request.geometry, sigma)
    assert span is not None
    return span


def read_reach(positions: Tensor, geometry: Geometry, sigma: Tensor | None) -> Reach | None:
    """The reach of the positions, or None where their values cannot be read.

    The answer is kept with the tensor until its storage or version changes, so that one look per optimiser step
    suffices to choose a back end, and none where positions stay.
    """
    if torch.compiler.is_compiling() or positions.is_meta:
        return None
    if not has_version(positions):
        return _try_reach(positions, geometry, sigma)
    key = (version_of(positions), geometry, sigma is None)
    kept = _REACHES.get(positions)
    if kept is None or kept[0] != key:
        kept = _REACHES[positions] = key, _try_reach(positions, geometry, sigma)
    return kept[1]


_REACHES = WeakTensorKeyDictionary()  # no attribute of the tensor, which would be saved with it


def _try_reach(positions: Tensor, geometry: Geometry, sigma: Tensor | None) -> Reach | None:
    try:
        return dense.reach(positions, geometry, sigma)
    except RuntimeError:  # fake tensors and vmap have no values to read
        return None
