"""Where a tap reads, and how it weighs what it reads."""

from __future__ import annotations

import math

import numpy as np

from icnn_core.ops.compiled.sheets import compiled, over
from icnn_core.ops.compiled.simd import advance, get, load_first, pointer, put, store

_FARTHEST = 2.0**40  # pixels: beyond any image, and far from overflow


@compiled
def _split(anchor):
    """(whole pixels, fraction); a fraction that is not a number for an anchor that is not finite."""
    floor = np.floor(anchor)
    fraction = np.float64(anchor - floor)
    if abs(floor) < _FARTHEST:
        return np.int64(floor), fraction
    return np.int64(_FARTHEST if floor > 0 else -_FARTHEST), fraction


@compiled
def find_tap(job, pair):
    """(row, column, fractions) of the first pixel of a tap's window for the first output pixel, in the image's pixels.

    `pair` counts kernels, their channels and taps.
    """
    if job.precise:
        at = advance(pointer(job.positions, np.float64), 2 * pair)
        row, down = _split(get(at, 0) + job.centre_y)
        column, across = _split(get(at, 1) + job.centre_x)
    else:
        start = advance(pointer(job.positions, np.float32), 2 * pair)
        row, down = _split(get(start, 0) + np.float32(job.centre_y))
        column, across = _split(get(start, 1) + np.float32(job.centre_x))
    return row + job.first_y, column + job.first_x, down, across


@compiled
def find_width(job, pair):
    """The Gaussian's standard deviation (y, x) of a tap, or 0 with bilinear windows."""
    if not job.sigma:
        return 0.0, 0.0
    if job.precise:
        at = advance(pointer(job.sigma, np.float64), 2 * pair)
        return get(at, 0), get(at, 1)
    start = advance(pointer(job.sigma, np.float32), 2 * pair)
    return np.float64(get(start, 0)), np.float64(get(start, 1))


@compiled
def weigh(real, window, fraction, sigma, scale, mirrored, to):
    """Write the weights of the window's pixels along one axis, times `scale`."""
    if window == 2:
        put(to, 1 if mirrored else 0, real(scale * (1.0 - fraction)))
        put(to, 0 if mirrored else 1, real(scale * fraction))
        return
    total = 0.0
    for q in range(window):
        total += _gauss(window, fraction, sigma, q)[1]
    for q in range(window):
        value = scale * _gauss(window, fraction, sigma, q)[1] / total
        put(to, window - 1 - q if mirrored else q, real(value))


@compiled
def _gauss(window, fraction, sigma, q):
    """(distance of a window's pixel from the position, in σ; its weight before they are made to add up to 1)"""
    distance = (q - (window // 2 - 1) - fraction) / sigma
    return distance, math.exp(-0.5 * distance * distance)


@compiled
def find_slopes(window, fraction, sigma, sums):
    """`Σ_q weight[q] · sums[q]` with the weights along one axis, and its derivatives by the fraction and the width."""
    if window == 2:
        rise = get(sums, 1) - get(sums, 0)
        return get(sums, 0) + fraction * rise, rise, 0.0
    whole, value, by_fraction, by_width, first, second = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for q in range(window):
        distance, weight = _gauss(window, fraction, sigma, q)
        whole += weight
        value += weight * get(sums, q)
        first += weight * distance
        by_fraction += weight * distance * get(sums, q)
        second += weight * distance * distance
        by_width += weight * distance * distance * get(sums, q)
    value /= whole
    return value, (by_fraction - value * first) / whole / sigma, (by_width - value * second) / whole / sigma


@compiled
def reads_image(job, window, row, column, rows):
    """Whether a tap reads a pixel of the image for some pixel of `rows` rows of outputs."""
    across = column < job.width and column + (job.out_width - 1) * job.step_x + window > 0
    return across and row < job.height and row + (rows - 1) * job.step_y + window > 0


@compiled
def find_rows(job, window, row, column):
    """The output rows (first, last + 1) for which a tap reads a pixel of the image."""
    if not reads_image(job, window, row, column, job.out_height):
        return 0, 0
    first = max(0, -over(row + window - 1, job.step_y))
    return first, min(job.out_height, over(job.height - 1 - row, job.step_y) + 1)


@compiled
def copy_plane(job, source, sheet, first, last, lanes):
    """The rows first … last - 1 of a sheet's image from a plane, whose rows and columns lie `apart` on the sheet."""
    first_row = -over(-first, job.apart_y)
    for row in range(first_row, -over(-last, job.apart_y)):
        start = advance(source, row * job.source_width)
        to = advance(sheet, job.origin + row * job.apart_y * job.row_length)
        if job.step_x * job.apart_x == 1:
            for column in range(0, job.source_width, lanes):
                store(to, column, load_first(start, column, job.source_width - column))
        else:
            for column in range(job.source_width):
                x = column * job.apart_x
                put(to, x % job.step_x * job.pitch + x // job.step_x, get(start, column))
