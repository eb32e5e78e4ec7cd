"""Gradients of weights, positions and widths: products of the planes of gradients with shifted planes of x.

A unit of work is a block of a group's kernels, for all images. With `D[t,q] = Σ_pixels g · x[window row t, column q]`,
which the four shifts of a bilinear tap are, all its derivatives follow from the sums along the window's axes,
`U[t] = Σ_q across[q] · D[t,q]` and `V[q] = Σ_t down[t] · D[t,q]`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, from_dtype, types

from icnn_core.ops.compiled.cached import c_function
from icnn_core.ops.compiled.sheets import compiled, fill, find_column
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
    total,
)
from icnn_core.ops.sparse.job import JOB
from icnn_core.ops.sparse.taps import copy_plane, find_rows, find_slopes, find_tap, find_width, weigh
from icnn_core.ops.sparse.wide import make_add_sums

_SIGNATURE = types.void(types.CPointer(from_dtype(JOB)))


@compiled
def _copy_gradients(job, source, grads, lanes):
    for row in range(job.out_height):
        start, to = advance(source, row * job.out_width), advance(grads, row * job.sums_pitch)
        for column in range(0, job.out_width, lanes):
            store(to, column, load_first(start, column, job.out_width - column))


@compiled
def _multiply(job, real, sheet, left, right, grads, rows, lanes):
    """D of a bilinear tap, over `rows` rows of outputs; two rows at a time, so that no sum waits for the one before."""
    row_length, pitch, step = job.row_length, job.sums_pitch, job.step_y
    zero = splat(real(0))
    a00, a01, a10, a11 = zero, zero, zero, zero
    b00, b01, b10, b11 = zero, zero, zero, zero
    for column in range(0, job.out_width, lanes):
        count = job.out_width - column
        row, grad = advance(sheet, column), advance(grads, column)
        if step != 1:
            for _ in range(rows):
                g = load(grad, 0)
                a00 = fma(g, choose_first(count, load(row, left), zero), a00)
                a01 = fma(g, choose_first(count, load(row, right), zero), a01)
                a10 = fma(g, choose_first(count, load(row, row_length + left), zero), a10)
                a11 = fma(g, choose_first(count, load(row, row_length + right), zero), a11)
                row, grad = advance(row, step * row_length), advance(grad, pitch)
            continue
        above = zero
        for _ in range((rows + 1) // 2):
            g, below = load(grad, 0), load(grad, pitch)
            x, y = choose_first(count, load(row, left), zero), choose_first(count, load(row, right), zero)
            a00, a01, a10, a11 = fma(g, x, a00), fma(g, y, a01), fma(above, x, a10), fma(above, y, a11)
            x = choose_first(count, load(row, row_length + left), zero)
            y = choose_first(count, load(row, row_length + right), zero)
            b00, b01, b10, b11 = fma(below, x, b00), fma(below, y, b01), fma(g, x, b10), fma(g, y, b11)
            above = below
            row, grad = advance(row, 2 * row_length), advance(grad, 2 * pitch)
        if rows % 2 == 0:
            x, y = choose_first(count, load(row, left), zero), choose_first(count, load(row, right), zero)
            a10, a11 = fma(above, x, a10), fma(above, y, a11)
    return total(a00 + b00), total(a01 + b01), total(a10 + b10), total(a11 + b11)


@compiled
def _add_up(job, real, sheet, at, ty, tx, grads, first, last, sums, lanes):
    """U and V of a bilinear tap, in float64."""
    start = advance(sheet, (first * job.step_y) * job.row_length)
    grad = advance(grads, first * job.sums_pitch)
    d00, d01, d10, d11 = _multiply(job, real, start, at[0], at[1], grad, last - first, lanes)
    put(sums, 0, d00 + tx * (np.float64(d01) - d00))
    put(sums, 1, d10 + tx * (np.float64(d11) - d10))
    put(sums, 2, d00 + ty * (np.float64(d10) - d00))
    put(sums, 3, d01 + ty * (np.float64(d11) - d01))


def _compile(window: int, real: Any, lanes: int, stamp: int, *, cache: bool = False) -> Any:
    add_sums: Any = make_add_sums(window) if window > 2 else None

    if window == 2:

        @compiled
        def add_up(job, sheet, column, ty, tx, sigma_y, sigma_x, grads, first, last, head):
            at = find_column(job, column), find_column(job, column + 1)
            _add_up(job, real, sheet, at, ty, tx, grads, first, last, pointer(head, np.float64), lanes)
    else:

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
        by_weight, by_y, by_x, by_sigma_y, by_sigma_x = 0.0, 0.0, 0.0, 0.0, 0.0
        if ty + tx != ty + tx:
            by_weight = by_y = by_x = by_sigma_y = by_sigma_x = np.nan
        elif last > first:
            start = advance(sheet, job.origin + row * job.row_length)
            add_up(job, start, column, ty, tx, sigma_y, sigma_x, grads, first, last, head)
            sums = pointer(head, np.float64)
            by_weight, by_y, by_sigma_y = find_slopes(window, ty, sigma_y, sums)
            _, by_x, by_sigma_x = find_slopes(window, tx, sigma_x, advance(sums, window))
        if job.grad_weight:
            grad_weight = pointer(job.grad_weight, real)
            put(grad_weight, k, get(grad_weight, k) + real(by_weight))
        value = np.float64(get(pointer(job.weight, real), k))
        if job.grad_positions:
            add_pair(job, job.grad_positions, k, value * by_y, value * by_x)
        if job.grad_sigma:
            add_pair(job, job.grad_sigma, k, value * by_sigma_y, value * by_sigma_x)

    @compiled
    def do_unit(job, unit, head, grads, sheets):
        blocks = -(-job.targets // job.block_targets)
        group, first_target = unit // blocks, unit % blocks * job.block_targets
        targets = min(job.block_targets, job.targets - first_target)
        size, plane = job.height * job.width, job.out_height * job.out_width
        for image in range(job.batch):
            for first_source in range(0, job.sources, job.block_sources):
                sources = min(job.block_sources, job.sources - first_source)
                for source in range(sources):
                    at = (image * job.groups + group) * job.sources + first_source + source
                    start = advance(pointer(job.source, real), at * size)
                    copy_plane(job, start, advance(sheets, source * job.sheet_size), 0, job.height, lanes)
                for target in range(first_target, first_target + targets):
                    at = (image * job.groups + group) * job.targets + target
                    _copy_gradients(job, advance(pointer(job.grad_out, real), at * plane), grads, lanes)
                    pair = (group * job.targets + target) * job.sources + first_source
                    for k in range(pair * job.taps, (pair + sources) * job.taps):
                        sheet = advance(sheets, (k // job.taps - pair) * job.sheet_size)
                        do_tap(job, k, sheet, grads, head)

    @c_function(_SIGNATURE, window, real, lanes, stamp, cache=cache)
    def products(jobs):
        job = carray(jobs, 1)[0]
        counters = pointer(job.counters, np.int64)
        head = job.scratch + fetch_and_add(counters, 1, 1) * job.scratch_bytes
        start = pointer(head + job.table_bytes, real)
        grads = advance(start, window * job.sums_pitch)
        sheets = advance(start, job.grads_size)
        fill(start, job.grads_size + job.block_sources * job.sheet_size, real(0))
        units = job.groups * -(-job.targets // job.block_targets)
        unit = fetch_and_add(counters, 0, 1)
        while unit < units:
            do_unit(job, unit, head, grads, sheets)
            unit = fetch_and_add(counters, 0, 1)

    return products


@compiled
def add_pair(job, address, k, y, x):
    """Add to entry k, a pair (y, x), of a gradient of the positions' dtype."""
    if job.precise:
        to = pointer(address, np.float64)
        put(to, 2 * k, get(to, 2 * k) + y)
        put(to, 2 * k + 1, get(to, 2 * k + 1) + x)
    else:
        start = pointer(address, np.float32)
        put(start, 2 * k, np.float32(get(start, 2 * k) + y))
        put(start, 2 * k + 1, np.float32(get(start, 2 * k + 1) + x))


def compile_bilinear(real: Any, lanes: int, stamp: int, *, cache: bool = False) -> Any:
    """The pass with bilinear windows as a C function of a pointer to a job."""
    return _compile(2, real, lanes, stamp, cache=cache)


def compile_gaussian(real: Any, lanes: int, stamp: int, *, cache: bool = False) -> Any:
    """The pass with Gaussian windows as a C function of a pointer to a job."""
    return _compile(8, real, lanes, stamp, cache=cache)
