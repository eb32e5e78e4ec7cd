"""What every kernel is launched with, kept by the sizes of a call. Imports Triton; no arithmetic on tensors."""

from __future__ import annotations

import functools

import torch

from icnn_core.ops.fused import column_kernels, gather_kernels, output_kernels
from icnn_core.ops.fused.launching import Launch
from icnn_core.ops.fused.sizes import (
    MARGIN,
    ceil_div,
    channels_per_group,
    is_narrow,
    kernels_per_group,
    lanes,
    plane_pitch,
)
from icnn_core.ops.fused.tuning import Config
from icnn_core.ops.geometry import Geometry

_keep = functools.lru_cache(maxsize=1024)


@_keep
def copy(
    shape: torch.Size, stride: tuple[int, ...], margin: int, *, rows_first: bool, device: int | None
) -> Launch:
    """An image -> planes; `rows_first`: (C, N, pitch), else (N, C, pitch)."""
    batch, channels, height, width = shape
    pitch = plane_pitch((height, width), margin)
    # Neighbouring lanes read neighbouring numbers, and each has several channels of an element that it found once.
    block, tile, warps = (128, 16, 1) if stride[1] == 1 and channels >= 128 else (32, 128, 4)
    tiles, blocks = ceil_div(pitch, tile), ceil_div(channels, block)
    steps = (pitch, batch * pitch) if rows_first else (channels * pitch, pitch)
    return Launch(
        column_kernels.copy_kernel, batch * blocks * tiles,
        (channels, height, width, tiles, blocks, *stride, *steps, pitch, ceil_div(1 << 32, width + 2)),
        MARGIN=margin, CHANNELS=block, PIXELS=tile, num_warps=warps,
    )  # fmt: skip


@_keep
def sample(
    geometry: Geometry, images: int, channels: int, position_step: int, margin: int, device: int | None
) -> Launch:
    """Planes, positions -> a column of rows channels · taps; with a margin of 1, its images are planes."""
    height, width = (size + 2 * margin for size in geometry.output_size)
    image_pitch = plane_pitch(geometry.output_size, margin) if margin else height * width
    found = lanes(height + margin, width)  # one row more, for what rounds up the pitch of a plane
    shared = geometry.stride[0] == 1  # else pixels need twice the words: one lane a thread, or sm_86 spills
    block = 512 if shared and found > 256 else _block(found)
    warps = min(4, block // 64) if shared else block // 32
    tiles = ceil_div(found, block)
    return Launch(
        column_kernels.column_kernel, images * channels * tiles,
        (channels, geometry.taps, tiles, *geometry.input_size, *geometry.output_size, width, *geometry.stride,
         *geometry.padding, position_step, plane_pitch(geometry.input_size, MARGIN), image_pitch,
         column_pitch(images * image_pitch), *geometry.centre),
        SHARED=shared, MARGIN=margin, LANES=block, num_warps=warps,
    )  # fmt: skip


def column_pitch(pixels: int) -> int:
    """What a row of a column takes: aligned to 16 bytes, so that cuBLAS takes its fast kernels."""
    return 8 * ceil_div(pixels, 8)


@_keep
def narrow(
    geometry: Geometry, images: int, position_step: int, out_stride: tuple[int, ...], device: int | None
) -> Launch:
    found = lanes(*geometry.output_size)
    block = _block(found)
    tiles = ceil_div(found, block)
    return Launch(
        output_kernels.narrow_kernel, images * geometry.out_channels * tiles,
        (geometry.in_channels, channels_per_group(geometry), geometry.out_channels, kernels_per_group(geometry),
         channels_per_group(geometry) * geometry.taps, geometry.taps, tiles, *geometry.input_size,
         *geometry.output_size, *geometry.stride, *geometry.padding, position_step,
         plane_pitch(geometry.input_size, MARGIN), *out_stride, *geometry.centre),
        SHARED=geometry.stride[0] == 1, LANES=block, num_warps=block // 64,
    )  # fmt: skip


@_keep
def forward(
    geometry: Geometry, images: int, position_step: int, out_stride: tuple[int, ...], config: Config,
    precision: str, device: int | None,
) -> Launch:  # fmt: skip
    tiles = ceil_div(lanes(*geometry.output_size), config.pixels // 4)
    return Launch(
        output_kernels.forward_kernel, images * geometry.groups * tiles,
        (geometry.in_channels, kernels_per_group(geometry), channels_per_group(geometry), geometry.taps, tiles,
         channels_per_group(geometry) * geometry.taps, *geometry.input_size, *geometry.output_size,
         *geometry.stride, *geometry.padding, position_step, plane_pitch(geometry.input_size, MARGIN), *out_stride,
         *geometry.centre),
        SHARED=geometry.stride[0] == 1, PRECISION=precision, KERNELS=config.kernels, PIXELS=config.pixels,
        ROWS=config.rows, num_warps=config.warps, num_stages=config.stages,
    )  # fmt: skip


@_keep
def gather(
    geometry: Geometry, images: int, channels: int, position_step: int, x_stride: tuple[int, ...],
    device: int | None,
) -> Launch:  # fmt: skip
    """The source has a row per tap or, where the layer is narrow, per kernel; its images follow each other in a row."""
    pitch = plane_pitch(geometry.output_size, 1)
    block, tiles = gather_tiles(geometry)
    return Launch(
        gather_kernels.gather_kernel, images * channels * tiles,
        (channels, channels_per_group(geometry), geometry.taps, tiles, *geometry.input_size, *geometry.output_size,
         *geometry.padding, position_step, plane_pitch(geometry.input_size, MARGIN), pitch, images * pitch,
         geometry.in_channels * geometry.taps * 2, *x_stride, *geometry.centre),
        STRIDE_Y=geometry.stride[0], STRIDE_X=geometry.stride[1], NARROW=is_narrow(geometry),
        MULTIPLIER=kernels_per_group(geometry) if is_narrow(geometry) else 1, LANES=block, num_warps=4,
    )  # fmt: skip


def gather_tiles(geometry: Geometry) -> tuple[int, int]:
    """Lanes of a tile, and how many tiles an image has."""
    block = 256 if geometry.stride == (1, 1) else 128  # at strides a lane holds more
    return block, ceil_div(lanes(*geometry.input_size), block)


def _block(lanes: int) -> int:
    return 256 if lanes > 64 else 64
