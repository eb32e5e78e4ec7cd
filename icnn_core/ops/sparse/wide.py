"""Products with the wide window of a Gaussian tap: its sums along the axes, `U` and `V` of `products`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from icnn_core.ops.compiled.sheets import compiled, fill, find_column
from icnn_core.ops.compiled.simd import (
    Vector,
    advance,
    call_fma,
    lanes_before,
    load,
    pointer,
    put,
    spread,
    total,
    vector_at,
)
from icnn_core.ops.sparse.gradients import write_tap
from icnn_core.ops.sparse.taps import find_rows, find_slopes, find_tap, find_width, weigh


def _make_add_sums(window: int) -> Any:
    """`add_sums(rows, step, sums, sheet, row_length, offsets, weights, grads, pitch, count)` for that window.

    It adds to the vectors at `sums`, `U` and then `V`, what `rows` rows of gradients, `pitch` apart, give. Gradients of
    rows above and below must be 0 or meet zeros. `count`: the outputs in the row from this column on.
    """

    @intrinsic
    def add_sums(typingctx: Any, rows: Any, step: Any, sums: Any, sheet: Any, row_length: Any, offsets: Any,
                 weights: Any, grads: Any, pitch: Any, count: Any) -> Any:  # fmt: skip
        vector: Any = Vector(sums.dtype)

        def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            sums_ = _Sums(builder, vector, context.get_value_type(vector), window, args)
            one = builder.icmp_signed("==", args[1], args[1].type(1))
            with builder.if_else(one) as (shared, apart):
                with shared:
                    sums_.emit_shared()
                with apart:
                    sums_.emit_apart()
            return context.get_dummy_value()

        ints = types.int64
        return types.void(ints, ints, sums, sheet, ints, offsets, weights, grads, ints, ints), lower

    return add_sums


class _Sums:
    def __init__(self, builder: Any, vector: Any, kind: Any, window: int, args: Any) -> None:
        self.builder, self.vector, self.kind, self.window = builder, vector, kind, window
        self.rows, self.step, self.sums, self.sheet, self.row_length, self.offsets = args[:6]
        self.weights, self.grads, self.pitch, count = args[6:]
        self.align, self.index = vector.dtype.bitwidth // 8, ir.IntType(64)
        self.mask = lanes_before(builder, count, vector.lanes)

    def emit_shared(self) -> None:
        """Row by row of x, each with the rows of gradients that read it."""
        builder, window = self.builder, self.window
        with self._sums() as (cells, across, down):
            count = builder.add(self.rows, self.index(window - 1))
            with cgutils.for_range(builder, count, intp=self.index) as loop:
                pixels = self._pixels(builder.mul(loop.index, self.row_length))
                sample = self._blend(across, pixels)
                grad = builder.gep(self.grads, [builder.mul(loop.index, self.pitch)])
                back, mixed = builder.neg(self.pitch), None
                for t in range(window):
                    value = self._load(grad)
                    self._add(cells[t], value, sample)
                    mixed = self._mix(down[t], value, mixed)
                    grad = builder.gep(grad, [back])
                for q in range(window):
                    self._add(cells[window + q], mixed, pixels[q])

    def emit_apart(self) -> None:
        """Row by row of gradients: with a stride no two of them need read the same row of x."""
        builder, window = self.builder, self.window
        with self._sums() as (cells, across, down):
            jump = builder.mul(self.step, self.row_length)
            with cgutils.for_range(builder, self.rows, intp=self.index) as loop:
                value = self._load(builder.gep(self.grads, [builder.mul(loop.index, self.pitch)]))
                row = builder.mul(loop.index, jump)
                for t in range(window):
                    pixels = self._pixels(row)
                    self._add(cells[t], value, self._blend(across, pixels))
                    mixed = self._mix(down[t], value, None)
                    for q in range(window):
                        self._add(cells[window + q], mixed, pixels[q])
                    row = builder.add(row, self.row_length)

    @contextmanager
    def _sums(self) -> Iterator[tuple[list[Any], list[Any], list[Any]]]:
        """(a cell for each of U and V, weights across, weights down); at the end the cells are added to memory."""
        builder, size = self.builder, self.vector.lanes
        nothing = ir.Constant(self.kind, [0.0] * size)
        cells = [cgutils.alloca_once_value(builder, nothing) for _ in range(2 * self.window)]
        for cell in cells:
            builder.store(nothing, cell)
        numbers = [builder.load(builder.gep(self.weights, [self.index(i)])) for i in range(2 * self.window)]
        splats = [spread(builder, number, size) for number in numbers]
        yield cells, splats[: self.window], splats[self.window :]
        for i, cell in enumerate(cells):
            place = self._at(builder.gep(self.sums, [self.index(i * size)]))
            value = builder.fadd(builder.load(place, align=self.align), builder.load(cell))
            builder.store(value, place, align=self.align)

    def _pixels(self, row: Any) -> list[Any]:
        """What a row of x has for each column of the window; 0 beyond the last output."""
        builder, pixels = self.builder, []
        nothing = ir.Constant(self.kind, [0.0] * self.vector.lanes)
        for q in range(self.window):
            offset = builder.load(builder.gep(self.offsets, [self.index(q)]))
            value = self._load(builder.gep(self.sheet, [builder.add(row, offset)]))
            pixels.append(builder.select(self.mask, value, nothing))
        return pixels

    def _blend(self, weights: list[Any], values: list[Any]) -> Any:
        mixed = None
        for weight, value in zip(weights, values, strict=True):
            mixed = self._mix(weight, value, mixed)
        return mixed

    def _mix(self, weight: Any, value: Any, before: Any) -> Any:
        if before is None:
            return self.builder.fmul(weight, value)
        return call_fma(self.builder, self.vector, weight, value, before)

    def _add(self, cell: Any, a: Any, b: Any) -> None:
        self.builder.store(call_fma(self.builder, self.vector, a, b, self.builder.load(cell)), cell)

    def _at(self, place: Any) -> Any:
        return vector_at(self.builder, place, self.index(0), self.kind)

    def _load(self, place: Any) -> Any:
        return self.builder.load(self._at(place), align=self.align)


def compile_wide(window: int, real: Any, lanes: int) -> Any:
    """As `narrow.compile_narrow`, for Gaussian windows."""
    add_sums: Any = _make_add_sums(window)

    @compiled
    def add_up(job, sheet, column, ty, tx, sigma_y, sigma_x, grads, first, last, head):
        totals, offsets = pointer(head, np.float64), pointer(head + 128, np.int64)
        weights, sums = pointer(head + 192, real), pointer(head + 320, real)
        for q in range(window):
            put(offsets, q, find_column(job, column + q))
        weigh(real, window, tx, sigma_x, 1.0, False, weights)
        weigh(real, window, ty, sigma_y, 1.0, False, advance(weights, window))
        fill(sums, 2 * window * lanes, real(0))
        start = advance(sheet, (first * job.step_y) * job.row_length)
        grad = advance(grads, first * job.sums_pitch)
        for strip in range(0, job.out_width, lanes):
            add_sums(last - first, job.step_y, sums, advance(start, strip), job.row_length, offsets, weights,
                     advance(grad, strip), job.sums_pitch, job.out_width - strip)  # fmt: skip
        for i in range(2 * window):
            put(totals, i, np.float64(total(load(sums, i * lanes))))

    @compiled
    def do_tap(job, k, sheet, grads, head):
        row, column, ty, tx = find_tap(job, k)
        sigma_y, sigma_x = find_width(job, k)
        first, last = find_rows(job, window, row, column)
        if ty + tx != ty + tx:
            write_tap(job, real, k, np.nan, np.nan, np.nan, np.nan, np.nan)
        elif last > first:
            start = advance(sheet, job.origin + row * job.row_length)
            add_up(job, start, column, ty, tx, sigma_y, sigma_x, grads, first, last, head)
            sums = pointer(head, np.float64)
            by_weight, by_y, by_sigma_y = find_slopes(window, ty, sigma_y, sums)
            _, by_x, by_sigma_x = find_slopes(window, tx, sigma_x, advance(sums, window))
            write_tap(job, real, k, by_weight, by_y, by_x, by_sigma_y, by_sigma_x)

    @compiled
    def do_taps(job, first, last, sheets, grads, head):
        for k in range(first, last):
            do_tap(job, k, advance(sheets, (k - first) // job.taps * job.sheet_size), grads, head)

    return do_taps
