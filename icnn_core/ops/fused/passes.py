"""Launching the kernels: workspaces, grids, and the second stage of the sums. Imports Triton."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as functional
import triton
from torch import Tensor

from icnn_core.ops.fused import kernels
from icnn_core.ops.fused.device import blocks, device_guard, launch, run_tuned, split_sum, workspace_bytes
from icnn_core.ops.fused.tuning import Config
from icnn_core.ops.geometry import Geometry

Needs = Sequence[bool]
_LANES = 256  # of a block of the kernels without a matrix product
_Three = tuple[Tensor | None, Tensor | None, Tensor | None]


class _Rows(NamedTuple):
    """Where the taps fall, on the device: plane (rows,), corner (2, rows), fraction (2, rows). See `split_kernel`."""

    plane: Tensor
    corner: Tensor
    fraction: Tensor

    @property
    def total(self) -> int:
        return self.plane.numel()


class _Chunk(NamedTuple):
    """A part of the column: some images, and `rows` rows from `first_row` of each of `groups` groups."""

    first_image: int
    images: int
    first_group: int
    groups: int
    first_row: int
    rows: int


def forward(x: Tensor, weight: Tensor, positions: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    out = x.new_empty((geometry.batch, geometry.out_channels, *geometry.output_size))
    if out.numel() == 0:
        return out
    with device_guard(x.device):
        planes = _planes(x)
        rows = _split(positions, geometry, planes.shape[2])
        serve = _depthwise if _is_depthwise(geometry) else _matrix
        serve(planes, _padded_rows(weight, geometry), bias, out, rows, geometry)
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
        planes = _planes(x)
        rows = _split(positions, geometry, planes.shape[2])
        serve = _depthwise_gradients if _is_depthwise(geometry) else _matrix_gradients
        padded = _padded_rows(weight, geometry)
        by_x, by_weight, by_row = serve(grad_out, planes, padded, rows, geometry, needs)
        if by_weight is not None:
            by_weight = by_weight[:, : _group_rows(geometry)].reshape(weight.shape).to(weight.dtype)
        by_positions = None if by_row is None else _to_positions(by_row, positions)
    return by_x, by_weight, by_positions, by_bias


def _planes(image: Tensor) -> Tensor:
    """(N, C, H, W) of any strides -> planes, (N, C, pitch); see kernels.py."""
    height, width = image.shape[2:]
    return _copy(image, (height + 2) * (width + 2) + 1, to_quads=False)


def _quads(image: Tensor) -> Tensor:
    """(N, C, H, W) of any strides -> quads, (N, C, pitch); see kernels.py."""
    return _copy(image, 4 * _lanes(image.shape[2], image.shape[3]), to_quads=True)


def _copy(image: Tensor, elements: int, *, to_quads: bool) -> Tensor:
    batch, channels, height, width = image.shape
    pitch = triton.cdiv(elements, 16) * 16  # so that 16 bytes of any dtype are aligned
    copy = image.new_empty((batch, channels, pitch))
    tiles = triton.cdiv(pitch, 256)
    launch(
        kernels.copy_kernel, batch * triton.cdiv(channels, 16) * tiles,
        image, copy, channels, height, width, tiles, *image.stride(), pitch,
        TO_QUADS=to_quads, CHANNELS=16, PIXELS=256, num_warps=8,
    )  # fmt: skip
    return copy


def _padded_rows(weight: Tensor, geometry: Geometry) -> Tensor:
    """(C_out, C_in/groups, kH, kW) -> (C_out, row pitch), contiguous, with zeros up to a multiple of 16 rows."""
    missing = 0 if _is_depthwise(geometry) else -_group_rows(geometry) % 16
    rows = weight.flatten(1)
    return functional.pad(rows, (0, missing)) if missing else rows.contiguous()


def _split(positions: Tensor, geometry: Geometry, pitch: int) -> _Rows:
    device, count = positions.device, geometry.in_channels * geometry.taps
    rows = _Rows(
        plane=torch.empty(count, dtype=torch.int64, device=device),
        corner=torch.empty((2, count), dtype=torch.int32, device=device),
        fraction=torch.empty((2, count), dtype=torch.float32, device=device),
    )
    spans = zip(geometry.output_size, geometry.stride, strict=True)
    lowest = [-(size - 1) * stride - 1 for size, stride in spans]
    highest = [size + 1 for size in geometry.input_size]
    launch(
        kernels.split_kernel, triton.cdiv(count, 256), positions.contiguous(), *rows,
        count, positions.numel() // 2, geometry.taps, pitch, *geometry.centre, *geometry.padding, *lowest, *highest,
        BLOCK=256,
    )  # fmt: skip
    return rows


def _matrix(
    planes: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor, rows: _Rows, geometry: Geometry
) -> None:
    def serve(config: Config) -> None:
        tiles = triton.cdiv(_lanes(*geometry.output_size), config.pixels // 4)
        all_tiles = tiles * geometry.batch
        launch(
            kernels.forward_kernel,
            triton.cdiv(_kernels(geometry), config.kernels) * all_tiles * geometry.groups,
            planes, weight, bias, out, *rows, rows.total, _kernels(geometry), _group_rows(geometry),
            weight.shape[1], geometry.in_channels, planes.shape[2], tiles, all_tiles,
            *geometry.input_size, *geometry.output_size, *geometry.stride,
            HAS_BIAS=bias is not None, SHARED=geometry.stride[0] == 1, **blocks(config, planes.dtype),
        )  # fmt: skip

    run_tuned("forward", planes, _sizes(geometry), serve)


def _depthwise(
    planes: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor, rows: _Rows, geometry: Geometry
) -> None:
    tiles = triton.cdiv(_lanes(*geometry.output_size), _LANES)
    launch(
        kernels.depthwise_kernel, geometry.batch * geometry.out_channels * tiles, planes, weight, bias, out, *rows,
        rows.total, geometry.taps, geometry.out_channels, geometry.in_channels, planes.shape[2], tiles,
        *geometry.input_size, *geometry.output_size, *geometry.stride,
        HAS_BIAS=bias is not None, SHARED=geometry.stride[0] == 1, MULTIPLIER=_kernels(geometry), LANES=_LANES,
    )  # fmt: skip


def _depthwise_gradients(
    grad_out: Tensor, planes: Tensor, weight: Tensor, rows: _Rows, geometry: Geometry, needs: Needs
) -> _Three:
    """The gradients of x, as an image; of the weight, as it came, float32; of the rows' positions, (2, rows), float32."""
    by_x = _empty_image(planes, geometry) if needs[0] else None
    everything = _Chunk(0, geometry.batch, 0, geometry.groups, 0, geometry.taps)
    by_row, by_weight = _gather(_planes(grad_out), planes, weight, rows, geometry, everything, by_x, needs)
    return by_x, None if by_weight is None else by_weight.view_as(weight), by_row


