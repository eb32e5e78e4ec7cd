"""What the Triton kernels share: their words, and sampling. Imported only when a call is served.

*Planes* are images with a margin of zeros, (N, C, pitch), rows of width + 2 elements: (y, x) lies at
(y + margin)·(width + 2) + x + 1. Where x's dtype has 2 bytes, an element is a *word* of 4, a pixel and its right
neighbour: one load, aligned wherever a tap falls, carries what it blends along a row. Planes to sample have a margin of
5 rows: from any start, however far outside, a lane reads zeros without a condition, after one unsigned minimum.

A *lane* is four pixels above each other, (4·s, j) to (4·s + 3, j), numbered s·width + j. At stride 1 their neighbours
are five pairs instead of eight; consecutive lanes read and write consecutive addresses.

A tile is a run of lanes of one image, so that an index within a plane fits 32 bits; what counts planes has 64.
"""

# pyright: reportArgumentType=false, reportAssignmentType=false, reportGeneralTypeIssues=false
# `tl.constexpr` marks what the compiler must know; callers pass plain numbers.

from __future__ import annotations

import triton
import triton.language as tl

from icnn_core.ops.fused.sizes import MARGIN

_LARGEST = tl.constexpr(float(1 << 28))
_ROWS_AROUND = tl.constexpr(MARGIN)
SIZES = [
    "taps", "kernels", "group_kernels", "group_channels", "group_rows", "groups", "channels", "tiles", "blocks",
    "height", "width", "out_height", "out_width", "grid_width", "stride_y", "stride_x", "padding_y", "padding_x",
    "stride_n", "stride_h", "out_n", "out_c", "out_h", "out_w", "position_step", "plane_pitch", "image_pitch",
    "column_pitch", "part_pitch", "image_step", "row_step", "inverse",
]  # fmt: skip
POINTERS = [
    "image", "source", "planes", "positions", "bias", "column", "out", "grad_x", "by_position", "by_weight",
]  # fmt: skip
"""Arguments whose value, or divisibility by 16, is no reason to compile anew: slices run the same code."""


@triton.jit
def place(positions, index, inside, centre_y, centre_x, padding_y, padding_x):
    """Corner (y, x), the upper left neighbour that output pixel (0, 0) reads, and fraction (y, x).

    One coordinate that is not finite makes both fractions NaN. Positions that are not inside are 0.
    """
    y = tl.load(positions + 2 * index, mask=inside, other=0.0).to(tl.float32) + centre_y
    x = tl.load(positions + 2 * index + 1, mask=inside, other=0.0).to(tl.float32) + centre_x
    floor_y, floor_x = tl.floor(y), tl.floor(x)
    fraction_y, fraction_x = y - floor_y, x - floor_x
    corner_y, corner_x = _to_integer(floor_y) - padding_y, _to_integer(floor_x) - padding_x
    return corner_y, corner_x, fraction_y + 0.0 * fraction_x, fraction_x + 0.0 * fraction_y


@triton.jit
def _to_integer(floor):
    """Clipped, so that no later sum overflows. A NaN fails every comparison."""
    floor = tl.where(floor > -_LARGEST, floor, -_LARGEST)
    return tl.where(floor < _LARGEST, floor, _LARGEST).to(tl.int32)


@triton.jit
def clip(index, last):
    """`last` for any index outside [0, last]: a negative one is large here."""
    last = last.to(tl.uint32)
    return tl.minimum(index.to(tl.uint32, bitcast=True), last).to(tl.int32, bitcast=True)


@triton.jit
def pair_at(planes, at):
    """A pixel and its right neighbour: the same word twice, or two numbers."""
    left = tl.load(planes + at)
    right = left if planes.dtype.element_ty == tl.int32 else tl.load(planes + at + 1)
    return left, right


