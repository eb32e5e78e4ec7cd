"""Sums of shifted planes: the output, and mirrored the gradient of x.

A unit of work is some rows of a block of targets (kernels, or on the way back channels) of one image. The sources come
in blocks, whose planes stay in the first-level cache: what each tap reads is looked up once, then one block of sums
after the other goes through the registers, for all targets, while a source's pixels are at hand. No unit writes where
another does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, from_dtype, types

from icnn_core.ops.compiled.cached import c_function
from icnn_core.ops.compiled.sheets import compiled, fill, find_column
from icnn_core.ops.compiled.simd import advance, fetch_and_add, get, load, pointer, put, store_first
from icnn_core.ops.sparse.block import make_accumulate
from icnn_core.ops.sparse.job import JOB
from icnn_core.ops.sparse.taps import copy_plane, find_tap, find_width, reads_image, weigh

_SIGNATURE = types.void(types.CPointer(from_dtype(JOB)))


@compiled
def _look_up(job, real, window, group, first_target, targets, first_source, sources, first_row, counts, offsets,
             weights):  # fmt: skip
    """Per target its taps that read the image or are lost. Returns the rows (first, last + 1) that are read."""
    span = (job.rows - 1) * job.step_y + window
    most = job.block_sources * job.taps
    top, bottom = job.height, 0
    pairs = group * job.sources * job.targets
    for target in range(targets):
        count = 0
        for source in range(sources):
            pair = (
                pairs
                + (first_target + target) * job.target_pairs
                + (first_source + source) * job.source_pairs
            )
            for k in range(pair * job.taps, (pair + 1) * job.taps):
                row, column, down, across = find_tap(job, k)
                if job.back:
                    row, column = 1 - window - row, 1 - window - column
                row += first_row * job.step_y
                lost = down + across != down + across
                if lost:
                    row, column = 0, 0
                elif not reads_image(job, window, row, column, job.rows):
                    continue
                at = target * most + count
                start = source * job.sheet_size + job.origin + row * job.row_length
                for q in range(window):
                    put(offsets, window * at + q, start + find_column(job, column + q))
                to = advance(weights, 2 * window * at)
                value = np.float64(get(pointer(job.weight, real), k))
                wide_y, wide_x = find_width(job, k)
                weigh(real, window, across, wide_x, 1.0, job.back, to)
                weigh(real, window, down, wide_y, value, job.back, advance(to, window))
                top, bottom = min(top, row), max(bottom, row + span)
                count += 1
        put(counts, target, count)
    return max(top, 0), min(bottom, job.height)


@compiled
def _write(job, sums, target, rows, lanes):
    for row in range(rows):
        start, to = advance(sums, row * job.sums_pitch), advance(target, row * job.out_width)
        for column in range(0, job.out_width, lanes):
            store_first(to, column, job.out_width - column, load(start, column))


def _compile(window: int, real: Any, lanes: int, stamp: int, *, cache: bool = False) -> Any:
    accumulate = make_accumulate(window)

    @compiled
    def add_taps(job, targets, counts, offsets, weights, sums, sheets):
        most = job.block_sources * job.taps
        for row in range(0, job.rows, job.block_rows):
            for column in range(0, job.sums_pitch, lanes):
                start = advance(sheets, row * job.step_y * job.row_length + column)
                for target in range(targets):
                    to = advance(sums, target * job.sums_size + row * job.sums_pitch + column)
                    at = target * most * window
                    accumulate(job.block_rows, job.step_y, to, job.sums_pitch, start, job.row_length,
                               advance(offsets, at), advance(weights, 2 * at), get(counts, target))  # fmt: skip

    @compiled
    def do_unit(job, unit, counts, offsets, weights, sums, sheets):
        bands, blocks = -(-job.out_height // job.rows), -(-job.targets // job.block_targets)
        first_row = unit % bands * job.rows
        first_target = unit // bands % blocks * job.block_targets
        group, image = unit // bands // blocks % job.groups, unit // bands // blocks // job.groups
        targets = min(job.block_targets, job.targets - first_target)
        for target in range(targets):
            value = real(0)
            if job.bias:
                value = get(pointer(job.bias, real), group * job.targets + first_target + target)
            fill(advance(sums, target * job.sums_size), job.sums_size, value)
        size = job.source_height * job.source_width
        for first_source in range(0, job.sources, job.block_sources):
            sources = min(job.block_sources, job.sources - first_source)
            top, bottom = _look_up(job, real, window, group, first_target, targets, first_source, sources, first_row,
                                   counts, offsets, weights)  # fmt: skip
            for source in range(sources):
                plane = (image * job.groups + group) * job.sources + first_source + source
                start = advance(pointer(job.source, real), plane * size)
                copy_plane(job, start, advance(sheets, source * job.sheet_size), top, bottom, lanes)
            add_taps(job, targets, counts, offsets, weights, sums, sheets)
        rows = min(job.rows, job.out_height - first_row)
        for target in range(targets):
            plane = (image * job.groups + group) * job.targets + first_target + target
            to = advance(pointer(job.target, real), (plane * job.out_height + first_row) * job.out_width)
            _write(job, advance(sums, target * job.sums_size), to, rows, lanes)

    @c_function(_SIGNATURE, window, real, lanes, stamp, cache=cache)
    def planes(jobs):
        job = carray(jobs, 1)[0]
        counters = pointer(job.counters, np.int64)
        scratch = job.scratch + fetch_and_add(counters, 1, 1) * job.scratch_bytes
        counts = pointer(scratch, np.int64)
        offsets = advance(counts, job.block_targets)
        entries = job.block_targets * job.block_sources * job.taps * window
        weights = pointer(scratch + 8 * (job.block_targets + entries), real)
        sums = pointer(scratch + job.table_bytes, real)
        sheets = advance(sums, job.block_targets * job.sums_size)
        fill(sheets, job.block_sources * job.sheet_size, real(0))
        units = job.batch * job.groups * -(-job.targets // job.block_targets) * -(-job.out_height // job.rows)
        unit = fetch_and_add(counters, 0, 1)
        while unit < units:
            do_unit(job, unit, counts, offsets, weights, sums, sheets)
            unit = fetch_and_add(counters, 0, 1)

    return planes


def compile_bilinear(real: Any, lanes: int, stamp: int, *, cache: bool = False) -> Any:
    """The pass with bilinear windows as a C function of a pointer to a job."""
    return _compile(2, real, lanes, stamp, cache=cache)


def compile_gaussian(real: Any, lanes: int, stamp: int, *, cache: bool = False) -> Any:
    """The pass with Gaussian windows as a C function of a pointer to a job."""
    return _compile(8, real, lanes, stamp, cache=cache)