def _matrix_gradients(
    grad_out: Tensor, planes: Tensor, weight: Tensor, rows: _Rows, geometry: Geometry, needs: Needs
) -> _Three:
    """As `_depthwise_gradients`."""
    by_x = _empty_image(planes, geometry) if needs[0] else None
    by_weight = _by_weight(_quads(grad_out), planes, weight, rows, geometry) if needs[1] else None
    by_row = torch.zeros_like(rows.fraction) if needs[2] else None
    if by_x is not None or by_row is not None:
        grad_planes = _planes(grad_out)
        plane_bytes = grad_planes.shape[2] * grad_planes.element_size()
        for chunk in _chunks(geometry, plane_bytes, workspace_bytes(planes.device)):
            column = _column(grad_planes, weight, chunk, geometry)
            part, _ = _gather(column, planes, None, rows, geometry, chunk, by_x, needs)
            if by_row is not None and part is not None:
                first = chunk.first_group * _group_rows(geometry) + chunk.first_row
                by_row[:, first : first + chunk.groups * chunk.rows] += part
    return by_x, by_weight, by_row


def _by_weight(grad_quads: Tensor, planes: Tensor, weight: Tensor, rows: _Rows, geometry: Geometry) -> Tensor:
    def serve(config: Config) -> Tensor:
        tiles = triton.cdiv(_lanes(*geometry.output_size), config.pixels // 4)
        all_tiles = tiles * geometry.batch
        wide, tall = (
            triton.cdiv(_kernels(geometry), config.kernels),
            triton.cdiv(_group_rows(geometry), config.rows),
        )
        programs = wide * tall * geometry.groups
        parts, per_part = split_sum(all_tiles, programs, weight.numel(), planes.device)
        partial = torch.empty((parts, *weight.shape), dtype=torch.float32, device=planes.device)
        launch(
            kernels.weight_kernel, programs * parts, grad_quads, planes, partial, *rows,
            rows.total, _kernels(geometry), _group_rows(geometry), weight.shape[1], geometry.groups, geometry.in_channels, tiles,
            all_tiles, per_part, *geometry.input_size, geometry.output_size[1], *geometry.stride, planes.shape[2],
            grad_quads.shape[2], SHARED=geometry.stride[0] == 1, **blocks(config, planes.dtype),
        )  # fmt: skip
        return partial

    return run_tuned("weight", planes, _sizes(geometry), serve).sum(0)


def _column(grad_planes: Tensor, weight: Tensor, chunk: _Chunk, geometry: Geometry) -> Tensor:
    """weightᵀ · grad_out, the gradient of a chunk's samples: planes (images, groups · rows, pitch)."""
    pitch = grad_planes.shape[2]
    column = grad_planes.new_empty((chunk.images, chunk.groups * chunk.rows, pitch))

    def serve(config: Config) -> None:
        tiles = triton.cdiv(pitch, config.pixels)
        all_tiles = tiles * chunk.images
        launch(
            kernels.column_kernel, triton.cdiv(chunk.rows, config.rows) * all_tiles * chunk.groups,
            grad_planes, weight, column, _kernels(geometry), weight.shape[1], geometry.groups, chunk.first_group,
            chunk.first_row, chunk.groups, chunk.rows, chunk.first_image, tiles, all_tiles, pitch,
            **blocks(config, column.dtype),
        )  # fmt: skip

    run_tuned("column", grad_planes, _sizes(geometry), serve)
    return column


def _gather(
    source: Tensor,
    planes: Tensor,
    weight: Tensor | None,
    rows: _Rows,
    geometry: Geometry,
    chunk: _Chunk,
    by_x: Tensor | None,
    needs: Needs,
) -> tuple[Tensor | None, Tensor | None]:
    """Write a chunk's part of `by_x`; return its gradients by position, (2, groups · rows), and by weight, (C_out · K,).

    With a weight (depthwise) the source is grad_out's planes, else a column.
    """
    tiles = triton.cdiv(_lanes(*geometry.input_size), _LANES)
    parts, count = tiles * chunk.images, chunk.groups * chunk.rows
    channels, multiplier = count // geometry.taps, 1 if weight is None else _kernels(geometry)
    first_channel = (chunk.first_group * _group_rows(geometry) + chunk.first_row) // geometry.taps
    by_position = rows.fraction.new_empty((parts, 2, count)) if needs[2] else None
    by_weight = (
        rows.fraction.new_empty((parts, count * multiplier)) if needs[1] and weight is not None else None
    )
    launch(
        kernels.gather_kernel, parts * channels,
        source, planes, weight, by_x, by_position, by_weight, rows.corner, rows.fraction,
        rows.total, geometry.taps, geometry.in_channels, chunk.first_image, first_channel, channels, tiles,
        *geometry.input_size, *geometry.output_size, planes.shape[2], source.shape[2],
        STRIDE_Y=geometry.stride[0], STRIDE_X=geometry.stride[1], DEPTHWISE=weight is not None,
        MULTIPLIER=multiplier, TO_X=by_x is not None, TO_POSITIONS=by_position is not None,
        TO_WEIGHT=by_weight is not None, LANES=_LANES,
    )  # fmt: skip
    return None if by_position is None else by_position.sum(0), None if by_weight is None else by_weight.sum(
        0
    )


def _to_positions(by_row: Tensor, positions: Tensor) -> Tensor:
    """(2, C_in · K) -> positions' shape and dtype, summed over the channels where they share one shape."""
    by_channel = by_row.view(2, -1, positions.shape[1])
    if positions.shape[0] == 1:
        by_channel = by_channel.sum(1, keepdim=True)
    return by_channel.permute(1, 2, 0).to(positions.dtype).contiguous()


def _chunks(geometry: Geometry, plane_bytes: int, budget: int) -> Iterator[_Chunk]:
    """Parts of the column of at most `budget` bytes, or one channel of one image: images if they fit, else channels."""
    channels = geometry.in_channels // geometry.groups
    per_channel = geometry.taps * plane_bytes
    fitting = budget // (per_channel * geometry.in_channels)
    if fitting:
        images = triton.cdiv(geometry.batch, triton.cdiv(geometry.batch, fitting))
        for first in range(0, geometry.batch, images):
            count = min(images, geometry.batch - first)
            yield _Chunk(first, count, 0, geometry.groups, 0, channels * geometry.taps)
        return
    fitting = max(1, budget // per_channel)
    group_step, channel_step = max(1, fitting // channels), min(fitting, channels)
    for image in range(geometry.batch):
        for group in range(0, geometry.groups, group_step):
            groups = min(group_step, geometry.groups - group)
            for channel in range(0, channels, channel_step):
                rows = min(channel_step, channels - channel) * geometry.taps
                yield _Chunk(image, 1, group, groups, channel * geometry.taps, rows)


def _sizes(geometry: Geometry) -> tuple[int, ...]:
    """What decides which configuration is fastest."""
    return _kernels(geometry), _group_rows(geometry), geometry.groups, geometry.batch, _out_plane(geometry)


def _empty_image(planes: Tensor, geometry: Geometry) -> Tensor:
    return planes.new_empty((geometry.batch, geometry.in_channels, *geometry.input_size))


def _out_plane(geometry: Geometry) -> int:
    return geometry.output_size[0] * geometry.output_size[1]


def _kernels(geometry: Geometry) -> int:
    """Output channels of a group."""
    return geometry.out_channels // geometry.groups


def _group_rows(geometry: Geometry) -> int:
    return geometry.in_channels // geometry.groups * geometry.taps


def _lanes(height: int, width: int) -> int:
    return triton.cdiv(height, 4) * width


def _is_depthwise(geometry: Geometry) -> bool:
    """One channel a group, and too few kernels for a block of the matrix kernels."""
    return geometry.groups == geometry.in_channels and _kernels(geometry) < 16
