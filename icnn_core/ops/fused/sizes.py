"""Sizes that several launches need, and how the column of gradients is cut. No Triton, no arithmetic on tensors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from icnn_core.ops.geometry import Geometry


def kernels_per_group(geometry: Geometry) -> int:
    return geometry.out_channels // geometry.groups


def rows_per_group(geometry: Geometry) -> int:
    """Pairs (channel, tap) that a kernel sums over."""
    return geometry.in_channels // geometry.groups * geometry.taps


def lanes(height: int, width: int) -> int:
    """Columns of four pixels that cover an image; see blending.py."""
    return ceil_div(height, 4) * width


def is_depthwise(geometry: Geometry) -> bool:
    """One channel a group, and too few kernels for a block of the matrix kernels."""
    return geometry.groups == geometry.in_channels and kernels_per_group(geometry) < 16


def ceil_div(number: int, by: int) -> int:
    return -(-number // by)


class Chunk(NamedTuple):
    """A part of the column: some images, and `rows` rows from `first_row` of each of `groups` groups."""

    first_image: int
    images: int
    first_group: int
    groups: int
    first_row: int
    rows: int


def cut_column(geometry: Geometry, plane_bytes: int, budget: int) -> Iterator[Chunk]:
    """Parts of the column of at most `budget` bytes, or one channel of one image; images if they fit, else channels.

    `plane_bytes` is what one row of one image takes.
    """
    channels = geometry.in_channels // geometry.groups
    per_channel = geometry.taps * plane_bytes
    fitting = budget // (per_channel * geometry.in_channels)
    if fitting:
        images = ceil_div(geometry.batch, ceil_div(geometry.batch, fitting))
        for first in range(0, geometry.batch, images):
            count = min(images, geometry.batch - first)
            yield Chunk(first, count, 0, geometry.groups, 0, channels * geometry.taps)
        return
    fitting = max(1, budget // per_channel)
    group_step, channel_step = max(1, fitting // channels), min(fitting, channels)
    for image in range(geometry.batch):
        for group in range(0, geometry.groups, group_step):
            groups = min(group_step, geometry.groups - group)
            for channel in range(0, channels, channel_step):
                rows = min(channel_step, channels - channel) * geometry.taps
                yield Chunk(image, 1, group, groups, channel * geometry.taps, rows)
