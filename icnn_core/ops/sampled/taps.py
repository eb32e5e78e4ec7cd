"""One tap on one channel: sample it, spread its gradient, reduce its gradient. All loops over pixels are here.

A channel is first copied into a sheet, with a row of zeros above and below, see `compiled.sheets`. A tap then reads,
for one output row and one neighbour, consecutive elements: no index arithmetic per pixel, no branches.
"""

from __future__ import annotations

import numpy as np

from icnn_core.ops.compiled.sheets import compiled, copy_rows, fill, find_column, over
from icnn_core.ops.compiled.simd import (
    advance,
    choose_first,
    fma,
    get,
    load,
    load_first,
    put,
    shift_in,
    splat,
    store,
    store_first,
    total,
)


@compiled
def rows_inside(job, fy, fx, rows):
    """The output rows (first, last + 1) of `rows` for which one of the tap's neighbours is in the image."""
    if fx >= job.width or fx + (job.out_width - 1) * job.step_x + 1 < 0:
        return 0, 0
    first = min(max(0, -over(fy + 1, job.step_y)), rows)
    last = min(over(job.height - 1 - fy, job.step_y) + 1, rows)
    return first, max(first, last)


@compiled
def hold_rows(job, image, sheet, held, fy, first, last, lanes):
    """Copy what a tap needs and the sheet does not hold yet; `held` and the result: the image rows it holds."""
    top = max(0, fy + first * job.step_y)
    bottom = min(job.height, fy + (last - 1) * job.step_y + 2)
    if last <= first or top >= bottom:
        return held
    if held[0] >= held[1]:
        copy_rows(job, image, sheet, top, bottom, lanes)
        return top, bottom
    copy_rows(job, image, sheet, top, held[0], lanes)
    copy_rows(job, image, sheet, held[1], bottom, lanes)
    return min(top, held[0]), max(bottom, held[1])


@compiled
def sample(job, sheet, fy, fx, ty, tx, first, last, samples, lanes):
    """Write the tap's samples for the output rows first … last - 1.

    Columns go from right to left, so that what a row's last vector spills into the next row is overwritten.
    """
    left, right = find_column(job, fx), find_column(job, fx + 1)
    step_y, row_length, out_width = job.step_y, job.row_length, job.out_width
    down, across = splat(ty), splat(tx)
    for column in range((out_width - 1) // lanes * lanes, -1, -lanes):
        row = advance(sheet, job.origin + (fy + first * step_y) * row_length + column)
        to = advance(samples, column + first * out_width)
        a = load(row, left)
        top = fma(across, load(row, right) - a, a)
        for _ in range(first, last):
            if step_y != 1:
                a = load(row, left)
                top = fma(across, load(row, right) - a, a)
            b = load(row, row_length + left)
            bottom = fma(across, load(row, row_length + right) - b, b)
            store(to, 0, fma(down, bottom - top, top))
            top = bottom
            row = advance(row, step_y * row_length)
            to = advance(to, out_width)


@compiled
def sample_and_reduce(job, sheet, fy, fx, ty, tx, first, last, grad, samples, lanes):
    """As `sample`; returns Σ grad · ∂sample/∂y and Σ grad · ∂sample/∂x as well."""
    left, right = find_column(job, fx), find_column(job, fx + 1)
    step_y, row_length, out_width = job.step_y, job.row_length, job.out_width
    down, across = splat(ty), splat(tx)
    by_y = splat(ty - ty)
    by_x = by_y
    for column in range((out_width - 1) // lanes * lanes, -1, -lanes):
        row = advance(sheet, job.origin + (fy + first * step_y) * row_length + column)
        at = column + first * out_width
        a = load(row, left)
        top_slope = load(row, right) - a
        top = fma(across, top_slope, a)
        for _ in range(first, last):
            if step_y != 1:
                a = load(row, left)
                top_slope = load(row, right) - a
                top = fma(across, top_slope, a)
            b = load(row, row_length + left)
            slope = load(row, row_length + right) - b
            bottom = fma(across, slope, b)
            rise = bottom - top
            store(samples, at, fma(down, rise, top))
            g = load(grad, at)
            by_y = choose_first(out_width - column, fma(g, rise, by_y), by_y)
            by_x = choose_first(
                out_width - column, fma(g, fma(down, slope - top_slope, top_slope), by_x), by_x
            )
            top = bottom
            top_slope = slope
            row = advance(row, step_y * row_length)
            at += out_width
    return total(by_y), total(by_x)


@compiled
def _spread_row(job, above, below, down, across, to, left, right, lanes):
    """Add one row of gradients, (1 - ty) · above + ty · below, to one row of the image's gradient."""
    zero = down - down
    before = zero
    for column in range(0, job.margin, lanes):
        a = load(above, column)
        mixed = choose_first(job.out_width - column, fma(down, load(below, column) - a, a), zero)
        if job.step_x == 1:
            place = left + column
            part = fma(across, shift_in(before, mixed) - mixed, mixed)
            store(to, place, load(to, place) + part)
            before = mixed
        else:
            store(to, left + column, load(to, left + column) + mixed - across * mixed)
            store(to, right + column, fma(across, mixed, load(to, right + column)))


@compiled
def _grad_row(away, step, rows, out_width, grad, zeros):
    """The row of gradients whose samples' upper neighbours lie `away` rows below those of the first, or `zeros`."""
    row = over(away, step)
    return advance(grad, row * out_width) if row * step == away and 0 <= row < rows else zeros


@compiled
def spread(job, sheet, fy, fx, ty, tx, rows, grad, zeros, lanes):
    """Add the transpose of `sample`, applied to `grad` (rows × out_width), to a sheet; `zeros` is an empty row."""
    left, right = find_column(job, fx), find_column(job, fx + 1)
    step, out_width = job.step_y, job.out_width
    down, across = splat(ty), splat(tx)
    for y in range(max(fy, 0), min(fy + (rows - 1) * step + 2, job.height)):
        above = _grad_row(y - fy, step, rows, out_width, grad, zeros)
        below = _grad_row(y - 1 - fy, step, rows, out_width, grad, zeros)
        to = advance(sheet, job.origin + y * job.row_length)
        _spread_row(job, above, below, down, across, to, left, right, lanes)


@compiled
def write_image(job, sheet, image, first, last, adds, lanes):
    """Copy rows of a sheet to an image, or add them, and clear them."""
    for y in range(first, last):
        row, to = advance(sheet, job.origin + y * job.row_length), advance(image, y * job.width)
        if job.step_x == 1:
            for column in range(0, job.width, lanes):
                count = job.width - column
                value = load(row, column)
                if adds:
                    value = value + load_first(to, column, count)
                store_first(to, column, count, value)
        else:
            for column in range(job.width):
                value = get(row, column % job.step_x * job.pitch + column // job.step_x)
                put(to, column, value + get(to, column) if adds else value)
        fill(advance(row, -job.margin), job.row_length, np.float32(0))
