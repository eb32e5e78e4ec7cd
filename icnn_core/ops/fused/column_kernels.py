"""Triton kernels around the matrix products: images copied into planes, and columns of samples. See sampling.py."""

# pyright: reportArgumentType=false, reportAssignmentType=false, reportGeneralTypeIssues=false
# `tl.constexpr` marks what the compiler must know; callers pass plain numbers.

from __future__ import annotations

import triton
import triton.language as tl

from icnn_core.ops.fused.sampling import POINTERS, SIZES, place, sample_lanes


@triton.jit(do_not_specialize=SIZES, do_not_specialize_on_alignment=["image", "stride_c", "stride_w"])
def copy_kernel(
    image, copy, channels, height, width, tiles, blocks, stride_n, stride_c, stride_h, stride_w,
    copy_n, copy_c, pitch, inverse,
    MARGIN: tl.constexpr, CHANNELS: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """An image of any strides -> planes with MARGIN rows around: a block of channels by a tile of elements.

    A copy of int32 gets words. `inverse` is 2³²/(width + 2), rounded up: a quotient is at most one too large. What lies
    beyond a plane's end writes its last element once more.
    """
    program = tl.program_id(0)
    number = tl.cast(program // (tiles * blocks), tl.int64)
    channel = program // tiles % blocks * CHANNELS + tl.arange(0, CHANNELS)
    element = tl.minimum(program % tiles * PIXELS + tl.arange(0, PIXELS), pitch - 1)
    row = tl.umulhi(element.to(tl.uint32), inverse.to(tl.uint32)).to(tl.int32)
    rest = element - row * (width + 2)
    y, x = tl.where(rest < 0, row - 1, row) - MARGIN, tl.where(rest < 0, rest + width + 2, rest) - 1
    exists, is_row = (channel < channels)[:, None], (y >= 0) & (y < height)
    plane = image + number * stride_n + (channel.to(tl.int64) * stride_c)[:, None]
    source = plane + (y.to(tl.int64) * stride_h + x.to(tl.int64) * stride_w)[None, :]
    values = tl.load(source, mask=exists & (is_row & (x >= 0) & (x < width))[None, :], other=0.0)
    if copy.dtype.element_ty == tl.int32:
        following = tl.load(source + stride_w, mask=exists & (is_row & (x + 1 < width))[None, :], other=0.0)
        low = values.to(tl.int16, bitcast=True).to(tl.int32) & 0xFFFF
        values = low | (following.to(tl.int16, bitcast=True).to(tl.int32) << 16)
    target = copy + number * copy_n + (channel.to(tl.int64) * copy_c)[:, None] + element[None, :]
    tl.store(target, values, mask=exists)


@triton.jit(do_not_specialize=SIZES, do_not_specialize_on_alignment=POINTERS)
def column_kernel(
    planes, positions, column,
    channels, taps, tiles, height, width, out_height, out_width, grid_width, stride_y, stride_x,
    padding_y, padding_x, position_step, plane_pitch, image_pitch, column_pitch, centre_y, centre_x,
    SHARED: tl.constexpr, MARGIN: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """The samples of a channel's taps at a tile of lanes -> column (channels · taps, column_pitch).

    An image takes image_pitch of a row: its output's pixels, or, with MARGIN 1, these with a margin of zeros.
    """
    program = tl.program_id(0)
    channel = program // tiles % channels
    image = program // (tiles * channels)
    plane = planes + (tl.cast(image, tl.int64) * channels + channel) * plane_pitch
    lane = program % tiles * LANES + tl.arange(0, LANES)
    i, j = lane // grid_width * 4 - MARGIN, lane % grid_width - MARGIN
    y, x = i * stride_y, j * stride_x
    is_column = (j >= 0) & (j < out_width)
    pixel = (i + MARGIN) * grid_width + j + MARGIN
    target = column + tl.cast(channel * taps, tl.int64) * column_pitch + image * image_pitch + pixel
    kind: tl.constexpr = column.dtype.element_ty
    for tap in range(taps):
        corner_y, corner_x, fraction_y, fraction_x = place(
            positions, channel * position_step + tap, True, centre_y, centre_x, padding_y, padding_x
        )
        a, b, c, d = sample_lanes(
            plane, y + corner_y, x + corner_x, fraction_y, fraction_x, stride_y, height, width, SHARED, kind
        )
        if MARGIN:
            a = tl.where(is_column & (i >= 0) & (i < out_height), a, 0.0)
            b = tl.where(is_column & (i + 1 >= 0) & (i + 1 < out_height), b, 0.0)
            c = tl.where(is_column & (i + 2 >= 0) & (i + 2 < out_height), c, 0.0)
            d = tl.where(is_column & (i + 3 >= 0) & (i + 3 < out_height), d, 0.0)
        tl.store(target, a.to(kind), mask=pixel < image_pitch)
        tl.store(target + grid_width, b.to(kind), mask=pixel + grid_width < image_pitch)
        tl.store(target + 2 * grid_width, c.to(kind), mask=pixel + 2 * grid_width < image_pitch)
        tl.store(target + 3 * grid_width, d.to(kind), mask=pixel + 3 * grid_width < image_pitch)
        target += column_pitch
