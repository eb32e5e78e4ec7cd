"""Triton kernels that sample and multiply at once, where few kernels share a sample. See sampling.py for the words."""

# pyright: reportArgumentType=false, reportAssignmentType=false, reportGeneralTypeIssues=false
# `tl.constexpr` marks what the compiler must know; callers pass plain numbers.

from __future__ import annotations

import triton
import triton.language as tl

from icnn_core.ops.fused.sampling import POINTERS, SIZES, across, pairs_at, place, sample_lanes, store_lanes

_FAR = tl.constexpr(-(1 << 28))  # above any image, and far from overflow


@triton.jit(do_not_specialize=SIZES, do_not_specialize_on_alignment=[*POINTERS, "weight"])
def narrow_kernel(
    planes, positions, weight, bias, out,
    channels, group_channels, kernels, group_kernels, group_rows, taps, tiles,
    height, width, out_height, out_width, stride_y, stride_x, padding_y, padding_x, position_step, plane_pitch,
    out_n, out_c, out_h, out_w, centre_y, centre_x,
    SHARED: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """One kernel's tile of lanes, summed over its group's rows: no sample is shared, no matrix unit would help."""
    KIND: tl.constexpr = out.dtype.element_ty
    program = tl.program_id(0)
    kernel = program // tiles % kernels
    image = tl.cast(program // (tiles * kernels), tl.int64)
    first_channel = kernel // group_kernels * group_channels
    lane = program % tiles * LANES + tl.arange(0, LANES)
    i, j = lane // out_width * 4, lane % out_width
    a = tl.zeros((LANES,), tl.float32)
    b, c, d = a, a, a
    for row in range(group_rows):
        channel, tap = first_channel + row // taps, row % taps
        corner_y, corner_x, fraction_y, fraction_x = place(
            positions, channel * position_step + tap, True, centre_y, centre_x, padding_y, padding_x
        )
        scale = tl.load(weight + tl.cast(kernel, tl.int64) * group_rows + row).to(tl.float32)
        e, f, g, h = sample_lanes(
            planes + (image * channels + channel) * plane_pitch, i * stride_y + corner_y, j * stride_x + corner_x,
            fraction_y, fraction_x, stride_y, height, width, SHARED, KIND,
        )  # fmt: skip
        a, b, c, d = a + scale * e, b + scale * f, c + scale * g, d + scale * h
    if bias is not None:
        added = tl.load(bias + kernel).to(tl.float32)
        a, b, c, d = a + added, b + added, c + added, d + added
    target = out + image * out_n + tl.cast(kernel, tl.int64) * out_c
    target += i.to(tl.int64) * out_h + j.to(tl.int64) * out_w
    store_lanes(target, out_h, i, j < out_width, out_height, a, b, c, d)


@triton.jit(do_not_specialize=SIZES, do_not_specialize_on_alignment=POINTERS)
def forward_kernel(
    planes, positions, weight, bias, out,
    channels, kernels, group_channels, taps, tiles, row_pitch, height, width, out_height, out_width,
    stride_y, stride_x, padding_y, padding_x, position_step, plane_pitch, out_n, out_c, out_h, out_w,
    centre_y, centre_x,
    SHARED: tl.constexpr, PRECISION: tl.constexpr, KERNELS: tl.constexpr, PIXELS: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """out = weight · samples for all of a group's kernels, at a tile of lanes, summed over the group's rows.

    The next rows are fetched while the matrix units work on the last. `kernels` is per group; weight is
    (all kernels, row_pitch); a row is a pair (channel, tap).
    """
    LANES: tl.constexpr = PIXELS // 4
    KIND: tl.constexpr = out.dtype.element_ty
    program = tl.program_id(0)
    groups = channels // group_channels
    group = program // tiles % groups
    image = tl.cast(program // (tiles * groups), tl.int64)
    lane = program % tiles * LANES + tl.arange(0, LANES)
    y, x = lane // out_width * (4 * stride_y), lane % out_width * stride_x
    kernel, row = tl.arange(0, KERNELS), tl.arange(0, ROWS)
    is_kernel = kernel < kernels
    first_kernel = tl.cast(group, tl.int64) * kernels
    weight_rows = weight + (first_kernel + kernel)[:, None] * row_pitch
    first_plane = planes + (image * channels + group * group_channels) * plane_pitch
    first_position = positions + 2 * group * group_channels * position_step
    sums = tl.zeros((KERNELS, PIXELS), tl.float32)
    fraction_y, fraction_x, pairs = _fetch(
        first_plane, first_position, row, row_pitch, taps, position_step, plane_pitch, y, x,
        centre_y, centre_x, padding_y, padding_x, stride_y, height, width, SHARED,
    )  # fmt: skip
    for first in range(0, row_pitch, ROWS):
        samples = _samples(fraction_y, fraction_x, pairs, ROWS, LANES, SHARED, KIND)
        local = first + row
        weights = tl.load(
            weight_rows + local[None, :], mask=is_kernel[:, None] & (local < row_pitch)[None, :], other=0.0
        )
        fraction_y, fraction_x, pairs = _fetch(
            first_plane, first_position, local + ROWS, row_pitch, taps, position_step, plane_pitch, y, x,
            centre_y, centre_x, padding_y, padding_x, stride_y, height, width, SHARED,
        )  # fmt: skip
        sums = tl.dot(weights, samples.to(KIND), sums, input_precision=PRECISION)
    if bias is not None:
        sums += tl.load(bias + first_kernel + kernel, mask=is_kernel, other=0.0).to(tl.float32)[:, None]
    pixel = tl.arange(0, PIXELS)
    lane = program % tiles * LANES + pixel // 4
    i, j = lane // out_width * 4 + pixel % 4, lane % out_width
    pixels = i.to(tl.int64) * out_h + j.to(tl.int64) * out_w
    target = out + image * out_n + ((first_kernel + kernel) * out_c)[:, None] + pixels[None, :]
    tl.store(target, sums.to(KIND), mask=is_kernel[:, None] & (i < out_height)[None, :])


@triton.jit
def _fetch(
    planes, positions, row, rows, taps, position_step, plane_pitch, y, x,
    centre_y, centre_x, padding_y, padding_x, step, height, width, SHARED: tl.constexpr,
):  # fmt: skip
    """A block of rows by a tile of lanes: fractions y and x, and pairs. Rows past the last read zeros."""
    inside = row < rows
    channel = tl.where(inside, row // taps, 0)
    corner_y, corner_x, fraction_y, fraction_x = place(
        positions, channel * position_step + row % taps, inside, centre_y, centre_x, padding_y, padding_x
    )
    corner_y = tl.where(inside, corner_y, _FAR)
    start = planes + channel.to(tl.int64) * plane_pitch
    pairs = pairs_at(
        start[:, None],
        corner_y[:, None] + y[None, :],
        corner_x[:, None] + x[None, :],
        step,
        height,
        width,
        SHARED,
    )
    return fraction_y[:, None], fraction_x[:, None], pairs


@triton.jit
def _samples(
    fraction_y,
    fraction_x,
    pairs,
    ROWS: tl.constexpr,
    LANES: tl.constexpr,
    SHARED: tl.constexpr,
    KIND: tl.constexpr,
):
    """(ROWS, 4·LANES) float32, a lane's four pixels side by side.

    The sum comes after the reshaping: where a reshaped block is itself the operand of a float32 product, Triton 3.8
    gives it a layout in shared memory that it then refuses.
    """
    step: tl.constexpr = 1 if SHARED else 2
    upper = _lanes(pairs, 0, step, fraction_x, 1.0 - fraction_y, ROWS, LANES, KIND)
    lower = _lanes(pairs, 1, step, fraction_x, fraction_y, ROWS, LANES, KIND)
    return upper + lower


@triton.jit
def _lanes(
    pairs, first: tl.constexpr, step: tl.constexpr, right, scale,
    ROWS: tl.constexpr, LANES: tl.constexpr, KIND: tl.constexpr,
):  # fmt: skip
    left = 1.0 - right
    a = across(pairs, first, left, right, KIND) * scale
    b = across(pairs, first + step, left, right, KIND) * scale
    c = across(pairs, first + 2 * step, left, right, KIND) * scale
    d = across(pairs, first + 3 * step, left, right, KIND) * scale
    return tl.reshape(tl.join(tl.join(a, c), tl.join(b, d)), (ROWS, 4 * LANES))
