"""What the Triton kernels share: their words, and sampling. Imported only when a call is served.

A *row* is a pair (channel, tap), numbered channel·K + tap as in the weights. It has an integer corner, the upper left
of its four neighbours, and a fraction.

*Planes* are images with a margin of zeros, (N, C, pitch): (y, x) lies at (y + 1)·(width + 2) + x + 1. Any pixel,
however far outside, is read without a condition after one unsigned minimum, `_clip`.

A *lane* is four pixels above each other, (4·s, j) to (4·s + 3, j), numbered s·width + j. At stride 1 their neighbours
are five pairs, ten loads instead of sixteen; consecutive lanes read consecutive addresses. *Quads* are images in that
order, (N, C, pitch): (4·s + t, j) lies at 4·(s·width + j) + t, and rows past the last are 0.

A tile is a run of lanes or pixels of one image, so that an index within a plane fits 32 bits; what counts planes has
64.
"""

# pyright: reportArgumentType=false, reportAssignmentType=false, reportGeneralTypeIssues=false
# `tl.constexpr` marks what the compiler must know; callers pass plain numbers.

from __future__ import annotations

import triton
import triton.language as tl

_FAR = tl.constexpr(-(1 << 29))  # added to any corner or pixel it stays negative, without overflow
SIZES = [
    "rows", "group_rows", "position_rows", "taps", "kernels", "groups", "channels", "tiles", "all_tiles",
    "tiles_per_part", "height", "width", "out_height", "out_width", "stride_y", "stride_x", "stride_n", "stride_h",
    "padding_y", "padding_x", "lowest_y", "lowest_x", "highest_y", "highest_x",
    "first_image", "first_group", "first_channel", "chunk_groups", "chunk_channels", "chunk_rows",
]  # fmt: skip
"""Arguments whose value, or divisibility by 16, is no reason to compile anew; that of the others widens loads."""


@triton.jit
def _clip(index, size):
    """An index counted from the margin; size + 1, where zeros are, for any outside. A negative one is large here."""
    last = size.to(tl.uint32) + 1
    return tl.minimum(index.to(tl.uint32, bitcast=True), last).to(tl.int32, bitcast=True)


@triton.jit
def _pair(planes, y, x, height, width):
    at = planes + (_clip(y, height) * (width + 2) + x)
    return tl.load(at), tl.load(at + 1)


@triton.jit
def pairs_at(planes, y, x, step, height, width, SHARED: tl.constexpr):
    """What lanes read from corner (y, x) on, their pixels `step` apart: 5 pairs if SHARED (step 1), else 8, flat."""
    x = _clip(x, width)
    if SHARED:
        a, b = _pair(planes, y, x, height, width)
        c, d = _pair(planes, y + 1, x, height, width)
        e, f = _pair(planes, y + 2, x, height, width)
        g, h = _pair(planes, y + 3, x, height, width)
        i, j = _pair(planes, y + 4, x, height, width)
        found = (a, b, c, d, e, f, g, h, i, j)
    else:
        a, b = _pair(planes, y, x, height, width)
        c, d = _pair(planes, y + 1, x, height, width)
        e, f = _pair(planes, y + step, x, height, width)
        g, h = _pair(planes, y + step + 1, x, height, width)
        i, j = _pair(planes, y + 2 * step, x, height, width)
        k, m = _pair(planes, y + 2 * step + 1, x, height, width)
        n, o = _pair(planes, y + 3 * step, x, height, width)
        p, q = _pair(planes, y + 3 * step + 1, x, height, width)
        found = (a, b, c, d, e, f, g, h, i, j, k, m, n, o, p, q)
    return found


@triton.jit
def _across(pairs, number: tl.constexpr, left, right):
    return pairs[2 * number].to(tl.float32) * left + pairs[2 * number + 1].to(tl.float32) * right


@triton.jit
def blend(pairs, pixel: tl.constexpr, upper, lower, left, right, SHARED: tl.constexpr):
    """Equation 3 for one of a lane's pixels, with the weights of the upper and lower row, left and right column."""
    first: tl.constexpr = pixel if SHARED else 2 * pixel
    return _across(pairs, first, left, right) * upper + _across(pairs, first + 1, left, right) * lower


@triton.jit
def fetch(
    x, plane, corner, fraction, row, inside, rows, lane_y, lane_x, step, height, width, SHARED: tl.constexpr
):
    """A block of rows by a tile of lanes: fractions y and x, and pairs. Rows that are not inside read only zeros."""
    start = tl.load(plane + row, mask=inside, other=0)
    corner_y = tl.load(corner + row, mask=inside, other=_FAR)
    corner_x = tl.load(corner + rows + row, mask=inside, other=_FAR)
    fraction_y = tl.load(fraction + row, mask=inside, other=0.0)
    fraction_x = tl.load(fraction + rows + row, mask=inside, other=0.0)
    y, column = corner_y[:, None] + lane_y[None, :], corner_x[:, None] + lane_x[None, :]
    pairs = pairs_at((x + start)[:, None], y, column, step, height, width, SHARED)
    return fraction_y[:, None], fraction_x[:, None], pairs


@triton.jit
def samples_of(fraction_y, fraction_x, pairs, ROWS: tl.constexpr, LANES: tl.constexpr, SHARED: tl.constexpr):
    """(ROWS, 4·LANES) float32, a lane's four pixels side by side.

    The sum comes after the reshaping: where a reshaped block is itself the operand of a float32 product, Triton 3.8
    gives it a layout in shared memory that it then refuses.
    """
    step: tl.constexpr = 1 if SHARED else 2
    left = 1.0 - fraction_x
    upper = _lanes(pairs, 0, step, left, fraction_x, 1.0 - fraction_y, ROWS, LANES)
    lower = _lanes(pairs, 1, step, left, fraction_x, fraction_y, ROWS, LANES)
    return upper + lower


@triton.jit
def _lanes(
    pairs,
    first: tl.constexpr,
    step: tl.constexpr,
    left,
    right,
    scale,
    ROWS: tl.constexpr,
    LANES: tl.constexpr,
):
    a = _across(pairs, first, left, right) * scale
    b = _across(pairs, first + step, left, right) * scale
    c = _across(pairs, first + 2 * step, left, right) * scale
    d = _across(pairs, first + 3 * step, left, right) * scale
    return tl.reshape(tl.join(tl.join(a, c), tl.join(b, d)), (ROWS, 4 * LANES))
