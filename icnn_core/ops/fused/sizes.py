"""Sizes that several launches need, and how a call is cut into chunks. No Triton, no arithmetic on tensors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from icnn_core.ops.geometry import Geometry

MARGIN = 5
"""Rows of zeros above and below an image to be sampled: what a lane reads, so that one may lie wholly outside."""
MOST_WORKSPACE = 20 << 20
"""Bytes that the column of a chunk takes at most, and its images' copies likewise, unless one channel takes more."""


def kernels_per_group(geometry: Geometry) -> int:
    return geometry.out_channels // geometry.groups


def channels_per_group(geometry: Geometry) -> int:
    return geometry.in_channels // geometry.groups


def is_narrow(geometry: Geometry) -> bool:
    """One kernel a group, or one channel and few kernels: hardly a sample is shared, so nothing is to be multiplied."""
    kernels = kernels_per_group(geometry)
    return kernels == 1 or (channels_per_group(geometry) == 1 and kernels < 16)


def lanes(height: int, width: int) -> int:
    """Columns of four pixels that cover an image; see sampling.py."""
    return ceil_div(height, 4) * width


def plane_pitch(size: tuple[int, int], margin: int) -> int:
    """Elements of an image with `margin` rows around and a column on each side, and one more, for it may be read."""
    height, width = size
    return round_up((height + 2 * margin) * (width + 2) + 1, 16)  # so that 16 bytes of any dtype are aligned


def ceil_div(number: int, by: int) -> int:
    return -(-number // by)


def round_up(number: int, to: int) -> int:
    return ceil_div(number, to) * to


class Chunk(NamedTuple):
    """Some images, and `channels` channels from `first_channel` of each of `groups` groups."""

    first_image: int
    images: int
    first_group: int
    groups: int
    first_channel: int
    channels: int


def cut_images(geometry: Geometry, image_bytes: int, budget: int) -> Iterator[Chunk]:
    """Chunks of whole images that take at most `budget` bytes, or one image; as even as can be."""
    most = max(1, budget // image_bytes)
    images = ceil_div(geometry.batch, ceil_div(geometry.batch, most))
    for first in range(0, geometry.batch, images):
        count = min(images, geometry.batch - first)
        yield Chunk(first, count, 0, geometry.groups, 0, channels_per_group(geometry))


def cut(geometry: Geometry, image_bytes: int, channel_bytes: int, budget: int) -> Iterator[Chunk]:
    """Chunks that take at most `budget` bytes, or one channel of one image: images if they fit, else channels.

    An image takes `image_bytes` however it is cut, and `channel_bytes` a channel. Chunks of the same images, and among
    them those of the same groups, follow each other.
    """
    if channel_bytes * geometry.in_channels <= budget:
        yield from cut_images(geometry, max(image_bytes, channel_bytes * geometry.in_channels), budget)
        return
    channels, fitting = channels_per_group(geometry), max(1, budget // channel_bytes)
    group_step, channel_step = max(1, fitting // channels), min(fitting, channels)
    for image in range(geometry.batch):
        for group in range(0, geometry.groups, group_step):
            groups = min(group_step, geometry.groups - group)
            for channel in range(0, channels, channel_step):
                yield Chunk(image, 1, group, groups, channel, min(channel_step, channels - channel))
