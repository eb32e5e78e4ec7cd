"""Where the derivatives by a tap go."""

from __future__ import annotations

import numpy as np

from icnn_core.ops.compiled.sheets import compiled
from icnn_core.ops.compiled.simd import get, pointer, put


@compiled
def write_tap(job, real, k, by_weight, by_y, by_x, by_sigma_y, by_sigma_x):
    """Add a tap's derivatives to the gradients that are wanted."""
    if job.grad_weight:
        grad_weight = pointer(job.grad_weight, real)
        put(grad_weight, k, get(grad_weight, k) + real(by_weight))
    value = np.float64(get(pointer(job.weight, real), k))
    if job.grad_positions:
        _add_pair(job, job.grad_positions, k, value * by_y, value * by_x)
    if job.grad_sigma:
        _add_pair(job, job.grad_sigma, k, value * by_sigma_y, value * by_sigma_x)


@compiled
def _add_pair(job, address, k, y, x):
    """Add to entry k, a pair (y, x), of a gradient of the positions' dtype."""
    if job.precise:
        to = pointer(address, np.float64)
        put(to, 2 * k, get(to, 2 * k) + y)
        put(to, 2 * k + 1, get(to, 2 * k + 1) + x)
    else:
        start = pointer(address, np.float32)
        put(start, 2 * k, np.float32(get(start, 2 * k) + y))
        put(start, 2 * k + 1, np.float32(get(start, 2 * k + 1) + x))
