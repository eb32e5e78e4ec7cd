"""Depthwise layers (one channel per group): no column and no BLAS; a channel's planes stay in the first-level cache.

A unit of work is a channel, for all images. Each tap adds its samples, times its weight, to a plane of sums. The
image's gradient is the same computation on the plane of gradients with the positions mirrored (r to -r: floor to
-floor - 1, fraction to 1 - fraction); for strides above 1 zeros lie between the gradients. The second record of the
job describes that way back.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, from_dtype, types

from icnn_core.ops.compiled.cached import c_function
from icnn_core.ops.compiled.sheets import compiled, copy_rows, fill, find_column
from icnn_core.ops.compiled.simd import (
    advance,
    choose_first,
    fetch_and_add,
    fma,
    get,
    load,
    load_first,
    pointer,
    put,
    splat,
    store,
    store_first,
    total,
)
from icnn_core.ops.sampled import near
from icnn_core.ops.sampled.job import JOB
from icnn_core.ops.sampled.taps import rows_inside

_SIGNATURE = types.void(types.CPointer(from_dtype(JOB)))
_ENTRIES = 4  # per tap in a table


@compiled
def _look_up(job, floors, fractions, mirrored, table):
    """Per tap: where its first output row reads, the distance to the right neighbour, first and last + 1 output row.

    Returns whether a position is not a number; such a tap gets no rows.
    """
    broken = False
    for k in range(job.taps):
        fy, fx = get(floors, 2 * k), get(floors, 2 * k + 1)
        if mirrored:
            fy, fx = -fy - 1, -fx - 1
        first, last = rows_inside(job, fy, fx, job.out_height)
        mixed = get(fractions, 2 * k) + get(fractions, 2 * k + 1)
        if mixed != mixed:
            broken, last = True, first
        left = find_column(job, fx)
        put(table, _ENTRIES * k, job.origin + (fy + first * job.step_y) * job.row_length + left)
        put(table, _ENTRIES * k + 1, find_column(job, fx + 1) - left)
        put(table, _ENTRIES * k + 2, first)
        put(table, _ENTRIES * k + 3, last)
    return broken


@compiled
def _add_samples(job, sheet, gap, first, last, ty, tx, weight, sums, lanes):
    """Add weight · samples to the output rows first … last - 1 of `sums`, whose rows are `margin` long."""
    row_length, step, pitch = job.row_length, job.step_y, job.margin
    across, upper, lower = splat(tx), splat(weight - weight * ty), splat(weight * ty)
    for column in range(0, job.out_width, lanes):
        row, to = advance(sheet, column), advance(sums, first * pitch + column)
        a = load(row, 0)
        top = fma(across, load(row, gap) - a, a)
        for _ in range(first, last):
            if step != 1:
                a = load(row, 0)
                top = fma(across, load(row, gap) - a, a)
            b = load(row, row_length)
            bottom = fma(across, load(row, row_length + gap) - b, b)
            store(to, 0, fma(lower, bottom, fma(upper, top, load(to, 0))))
            top = bottom
            row, to = advance(row, step * row_length), advance(to, pitch)


@compiled
def _add_taps(job, real, table, fractions, mirrored, weight, sheet, sums, lanes):
    for k in range(job.taps):
        at, gap = get(table, _ENTRIES * k), get(table, _ENTRIES * k + 1)
        first, last = get(table, _ENTRIES * k + 2), get(table, _ENTRIES * k + 3)
        ty, tx, value = get(fractions, 2 * k), get(fractions, 2 * k + 1), get(weight, k)
        if mirrored:
            ty, tx = real(1) - ty, real(1) - tx
        if last > first:
            _add_samples(job, advance(sheet, at), gap, first, last, ty, tx, value, sums, lanes)


@compiled
def _reduce(job, sheet, gap, first, last, ty, tx, grad, lanes):
    """Σ grad · sample and Σ grad · ∂sample/∂(y, x) over the output rows first … last - 1."""
    row_length, step, pitch = job.row_length, job.step_y, job.margin
    across = splat(tx)
    zero = across - across
    by_top, by_rise, by_slope, by_lower_slope = zero, zero, zero, zero
    for column in range(0, job.out_width, lanes):
        count = job.out_width - column
        row, at = advance(sheet, column), advance(grad, first * pitch + column)
        a = load(row, 0)
        slope = load(row, gap) - a
        top = fma(across, slope, a)
        for _ in range(first, last):
            if step != 1:
                a = load(row, 0)
                slope = load(row, gap) - a
                top = fma(across, slope, a)
            b = load(row, row_length)
            lower_slope = load(row, row_length + gap) - b
            bottom = fma(across, lower_slope, b)
            g = load(at, 0)
            by_top = choose_first(count, fma(g, top, by_top), by_top)
            by_rise = choose_first(count, fma(g, bottom - top, by_rise), by_rise)
            by_slope = choose_first(count, fma(g, slope, by_slope), by_slope)
            by_lower_slope = choose_first(count, fma(g, lower_slope, by_lower_slope), by_lower_slope)
            top, slope = bottom, lower_slope
            row, at = advance(row, step * row_length), advance(at, pitch)
    by_y, by_x = total(by_rise), total(by_slope)
    return total(by_top) + ty * by_y, by_y, by_x + ty * (total(by_lower_slope) - by_x)


@compiled
def _copy_gradients(job, back, source, sheet, rows, lanes):
    """A plane of gradients to the sheet that is sampled for the image's gradient, and to rows of `margin` each."""
    for i in range(job.out_height):
        row, to = advance(source, i * job.out_width), advance(rows, i * job.margin)
        spread_to = advance(sheet, back.origin + i * job.step_y * back.row_length)
        for column in range(0, job.out_width, lanes):
            value = load_first(row, column, job.out_width - column)
            store(to, column, value)
            if job.step_x == 1:
                store(spread_to, column, value)
        if job.step_x != 1:
            for column in range(job.out_width):
                put(spread_to, column * job.step_x, get(row, column))


