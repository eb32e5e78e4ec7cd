"""A depthwise channel whose taps lie close together: one small kernel over all that they read, without a stride.

Taps that are near each other read the same pixels. Added up first, their bilinear weights are a kernel of whole pixels:
some 100 multiply-adds for 49 taps, which otherwise take four each. A block of sums, four rows of two or three vectors,
stays in registers; each row of pixels that is loaded serves all four.
"""

from __future__ import annotations

import itertools
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from icnn_core.ops.compiled.layout import VECTOR_BYTES
from icnn_core.ops.compiled.sheets import compiled, fill
from icnn_core.ops.compiled.simd import (
    Vector,
    advance,
    call_fma,
    get,
    instruction,
    load,
    put,
    spread,
    store_first,
    vector_at,
)
from icnn_core.ops.sampled.job import NEAR_ROWS, NEAR_SIZE_PER_TAP, NEAR_VECTORS


@compiled
def find_reach(job, floors, mirrored, lanes):
    """(top, left, height, width) of what the taps read for the first output; height 0: one by one they cost less."""
    top, left = get(floors, 0), get(floors, 1)
    bottom, right = top, left
    for k in range(1, job.taps):
        top, bottom = min(top, get(floors, 2 * k)), max(bottom, get(floors, 2 * k))
        left, right = min(left, get(floors, 2 * k + 1)), max(right, get(floors, 2 * k + 1))
    height, width, most = bottom - top + 2, right - left + 2, NEAR_SIZE_PER_TAP * job.taps
    if mirrored:
        top, left = -bottom - 1, -right - 1
    if (
        job.step_y != 1
        or job.step_x != 1
        or left < -job.margin  # columns of the sheet: beyond them every tap finds zeros of its own
        or left + width > job.phase_width + 1
        or height < NEAR_ROWS
        or max(height, width) > most  # before their product, which might overflow
        or width * height > most
        or _cost_together(job, height, width, lanes) > _cost_one_by_one(job, lanes)
    ):
        height = 0
    return top, left, height, width


