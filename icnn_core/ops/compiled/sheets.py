"""A channel's plane as a *sheet*, which is read at shifts without a look at its borders.

Its rows are split into `step_x` phases (columns 0, s, 2s, … then 1, s+1, …) with at least `margin` zeros between any
two, and rows of zeros lie above and below. So what neighbouring outputs read at one shift is consecutive, and beyond
the image there are zeros.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from icnn_core.ops.compiled.simd import advance, get, load_first, put, store

_njit: Any = njit
compiled = _njit(error_model="numpy", nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)


@compiled
def fill(start, count, value):
    for index in range(count):
        put(start, index, value)


@compiled
def over(number, step):
    """number // step; a division takes as long as a few vectors, so it is left out where it can be."""
    return number if step == 1 else number // step


@compiled
def find_column(job, fx):
    """Where in a row of the sheet the pixels fx, fx + s, fx + 2s, … begin; anything outside finds zeros."""
    whole = over(fx, job.step_x)
    phase = fx - whole * job.step_x
    return phase * job.pitch + min(max(whole, -job.margin), job.phase_width)


@compiled
def copy_rows(job, image, sheet, first, last, lanes):
    for y in range(first, last):
        row = advance(image, y * job.width)
        to = advance(sheet, job.origin + y * job.row_length)
        if job.step_x == 1:
            for column in range(0, job.width, lanes):
                store(to, column, load_first(row, column, job.width - column))
        else:
            for column in range(job.width):
                put(to, column % job.step_x * job.pitch + column // job.step_x, get(row, column))
