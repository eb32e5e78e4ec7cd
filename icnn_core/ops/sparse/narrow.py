"""Products with the window of a bilinear tap: the taps of one kernel.

The transpose of `block`: a block of gradients, one vector wide and some rows high, stays in registers, each tap reads
every row of its window once, and adds to four vectors of sums. So a tap costs 2 loads and 4 multiplications a vector of
gradients, and no jump that could be guessed wrongly.

Blocks overhang the outputs, where gradients are 0. That multiplies pixels which a tap does not read, and one that is
not finite makes a sum NaN: a tap with such a sum is computed once more, from its own pixels alone; so is every tap
where output rows step over rows of x.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from icnn_core.ops.compiled.sheets import compiled, fill, find_column
from icnn_core.ops.compiled.simd import (
    Vector,
    advance,
    call_fma,
    choose_first,
    fma,
    get,
    instruction,
    load,
    pointer,
    put,
    splat,
    store,
    total,
    vector_at,
)
from icnn_core.ops.sparse.block import HEIGHTS
from icnn_core.ops.sparse.gradients import write_tap
from icnn_core.ops.sparse.job import TAPS_AT_ONCE
from icnn_core.ops.sparse.taps import find_rows, find_tap, reads_image


@instruction
def _add_products(typingctx: Any, rows: Any, sums: Any, sheet: Any, row_length: Any, offsets: Any, grads: Any,
                 pitch: Any, count: Any) -> Any:  # fmt: skip
    """Add for `count` taps the products with a block of gradients of `rows` rows, as `find_height` says, to `sums`.

    LLVM's own code. The sums are four vectors a tap, `D[t,q]` by t, then q, see `products`. `offsets` has per tap where
    on the sheet its left and right column are read; rows of gradients lie `pitch` apart, and output rows do not step
    over rows of x.
    """
    vector: Any = Vector(sums.dtype)

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        height, *rest = args
        end = builder.append_basic_block("end")
        cases = builder.switch(height, end)
        for rows_ in HEIGHTS[2]:
            case = builder.append_basic_block(f"rows{rows_}")
            cases.add_case(height.type(rows_), case)
            builder.position_at_end(case)
            _emit(builder, vector, context.get_value_type(vector), rows_, *rest)
            builder.branch(end)
        builder.position_at_end(end)
        return context.get_dummy_value()

    ints = types.int64
    return types.void(ints, sums, sheet, ints, offsets, grads, ints, ints), lower


def _emit(builder: Any, vector: Any, kind: Any, rows: int, sums: Any, sheet: Any, row_length: Any, offsets: Any,
          grads: Any, pitch: Any, count: Any) -> None:  # fmt: skip
    index, align = ir.IntType(64), vector.dtype.bitwidth // 8

    def at(place: Any) -> Any:
        return vector_at(builder, place, index(0), kind)

    block = []
    for _ in range(rows):
        block.append(builder.load(at(grads), align=align))
        grads = builder.gep(grads, [pitch])
    with cgutils.for_range(builder, count, intp=index) as loop:
        table = builder.gep(offsets, [builder.mul(loop.index, index(2))])
        columns = [builder.load(builder.gep(table, [index(q)])) for q in range(2)]
        starts = [builder.gep(sheet, [column]) for column in columns]
        places = [at(builder.gep(sums, [builder.mul(loop.index, index(4 * vector.lanes))]))]
        places += [builder.gep(places[0], [index(i)]) for i in range(1, 4)]
        # Of even and of odd rows, so that multiplications wait half as long for those before.
        values: list[list[Any]] = [[builder.load(place, align=align), None] for place in places]
        for row in range(rows + 1):
            pixels = [builder.load(at(start), align=align) for start in starts]
            for t in range(2):
                if 0 <= row - t < rows:
                    for i, pixel in enumerate(pixels, 2 * t):
                        before, grad = values[i][row % 2], block[row - t]
                        if before is None:
                            values[i][row % 2] = builder.fmul(grad, pixel)
                        else:
                            values[i][row % 2] = call_fma(builder, vector, grad, pixel, before)
            starts = [builder.gep(start, [row_length]) for start in starts]
        for place, (even, odd) in zip(places, values, strict=True):
            builder.store(builder.fadd(even, odd), place, align=align)


@compiled
def _multiply(job, real, sheet, row, column, grads, lanes, sums):
    """Write D of a bilinear tap at (row, column) to four vectors at `sums`, from the pixels that it reads alone."""
    row_length, zero = job.row_length, splat(real(0))
    first, last = find_rows(job, 2, row, column)
    left, right = find_column(job, column), find_column(job, column + 1)
    a00, a01, a10, a11 = zero, zero, zero, zero
    for strip in range(0, job.out_width, lanes):
        count = job.out_width - strip
        start = advance(sheet, (row + first * job.step_y) * row_length + strip)
        grad = advance(grads, first * job.sums_pitch + strip)
        for _ in range(first, last):
            g = load(grad, 0)
            a00 = fma(g, choose_first(count, load(start, left), zero), a00)
            a01 = fma(g, choose_first(count, load(start, right), zero), a01)
            a10 = fma(g, choose_first(count, load(start, row_length + left), zero), a10)
            a11 = fma(g, choose_first(count, load(start, row_length + right), zero), a11)
            start, grad = advance(start, job.step_y * row_length), advance(grad, job.sums_pitch)
    store(sums, 0, a00)
    store(sums, lanes, a01)
    store(sums, 2 * lanes, a10)
    store(sums, 3 * lanes, a11)


@compiled
def _add_blocks(job, real, sheets, offsets, count, grads, lanes, sums):
    """Write D of `count` bilinear taps to four vectors each at `sums`, by blocks of gradients."""
    fill(sums, 4 * lanes * count, real(0))
    for row in range(0, job.rows, job.block_rows):
        for column in range(0, job.sums_pitch, lanes):
            start = advance(sheets, row * job.row_length + column)
            grad = advance(grads, row * job.sums_pitch + column)
            _add_products(job.block_rows, sums, start, job.row_length, offsets, grad, job.sums_pitch, count)


@compiled
def _total(sums, lanes):
    """The four totals of D, in float64."""
    d00, d01 = np.float64(total(load(sums, 0))), np.float64(total(load(sums, lanes)))
    d10, d11 = np.float64(total(load(sums, 2 * lanes))), np.float64(total(load(sums, 3 * lanes)))
    return d00, d01, d10, d11


def compile_narrow(real: Any, lanes: int) -> Any:
    """`do_taps(job, first, last, sheets, grads, head)` for bilinear windows; the taps are first … last - 1."""

    @compiled
    def find(job, first, last, tap, sheet, offsets, found):
        """Note those of the taps that read the image; returns how many, and where the last one lies."""
        count = 0
        for k in range(first, last):
            if tap == job.taps:
                tap = 0
                sheet += job.sheet_size
            tap += 1
            row, column, down, across = find_tap(job, k)
            if down + across != down + across:
                write_tap(job, real, k, np.nan, np.nan, np.nan, np.nan, np.nan)
            elif reads_image(job, 2, row, column, job.out_height):
                at = sheet + job.origin
                put(found, 2 * count, k)
                put(found, 2 * count + 1, at)
                put(offsets, 2 * count, at + row * job.row_length + find_column(job, column))
                put(offsets, 2 * count + 1, at + row * job.row_length + find_column(job, column + 1))
                count += 1
        return count, tap, sheet

    @compiled
    def do_taps(job, first, last, sheets, grads, head):
        offsets = pointer(head, np.int64)
        found = advance(offsets, 2 * TAPS_AT_ONCE)
        sums = pointer(head + 32 * TAPS_AT_ONCE, real)
        tap, sheet = 0, 0
        for start in range(first, last, TAPS_AT_ONCE):
            count, tap, sheet = find(job, start, min(start + TAPS_AT_ONCE, last), tap, sheet, offsets, found)
            if job.step_y == 1:
                _add_blocks(job, real, sheets, offsets, count, grads, lanes, sums)
            for i in range(count):
                k, own = get(found, 2 * i), advance(sums, 4 * lanes * i)
                row, column, ty, tx = find_tap(job, k)
                d00, d01, d10, d11 = _total(own, lanes)
                broken = d00 + d01 + d10 + d11
                if job.step_y != 1 or broken != broken:
                    _multiply(
                        job, real, advance(sheets, get(found, 2 * i + 1)), row, column, grads, lanes, own
                    )
                    d00, d01, d10, d11 = _total(own, lanes)
                upper, lower = d00 + tx * (d01 - d00), d10 + tx * (d11 - d10)
                left, right = d00 + ty * (d10 - d00), d01 + ty * (d11 - d01)
                write_tap(job, real, k, upper + ty * (lower - upper), lower - upper, right - left, 0.0, 0.0)

    return do_taps
