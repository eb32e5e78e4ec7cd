"""A block of sums in registers, to which one tap after the other is added: the innermost loop, as LLVM's own code.

A block is one vector wide and some rows high. Each tap reads every row of its window once, blends it across, and adds
that, times a weight, to all output rows that blend it down. So a bilinear tap costs 2 loads and 4 multiplications a
vector of outputs, where four shifted multiply-adds would load four times.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from icnn_core.ops.compiled.simd import Vector, call_fma, spread, vector_at

_MANY_REGISTERS = llvmlite.binding.get_host_cpu_features().get("avx512f", False)  # 32 of 64 bytes
HEIGHTS = {2: (4, 7, 11, 14, 21) if _MANY_REGISTERS else (2, 4), 8: (4, 8, 12) if _MANY_REGISTERS else (2,)}
"""Rows of a block by the size of the window, so that all sums and the weights of a tap stay in registers."""
_APART = {size: heights[0] for size, heights in HEIGHTS.items()}  # with a stride, where rows share nothing
_ROWS_BY_THE_WAY = 2  # that a tap could add to in the time that it takes apart from its rows


def find_height(rows: int, window: int, step: int) -> int:
    """The height of the blocks that `rows` of outputs are cut into."""
    if step != 1:
        return _APART[window]
    return min(HEIGHTS[window], key=lambda height: (-(-rows // height) * (height + _ROWS_BY_THE_WAY), height))


def make_accumulate(window: int) -> Any:
    """`accumulate(rows, step, sums, pitch, sheet, row_length, offsets, weights, count)` for taps of that window.

    Adds `count` taps to a block of `rows`, as `find_height` says, at `sums`, whose rows lie `pitch` apart. On the sheet
    output rows lie `step` rows of `row_length` apart. `offsets` has per tap and column of the window where it is read,
    `weights` per tap those across, then those down.
    """

    @intrinsic
    def accumulate(typingctx: Any, rows: Any, step: Any, sums: Any, pitch: Any, sheet: Any, row_length: Any,
                   offsets: Any, weights: Any, count: Any) -> Any:  # fmt: skip
        vector: Any = Vector(sums.dtype)

        def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            height, step_, *rest = args
            end = builder.append_basic_block("end")
            together = builder.icmp_signed("==", step_, step_.type(1))
            cases = builder.switch(builder.select(together, height, height.type(0)), end)
            block = _Block(builder, vector, context.get_value_type(vector), window)
            for rows_ in HEIGHTS[window]:
                case = builder.append_basic_block(f"rows{rows_}")
                cases.add_case(height.type(rows_), case)
                builder.position_at_end(case)
                block.emit(rows_, None, *rest)
                builder.branch(end)
            case = builder.append_basic_block("apart")
            cases.add_case(height.type(0), case)
            builder.position_at_end(case)
            block.emit(_APART[window], step_, *rest)
            builder.branch(end)
            builder.position_at_end(end)
            return context.get_dummy_value()

        ints = types.int64
        return types.void(ints, ints, sums, ints, sheet, ints, offsets, weights, ints), lower

    return accumulate


class _Block:
    """Emits the loop over taps for one height."""

    def __init__(self, builder: Any, vector: Any, kind: Any, window: int) -> None:
        self.builder, self.vector, self.kind, self.window = builder, vector, kind, window
        self.align = vector.dtype.bitwidth // 8

    def emit(self, rows: int, step: Any, sums: Any, pitch: Any, sheet: Any, row_length: Any,
             offsets: Any, weights: Any, count: Any) -> None:  # fmt: skip
        builder, index = self.builder, ir.IntType(64)
        places = [sums]
        for _ in range(rows - 1):
            places.append(builder.gep(places[-1], [pitch]))
        cells = [cgutils.alloca_once_value(builder, self._load(place)) for place in places]
        with cgutils.for_range(builder, count, intp=index) as loop:
            columns = self._numbers(offsets, loop.index, self.window)
            starts = [builder.gep(sheet, [column]) for column in columns]
            blended = self._numbers(weights, loop.index, 2 * self.window)
            splats = [spread(builder, weight, self.vector.lanes) for weight in blended]
            across, down = splats[: self.window], splats[self.window :]
            if step is None:
                self._add_shared(cells, starts, row_length, across, down)
            else:
                self._add_apart(cells, starts, row_length, step, across, down)
        for place, cell in zip(places, cells, strict=True):
            builder.store(builder.load(cell), self._at(place), align=self.align)

    def _add_shared(
        self, cells: list[Any], starts: list[Any], row_length: Any, across: Any, down: Any
    ) -> None:
        for row in range(len(cells) + self.window - 1):
            sample = self._blend(starts, across)
            for t in range(max(0, row - len(cells) + 1), min(self.window, row + 1)):
                self._add(cells[row - t], down[t], sample)
            starts = [self.builder.gep(start, [row_length]) for start in starts]

    def _add_apart(self, cells: list[Any], starts: list[Any], row_length: Any, step: Any, across: Any,
                   down: Any) -> None:  # fmt: skip
        jump = self.builder.mul(step, row_length)
        for cell in cells:
            rows = starts
            for t in range(self.window):
                self._add(cell, down[t], self._blend(rows, across))
                rows = [self.builder.gep(row, [row_length]) for row in rows]
            starts = [self.builder.gep(start, [jump]) for start in starts]

    def _blend(self, starts: list[Any], across: list[Any]) -> Any:
        first, *others = zip(starts, across, strict=True)
        value = self.builder.fmul(first[1], self._load(first[0]))
        for start, weight in others:
            value = call_fma(self.builder, self.vector, weight, self._load(start), value)
        return value

    def _add(self, cell: Any, weight: Any, sample: Any) -> None:
        value = call_fma(self.builder, self.vector, weight, sample, self.builder.load(cell))
        self.builder.store(value, cell)

    def _numbers(self, table: Any, entry: Any, count: int) -> list[Any]:
        builder = self.builder
        start = builder.gep(table, [builder.mul(entry, entry.type(count))])
        return [builder.load(builder.gep(start, [entry.type(i)])) for i in range(count)]

    def _at(self, place: Any) -> Any:
        return vector_at(self.builder, place, ir.IntType(64)(0), self.kind)

    def _load(self, place: Any) -> Any:
        return self.builder.load(self._at(place), align=self.align)
