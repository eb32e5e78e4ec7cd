"""The general case: a tile of samples, then BLAS. One parallel region per pass, in which no thread waits for another.

Forward, a unit of work is a block of output rows of one image and group, and with many threads of some of its kernels:
for one block of channels after the other it samples a tile (channels·K × pixels) that fits the cache, and adds
weight · tile to the output. Backward, it is a block of channels, for all images: grad_tile = weightᵀ · grad_out; spread
to the image's gradient, reduced to the positions', while the tile is sampled again; grad_weight += grad_out · tileᵀ. So
no two units write to the same place, and nothing is saved between the passes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, from_dtype, types

from icnn_core.ops.compiled.cached import c_function
from icnn_core.ops.compiled.sheets import compiled, fill
from icnn_core.ops.compiled.simd import advance, fetch_and_add, gemm, get, pointer, put
from icnn_core.ops.sampled.job import JOB
from icnn_core.ops.sampled.taps import hold_rows, rows_inside, sample, sample_and_reduce, spread, write_image

_JOB_TYPE = from_dtype(JOB)
_SIGNATURE = types.void(types.CPointer(_JOB_TYPE))


@compiled
def _tap(job, floors, fractions, channel, k, first_row):
    shape = channel if job.shapes > 1 else 0
    at = 2 * (shape * job.taps + k)
    fy = get(floors, at) + first_row * job.step_y
    return fy, get(floors, at + 1), get(fractions, at), get(fractions, at + 1)


@compiled
def _sample_channel(job, image, floors, fractions, channel, first_row, rows, sheet, tile, lanes):
    held = (0, 0)
    for k in range(job.taps):
        fy, fx, ty, tx = _tap(job, floors, fractions, channel, k, first_row)
        to = advance(tile, k * job.tile_pitch)
        if ty + tx != ty + tx:
            fill(to, rows * job.out_width, ty + tx)
            continue
        first, last = rows_inside(job, fy, fx, rows)
        fill(to, first * job.out_width, ty - ty)
        if last > first:
            held = hold_rows(job, image, sheet, held, fy, first, last, lanes)
            sample(job, sheet, fy, fx, ty, tx, first, last, to, lanes)
        fill(advance(to, last * job.out_width), (rows - last) * job.out_width, ty - ty)


@compiled
def _forward_unit(job, unit, real, sheet, tile, lanes):
    all_kernels, per_group = job.kernels // job.groups, job.channels // job.groups
    blocks, parts = -(-job.out_height // job.block_rows), -(-all_kernels // job.block_kernels)
    first_row, part = unit % blocks * job.block_rows, unit // blocks % parts
    image, group = unit // blocks // parts // job.groups, unit // blocks // parts % job.groups
    rows = min(job.block_rows, job.out_height - first_row)
    pixels, plane = rows * job.out_width, job.out_height * job.out_width
    first_kernel = group * all_kernels + part * job.block_kernels
    kernels = min(job.block_kernels, all_kernels - part * job.block_kernels)
    x, weight, bias = pointer(job.x, real), pointer(job.weight, real), pointer(job.bias, real)
    floors, fractions = pointer(job.floors, np.int64), pointer(job.fractions, real)
    out = pointer(job.out, real)
    out = advance(out, (image * job.kernels + first_kernel) * plane + first_row * job.out_width)
    for kernel in range(kernels):
        value = get(bias, first_kernel + kernel) if job.bias else real(0)
        fill(advance(out, kernel * plane), pixels, value)
    depth = per_group * job.taps
    weight = advance(weight, first_kernel * depth)
    for start in range(0, per_group, job.block_channels):
        count = min(job.block_channels, per_group - start)
        for local in range(count):
            channel = group * per_group + start + local
            source = advance(x, (image * job.channels + channel) * job.height * job.width)
            to = advance(tile, local * job.taps * job.tile_pitch)
            _sample_channel(job, source, floors, fractions, channel, first_row, rows, sheet, to, lanes)
        gemm(job.gemm, False, False, pixels, kernels, count * job.taps, tile, job.tile_pitch,
             advance(weight, start * job.taps), depth, real(1), out, plane)  # fmt: skip


@compiled
def _backward_channel(job, image, grad_image, floors, fractions, grad_positions, channel, first_row, rows,
                      sheet, grad_sheet, tile, grad_tile, zeros, lanes):  # fmt: skip
    held, touched = (0, 0), (job.height, 0)
    broken = False
    for k in range(job.taps):
        fy, fx, ty, tx = _tap(job, floors, fractions, channel, k, first_row)
        to, grad = advance(tile, k * job.tile_pitch), advance(grad_tile, k * job.tile_pitch)
        by = 2 * (channel * job.taps + k)
        if ty + tx != ty + tx:
            broken = True
            fill(to, rows * job.out_width, ty + tx)
            put(grad_positions, by, np.nan)
            put(grad_positions, by + 1, np.nan)
            continue
        first, last = rows_inside(job, fy, fx, rows)
        fill(to, first * job.out_width, ty - ty)
        if last > first:
            held = hold_rows(job, image, sheet, held, fy, first, last, lanes)
            if job.needs_positions:
                by_y, by_x = sample_and_reduce(job, sheet, fy, fx, ty, tx, first, last, grad, to, lanes)
                put(grad_positions, by, get(grad_positions, by) + by_y)
                put(grad_positions, by + 1, get(grad_positions, by + 1) + by_x)
            elif job.needs_weight:
                sample(job, sheet, fy, fx, ty, tx, first, last, to, lanes)
            if job.needs_x:
                spread(job, grad_sheet, fy, fx, ty, tx, rows, grad, zeros, lanes)
                touched = (
                    min(touched[0], max(fy, 0)),
                    max(touched[1], min(job.height, fy + (rows - 1) * job.step_y + 2)),
                )
        fill(advance(to, last * job.out_width), (rows - last) * job.out_width, ty - ty)
    if job.needs_x:
        whole = first_row == 0
        top, bottom = (0, job.height) if whole else touched
        write_image(job, grad_sheet, grad_image, top, bottom, not whole, lanes)
        if broken:
            fill(grad_image, job.height * job.width, np.nan)


@compiled
def _backward_unit(job, unit, real, sheet, grad_sheet, tile, grad_tile, zeros, lanes):
    kernels, per_group = job.kernels // job.groups, job.channels // job.groups
    blocks = -(-per_group // job.block_channels)
    group, start = unit // blocks, unit % blocks * job.block_channels
    count = min(job.block_channels, per_group - start)
    depth, plane, size = per_group * job.taps, job.out_height * job.out_width, job.height * job.width
    x, grad_x = pointer(job.x, real), pointer(job.grad_x, real)
    at = group * kernels * depth + start * job.taps
    weight, grad_weight = advance(pointer(job.weight, real), at), advance(pointer(job.grad_weight, real), at)
    floors, fractions = pointer(job.floors, np.int64), pointer(job.fractions, real)
    grad_positions = pointer(job.grad_positions, np.float64)
    for image in range(job.batch):
        for first_row in range(0, job.out_height, job.block_rows):
            rows = min(job.block_rows, job.out_height - first_row)
            pixels = rows * job.out_width
            grad_out = advance(pointer(job.grad_out, real),
                               (image * job.kernels + group * kernels) * plane + first_row * job.out_width)  # fmt: skip
            if job.needs_x or job.needs_positions:
                gemm(job.gemm, False, True, pixels, count * job.taps, kernels, grad_out, plane, weight, depth,
                     real(0), grad_tile, job.tile_pitch)  # fmt: skip
            for local in range(count):
                channel = group * per_group + start + local
                plane_at = (image * job.channels + channel) * size
                tile_at = local * job.taps * job.tile_pitch
                _backward_channel(job, advance(x, plane_at), advance(grad_x, plane_at), floors, fractions,
                                  grad_positions, channel, first_row, rows, sheet, grad_sheet,
                                  advance(tile, tile_at), advance(grad_tile, tile_at), zeros, lanes)  # fmt: skip
            if job.needs_weight:
                gemm(job.gemm, True, False, count * job.taps, kernels, pixels, tile, job.tile_pitch,
                     grad_out, plane, real(1), grad_weight, depth)  # fmt: skip


def compile_forward(real: Any, lanes: int, stamp: int, *, cache: bool = False) -> Any:
    """The forward pass as a C function of a pointer to a job."""

    @c_function(_SIGNATURE, real, lanes, stamp, cache=cache)
    def forward(jobs):
        job = carray(jobs, 1)[0]
        counters = pointer(job.counters, np.int64)
        sheet = pointer(job.scratch + fetch_and_add(counters, 1, 1) * job.scratch_bytes, real)
        tile = advance(sheet, job.sheet_size)
        fill(sheet, job.sheet_size, real(0))
        parts = -(-(job.kernels // job.groups) // job.block_kernels)
        units = job.batch * job.groups * parts * -(-job.out_height // job.block_rows)
        unit = fetch_and_add(counters, 0, 1)
        while unit < units:
            _forward_unit(job, unit, real, sheet, tile, lanes)
            unit = fetch_and_add(counters, 0, 1)

    return forward


def compile_backward(real: Any, lanes: int, stamp: int, *, cache: bool = False) -> Any:
    """The backward pass as a C function of a pointer to a job."""

    @c_function(_SIGNATURE, real, lanes, stamp, cache=cache)
    def backward(jobs):
        job = carray(jobs, 1)[0]
        counters = pointer(job.counters, np.int64)
        sheet = pointer(job.scratch + fetch_and_add(counters, 1, 1) * job.scratch_bytes, real)
        grad_sheet = advance(sheet, job.sheet_size)
        tile = advance(grad_sheet, job.sheet_size)
        grad_tile = advance(tile, job.tile_size)
        zeros = advance(grad_tile, job.tile_size)
        fill(sheet, 2 * job.sheet_size, real(0))
        fill(zeros, job.margin, real(0))
        units = job.groups * -(-(job.channels // job.groups) // job.block_channels)
        unit = fetch_and_add(counters, 0, 1)
        while unit < units:
            _backward_unit(job, unit, real, sheet, grad_sheet, tile, grad_tile, zeros, lanes)
            unit = fetch_and_add(counters, 0, 1)

    return backward
