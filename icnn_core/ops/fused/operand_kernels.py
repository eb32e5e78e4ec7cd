"""Triton kernels that prepare what the others read: images with margins, and where the rows fall. See blending.py."""

# pyright: reportArgumentType=false, reportAssignmentType=false, reportGeneralTypeIssues=false
# `tl.constexpr` marks what the compiler must know; callers pass plain numbers.

from __future__ import annotations

import triton
import triton.language as tl

from icnn_core.ops.fused.blending import SIZES

_LARGEST = tl.constexpr(float(1 << 29))


@triton.jit(do_not_specialize=SIZES, do_not_specialize_on_alignment=["stride_c", "stride_w"])
def copy_kernel(
    image, copy, channels, height, width, tiles, stride_n, stride_c, stride_h, stride_w, pitch,
    TO_QUADS: tl.constexpr, CHANNELS: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """An image of any strides -> planes or quads: a block of channels by a tile of the copy's elements."""
    blocks = tl.cdiv(channels, CHANNELS)
    program = tl.program_id(0)
    number = tl.cast(program // (tiles * blocks), tl.int64)
    channel = program // tiles % blocks * CHANNELS + tl.arange(0, CHANNELS)
    element = program % tiles * PIXELS + tl.arange(0, PIXELS)
    if TO_QUADS:
        y, x = element // 4 // width * 4 + element % 4, element // 4 % width
    else:
        y, x = element // (width + 2) - 1, element % (width + 2) - 1
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    plane = number * stride_n + channel.to(tl.int64) * stride_c
    source = image + plane[:, None] + (y.to(tl.int64) * stride_h + x.to(tl.int64) * stride_w)[None, :]
    values = tl.load(source, mask=(channel < channels)[:, None] & inside[None, :], other=0.0)
    target = copy + (number * channels + channel)[:, None] * pitch + element[None, :]
    tl.store(target, values, mask=(channel < channels)[:, None] & (element < pitch)[None, :])


@triton.jit(do_not_specialize=SIZES)
def split_kernel(
    positions, plane, corner, fraction,
    rows, position_rows, taps, pitch, centre_y, centre_x, padding_y, padding_x,
    lowest_y, lowest_x, highest_y, highest_x,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Positions -> plane (rows,), where the row's channel starts; corner (2, rows); fraction (2, rows).

    Corners count from the margin and include the convolution's padding. They are clipped to [lowest, highest], where
    every output pixel reads zeros, so that no later sum overflows. One coordinate that is not finite makes both
    fractions NaN.
    """
    row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = row < rows
    source = positions + 2 * (row % position_rows)
    y = tl.load(source, mask=inside, other=0.0).to(tl.float32) + centre_y
    x = tl.load(source + 1, mask=inside, other=0.0).to(tl.float32) + centre_x
    floor_y, floor_x = tl.floor(y), tl.floor(x)
    fraction_y, fraction_x = y - floor_y, x - floor_x
    corner_y = tl.minimum(tl.maximum(_to_integer(floor_y) + 1 - padding_y, lowest_y), highest_y)
    corner_x = tl.minimum(tl.maximum(_to_integer(floor_x) + 1 - padding_x, lowest_x), highest_x)
    tl.store(plane + row, (row // taps).to(tl.int64) * pitch, mask=inside)
    tl.store(corner + row, corner_y, mask=inside)
    tl.store(corner + rows + row, corner_x, mask=inside)
    tl.store(fraction + row, fraction_y + 0.0 * fraction_x, mask=inside)
    tl.store(fraction + rows + row, fraction_x + 0.0 * fraction_y, mask=inside)


@triton.jit
def _to_integer(floor):
    floor = tl.where(floor > -_LARGEST, floor, -_LARGEST)  # a NaN fails every comparison
    return tl.where(floor < _LARGEST, floor, _LARGEST).to(tl.int32)
