"""The full version on CPUs: a direct sparse convolution, by compiled loops.

With a shape per kernel and channel no sample serves two kernels, so there is no column and no product of matrices.
But a tap is four shifted multiply-adds, wherever it lies: sums of planes in registers, input rows in the cache. Only
the inputs are needed for the backward pass. The idea is SkimCaffe's (arXiv 1608.01409).
"""

from __future__ import annotations

import torch
from torch import Tensor

from icnn_core.ops.compiled.team import NARROW, find_pass, reasons_against, run
from icnn_core.ops.geometry import Geometry, window


def unsupported_reasons(dtype: torch.dtype, device: torch.device, *, shared: bool) -> list[str]:
    """Why this back end cannot serve a call; empty if it can. `shared`: the positions have 3 axes, not 4."""
    reasons = reasons_against(dtype, device)
    if shared:
        reasons.append("kernels share shapes, so samples can serve all of them")
    return reasons


def forward(
    x: Tensor,
    weight: Tensor,
    positions: Tensor,
    sigma: Tensor | None,
    bias: Tensor | None,
    geometry: Geometry,
) -> Tensor:
    """As `reference.forward`, for positions of 4 axes, on the CPU; bfloat16 and float16 are rounded at the end.

    `sigma` has the shape of positions, and lies in `geometry.SIGMA_RANGE`.
    """
    if x.dtype in NARROW:
        bias = None if bias is None else bias.float()
        return forward(x.float(), weight.float(), positions, sigma, bias, geometry).to(x.dtype)
    out = x.new_empty(geometry.batch, geometry.out_channels, *geometry.output_size)
    tensors = {"source": x, "weight": weight, "bias": bias, "target": out}
    _run("planes", tensors, positions, sigma, geometry)
    return out


def backward(
    grad_out: Tensor,
    x: Tensor,
    weight: Tensor,
    positions: Tensor,
    sigma: Tensor | None,
    geometry: Geometry,
    needs: tuple[bool, ...],
) -> tuple[Tensor | None, ...]:
    """Gradients of x, weight, positions, sigma and bias; None where `needs` says no."""
    if x.dtype in NARROW:
        wide = backward(grad_out.float(), x.float(), weight.float(), positions, sigma, geometry, needs)
        width = positions.dtype if sigma is None else sigma.dtype
        dtypes = x.dtype, weight.dtype, positions.dtype, width, weight.dtype
        return tuple(None if g is None else g.to(dtype) for g, dtype in zip(wide, dtypes, strict=True))
    needs_x, needs_weight, needs_positions, needs_sigma, needs_bias = needs
    grad_x = x.new_zeros(x.shape) if needs_x else None
    if needs_x:
        tensors = {"source": grad_out, "weight": weight, "target": grad_x}
        _run("planes", tensors, positions, sigma, geometry, back=True)
    precise = torch.promote_types(positions.dtype, torch.float32)
    made = {"grad_weight": weight.new_zeros(weight.shape) if needs_weight else None}
    for name, need in (("grad_positions", needs_positions), ("grad_sigma", needs_sigma)):
        made[name] = positions.new_zeros(positions.shape, dtype=precise) if need else None
    if needs_weight or needs_positions or needs_sigma:
        tensors = {"source": x, "weight": weight, "grad_out": grad_out}
        _run("products", tensors | made, positions, sigma, geometry)
    grad_weight, grad_positions, grad_sigma = made.values()
    grad_positions = None if grad_positions is None else grad_positions.to(positions.dtype)
    grad_sigma = None if grad_sigma is None or sigma is None else grad_sigma.to(sigma.dtype)
    grad_bias = grad_out.sum((0, 2, 3)) if needs_bias else None
    return grad_x, grad_weight, grad_positions, grad_sigma, grad_bias


def _run(
    name: str,
    tensors: dict[str, Tensor | None],
    positions: Tensor,
    sigma: Tensor | None,
    geometry: Geometry,
    *,
    back: bool = False,
) -> None:
    """Describe one pass to the compiled code and run it."""
    from icnn_core.ops.sparse.job import plan_planes, plan_products

    weight = tensors["weight"]
    assert weight is not None
    if geometry.batch == 0:
        return
    threads, spread = torch.get_num_threads(), window(sigma)
    if name == "planes":
        plan = plan_planes(geometry, spread, back, weight.element_size(), threads)
    else:
        plan = plan_products(geometry, spread, weight.element_size(), threads)
    threads = min(threads, plan.units)
    precise = torch.promote_types(positions.dtype, torch.float32)
    tensors |= {"positions": positions.to(precise), "sigma": None if sigma is None else sigma.to(precise)}
    held = {field: tensor.detach().contiguous() for field, tensor in tensors.items() if tensor is not None}
    held["counters"] = torch.zeros(2, dtype=torch.int64)
    held["scratch"] = torch.empty(threads * int(plan.record["scratch_bytes"]), dtype=torch.uint8)
    numbers = {field: tensor.data_ptr() for field, tensor in held.items()}
    numbers["precise"] = int(precise == torch.float64)
    code = f"sparse.{name}.{'bilinear' if sigma is None else 'gaussian'}"
    run(find_pass(code, weight.dtype), plan.pack(numbers), threads)
