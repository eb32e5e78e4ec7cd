"""A pass cut into chunks, with every launch, slice and size that it needs: made once for the sizes of a call, and kept.

Imports Triton; no arithmetic on tensors.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch

from icnn_core.ops.fused import launches
from icnn_core.ops.fused.launching import Launch
from icnn_core.ops.fused.sizes import (
    MARGIN,
    Chunk,
    channels_per_group,
    cut,
    cut_images,
    is_narrow,
    plane_pitch,
)
from icnn_core.ops.fused.tuning import Config
from icnn_core.ops.geometry import Geometry


class Call(NamedTuple):
    """What decides how a call is cut and launched.

    Attributes:
        x_stride, out_stride: of x, and of the output or its gradient; by_x_stride: of x's gradient.
        position_step: from a channel's positions to the next's, in positions; 0 where all share one shape.
        budget: bytes that a chunk's workspace may take. device: its index, for launches belong to one.
    """

    geometry: Geometry
    dtype: torch.dtype
    x_stride: tuple[int, ...]
    out_stride: tuple[int, ...]
    by_x_stride: tuple[int, ...]
    position_step: int
    budget: int
    device: int | None


class Step(NamedTuple):
    """One chunk: which images, channels, groups, rows of a group and kernels, then sizes and launches.

    `planes`, `grads` and `column` are shapes; `pixels` is how many of a column's row count. `copy`, `copy_grads` make
    planes of x and of grad_out, None where those of the step before still serve.
    """

    images: slice
    channels: slice
    groups: slice
    rows: slice
    kernels: slice
    planes: tuple[int, ...]
    grads: tuple[int, ...]
    column: tuple[int, int]
    pixels: int
    copy: Launch
    copy_grads: Launch | None
    sample: Launch | None
    last: Launch | None


_keep = functools.lru_cache(maxsize=256)


@_keep
def columns(call: Call) -> list[Step]:
    """Forward by columns: the products follow each step."""
    g = call.geometry
    height, width = g.output_size
    size = call.dtype.itemsize
    channel_bytes = max(g.taps * height * width * size, plane_bytes(g))
    chunks = cut(g, g.out_channels * height * width * size, channel_bytes, call.budget)
    return [_step(call, chunk, 0, None, None) for chunk in chunks]


@_keep
def directly(call: Call, config: Config | None, precision: str) -> list[Step]:
    """Forward by one kernel: `last` gets planes, positions, weight, bias and the images' output."""
    found = []
    for chunk in cut_images(
        call.geometry, call.geometry.in_channels * plane_bytes(call.geometry), call.budget
    ):
        sizes = call.geometry, chunk.images, call.position_step, call.out_stride
        if config is None:
            launch = launches.narrow(*sizes, call.device)
        else:
            launch = launches.forward(*sizes, config, precision, call.device)
        found.append(_step(call, chunk, None, None, launch))
    return found


@_keep
def gradients(call: Call) -> list[Step]:
    """Backward: `last` gathers, of the column's gradient or, where the layer is narrow, of grad_out's planes."""
    g = call.geometry
    grad_bytes = plane_pitch(g.output_size, 1) * call.dtype.itemsize
    if is_narrow(g):
        image_bytes = max(g.in_channels * plane_bytes(g), g.out_channels * grad_bytes)
        chunks = list(cut_images(g, image_bytes, call.budget // 2))
    else:
        channel_bytes = max(g.taps * grad_bytes, plane_bytes(g))
        chunks = list(cut(g, g.out_channels * grad_bytes, channel_bytes, call.budget))
    found: list[Step] = []
    copied = -1
    for chunk in chunks:
        shape = torch.Size((chunk.images, g.out_channels, *g.output_size))
        copy = launches.copy(shape, call.out_stride, 1, rows_first=True, device=call.device)
        channels = chunk.groups * chunk.channels
        launch = launches.gather(g, chunk.images, channels, call.position_step, call.by_x_stride, call.device)
        margin = None if is_narrow(g) else 1
        found.append(_step(call, chunk, margin, None if chunk.first_image == copied else copy, launch))
        copied = chunk.first_image
    return found


def _step(
    call: Call, chunk: Chunk, margin: int | None, copy_grads: Launch | None, last: Launch | None
) -> Step:
    """`margin`: of a column's images; None where there is no column."""
    g, per_group = call.geometry, channels_per_group(call.geometry)
    first, channels = chunk.first_group * per_group + chunk.first_channel, chunk.groups * chunk.channels
    kernels = g.out_channels // g.groups
    pitch = plane_pitch(g.output_size, 1)
    height, width = g.output_size
    pixels = chunk.images * (pitch if margin else height * width)
    shape = torch.Size((chunk.images, channels, *g.input_size))
    sample = None
    if margin is not None:
        sample = launches.sample(g, chunk.images, channels, call.position_step, margin, call.device)
    return Step(
        images=slice(chunk.first_image, chunk.first_image + chunk.images),
        channels=slice(first, first + channels),
        groups=slice(chunk.first_group, chunk.first_group + chunk.groups),
        rows=slice(chunk.first_channel * g.taps, (chunk.first_channel + chunk.channels) * g.taps),
        kernels=slice(chunk.first_group * kernels, (chunk.first_group + chunk.groups) * kernels),
        planes=(chunk.images, channels, plane_pitch(g.input_size, MARGIN)),
        grads=(g.groups, kernels, chunk.images * pitch),
        column=(channels * g.taps, launches.column_pitch(pixels)),
        pixels=pixels,
        copy=launches.copy(shape, call.x_stride, MARGIN, rows_first=False, device=call.device),
        copy_grads=copy_grads,
        sample=sample,
        last=last,
    )


def plane_bytes(geometry: Geometry) -> int:
    """Of one channel of an image that is to be sampled."""
    return 4 * plane_pitch(geometry.input_size, MARGIN)
