"""The two passes: workspaces, launches and products, step by step. Imports Triton."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from icnn_core.ops.fused import launches, plans, products, tuning
from icnn_core.ops.fused.launching import device_guard, precision, workspace_bytes
from icnn_core.ops.fused.plans import Call, Step
from icnn_core.ops.fused.remembered import where
from icnn_core.ops.fused.sizes import is_narrow, kernels_per_group
from icnn_core.ops.geometry import Geometry

Needs = Sequence[bool]
_NO_STRIDE = (0, 0, 0, 0)


def forward(
    x: Tensor, weight: Tensor, positions: Tensor, bias: Tensor | None, geometry: Geometry, out: Tensor
) -> Tensor:
    """Fills `out`, contiguous or channels_last."""
    tensors = x, weight.contiguous(), positions.contiguous(), bias, out
    call, kernels = _call(geometry, x, out, None, positions), kernels_per_group(geometry)
    with device_guard(x.device), products.as_convolutions(x.dtype):
        if is_narrow(geometry):
            return _directly(call, None, *tensors)
        if kernels > tuning.MOST_KERNELS:
            return _by_columns(call, *tensors)
        blocks = tuning.candidates(kernels)
        ways = {str(block): functools.partial(_directly, call, block, *tensors) for block in blocks}
        key = f"{where(x.device)}|{x.dtype}|{precision(x.dtype)}|{blocks[0].kernels} kernels"
        return tuning.run_fastest(key, {**ways, "columns": lambda: _by_columns(call, *tensors)}, x.device)


def _directly(
    call: Call,
    block: tuning.Config | None,
    x: Tensor,
    weight: Tensor,
    positions: Tensor,
    bias: Tensor | None,
    out: Tensor,
) -> Tensor:
    """By one kernel that samples and multiplies, without a column."""
    for step in plans.directly(call, block, precision(x.dtype)):
        assert step.last is not None
        planes = _planes(step, x[step.images])
        step.last(planes, positions, weight, bias, out[step.images])
        del planes  # before the next are made
    return out


def _by_columns(
    call: Call, x: Tensor, weight: Tensor, positions: Tensor, bias: Tensor | None, out: Tensor
) -> Tensor:
    by_group = weight.view(call.geometry.groups, kernels_per_group(call.geometry), -1)
    total: Tensor | None = None
    for step in plans.columns(call):
        column = _column(step, _planes(step, x[step.images, step.channels]), positions, x.dtype)
        weights, target = by_group[step.groups, :, step.rows], out[step.images, step.kernels]
        added = None if bias is None else bias[step.kernels]
        if weights.shape[2] == by_group.shape[2]:
            products.write_outputs(weights, column, added, target)
        else:  # a part of the channels: summed in float32
            part = products.outputs(weights, column, None)
            total = part.float() if total is None else total.add_(part)
            del part
            if step.rows.stop == by_group.shape[2]:
                products.store(total if added is None else total.add_(added), target)
                total = None
        del column  # before the next is made
    return out


def backward(
    grad_out: Tensor,
    x: Tensor,
    weight: Tensor,
    positions: Tensor,
    geometry: Geometry,
    needs: Needs,
    by_x: Tensor | None,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Fills `by_x`; returns it, and the gradients of weight and positions."""
    tensors = grad_out, x, weight.contiguous(), positions.contiguous()
    tiles, by_position = launches.gather_tiles(geometry)[1], None
    if needs[2]:
        shape = geometry.batch, tiles, geometry.in_channels, geometry.taps, 2
        by_position = torch.empty(shape, dtype=torch.float32, device=x.device)
    call = _call(geometry, x, grad_out, by_x, positions)
    serve = _narrow_gradients if is_narrow(geometry) else _column_gradients
    with device_guard(x.device), products.as_convolutions(x.dtype):
        by_weight = serve(call, *tensors, needs[1], by_x, by_position)
        if by_weight is not None:
            by_weight = by_weight.to(weight.dtype).view(weight.shape)
        if by_position is None:
            return by_x, by_weight, None
        over = (0, 1) if call.position_step or geometry.in_channels == 1 else (0, 1, 2)
        return by_x, by_weight, by_position.sum(over).to(positions.dtype).view(positions.shape)


