"""Launching the kernels: workspaces, grids, and the second stage of the sums. Imports Triton."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from icnn_core.ops.fused import gather_kernels, matrix_kernels
from icnn_core.ops.fused.device import blocks, device_guard, launch, run_tuned, split_sum, workspace_bytes
from icnn_core.ops.fused.operands import Rows, pad_rows, split_positions, to_planes, to_quads
from icnn_core.ops.fused.sizes import (
    Chunk,
    ceil_div,
    cut_column,
    is_depthwise,
    kernels_per_group,
    lanes,
    rows_per_group,
)  # fmt: skip
from icnn_core.ops.fused.tuning import Config
from icnn_core.ops.geometry import Geometry

Needs = Sequence[bool]
_LANES = 256  # a block of the kernels without a matrix product
_Three = tuple[Tensor | None, Tensor | None, Tensor | None]


def forward(x: Tensor, weight: Tensor, positions: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    out = x.new_empty((geometry.batch, geometry.out_channels, *geometry.output_size))
    if out.numel() == 0:
        return out
    with device_guard(x.device):
        planes = to_planes(x)
        rows = split_positions(positions, geometry, planes.shape[2])
        serve = _depthwise if is_depthwise(geometry) else _matrix
        serve(planes, pad_rows(weight, geometry), bias, out, rows, geometry)
    return out


def backward(
    grad_out: Tensor, x: Tensor, weight: Tensor, positions: Tensor, geometry: Geometry, needs: Needs
) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
    by_bias = grad_out.sum((0, 2, 3)) if needs[3] else None
    if grad_out.numel() == 0:
        tensors = zip((x, weight, positions), needs[:3], strict=True)
        by_x, by_weight, by_positions = (t.new_zeros(t.shape) if need else None for t, need in tensors)
        return by_x, by_weight, by_positions, by_bias
    if not any(needs[:3]):
        return None, None, None, by_bias
    with device_guard(x.device):
        planes = to_planes(x)
        rows = split_positions(positions, geometry, planes.shape[2])
        serve = _depthwise_gradients if is_depthwise(geometry) else _matrix_gradients
        by_x, by_weight, by_row = serve(grad_out, planes, pad_rows(weight, geometry), rows, geometry, needs)
        if by_weight is not None:
            by_weight = by_weight[:, : rows_per_group(geometry)].reshape(weight.shape).to(weight.dtype)
        by_positions = None if by_row is None else _to_positions(by_row, positions)
    return by_x, by_weight, by_positions, by_bias


def _matrix(
    planes: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor, rows: Rows, geometry: Geometry
) -> None:
    def serve(config: Config) -> None:
        tiles = ceil_div(lanes(*geometry.output_size), config.pixels // 4)
        all_tiles = tiles * geometry.batch
        launch(
            matrix_kernels.forward_kernel,
            ceil_div(kernels_per_group(geometry), config.kernels) * all_tiles * geometry.groups,
            planes, weight, bias, out, *rows, rows.total, kernels_per_group(geometry), rows_per_group(geometry),
            weight.shape[1], geometry.in_channels, planes.shape[2], tiles, all_tiles,
            *geometry.input_size, *geometry.output_size, *geometry.stride,
            HAS_BIAS=bias is not None, SHARED=geometry.stride[0] == 1, **blocks(config, planes.dtype),
        )  # fmt: skip

    run_tuned("forward", planes, _sizes(geometry), serve)


def _depthwise(
    planes: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor, rows: Rows, geometry: Geometry
) -> None:
    tiles = ceil_div(lanes(*geometry.output_size), _LANES)
    launch(
        gather_kernels.depthwise_kernel, geometry.batch * geometry.out_channels * tiles,
        planes, weight, bias, out, *rows, rows.total,
        geometry.taps, geometry.out_channels, geometry.in_channels, planes.shape[2], tiles,
        *geometry.input_size, *geometry.output_size, *geometry.stride,
        HAS_BIAS=bias is not None, SHARED=geometry.stride[0] == 1, MULTIPLIER=kernels_per_group(geometry),
        LANES=_LANES,
    )  # fmt: skip


def _depthwise_gradients(
    grad_out: Tensor, planes: Tensor, weight: Tensor, rows: Rows, geometry: Geometry, needs: Needs
) -> _Three:
    """The gradients of x, as an image; of the weight, as it came, float32; of positions, (2, rows), float32."""
    by_x = _empty_image(planes, geometry) if needs[0] else None
    everything = Chunk(0, geometry.batch, 0, geometry.groups, 0, geometry.taps)
    by_row, by_weight = _gather(to_planes(grad_out), planes, weight, rows, geometry, everything, by_x, needs)
    return by_x, None if by_weight is None else by_weight.view_as(weight), by_row


def _matrix_gradients(
    grad_out: Tensor, planes: Tensor, weight: Tensor, rows: Rows, geometry: Geometry, needs: Needs
) -> _Three:
    """As `_depthwise_gradients`."""
    by_x = _empty_image(planes, geometry) if needs[0] else None
    by_weight = _by_weight(to_quads(grad_out), planes, weight, rows, geometry) if needs[1] else None
    by_row = torch.zeros_like(rows.fraction) if needs[2] else None
    if by_x is not None or by_row is not None:
        grad_planes = to_planes(grad_out)
        plane_bytes = grad_planes.shape[2] * grad_planes.element_size()
        for chunk in cut_column(geometry, plane_bytes, workspace_bytes(planes.device)):
            column = _column(grad_planes, weight, chunk, geometry)
            part, _ = _gather(column, planes, None, rows, geometry, chunk, by_x, needs)
            if by_row is not None and part is not None:
                first = chunk.first_group * rows_per_group(geometry) + chunk.first_row
                by_row[:, first : first + chunk.groups * chunk.rows] += part
    return by_x, by_weight, by_row


def _by_weight(grad_quads: Tensor, planes: Tensor, weight: Tensor, rows: Rows, geometry: Geometry) -> Tensor:
    def serve(config: Config) -> Tensor:
        tiles = ceil_div(lanes(*geometry.output_size), config.pixels // 4)
        all_tiles = tiles * geometry.batch
        wide = ceil_div(kernels_per_group(geometry), config.kernels)
        programs = wide * ceil_div(rows_per_group(geometry), config.rows) * geometry.groups
        parts, per_part = split_sum(all_tiles, programs, weight.numel(), planes.device)
        partial = torch.empty((parts, *weight.shape), dtype=torch.float32, device=planes.device)
        launch(
            matrix_kernels.weight_kernel, programs * parts, grad_quads, planes, partial, *rows,
            rows.total, kernels_per_group(geometry), rows_per_group(geometry), weight.shape[1], geometry.groups,
            geometry.in_channels, tiles, all_tiles, per_part, *geometry.input_size, *geometry.output_size,
            *geometry.stride, planes.shape[2], grad_quads.shape[2],
            SHARED=geometry.stride[0] == 1, **blocks(config, planes.dtype),
        )  # fmt: skip
        return partial

    return run_tuned("weight", planes, _sizes(geometry), serve).sum(0)


def _column(grad_planes: Tensor, weight: Tensor, chunk: Chunk, geometry: Geometry) -> Tensor:
    """weightᵀ · grad_out, the gradient of a chunk's samples: planes (images, groups · rows, pitch)."""
    pitch = grad_planes.shape[2]
    column = grad_planes.new_empty((chunk.images, chunk.groups * chunk.rows, pitch))

    def serve(config: Config) -> None:
        tiles = ceil_div(pitch, config.pixels)
        all_tiles = tiles * chunk.images
        launch(
            matrix_kernels.column_kernel, ceil_div(chunk.rows, config.rows) * all_tiles * chunk.groups,
            grad_planes, weight, column, kernels_per_group(geometry), weight.shape[1], geometry.groups,
            chunk.first_group, chunk.first_row, chunk.groups, chunk.rows, chunk.first_image, tiles, all_tiles, pitch,
            **blocks(config, column.dtype),
        )  # fmt: skip

    run_tuned("column", grad_planes, _sizes(geometry), serve)
    return column