@compiled
def _cost_together(job, height, width, lanes):
    """Cycles of a plane, about, as measured with vectors of 64 bytes."""
    strips = max(2, (job.out_width + lanes - 1) // lanes)
    return (job.out_height + NEAR_ROWS - 1) // NEAR_ROWS * strips * width * (2 * height + 8)


@compiled
def _cost_one_by_one(job, lanes):
    return job.taps * ((job.out_width + lanes - 1) // lanes * (9 * job.out_height // 2 + 15) + 30)


@compiled
def add_up(job, real, floors, fractions, weight, mirrored, reach, room, lanes):
    """Write the kernel, column by column, into the `room` behind that of a block of sums."""
    kernel = _behind_block(room, lanes)
    top, left, height, width = reach
    fill(kernel, width * height, real(0))
    for k in range(job.taps):
        fy, fx = get(floors, 2 * k), get(floors, 2 * k + 1)
        ty, tx, value = get(fractions, 2 * k), get(fractions, 2 * k + 1), get(weight, k)
        if mirrored:
            fy, fx, ty, tx = -fy - 1, -fx - 1, real(1) - ty, real(1) - tx
        at = advance(kernel, (fx - left) * height + fy - top)
        upper, lower = value - value * ty, value * ty
        put(at, 0, get(at, 0) + upper - upper * tx)
        put(at, 1, get(at, 1) + lower - lower * tx)
        put(at, height, get(at, height) + upper * tx)
        put(at, height + 1, get(at, height + 1) + lower * tx)


@compiled
def _behind_block(room, lanes):
    return advance(room, NEAR_ROWS * NEAR_VECTORS * lanes)


@compiled
def convolve(job, room, reach, sheet, bias, plane, lanes):
    """Write bias + the products of the kernel in `room` with the sheet, a plane of outputs."""
    kernel = _behind_block(room, lanes)
    top, left, height, width = reach
    nothing = advance(sheet, job.origin - job.row_length)
    column = 0
    while column < job.out_width:
        strips = (job.out_width - column + lanes - 1) // lanes
        vectors = 3 if strips == 3 or strips > 4 else 2
        for row in range(0, job.out_height, NEAR_ROWS):
            start = advance(sheet, job.origin + (row + top) * job.row_length)
            before, end = -(row + top), job.height - (row + top)
            at = left + column
            _convolve_block(
                vectors, start, nothing, at, job.row_length, before, end, kernel, height, width, bias, room
            )
            for y in range(min(NEAR_ROWS, job.out_height - row)):
                for column_ in range(0, min(vectors * lanes, job.out_width - column), lanes):
                    to = (row + y) * job.out_width + column + column_
                    value = load(room, y * NEAR_VECTORS * lanes + column_)
                    store_first(plane, to, job.out_width - column - column_, value)
        column += vectors * lanes


@instruction
def _convolve_block(typingctx: Any, vectors: Any, start: Any, nothing: Any, at: Any, row_length: Any, before: Any,
                    end: Any, kernel: Any, height: Any, width: Any, bias: Any, sums: Any) -> Any:  # fmt: skip
    """Four rows of two or three `vectors` of sums, bias + products, to rows of three at `sums`.

    Rows of pixels lie `row_length` apart from `start`; those outside before … end - 1 are read as `nothing` instead, a
    row of zeros. The kernel has at least four rows; columns are `height` apart.
    """
    vector: Any = Vector(sums.dtype)

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        count, *rest = args
        wide = builder.icmp_signed("==", count, count.type(NEAR_VECTORS))
        with builder.if_else(wide) as (three, two):
            with three:
                _Block(builder, vector, context.get_value_type(vector), 3, *rest).emit()
            with two:
                _Block(builder, vector, context.get_value_type(vector), 2, *rest).emit()
        return context.get_dummy_value()

    ints = types.int64
    pixels = start
    return types.void(ints, pixels, pixels, ints, ints, ints, ints, pixels, ints, ints, bias, sums), lower


class _Block:
    """Emits one size of block. Row r of pixels adds to the sums of rows i with kernel row r - i, if there is one."""

    def __init__(self, builder: Any, vector: Any, kind: Any, vectors: int, *args: Any) -> None:
        self.builder, self.vector, self.kind = builder, vector, kind
        self.start, self.nothing, self.at, self.row_length, self.before, self.end = args[:6]
        self.kernel, self.height, self.width, self.bias, self.sums = args[6:]
        self.columns = [lane * vector.lanes for lane in range(vectors)]
        self.index = ir.IntType(64)

    def emit(self) -> None:
        builder, lanes = self.builder, self.vector.lanes
        begin = spread(builder, self.bias, lanes)
        cells = [[cgutils.alloca_once_value(builder, begin) for _ in self.columns] for _ in range(NEAR_ROWS)]
        for cell in itertools.chain(*cells):
            builder.store(begin, cell)
        with cgutils.for_range(builder, self.width, intp=self.index) as loop:
            column = builder.add(self.at, loop.index)
            weights = builder.gep(self.kernel, [builder.mul(loop.index, self.height)])
            for r in range(NEAR_ROWS - 1):
                self._add_row(self.index(r), column, weights, cells, range(r + 1))
            middle = builder.sub(self.height, self.index(NEAR_ROWS - 1))
            with cgutils.for_range(builder, middle, intp=self.index) as rows:
                row = builder.add(rows.index, self.index(NEAR_ROWS - 1))
                self._add_row(row, column, weights, cells, range(NEAR_ROWS))
            for r in range(NEAR_ROWS - 1):
                row = builder.add(self.height, self.index(r))
                self._add_row(row, column, weights, cells, range(r + 1, NEAR_ROWS))
        for i, row_cells in enumerate(cells):
            for column, cell in zip(self.columns, row_cells, strict=True):
                place = self._place(self.sums, self.index(i * NEAR_VECTORS * lanes + column))
                builder.store(builder.load(cell), place, align=VECTOR_BYTES // lanes)

    def _add_row(self, row: Any, column: Any, weights: Any, cells: list[list[Any]], sums: range) -> None:
        builder = self.builder
        inside = builder.and_(
            builder.icmp_signed(">=", row, self.before), builder.icmp_signed("<", row, self.end)
        )
        pixels = builder.gep(self.start, [builder.mul(row, self.row_length)])
        pixels = builder.gep(builder.select(inside, pixels, self.nothing), [column])
        loaded = [
            builder.load(self._place(pixels, self.index(c)), align=VECTOR_BYTES // self.vector.lanes)
            for c in self.columns
        ]
        for i in sums:
            weight = builder.load(builder.gep(weights, [builder.sub(row, self.index(i))]))
            splat_ = spread(builder, weight, self.vector.lanes)
            for cell, value in zip(cells[i], loaded, strict=True):
                total = call_fma(builder, self.vector, splat_, value, builder.load(cell))
                builder.store(total, cell)

    def _place(self, start: Any, index: Any) -> Any:
        return vector_at(self.builder, start, index, self.kind)