def _narrow_gradients(
    call: Call, grad_out: Tensor, x: Tensor, weight: Tensor, positions: Tensor, needs_weight: bool,
    by_x: Tensor | None, by_position: Tensor | None,
) -> Tensor | None:  # fmt: skip
    """Fills `by_x` and `by_position`; returns weight's gradient, of any shape."""
    shape = call.geometry.batch, launches.gather_tiles(call.geometry)[1], weight.numel()
    by_weight = torch.empty(shape, dtype=torch.float32, device=x.device) if needs_weight else None
    for step in plans.gradients(call):
        assert step.copy_grads is not None
        grads = torch.empty(step.grads, dtype=x.dtype, device=x.device)
        step.copy_grads(grad_out[step.images], grads)
        planes = _planes(step, x[step.images]) if needs_weight or by_position is not None else None
        parts = None if by_weight is None else by_weight[step.images]
        _gather(step, grads, planes, positions, weight, by_x, by_position, parts)
        del grads, planes  # before the next are made
    return None if by_weight is None else by_weight.sum((0, 1))


def _column_gradients(
    call: Call, grad_out: Tensor, x: Tensor, weight: Tensor, positions: Tensor, needs_weight: bool,
    by_x: Tensor | None, by_position: Tensor | None,
) -> Tensor | None:  # fmt: skip
    """As `_narrow_gradients`. One workspace holds first the column, then its gradient."""
    by_group = weight.view(call.geometry.groups, kernels_per_group(call.geometry), -1)
    steps, by_weight, grads = plans.gradients(call), None, grad_out
    alone = steps[0].images.stop == call.geometry.batch
    if needs_weight:
        by_weight = torch.empty_like(by_group, dtype=weight.dtype if alone else torch.float32)
    for step in steps:
        if step.copy_grads is not None:
            grads = torch.empty(step.grads, dtype=x.dtype, device=x.device)
            step.copy_grads(grad_out[step.images], grads)
        planes, column = None, None
        if needs_weight or by_position is not None:
            planes = _planes(step, x[step.images, step.channels])
        if by_weight is not None and planes is not None:
            column = _column(step, planes, positions, x.dtype)
            target = by_weight[step.groups, :, step.rows]
            if alone:
                products.weight_gradient(grads[step.groups], column, target)
            elif step.images.start == 0:
                target.copy_(products.weight_gradient(grads[step.groups], column))
            else:
                target.add_(products.weight_gradient(grads[step.groups], column))
        if by_x is not None or by_position is not None:
            column = torch.empty(step.column, dtype=x.dtype, device=x.device) if column is None else column
            products.column_gradient(by_group[step.groups, :, step.rows], grads[step.groups], column)
            _gather(step, column, planes, positions, None, by_x, by_position, None)
        del planes, column  # before the next are made
    return by_weight


def _planes(step: Step, image: Tensor) -> Tensor:
    """x's images and channels of a step, as words where x has 2 bytes."""
    dtype = torch.int32 if image.element_size() == 2 else image.dtype
    planes = torch.empty(step.planes, dtype=dtype, device=image.device)
    step.copy(image, planes)
    return planes


def _column(step: Step, planes: Tensor, positions: Tensor, dtype: torch.dtype) -> Tensor:
    """(rows, pixels), of samples."""
    assert step.sample is not None
    column = torch.empty(step.column, dtype=dtype, device=planes.device)
    step.sample(planes, _of_channels(positions, step), column)
    return column if step.pixels == step.column[1] else column[:, : step.pixels]


def _gather(
    step: Step, source: Tensor, planes: Tensor | None, positions: Tensor, weight: Tensor | None,
    by_x: Tensor | None, by_position: Tensor | None, by_weight: Tensor | None,
) -> None:  # fmt: skip
    assert step.last is not None
    step.last(
        source, planes, _of_channels(positions, step), weight,
        None if by_x is None else by_x[step.images, step.channels],
        None if by_position is None else by_position[step.images, :, step.channels], by_weight,
    )  # fmt: skip


def _of_channels(positions: Tensor, step: Step) -> Tensor:
    return positions[step.channels] if positions.shape[0] > 1 else positions


def _call(geometry: Geometry, x: Tensor, out: Tensor, by_x: Tensor | None, positions: Tensor) -> Call:
    step = geometry.taps if positions.shape[0] > 1 else 0
    strides = x.stride(), out.stride(), _NO_STRIDE if by_x is None else by_x.stride()
    return Call(geometry, x.dtype, *strides, step, workspace_bytes(x.device), x.device.index)
