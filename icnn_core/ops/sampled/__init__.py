"""The fast back end on CPUs: columns sampled by compiled loops, in tiles that fit the cache, then BLAS.

A tap reads the same offset at every output pixel, so a channel's samples for one tap are shifted rows, blended: long
loops of vector instructions without index arithmetic. Only the inputs are needed for the backward pass. Numba compiles
the loops when they are first called and keeps the result on disk.
"""

from __future__ import annotations

import torch
from torch import Tensor

from icnn_core.ops.compiled.team import NARROW, find_gemm, find_pass, reasons_against, run
from icnn_core.ops.geometry import Geometry, split_anchors
from icnn_core.ops.kept import keep
from icnn_core.ops.sampled.job import make_plan

_FARTHEST = 2.0**40  # pixels: beyond any image, and far from overflow


def unsupported_reasons(
    dtype: torch.dtype, device: torch.device, *, shared: bool, gaussian: bool = False
) -> list[str]:
    """Why this back end cannot serve a call; empty if it can. `shared`: the positions have 3 axes, not 4."""
    reasons = reasons_against(dtype, device)
    if not shared:
        reasons.append("every kernel has shapes of its own, so no column of samples serves two of them")
    if gaussian:
        reasons.append("it interpolates bilinearly")
    return reasons


def forward(x: Tensor, weight: Tensor, positions: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """As `reference.forward`, for positions of 3 axes, on the CPU; bfloat16 and float16 are rounded at the end."""
    if x.dtype in NARROW:
        bias = None if bias is None else bias.float()
        return forward(x.float(), weight.float(), positions, bias, geometry).to(x.dtype)
    out = x.new_empty(geometry.batch, geometry.out_channels, *geometry.output_size)
    tensors: dict[str, Tensor | None] = {"x": x, "weight": weight, "bias": bias, "out": out}
    _run("forward", tensors, positions, geometry)
    return out


def backward(
    grad_out: Tensor,
    x: Tensor,
    weight: Tensor,
    positions: Tensor,
    geometry: Geometry,
    needs: tuple[bool, bool, bool, bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of x, weight, positions and bias; None where `needs` says no."""
    if x.dtype in NARROW:
        wide = backward(grad_out.float(), x.float(), weight.float(), positions, geometry, needs)
        dtypes = x.dtype, weight.dtype, positions.dtype, weight.dtype
        gradients = (None if g is None else g.to(dtype) for g, dtype in zip(wide, dtypes, strict=True))
        by_x, by_weight, by_positions, by_bias = gradients
        return by_x, by_weight, by_positions, by_bias
    needs_x, needs_weight, needs_positions, needs_bias = needs
    tensors: dict[str, Tensor | None] = {"grad_out": grad_out, "x": x, "weight": weight}
    tensors["grad_x"] = x.new_empty(x.shape) if needs_x else None
    tensors["grad_weight"] = weight.new_zeros(weight.shape) if needs_weight else None
    by_channel = x.new_zeros(geometry.in_channels, geometry.taps, 2, dtype=torch.float64)
    tensors["grad_positions"] = by_channel if needs_positions else None
    if needs_x or needs_weight or needs_positions:
        _run("backward", tensors, positions, geometry)
    by_shape = by_channel if positions.shape[0] > 1 else by_channel.sum(0, keepdim=True)
    grad_positions = by_shape.to(positions.dtype) if needs_positions else None
    grad_bias = grad_out.sum((0, 2, 3)) if needs_bias else None
    return tensors["grad_x"], tensors["grad_weight"], grad_positions, grad_bias


def _run(name: str, tensors: dict[str, Tensor | None], positions: Tensor, geometry: Geometry) -> None:
    """Describe one pass to the compiled code and run it."""
    x = tensors["x"]
    assert x is not None
    if x.numel() == 0:
        return
    threads = torch.get_num_threads()
    plan = make_plan(name, geometry, positions.shape[0], x.element_size(), threads)
    threads = min(threads, plan.units)
    key = geometry.centre, geometry.padding, x.dtype
    floors, fractions = keep("sampled", [positions], key, lambda: _split(positions, geometry, x.dtype))
    held = {field: tensor.contiguous() for field, tensor in tensors.items() if tensor is not None}
    held |= {"floors": floors, "fractions": fractions}
    held["counters"] = torch.zeros(2, dtype=torch.int64)
    held["scratch"] = torch.empty(threads * plan.record["scratch_bytes"], dtype=torch.uint8)
    numbers = {field: tensor.data_ptr() for field, tensor in held.items()}
    numbers |= {f"needs_{field}": int(f"grad_{field}" in held) for field in ("x", "weight", "positions")}
    numbers["gemm"] = find_gemm(x.dtype)
    run(find_pass(plan.code, x.dtype), plan.pack(numbers), threads)


def _split(positions: Tensor, geometry: Geometry, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Where the taps of the first output lie: whole pixels, int64, and fractions."""
    floor, fraction = split_anchors(positions.detach(), geometry)
    floor = floor.nan_to_num(0.0).clamp(-_FARTHEST, _FARTHEST).long() - torch.tensor(geometry.padding)
    return floor.contiguous(), fraction.to(dtype).contiguous()