@compiled
def _write_plane(sums, rows, width, pitch, plane, lanes):
    for y in range(rows):
        row, to = advance(sums, y * pitch), advance(plane, y * width)
        for column in range(0, width, lanes):
            store_first(to, column, width - column, load(row, column))


@compiled
def _forward_channel(job, real, channel, sheet, sums, room, table, lanes):
    shape = 2 * job.taps * (channel if job.shapes > 1 else 0)
    floors, fractions = pointer(job.floors, np.int64), advance(pointer(job.fractions, real), shape)
    broken = _look_up(job, advance(floors, shape), fractions, False, table)
    kernels, plane = job.kernels // job.channels, job.out_height * job.out_width
    bias, out = pointer(job.bias, real), pointer(job.out, real)
    reach = near.find_reach(job, advance(floors, shape), False, lanes)
    for image in range(job.batch):
        source = advance(pointer(job.x, real), (image * job.channels + channel) * job.height * job.width)
        copy_rows(job, source, sheet, 0, job.height, lanes)
        for kernel in range(channel * kernels, (channel + 1) * kernels):
            value = get(bias, kernel) if job.bias else real(0)
            weight = advance(pointer(job.weight, real), kernel * job.taps)
            to = advance(out, (image * job.kernels + kernel) * plane)
            if reach[2] and not broken:
                if kernels > 1 or image == 0:
                    near.add_up(
                        job, real, advance(floors, shape), fractions, weight, False, reach, room, lanes
                    )
                near.convolve(job, room, reach, sheet, value, to, lanes)
                continue
            fill(sums, job.out_height * job.margin, real(np.nan) if broken else value)
            _add_taps(job, real, table, fractions, False, weight, sheet, sums, lanes)
            _write_plane(sums, job.out_height, job.out_width, job.margin, to, lanes)


@compiled
def _reduce_taps(job, real, table, fractions, kernel, channel, sheet, grads, lanes):
    weight = advance(pointer(job.weight, real), kernel * job.taps)
    grad_weight = advance(pointer(job.grad_weight, real), kernel * job.taps)
    grad_positions = advance(pointer(job.grad_positions, np.float64), 2 * channel * job.taps)
    for k in range(job.taps):
        first, last = get(table, _ENTRIES * k + 2), get(table, _ENTRIES * k + 3)
        ty, tx = get(fractions, 2 * k), get(fractions, 2 * k + 1)
        by_weight, by_y, by_x = ty - ty, ty - ty, tx - tx
        if last > first:
            start = advance(sheet, get(table, _ENTRIES * k))
            gap = get(table, _ENTRIES * k + 1)
            by_weight, by_y, by_x = _reduce(job, start, gap, first, last, ty, tx, grads, lanes)
        elif ty + tx != ty + tx:
            by_weight = by_y = by_x = ty + tx
        if job.needs_weight:
            put(grad_weight, k, get(grad_weight, k) + by_weight)
        if job.needs_positions:
            value = get(weight, k)
            put(grad_positions, 2 * k, get(grad_positions, 2 * k) + value * by_y)
            put(grad_positions, 2 * k + 1, get(grad_positions, 2 * k + 1) + value * by_x)


