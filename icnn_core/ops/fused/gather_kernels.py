"""Triton kernel of the gradients of x and of the positions, seen from the input. See sampling.py for the words."""

# pyright: reportArgumentType=false, reportAssignmentType=false, reportGeneralTypeIssues=false
# pyright: reportPossiblyUnboundVariable=false
# `tl.constexpr` marks what the compiler must know; callers pass plain numbers.

from __future__ import annotations

import triton
import triton.language as tl

from icnn_core.ops.fused.sampling import POINTERS, SIZES, blend, clip, first_of, pair_at, place, store_lanes
from icnn_core.ops.fused.sizes import MARGIN

_ROWS_AROUND = tl.constexpr(MARGIN)


@triton.jit(do_not_specialize=SIZES, do_not_specialize_on_alignment=POINTERS)
def gather_kernel(
    source, planes, positions, weight, grad_x, by_position, by_weight,
    channels, group_channels, taps, tiles, height, width, out_height, out_width, padding_y, padding_x,
    position_step, plane_pitch, image_step, row_step, part_pitch, out_n, out_c, out_h, out_w, centre_y, centre_x,
    STRIDE_Y: tl.constexpr, STRIDE_X: tl.constexpr, NARROW: tl.constexpr, MULTIPLIER: tl.constexpr,
    LANES: tl.constexpr,
):  # fmt: skip
    """The gradients that a tile of one channel's lanes gets, and what it adds to those of positions and weights.

    Pixel q is neighbour (a, b) of output pixel (i, j) where stride·(i, j) + corner + (a, b) = q. A tap's four such
    outputs, blended as in equation 3, are its part of the gradient at q; x[q] times their slopes, summed over q, is
    the gradient of its position; x[q] times their blend, that of its weight. One set of loads serves all three.

    The source is planes with a margin of one row, image_step and row_step apart: NARROW, grad_out's, to be multiplied
    by the weights (groups · MULTIPLIER, group_channels · taps); else a column's gradient, row channel · taps + tap.
    x is planes to sample; what is not asked for is None. Partial sums, of parts (images · tiles): by_position
    (parts, [part_pitch] channels, taps, 2), by_weight (parts, the weights).
    """
    SHARED: tl.constexpr = STRIDE_Y * STRIDE_X == 1
    KIND: tl.constexpr = source.dtype.element_ty
    program = tl.program_id(0)
    tile = program % tiles
    channel = program // tiles % channels
    image = tl.cast(program // (tiles * channels), tl.int64)
    part = image * tiles + tile
    lane = tile * LANES + tl.arange(0, LANES)
    y, column = lane // width * 4, lane % width
    if by_position is not None or by_weight is not None:
        own = planes + (image * channels + channel) * plane_pitch
        own += (y + _ROWS_AROUND) * (width + 2) + column + 1
        x_a = first_of(tl.load(own, mask=y < height, other=0), KIND)
        x_b = first_of(tl.load(own + (width + 2), mask=y + 1 < height, other=0), KIND)
        x_c = first_of(tl.load(own + 2 * (width + 2), mask=y + 2 < height, other=0), KIND)
        x_d = first_of(tl.load(own + 3 * (width + 2), mask=y + 3 < height, other=0), KIND)
    a = tl.zeros((LANES,), tl.float32)
    b, c, d = a, a, a
    for tap in range(taps):
        corner_y, corner_x, upper, left = place(
            positions, channel * position_step + tap, True, centre_y, centre_x, padding_y, padding_x
        )
        moved_y, moved_x = y - corner_y, column - corner_x
        lower, right = 1.0 - upper, 1.0 - left
        if by_position is not None or by_weight is not None:
            is_read = _is_read(moved_x, out_width, STRIDE_X)
            own_a = tl.where(is_read & _is_read(moved_y, out_height, STRIDE_Y), x_a, 0.0)
            own_b = tl.where(is_read & _is_read(moved_y + 1, out_height, STRIDE_Y), x_b, 0.0)
            own_c = tl.where(is_read & _is_read(moved_y + 2, out_height, STRIDE_Y), x_c, 0.0)
            own_d = tl.where(is_read & _is_read(moved_y + 3, out_height, STRIDE_Y), x_d, 0.0)
        by_y = tl.zeros((LANES,), tl.float32)
        by_x = by_y
        for copy in tl.static_range(MULTIPLIER):
            if NARROW:
                source_row = channel // group_channels * MULTIPLIER + copy
                index = (
                    tl.cast(source_row, tl.int64) * group_channels + channel % group_channels
                ) * taps + tap
                scale = tl.load(weight + index).to(tl.float32)
            else:
                source_row = channel * taps + tap
                scale = 1.0
            pairs = _pairs(
                source + image * image_step + tl.cast(source_row, tl.int64) * row_step,
                moved_y, moved_x, out_height, out_width, STRIDE_Y, STRIDE_X,
            )  # fmt: skip
            blend_a = blend(pairs, 0, upper, lower, left, right, SHARED, KIND)
            blend_b = blend(pairs, 1, upper, lower, left, right, SHARED, KIND)
            blend_c = blend(pairs, 2, upper, lower, left, right, SHARED, KIND)
            blend_d = blend(pairs, 3, upper, lower, left, right, SHARED, KIND)
            a, b, c, d = a + scale * blend_a, b + scale * blend_b, c + scale * blend_c, d + scale * blend_d
            if by_weight is not None:
                total = tl.sum(own_a * blend_a + own_b * blend_b + own_c * blend_c + own_d * blend_d, axis=0)
                tl.store(by_weight + part * (channels * MULTIPLIER * taps) + index, total)
            if by_position is not None:
                slopes_y = own_a * blend(pairs, 0, 1.0, -1.0, left, right, SHARED, KIND)
                slopes_y += own_b * blend(pairs, 1, 1.0, -1.0, left, right, SHARED, KIND)
                slopes_y += own_c * blend(pairs, 2, 1.0, -1.0, left, right, SHARED, KIND)
                slopes_y += own_d * blend(pairs, 3, 1.0, -1.0, left, right, SHARED, KIND)
                slopes_x = own_a * blend(pairs, 0, upper, lower, 1.0, -1.0, SHARED, KIND)
                slopes_x += own_b * blend(pairs, 1, upper, lower, 1.0, -1.0, SHARED, KIND)
                slopes_x += own_c * blend(pairs, 2, upper, lower, 1.0, -1.0, SHARED, KIND)
                slopes_x += own_d * blend(pairs, 3, upper, lower, 1.0, -1.0, SHARED, KIND)
                by_y += scale * slopes_y
                by_x += scale * slopes_x
        if by_position is not None:
            target = by_position + part * part_pitch + (channel * taps + tap) * 2
            tl.store(target, tl.sum(by_y, axis=0))
            tl.store(target + 1, tl.sum(by_x, axis=0))
    if grad_x is not None:
        at = grad_x + image * out_n + tl.cast(channel, tl.int64) * out_c
        at += y.to(tl.int64) * out_h + column.to(tl.int64) * out_w
        store_lanes(at, out_h, y, column < width, height, a, b, c, d)


@triton.jit
def _is_read(moved, size, STRIDE: tl.constexpr):
    """Whether an output reads the pixel along this axis. What none reads takes no part, even if it is NaN."""
    if STRIDE == 1:
        found = moved.to(tl.uint32, bitcast=True) <= size.to(tl.uint32)
    else:
        found = (_divide(moved - 1, size, STRIDE) > 0) | (_divide(moved, size, STRIDE) > 0)
    return found


@triton.jit
def _pairs(planes, moved_y, moved_x, height, width, STRIDE_Y: tl.constexpr, STRIDE_X: tl.constexpr):
    """The outputs whose neighbour (1, 1), (1, 0), (0, 1), (0, 0) a lane's pixels are: 5 pairs, or 8, flat."""
    if STRIDE_Y * STRIDE_X == 1:
        row, column = width + 2, clip(moved_x, width + 1)
        a, b = pair_at(planes, clip(moved_y, height + 1) * row + column)
        c, d = pair_at(planes, clip(moved_y + 1, height + 1) * row + column)
        e, f = pair_at(planes, clip(moved_y + 2, height + 1) * row + column)
        g, h = pair_at(planes, clip(moved_y + 3, height + 1) * row + column)
        i, j = pair_at(planes, clip(moved_y + 4, height + 1) * row + column)
        found = (a, b, c, d, e, f, g, h, i, j)
    else:
        left, right = _divide(moved_x - 1, width, STRIDE_X), _divide(moved_x, width, STRIDE_X)
        a, b = _strided_pair(planes, moved_y - 1, left, right, height, width, STRIDE_Y)
        c, d = _strided_pair(planes, moved_y, left, right, height, width, STRIDE_Y)
        e, f = _strided_pair(planes, moved_y + 1, left, right, height, width, STRIDE_Y)
        g, h = _strided_pair(planes, moved_y + 2, left, right, height, width, STRIDE_Y)
        i, j = _strided_pair(planes, moved_y + 3, left, right, height, width, STRIDE_Y)
        found = (a, b, c, d, c, d, e, f, e, f, g, h, g, h, i, j)
    return found


@triton.jit
def _strided_pair(planes, moved_y, left, right, height, width, STRIDE: tl.constexpr):
    above = _divide(moved_y, height, STRIDE) * (width + 2)
    return tl.load(planes + (above + left)), tl.load(planes + (above + right))


@triton.jit
def _divide(moved, size, STRIDE: tl.constexpr):
    """moved / STRIDE counted from the margin; 0, in the margin, where that is no whole number in [0, size)."""
    moved = moved.to(tl.uint32, bitcast=True)
    index = moved // STRIDE
    whole = (index < size.to(tl.uint32)) & (index * STRIDE == moved)
    return tl.where(whole, index + 1, 0).to(tl.int32, bitcast=True)