def _gather(
    source: Tensor,
    planes: Tensor,
    weight: Tensor | None,
    rows: Rows,
    geometry: Geometry,
    chunk: Chunk,
    by_x: Tensor | None,
    needs: Needs,
) -> tuple[Tensor | None, Tensor | None]:
    """Write a chunk's part of `by_x`; return the gradients by position, (2, groups · rows), and weight, (C_out · K,).

    With a weight (depthwise) the source is grad_out's planes, else a column.
    """
    block = _LANES if geometry.stride == (1, 1) else _LANES // 2  # at strides a lane holds more
    tiles = ceil_div(lanes(*geometry.input_size), block)
    parts, count = tiles * chunk.images, chunk.groups * chunk.rows
    channels, multiplier = count // geometry.taps, 1 if weight is None else kernels_per_group(geometry)
    first_channel = (chunk.first_group * rows_per_group(geometry) + chunk.first_row) // geometry.taps
    empty = rows.fraction.new_empty
    by_position = empty((parts, 2, count)) if needs[2] else None
    by_weight = empty((parts, count * multiplier)) if needs[1] and weight is not None else None
    launch(
        gather_kernels.gather_kernel, parts * channels,
        source, planes, weight, by_x, by_position, by_weight, rows.corner, rows.fraction,
        rows.total, geometry.taps, geometry.in_channels, chunk.first_image, first_channel, channels, tiles,
        *geometry.input_size, *geometry.output_size, planes.shape[2], source.shape[2],
        STRIDE_Y=geometry.stride[0], STRIDE_X=geometry.stride[1], DEPTHWISE=weight is not None,
        MULTIPLIER=multiplier, TO_X=by_x is not None, TO_POSITIONS=by_position is not None,
        TO_WEIGHT=by_weight is not None, LANES=block,
    )  # fmt: skip
    return _total(by_position), _total(by_weight)


def _total(partial: Tensor | None) -> Tensor | None:
    return None if partial is None else partial.sum(0)


def _to_positions(by_row: Tensor, positions: Tensor) -> Tensor:
    """(2, C_in · K) -> positions' shape and dtype, summed over the channels where they share one shape."""
    by_channel = by_row.view(2, -1, positions.shape[1])
    if positions.shape[0] == 1:
        by_channel = by_channel.sum(1, keepdim=True)
    return by_channel.permute(1, 2, 0).to(positions.dtype).contiguous()


def _sizes(geometry: Geometry) -> tuple[int, ...]:
    """What decides which configuration is fastest."""
    per_group = kernels_per_group(geometry), rows_per_group(geometry)
    return *per_group, geometry.groups, geometry.batch, lanes(*geometry.output_size)


def _empty_image(planes: Tensor, geometry: Geometry) -> Tensor:
    return planes.new_empty((geometry.batch, geometry.in_channels, *geometry.input_size))
