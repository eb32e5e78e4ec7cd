"""The ordinary convolution that equals an irregular one whose positions are fixed, whatever the image's size."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from icnn_core.errors import ArgumentError
from icnn_core.ops.dense import Reach, dense_kernel
from icnn_core.ops.geometry import Geometry, axis_weights, split_anchors, window

Margins = tuple[tuple[int, int], tuple[int, int]]
"""((top, bottom), (left, right)): zeros that are added around an image."""


@torch.no_grad()
def enclosing_conv2d(
    conv: nn.modules.conv._ConvNd,
    positions: Tensor,
    sigma: Tensor | None,
    largest: int,
    who: str,
    *,
    is_padded: bool = False,
) -> nn.Conv2d:
    """A new convolution, without hooks, that computes what `conv` does with its weights at `positions`.

    Args:
        is_padded: it gets images that are padded already, as `conv` pads them.

    Raises:
        ArgumentError: a side of its kernel would be longer than `largest` pixels, a position is not finite, or the
            layer pads otherwise than with zeros, and its positions lie beyond the kernel or its sides differ.
    """
    check_finite(positions, who)
    geometry, margins = fixed_geometry(conv), ((0, 0), (0, 0)) if is_padded else margins_of(conv)
    mode = "zeros" if is_padded else conv.padding_mode
    (top, bottom), (left, right) = span = enclosing_span(positions, geometry, margins, sigma)
    size = bottom - top + 1, right - left + 1
    check_size(size, largest, who)
    padding = margins[0][0] - top, margins[1][0] - left
    if mode != "zeros" and margins != tuple((each, each) for each in padding):
        raise ArgumentError(
            who,
            needed='padding_mode="zeros", or positions within a regular kernel that is padded alike on both sides',
            got=f"{conv.padding_mode!r}, and others",
            fix="Use fix_positions, which pads and then samples.",
        )
    found = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        size,
        (conv.stride[0], conv.stride[1]),
        padding,
        groups=conv.groups,
        bias=conv.bias is not None,
        padding_mode=mode,
        device=conv.weight.device,
        dtype=conv.weight.dtype,
    )
    width = None if sigma is None else sigma.double()  # formed in float64 and rounded once
    found.weight.copy_(dense_kernel(conv.weight.double(), positions.double(), geometry, span, width))
    if found.bias is not None and conv.bias is not None:
        found.bias.copy_(conv.bias)
    return found.train(conv.training)


def enclosing_span(
    positions: Tensor, geometry: Geometry, margins: Margins, sigma: Tensor | None = None
) -> Reach:
    """The smallest span of pixels, from the first tap, with all that positions read, for which padding is symmetric.

    A convolution over it pads every side by `margins[axis][0] - span[axis][0]`, at least 0, and has the sizes of the
    irregular one: the span reaches as far beyond the kernel on one side as on the other. Positions must be finite.
    """
    floor, fraction = (each.detach().reshape(-1, 2) for each in split_anchors(positions, geometry))
    before, after = window(sigma)
    reads = (fraction > 0).to(floor.dtype) if sigma is None else after  # a whole position reads one pixel
    ends = floor + reads
    low, high = (floor + before).amin(0).tolist(), ends.amax(0).tolist()
    sides = []
    for axis, (front, back) in enumerate(margins):
        extent = geometry.dilation[axis] * (geometry.kernel_size[axis] - 1)
        total = front - back + extent
        first = int(min(low[axis], total - high[axis], front))
        sides.append((first, total - first))
    return sides[0], sides[1]


def fixed_geometry(conv: nn.modules.conv._ConvNd) -> Geometry:
    """What of a call's sizes does not depend on the image."""
    return Geometry(
        batch=1,
        in_channels=conv.in_channels,
        out_channels=conv.out_channels,
        input_size=(0, 0),
        kernel_size=(conv.kernel_size[0], conv.kernel_size[1]),
        stride=(1, 1),
        padding=(0, 0),
        dilation=(conv.dilation[0], conv.dilation[1]),
        groups=conv.groups,
    )


def margins_of(conv: nn.modules.conv._ConvNd) -> Margins:
    """What a convolution pads; its `padding` may have been changed since it was made."""
    if conv.padding_mode == "zeros" and conv.padding == "same":
        return margins_of_same(conv.kernel_size, conv.dilation)
    if conv.padding_mode == "zeros" and not isinstance(conv.padding, str):
        (y, x) = conv.padding
        return (y, y), (x, x)
    left, right, top, bottom = conv._reversed_padding_repeated_twice
    return (top, bottom), (left, right)


def margins_of_same(kernel_size: tuple[int, ...], dilation: tuple[int, ...]) -> Margins:
    """What padding "same" adds: an odd row or column goes to the end, as conv2d does."""
    extents = [d * (k - 1) for k, d in zip(kernel_size, dilation, strict=True)]
    top, left = (extent // 2 for extent in extents)
    return (top, extents[0] - top), (left, extents[1] - left)


def check_finite(positions: Tensor, who: str) -> None:
    """Raise where a position lies nowhere."""
    if not bool(torch.isfinite(positions).all()):
        raise ArgumentError(
            who, needed="finite positions", got="NaN or infinity", fix="Look at the training."
        )


def check_size(size: tuple[int, int], largest: int, who: str) -> None:
    """Raise for a kernel that is too large."""
    if max(size) > largest:
        needed = f"positions within a kernel of {largest} × {largest} pixels"
        got = f"some that need {size[0]} × {size[1]}"
        raise ArgumentError(who, needed=needed, got=got, fix="Raise largest, or export the layer as it is.")


def tap_kernel(
    places: Tensor, geometry: Geometry, margins: Margins, largest: int, who: str
) -> tuple[Tensor, Margins]:
    """One tap's weights at each channel's place, (C, 2) -> (C, 1, h, w), and what it pads; less than 0 crops."""
    floor, fraction = split_anchors(places.double(), geometry)
    first, last = floor.amin(0).int().tolist(), (floor + (fraction > 0)).amax(0).int().tolist()
    check_size((last[0] - first[0] + 1, last[1] - first[1] + 1), largest, who)
    sides, weights = [], []
    for axis, (front, back) in enumerate(margins):
        low, high = first[axis], last[axis]
        extent = geometry.dilation[axis] * (geometry.kernel_size[axis] - 1)
        sides.append((front - low, back + high - extent))
        pixels = torch.arange(low, high + 1, device=places.device)
        weights.append(axis_weights(floor[:, axis], fraction[:, axis], pixels))
    kernel = weights[0][:, None, :, None] * weights[1][:, None, None, :]
    return kernel, (sides[0], sides[1])
