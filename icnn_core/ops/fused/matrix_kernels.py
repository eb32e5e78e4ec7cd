"""Triton kernels that feed the matrix units: the output, the weights' gradient, the column of gradients.

See blending.py for the words.
"""

# pyright: reportArgumentType=false, reportAssignmentType=false, reportGeneralTypeIssues=false
# `tl.constexpr` marks what the compiler must know; callers pass plain numbers.

from __future__ import annotations

import triton
import triton.language as tl

from icnn_core.ops.fused.blending import SIZES, fetch, samples_of


@triton.jit(do_not_specialize=SIZES)
def forward_kernel(
    x, weight, bias, out, plane, corner, fraction,
    rows, kernels, group_rows, row_pitch, channels, pitch, tiles, all_tiles, height, width, out_height, out_width,
    stride_y, stride_x,
    HAS_BIAS: tl.constexpr, SHARED: tl.constexpr, PRECISION: tl.constexpr,
    KERNELS: tl.constexpr, PIXELS: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """out = weight · samples: a block of kernels by a tile of lanes, summed over a group's rows.

    KERNELS is wide, so that each sample is used many times. The next rows are fetched while the matrix units work on
    the last. `kernels` and `group_rows` are per group. x is planes, weight (all kernels, row_pitch) with zeros from
    group_rows on, out an image.
    """
    LANES: tl.constexpr = PIXELS // 4
    blocks = tl.cdiv(kernels, KERNELS)
    program = tl.program_id(0)
    group = program // (blocks * all_tiles)
    tile = program // blocks % all_tiles
    number = tl.cast(tile // tiles, tl.int64)
    image = x + number * channels * pitch
    lane = tile % tiles * LANES + tl.arange(0, LANES)
    lane_y, lane_x = lane // out_width * (4 * stride_y), lane % out_width * stride_x
    kernel = program % blocks * KERNELS + tl.arange(0, KERNELS)
    is_kernel = kernel < kernels
    first_kernel = tl.cast(group, tl.int64) * kernels
    weight_rows = weight + (first_kernel + kernel)[:, None] * row_pitch
    first_row = group * group_rows
    local = tl.arange(0, ROWS)
    fraction_y, fraction_x, pairs = fetch(
        image, plane, corner, fraction, first_row + local, local < group_rows, rows,
        lane_y, lane_x, stride_y, height, width, SHARED,
    )  # fmt: skip
    sums = tl.zeros((KERNELS, PIXELS), tl.float32)
    for first in range(0, group_rows, ROWS):
        samples = samples_of(fraction_y, fraction_x, pairs, ROWS, LANES, SHARED)
        local = first + tl.arange(0, ROWS)
        weight_mask = is_kernel[:, None] & (local < row_pitch)[None, :]
        weights = tl.load(weight_rows + local[None, :], mask=weight_mask, other=0.0)
        local = first + ROWS + tl.arange(0, ROWS)
        fraction_y, fraction_x, pairs = fetch(
            image, plane, corner, fraction, first_row + local, local < group_rows, rows,
            lane_y, lane_x, stride_y, height, width, SHARED,
        )  # fmt: skip
        sums = tl.dot(weights, samples.to(weights.dtype), sums, input_precision=PRECISION)
    if HAS_BIAS:
        sums += tl.load(bias + first_kernel + kernel, mask=is_kernel, other=0.0).to(tl.float32)[:, None]
    pixel = tile % tiles * PIXELS + tl.arange(0, PIXELS)
    i, j = pixel // 4 // out_width * 4 + pixel % 4, pixel // 4 % out_width
    out_plane = number * (rows // group_rows * kernels) + first_kernel + kernel
    target = out + (out_plane * out_height * out_width)[:, None] + (i * out_width + j)[None, :]
    tl.store(target, sums.to(out.dtype.element_ty), mask=is_kernel[:, None] & (i < out_height)[None, :])


@triton.jit(do_not_specialize=SIZES)
def weight_kernel(
    grad_out, x, partial, plane, corner, fraction,
    rows, kernels, group_rows, row_pitch, groups, channels, tiles, all_tiles, tiles_per_part,
    height, width, out_height, out_width, stride_y, stride_x, pitch, out_pitch,
    SHARED: tl.constexpr, PRECISION: tl.constexpr, KERNELS: tl.constexpr, PIXELS: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """grad_out · samplesᵀ over one part of the tiles -> partial (parts, groups · kernels, row_pitch).

    grad_out is quads, x planes. The next tile is fetched while the matrix units work on the last. Samples of pixels
    below the last row are no samples: their gradients are 0, but 0 · NaN is not.
    """
    LANES: tl.constexpr = PIXELS // 4
    kernel_blocks, row_blocks = tl.cdiv(kernels, KERNELS), tl.cdiv(group_rows, ROWS)
    program = tl.program_id(0)
    kernel = program % kernel_blocks * KERNELS + tl.arange(0, KERNELS)
    local = program // kernel_blocks % row_blocks * ROWS + tl.arange(0, ROWS)
    group = program // (kernel_blocks * row_blocks) % groups
    part = program // (kernel_blocks * row_blocks * groups)
    is_kernel, inside = kernel < kernels, local < group_rows
    first_kernel = tl.cast(group, tl.int64) * kernels
    grad_planes = grad_out + (first_kernel + kernel)[:, None] * out_pitch
    first_tile = part * tiles_per_part
    row = group * group_rows + local
    lane = first_tile % tiles * LANES + tl.arange(0, LANES)
    fraction_y, fraction_x, pairs = fetch(
        x + tl.cast(first_tile // tiles, tl.int64) * channels * pitch, plane, corner, fraction, row, inside, rows,
        lane // out_width * (4 * stride_y), lane % out_width * stride_x, stride_y, height, width, SHARED,
    )  # fmt: skip
    sums = tl.zeros((KERNELS, ROWS), tl.float32)
    for tile in range(first_tile, tl.minimum(first_tile + tiles_per_part, all_tiles)):
        samples = samples_of(fraction_y, fraction_x, pairs, ROWS, LANES, SHARED)
        pixel = tile % tiles * PIXELS + tl.arange(0, PIXELS)
        exists = pixel // 4 // out_width * 4 + pixel % 4 < out_height
        samples = tl.where(exists[None, :], samples, 0.0)
        here = grad_planes + tl.cast(tile // tiles, tl.int64) * groups * kernels * out_pitch + pixel[None, :]
        grads = tl.load(here, mask=is_kernel[:, None] & (pixel < out_pitch)[None, :], other=0.0)
        following = tl.minimum(tile + 1, all_tiles - 1)
        lane = following % tiles * LANES + tl.arange(0, LANES)
        fraction_y, fraction_x, pairs = fetch(
            x + tl.cast(following // tiles, tl.int64) * channels * pitch, plane, corner, fraction, row, inside, rows,
            lane // out_width * (4 * stride_y), lane % out_width * stride_x, stride_y, height, width, SHARED,
        )  # fmt: skip
        sums = tl.dot(grads, tl.trans(samples.to(grads.dtype)), sums, input_precision=PRECISION)
    target = tl.cast(part, tl.int64) * groups * kernels + first_kernel + kernel
    target = partial + target[:, None] * row_pitch + local[None, :]
    tl.store(target, sums, mask=is_kernel[:, None] & (local < row_pitch)[None, :])


@triton.jit(do_not_specialize=SIZES)
def column_kernel(
    grad_out, weight, column,
    kernels, row_pitch, groups, first_group, first_row, chunk_groups, chunk_rows, first_image, tiles, all_tiles,
    out_pitch,
    PRECISION: tl.constexpr, KERNELS: tl.constexpr, PIXELS: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """The gradient of a chunk's samples, weightᵀ · grad_out: a block of rows by a tile of pixels.

    The chunk is `chunk_rows` rows from `first_row` of each of `chunk_groups` groups, and `all_tiles` tiles from
    `first_image`. Both grad_out and the column are planes; the margin stays zero. weight is (all kernels, row_pitch).
    """
    blocks = tl.cdiv(chunk_rows, ROWS)
    program = tl.program_id(0)
    chunk_group = program // (blocks * all_tiles)
    tile = program // blocks % all_tiles
    image = tl.cast(tile // tiles, tl.int64)
    pixel = tile % tiles * PIXELS + tl.arange(0, PIXELS)
    row = program % blocks * ROWS + tl.arange(0, ROWS)
    exists, inside = pixel < out_pitch, first_row + row < row_pitch
    first_kernel = tl.cast(first_group + chunk_group, tl.int64) * kernels
    weight_columns = weight + first_kernel * row_pitch + first_row + row[:, None]
    planes = grad_out + ((first_image + image) * groups * kernels + first_kernel) * out_pitch + pixel[None, :]
    sums = tl.zeros((ROWS, PIXELS), tl.float32)
    for first in range(0, kernels, KERNELS):
        kernel = first + tl.arange(0, KERNELS)
        is_kernel = kernel < kernels
        wide = kernel.to(tl.int64)
        weight_mask = inside[:, None] & is_kernel[None, :]
        weights = tl.load(weight_columns + wide[None, :] * row_pitch, mask=weight_mask, other=0.0)
        grads = tl.load(
            planes + wide[:, None] * out_pitch, mask=is_kernel[:, None] & exists[None, :], other=0.0
        )
        sums = tl.dot(weights, grads, sums, input_precision=PRECISION)
    plane = (image * chunk_groups + chunk_group) * chunk_rows + row
    target = column + plane[:, None] * out_pitch + pixel[None, :]
    tl.store(target, sums.to(column.dtype.element_ty), mask=(row < chunk_rows)[:, None] & exists[None, :])
