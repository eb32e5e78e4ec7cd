"""Gradients of weights, positions and widths: products of the planes of gradients with shifted planes of x.

A unit of work is a block of a group's kernels, for all images. With `D[t,q] = Σ_pixels g · x[window row t, column q]`,
which the four shifts of a bilinear tap are, all its derivatives follow from the sums along the window's axes,
`U[t] = Σ_q across[q] · D[t,q]` and `V[q] = Σ_t down[t] · D[t,q]`. See `narrow` for bilinear windows, `wide` for others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, from_dtype, types

from icnn_core.ops.compiled.cached import c_function
from icnn_core.ops.compiled.sheets import compiled, fill
from icnn_core.ops.compiled.simd import advance, fetch_and_add, load_first, pointer, store
from icnn_core.ops.sparse.job import JOB
from icnn_core.ops.sparse.narrow import compile_narrow
from icnn_core.ops.sparse.taps import copy_plane
from icnn_core.ops.sparse.wide import compile_wide

_SIGNATURE = types.void(types.CPointer(from_dtype(JOB)))


@compiled
def _copy_gradients(job, source, grads, lanes):
    for row in range(job.out_height):
        start, to = advance(source, row * job.out_width), advance(grads, row * job.sums_pitch)
        for column in range(0, job.out_width, lanes):
            store(to, column, load_first(start, column, job.out_width - column))


def _compile(window: int, real: Any, lanes: int, stamp: int, *, cache: bool = False) -> Any:
    do_taps = compile_narrow(real, lanes) if window == 2 else compile_wide(window, real, lanes)

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
                    do_taps(job, pair * job.taps, (pair + sources) * job.taps, sheets, grads, head)

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


def compile_bilinear(real: Any, lanes: int, stamp: int, *, cache: bool = False) -> Any:
    """The pass with bilinear windows as a C function of a pointer to a job."""
    return _compile(2, real, lanes, stamp, cache=cache)


def compile_gaussian(real: Any, lanes: int, stamp: int, *, cache: bool = False) -> Any:
    """The pass with Gaussian windows as a C function of a pointer to a job."""
    return _compile(8, real, lanes, stamp, cache=cache)