@compiled
def _backward_channel(job, back, real, channel, sheet, grad_sheet, grads, sums, room, table, lanes):
    shape = 2 * job.taps * (channel if job.shapes > 1 else 0)
    floors, fractions = pointer(job.floors, np.int64), advance(pointer(job.fractions, real), shape)
    back_table = advance(table, _ENTRIES * job.taps)
    broken = _look_up(job, advance(floors, shape), fractions, False, table)
    _look_up(back, advance(floors, shape), fractions, True, back_table)
    kernels, plane, size = job.kernels // job.channels, job.out_height * job.out_width, job.height * job.width
    reach = near.find_reach(back, advance(floors, shape), True, lanes)
    is_near = kernels == 1 and reach[2] > 0 and not broken
    weight = advance(pointer(job.weight, real), channel * job.taps)
    if is_near and job.needs_x:
        near.add_up(back, real, advance(floors, shape), fractions, weight, True, reach, room, lanes)
    for image in range(job.batch):
        at = (image * job.channels + channel) * size
        if job.needs_weight or job.needs_positions:
            copy_rows(job, advance(pointer(job.x, real), at), sheet, 0, job.height, lanes)
        if not is_near:
            fill(sums, job.height * back.margin, real(np.nan) if broken else real(0))
        for kernel in range(channel * kernels, (channel + 1) * kernels):
            source = advance(pointer(job.grad_out, real), (image * job.kernels + kernel) * plane)
            _copy_gradients(job, back, source, grad_sheet, grads, lanes)
            if job.needs_x and not is_near:
                weight = advance(pointer(job.weight, real), kernel * job.taps)
                _add_taps(back, real, back_table, fractions, True, weight, grad_sheet, sums, lanes)
            if job.needs_weight or job.needs_positions:
                _reduce_taps(job, real, table, fractions, kernel, channel, sheet, grads, lanes)
        if job.needs_x:
            to = advance(pointer(job.grad_x, real), at)
            if is_near:
                near.convolve(back, room, reach, grad_sheet, real(0), to, lanes)
                continue
            _write_plane(sums, job.height, job.width, back.margin, to, lanes)


@compiled
def _claim_scratch(job, counters):
    return job.scratch + fetch_and_add(counters, 1, 1) * job.scratch_bytes


def compile_forward(real: Any, lanes: int, stamp: int, *, cache: bool = False) -> Any:
    """The forward pass as a C function of a pointer to a job."""

    @c_function(_SIGNATURE, real, lanes, stamp, cache=cache)
    def depthwise_forward(jobs):
        job = carray(jobs, 1)[0]
        counters = pointer(job.counters, np.int64)
        scratch = _claim_scratch(job, counters)
        table = pointer(scratch, np.int64)
        sheet = pointer(scratch + 16 * _ENTRIES * job.taps, real)
        sums = advance(sheet, job.sheet_size)
        room = advance(sums, job.out_height * job.margin)
        fill(sheet, job.sheet_size, real(0))
        channel = fetch_and_add(counters, 0, 1)
        while channel < job.channels:
            _forward_channel(job, real, channel, sheet, sums, room, table, lanes)
            channel = fetch_and_add(counters, 0, 1)

    return depthwise_forward


def compile_backward(real: Any, lanes: int, stamp: int, *, cache: bool = False) -> Any:
    """The backward pass as a C function of a pointer to a job and its way back."""

    @c_function(_SIGNATURE, real, lanes, stamp, cache=cache)
    def depthwise_backward(jobs):
        records = carray(jobs, 2)
        job, back = records[0], records[1]
        counters = pointer(job.counters, np.int64)
        scratch = _claim_scratch(job, counters)
        table = pointer(scratch, np.int64)
        sheet = pointer(scratch + 16 * _ENTRIES * job.taps, real)
        sums = advance(sheet, job.sheet_size)
        grad_sheet = advance(sums, max(job.out_height * job.margin, job.height * back.margin))
        grads = advance(grad_sheet, back.sheet_size)
        room = advance(grads, job.out_height * job.margin)
        fill(sheet, job.sheet_size, real(0))
        fill(grad_sheet, back.sheet_size, real(0))
        channel = fetch_and_add(counters, 0, 1)
        while channel < job.channels:
            _backward_channel(job, back, real, channel, sheet, grad_sheet, grads, sums, room, table, lanes)
            channel = fetch_and_add(counters, 0, 1)

    return depthwise_backward
