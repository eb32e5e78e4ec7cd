"""What the kernels read: planes, quads, padded weights, and where the rows fall. See blending.py for the words."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor

from icnn_core.ops.fused import operand_kernels
from icnn_core.ops.fused.device import launch
from icnn_core.ops.fused.sizes import ceil_div, is_depthwise, lanes, rows_per_group
from icnn_core.ops.geometry import Geometry


class Rows(NamedTuple):
    """Where the taps fall, on the device: plane (rows,), corner (2, rows), fraction (2, rows). See `split_kernel`."""

    plane: Tensor
    corner: Tensor
    fraction: Tensor

    @property
    def total(self) -> int:
        return self.plane.numel()


def to_planes(image: Tensor) -> Tensor:
    """(N, C, H, W) of any strides -> planes, (N, C, pitch); see blending.py."""
    height, width = image.shape[2:]
    return _copy(image, (height + 2) * (width + 2) + 1, to_quads=False)


def to_quads(image: Tensor) -> Tensor:
    """(N, C, H, W) of any strides -> quads, (N, C, pitch); see blending.py."""
    return _copy(image, 4 * lanes(image.shape[2], image.shape[3]), to_quads=True)


def _copy(image: Tensor, elements: int, *, to_quads: bool) -> Tensor:
    batch, channels, height, width = image.shape
    pitch = ceil_div(elements, 16) * 16  # so that 16 bytes of any dtype are aligned
    copy = image.new_empty((batch, channels, pitch))
    tiles = ceil_div(pitch, 256)
    launch(
        operand_kernels.copy_kernel, batch * ceil_div(channels, 16) * tiles,
        image, copy, channels, height, width, tiles, *image.stride(), pitch,
        TO_QUADS=to_quads, CHANNELS=16, PIXELS=256, num_warps=8,
    )  # fmt: skip
    return copy


def pad_rows(weight: Tensor, geometry: Geometry) -> Tensor:
    """(C_out, C_in/groups, kH, kW) -> (C_out, row pitch), contiguous, with zeros up to a multiple of 16 rows."""
    missing = 0 if is_depthwise(geometry) else -rows_per_group(geometry) % 16
    rows = weight.flatten(1)
    return functional.pad(rows, (0, missing)) if missing else rows.contiguous()


def split_positions(positions: Tensor, geometry: Geometry, pitch: int) -> Rows:
    device, count = positions.device, geometry.in_channels * geometry.taps
    rows = Rows(
        plane=torch.empty(count, dtype=torch.int64, device=device),
        corner=torch.empty((2, count), dtype=torch.int32, device=device),
        fraction=torch.empty((2, count), dtype=torch.float32, device=device),
    )
    spans = zip(geometry.output_size, geometry.stride, strict=True)
    lowest = [-(size - 1) * stride - 1 for size, stride in spans]
    highest = [size + 1 for size in geometry.input_size]
    launch(
        operand_kernels.split_kernel, ceil_div(count, 256), positions.contiguous(), *rows,
        count, positions.numel() // 2, geometry.taps, pitch, *geometry.centre, *geometry.padding, *lowest, *highest,
        BLOCK=256,
    )  # fmt: skip
    return rows