@triton.jit
def pairs_at(planes, y, x, step, height, width, SHARED: tl.constexpr):
    """What lanes read from neighbour (y, x) on, their pixels `step` apart: 5 pairs if SHARED (step 1), else 8, flat."""
    row = width + 2
    column = clip(x + 1, width + 1)
    y, last = y + _ROWS_AROUND, height + _ROWS_AROUND
    at = planes + (clip(y, last) * row + column)
    if SHARED:
        a, b = pair_at(at, 0)
        c, d = pair_at(at, row)
        e, f = pair_at(at, 2 * row)
        g, h = pair_at(at, 3 * row)
        i, j = pair_at(at, 4 * row)
        found = (a, b, c, d, e, f, g, h, i, j)
    else:
        a, b = pair_at(at, 0)
        c, d = pair_at(at, row)
        at = planes + (clip(y + step, last) * row + column)
        e, f = pair_at(at, 0)
        g, h = pair_at(at, row)
        at = planes + (clip(y + 2 * step, last) * row + column)
        i, j = pair_at(at, 0)
        k, m = pair_at(at, row)
        at = planes + (clip(y + 3 * step, last) * row + column)
        n, o = pair_at(at, 0)
        p, q = pair_at(at, row)
        found = (a, b, c, d, e, f, g, h, i, j, k, m, n, o, p, q)
    return found


@triton.jit
def first_of(word, DTYPE: tl.constexpr):
    """A word's pixel, in float32."""
    if word.dtype != tl.int32:
        number = word.to(tl.float32)
    elif tl.bfloat16 == DTYPE:
        number = (word << 16).to(tl.float32, bitcast=True)
    else:
        number = word.to(tl.int16).to(tl.float16, bitcast=True).to(tl.float32)
    return number


@triton.jit
def _second_of(word, DTYPE: tl.constexpr):
    """Its right neighbour. Of float32, planes hold plain numbers."""
    if word.dtype != tl.int32:
        number = word.to(tl.float32)
    elif tl.bfloat16 == DTYPE:
        number = ((word >> 16) << 16).to(tl.float32, bitcast=True)
    else:
        number = (word >> 16).to(tl.int16).to(tl.float16, bitcast=True).to(tl.float32)
    return number


@triton.jit
def across(pairs, number: tl.constexpr, left, right, DTYPE: tl.constexpr):
    """A pair blended along its row."""
    return first_of(pairs[2 * number], DTYPE) * left + _second_of(pairs[2 * number + 1], DTYPE) * right


@triton.jit
def blend(pairs, pixel: tl.constexpr, upper, lower, left, right, SHARED: tl.constexpr, DTYPE: tl.constexpr):
    """Equation 3 for one of a lane's pixels, with the weights of the upper and lower row, left and right column."""
    first: tl.constexpr = pixel if SHARED else 2 * pixel
    return (
        across(pairs, first, left, right, DTYPE) * upper
        + across(pairs, first + 1, left, right, DTYPE) * lower
    )


@triton.jit
def sample_lanes(
    planes, y, x, fraction_y, fraction_x, step, height, width, SHARED: tl.constexpr, DTYPE: tl.constexpr
):
    """A lane's four samples, in float32, from neighbour (y, x) on."""
    pairs = pairs_at(planes, y, x, step, height, width, SHARED)
    upper, left = 1.0 - fraction_y, 1.0 - fraction_x
    a = blend(pairs, 0, upper, fraction_y, left, fraction_x, SHARED, DTYPE)
    b = blend(pairs, 1, upper, fraction_y, left, fraction_x, SHARED, DTYPE)
    c = blend(pairs, 2, upper, fraction_y, left, fraction_x, SHARED, DTYPE)
    d = blend(pairs, 3, upper, fraction_y, left, fraction_x, SHARED, DTYPE)
    return a, b, c, d


@triton.jit
def store_lanes(target, step, y, inside, height, a, b, c, d):
    """Four pixels from row y on, `step` elements apart, where they lie inside [0, height)."""
    kind = target.dtype.element_ty
    tl.store(target, a.to(kind), mask=inside & (y < height))
    tl.store(target + step, b.to(kind), mask=inside & (y + 1 < height))
    tl.store(target + 2 * step, c.to(kind), mask=inside & (y + 2 < height))
    tl.store(target + 3 * step, d.to(kind), mask=inside & (y + 3 < height))
