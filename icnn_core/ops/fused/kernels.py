"""Triton kernels of the irregular convolution on CUDA. Imported only when a call is served.

A *row* is a pair (channel, tap), numbered channel·K + tap as in the weights. It has an integer corner, the upper left
of its four neighbours, and a fraction.

*Planes* are images with a margin of zeros, (N, C, pitch): (y, x) lies at (y + 1)·(width + 2) + x + 1. Any pixel,
however far outside, is read without a condition after one unsigned minimum, `_clip`.

A *lane* is four pixels above each other, (4·s, j) to (4·s + 3, j), numbered s·width + j. At stride 1 their neighbours
are five pairs, ten loads instead of sixteen; consecutive lanes read consecutive addresses. *Quads* are images in that
order, (N, C, pitch): (4·s + t, j) lies at 4·(s·width + j) + t, and rows past the last are 0.

A tile is a run of lanes or pixels of one image, so that an index within a plane fits 32 bits; what counts planes has
64.
"""

# pyright: reportArgumentType=false, reportAssignmentType=false, reportGeneralTypeIssues=false
# `tl.constexpr` marks what the compiler must know; callers pass plain numbers.

from __future__ import annotations

import triton
import triton.language as tl

_FAR = tl.constexpr(-(1 << 29))  # added to any corner or pixel it stays negative, without overflow
_LARGEST = tl.constexpr(float(1 << 29))
_SIZES = [
    "rows", "group_rows", "position_rows", "taps", "kernels", "groups", "channels", "tiles", "all_tiles",
    "tiles_per_part", "height", "width", "out_height", "out_width", "stride_y", "stride_x", "stride_n", "stride_h",
    "padding_y", "padding_x", "lowest_y", "lowest_x", "highest_y", "highest_x",
    "first_image", "first_group", "first_channel", "chunk_groups", "chunk_channels", "chunk_rows",
]  # fmt: skip
"""Arguments whose value, or divisibility by 16, is no reason to compile anew; that of the others widens loads."""


@triton.jit(do_not_specialize=_SIZES, do_not_specialize_on_alignment=["stride_c", "stride_w"])
def copy_kernel(
    image, copy, channels, height, width, tiles, stride_n, stride_c, stride_h, stride_w, pitch,
    TO_QUADS: tl.constexpr, CHANNELS: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """An image of any strides -> planes or quads: a block of channels by a tile of the copy's elements."""
    blocks = tl.cdiv(channels, CHANNELS)
    program = tl.program_id(0)
    number = tl.cast(program // (tiles * blocks), tl.int64)
    channel = program // tiles % blocks * CHANNELS + tl.arange(0, CHANNELS)
    element = program % tiles * PIXELS + tl.arange(0, PIXELS)
    if TO_QUADS:
        y, x = element // 4 // width * 4 + element % 4, element // 4 % width
    else:
        y, x = element // (width + 2) - 1, element % (width + 2) - 1
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    plane = number * stride_n + channel.to(tl.int64) * stride_c
    source = image + plane[:, None] + (y.to(tl.int64) * stride_h + x.to(tl.int64) * stride_w)[None, :]
    values = tl.load(source, mask=(channel < channels)[:, None] & inside[None, :], other=0.0)
    target = copy + (number * channels + channel)[:, None] * pitch + element[None, :]
    tl.store(target, values, mask=(channel < channels)[:, None] & (element < pitch)[None, :])


@triton.jit(do_not_specialize=_SIZES)
def split_kernel(
    positions, plane, corner, fraction,
    rows, position_rows, taps, pitch, centre_y, centre_x, padding_y, padding_x,
    lowest_y, lowest_x, highest_y, highest_x,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Positions -> plane (rows,), where the row's channel starts; corner (2, rows); fraction (2, rows).

    Corners count from the margin and include the convolution's padding. They are clipped to [lowest, highest], where
    every output pixel reads zeros, so that no later sum overflows. One coordinate that is not finite makes both
    fractions NaN.
    """
    row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = row < rows
    source = positions + 2 * (row % position_rows)
    y = tl.load(source, mask=inside, other=0.0).to(tl.float32) + centre_y
    x = tl.load(source + 1, mask=inside, other=0.0).to(tl.float32) + centre_x
    floor_y, floor_x = tl.floor(y), tl.floor(x)
    fraction_y, fraction_x = y - floor_y, x - floor_x
    corner_y = tl.minimum(tl.maximum(_to_integer(floor_y) + 1 - padding_y, lowest_y), highest_y)
    corner_x = tl.minimum(tl.maximum(_to_integer(floor_x) + 1 - padding_x, lowest_x), highest_x)
    tl.store(plane + row, (row // taps).to(tl.int64) * pitch, mask=inside)
    tl.store(corner + row, corner_y, mask=inside)
    tl.store(corner + rows + row, corner_x, mask=inside)
    tl.store(fraction + row, fraction_y + 0.0 * fraction_x, mask=inside)
    tl.store(fraction + rows + row, fraction_x + 0.0 * fraction_y, mask=inside)


@triton.jit
def _to_integer(floor):
    floor = tl.where(floor > -_LARGEST, floor, -_LARGEST)  # a NaN fails every comparison
    return tl.where(floor < _LARGEST, floor, _LARGEST).to(tl.int32)


@triton.jit
def _clip(index, size):
    """An index counted from the margin; size + 1, where zeros are, for any outside. A negative one is large here."""
    last = size.to(tl.uint32) + 1
    return tl.minimum(index.to(tl.uint32, bitcast=True), last).to(tl.int32, bitcast=True)


@triton.jit
def _pair(planes, y, x, height, width):
    at = planes + (_clip(y, height) * (width + 2) + x)
    return tl.load(at), tl.load(at + 1)


@triton.jit
def _pairs(planes, y, x, step, height, width, SHARED: tl.constexpr):
    """What lanes read from corner (y, x) on, their pixels `step` apart: 5 pairs if SHARED (step 1), else 8, flat."""
    x = _clip(x, width)
    if SHARED:
        a, b = _pair(planes, y, x, height, width)
        c, d = _pair(planes, y + 1, x, height, width)
        e, f = _pair(planes, y + 2, x, height, width)
        g, h = _pair(planes, y + 3, x, height, width)
        i, j = _pair(planes, y + 4, x, height, width)
        found = (a, b, c, d, e, f, g, h, i, j)
    else:
        a, b = _pair(planes, y, x, height, width)
        c, d = _pair(planes, y + 1, x, height, width)
        e, f = _pair(planes, y + step, x, height, width)
        g, h = _pair(planes, y + step + 1, x, height, width)
        i, j = _pair(planes, y + 2 * step, x, height, width)
        k, m = _pair(planes, y + 2 * step + 1, x, height, width)
        n, o = _pair(planes, y + 3 * step, x, height, width)
        p, q = _pair(planes, y + 3 * step + 1, x, height, width)
        found = (a, b, c, d, e, f, g, h, i, j, k, m, n, o, p, q)
    return found


@triton.jit
def _across(pairs, number: tl.constexpr, left, right):
    return pairs[2 * number].to(tl.float32) * left + pairs[2 * number + 1].to(tl.float32) * right


@triton.jit
def _blend(pairs, pixel: tl.constexpr, upper, lower, left, right, SHARED: tl.constexpr):
    """Equation 3 for one of a lane's pixels, with the weights of the upper and lower row, left and right column."""
    first: tl.constexpr = pixel if SHARED else 2 * pixel
    return _across(pairs, first, left, right) * upper + _across(pairs, first + 1, left, right) * lower


@triton.jit
def _fetch(
    x, plane, corner, fraction, row, inside, rows, lane_y, lane_x, step, height, width, SHARED: tl.constexpr
):
    """A block of rows by a tile of lanes: fractions y and x, and pairs. Rows that are not inside read only zeros."""
    start = tl.load(plane + row, mask=inside, other=0)
    corner_y = tl.load(corner + row, mask=inside, other=_FAR)
    corner_x = tl.load(corner + rows + row, mask=inside, other=_FAR)
    fraction_y = tl.load(fraction + row, mask=inside, other=0.0)
    fraction_x = tl.load(fraction + rows + row, mask=inside, other=0.0)
    y, column = corner_y[:, None] + lane_y[None, :], corner_x[:, None] + lane_x[None, :]
    pairs = _pairs((x + start)[:, None], y, column, step, height, width, SHARED)
    return fraction_y[:, None], fraction_x[:, None], pairs


@triton.jit
def _samples(fraction_y, fraction_x, pairs, ROWS: tl.constexpr, LANES: tl.constexpr, SHARED: tl.constexpr):
    """(ROWS, 4·LANES) float32, a lane's four pixels side by side.

    The sum comes after the reshaping: where a reshaped block is itself the operand of a float32 product, Triton 3.8
    gives it a layout in shared memory that it then refuses.
    """
    step: tl.constexpr = 1 if SHARED else 2
    left = 1.0 - fraction_x
    upper = _lanes(pairs, 0, step, left, fraction_x, 1.0 - fraction_y, ROWS, LANES)
    lower = _lanes(pairs, 1, step, left, fraction_x, fraction_y, ROWS, LANES)
    return upper + lower


@triton.jit
def _lanes(
    pairs,
    first: tl.constexpr,
    step: tl.constexpr,
    left,
    right,
    scale,
    ROWS: tl.constexpr,
    LANES: tl.constexpr,
):
    a = _across(pairs, first, left, right) * scale
    b = _across(pairs, first + step, left, right) * scale
    c = _across(pairs, first + 2 * step, left, right) * scale
    d = _across(pairs, first + 3 * step, left, right) * scale
    return tl.reshape(tl.join(tl.join(a, c), tl.join(b, d)), (ROWS, 4 * LANES))


@triton.jit(do_not_specialize=_SIZES)
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
    fraction_y, fraction_x, pairs = _fetch(
        image, plane, corner, fraction, first_row + local, local < group_rows, rows,
        lane_y, lane_x, stride_y, height, width, SHARED,
    )  # fmt: skip
    sums = tl.zeros((KERNELS, PIXELS), tl.float32)
    for first in range(0, group_rows, ROWS):
        samples = _samples(fraction_y, fraction_x, pairs, ROWS, LANES, SHARED)
        local = first + tl.arange(0, ROWS)
        weight_mask = is_kernel[:, None] & (local < row_pitch)[None, :]
        weights = tl.load(weight_rows + local[None, :], mask=weight_mask, other=0.0)
        local = first + ROWS + tl.arange(0, ROWS)
        fraction_y, fraction_x, pairs = _fetch(
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


@triton.jit(do_not_specialize=_SIZES)
def weight_kernel(
    grad_out, x, partial, plane, corner, fraction,
    rows, kernels, group_rows, row_pitch, groups, channels, tiles, all_tiles, tiles_per_part,
    height, width, out_width, stride_y, stride_x, pitch, out_pitch,
    SHARED: tl.constexpr, PRECISION: tl.constexpr, KERNELS: tl.constexpr, PIXELS: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """grad_out · samplesᵀ over one part of the tiles -> partial (parts, groups · kernels, row_pitch).

    grad_out is quads, x planes. The next tile is fetched while the matrix units work on the last.
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
    fraction_y, fraction_x, pairs = _fetch(
        x + tl.cast(first_tile // tiles, tl.int64) * channels * pitch, plane, corner, fraction, row, inside, rows,
        lane // out_width * (4 * stride_y), lane % out_width * stride_x, stride_y, height, width, SHARED,
    )  # fmt: skip
    sums = tl.zeros((KERNELS, ROWS), tl.float32)
    for tile in range(first_tile, tl.minimum(first_tile + tiles_per_part, all_tiles)):
        samples = _samples(fraction_y, fraction_x, pairs, ROWS, LANES, SHARED)
        pixel = tile % tiles * PIXELS + tl.arange(0, PIXELS)
        here = grad_planes + tl.cast(tile // tiles, tl.int64) * groups * kernels * out_pitch + pixel[None, :]
        grads = tl.load(here, mask=is_kernel[:, None] & (pixel < out_pitch)[None, :], other=0.0)
        following = tl.minimum(tile + 1, all_tiles - 1)
        lane = following % tiles * LANES + tl.arange(0, LANES)
        fraction_y, fraction_x, pairs = _fetch(
            x + tl.cast(following // tiles, tl.int64) * channels * pitch, plane, corner, fraction, row, inside, rows,
            lane // out_width * (4 * stride_y), lane % out_width * stride_x, stride_y, height, width, SHARED,
        )  # fmt: skip
        sums = tl.dot(grads, tl.trans(samples.to(grads.dtype)), sums, input_precision=PRECISION)
    target = tl.cast(part, tl.int64) * groups * kernels + first_kernel + kernel
    target = partial + target[:, None] * row_pitch + local[None, :]
    tl.store(target, sums, mask=is_kernel[:, None] & (local < row_pitch)[None, :])


@triton.jit(do_not_specialize=_SIZES)
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


@triton.jit(do_not_specialize=_SIZES)
def depthwise_kernel(
    x, weight, bias, out, plane, corner, fraction,
    rows, taps, kernels, channels, pitch, tiles, height, width, out_height, out_width, stride_y, stride_x,
    HAS_BIAS: tl.constexpr, SHARED: tl.constexpr, MULTIPLIER: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """One kernel's tile of lanes. It reads one channel, so no sample is shared and no matrix unit would help."""
    program = tl.program_id(0)
    kernel = program // tiles % kernels
    number = tl.cast(program // (tiles * kernels), tl.int64)
    image = x + number * channels * pitch
    lane = program % tiles * LANES + tl.arange(0, LANES)
    lane_y, lane_x = lane // out_width * (4 * stride_y), lane % out_width * stride_x
    a = tl.zeros((LANES,), tl.float32)
    b, c, d = a, a, a
    for tap in range(taps):
        row = kernel // MULTIPLIER * taps + tap
        pairs = _pairs(
            image + tl.load(plane + row), tl.load(corner + row) + lane_y, tl.load(corner + rows + row) + lane_x,
            stride_y, height, width, SHARED,
        )  # fmt: skip
        lower, right = tl.load(fraction + row), tl.load(fraction + rows + row)
        scale = tl.load(weight + tl.cast(kernel, tl.int64) * taps + tap).to(tl.float32)
        upper, lower, left = (1.0 - lower) * scale, lower * scale, 1.0 - right
        a += _blend(pairs, 0, upper, lower, left, right, SHARED)
        b += _blend(pairs, 1, upper, lower, left, right, SHARED)
        c += _blend(pairs, 2, upper, lower, left, right, SHARED)
        d += _blend(pairs, 3, upper, lower, left, right, SHARED)
    if HAS_BIAS:
        added = tl.load(bias + kernel).to(tl.float32)
        a, b, c, d = a + added, b + added, c + added, d + added
    i, j = lane // out_width * 4, lane % out_width
    _store_lane(
        out + (number * kernels + kernel) * out_height * out_width, i, j, out_height, out_width, a, b, c, d
    )


@triton.jit
def _store_lane(plane, y, x, height, width, a, b, c, d):
    target = plane + (y * width + x)
    tl.store(target, a.to(plane.dtype.element_ty), mask=y < height)
    tl.store(target + width, b.to(plane.dtype.element_ty), mask=y + 1 < height)
    tl.store(target + 2 * width, c.to(plane.dtype.element_ty), mask=y + 2 < height)
    tl.store(target + 3 * width, d.to(plane.dtype.element_ty), mask=y + 3 < height)


@triton.jit(do_not_specialize=_SIZES)
def gather_kernel(
    source, x, weight, grad_x, by_position, by_weight, corner, fraction,
    rows, taps, channels, first_image, first_channel, chunk_channels, tiles,
    height, width, out_height, out_width, pitch, out_pitch,
    STRIDE_Y: tl.constexpr, STRIDE_X: tl.constexpr, DEPTHWISE: tl.constexpr, MULTIPLIER: tl.constexpr,
    TO_X: tl.constexpr, TO_POSITIONS: tl.constexpr, TO_WEIGHT: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """The gradients of x and of the positions, seen from the input: a tile of one channel's lanes.

    Pixel q is neighbour (a, b) of output pixel (i, j) where stride·(i, j) + corner + (a, b) = q. A tap's four such
    outputs, blended as in equation 3, are its part of the gradient at q; x[q] times their slopes, summed over q, is
    the gradient of its position; x[q] times their blend, that of its weight. One set of loads serves all three.

    DEPTHWISE: the source is grad_out, planes (N, channels · MULTIPLIER, out_pitch), to be multiplied by the weights
    (channels · MULTIPLIER, taps); else it is a chunk's column, planes (images, chunk_channels · taps, out_pitch). x
    is planes, grad_x an image. Partial sums: by_position (images · tiles, 2, chunk_channels · taps), by_weight
    (images · tiles, channels · MULTIPLIER · taps).
    """
    SHARED: tl.constexpr = STRIDE_Y * STRIDE_X == 1
    program = tl.program_id(0)
    tile = program % tiles
    local_channel = program // tiles % chunk_channels
    local_image = tl.cast(program // (tiles * chunk_channels), tl.int64)
    channel = first_channel + local_channel
    plane = (first_image + local_image) * channels + channel
    part = local_image * tiles + tile
    lane = tile * LANES + tl.arange(0, LANES)
    y, column = lane // width * 4, lane % width
    own = x + plane * pitch + ((y + 1) * (width + 2) + column + 1)
    x_a = tl.load(own, mask=y < height, other=0.0).to(tl.float32)
    x_b = tl.load(own + (width + 2), mask=y + 1 < height, other=0.0).to(tl.float32)
    x_c = tl.load(own + 2 * (width + 2), mask=y + 2 < height, other=0.0).to(tl.float32)
    x_d = tl.load(own + 3 * (width + 2), mask=y + 3 < height, other=0.0).to(tl.float32)
    a = tl.zeros((LANES,), tl.float32)
    b, c, d = a, a, a
    for tap in range(taps):
        row = channel * taps + tap
        moved_y, moved_x = y + 1 - tl.load(corner + row), column + 1 - tl.load(corner + rows + row)
        upper, left = tl.load(fraction + row), tl.load(fraction + rows + row)
        lower, right = 1.0 - upper, 1.0 - left
        by_y = tl.zeros((LANES,), tl.float32)
        by_x = by_y
        for copy in tl.static_range(MULTIPLIER):
            kernel = channel * MULTIPLIER + copy
            if DEPTHWISE:
                scale = tl.load(weight + tl.cast(kernel, tl.int64) * taps + tap).to(tl.float32)
                source_plane = (first_image + local_image) * (channels * MULTIPLIER) + kernel
            else:
                scale = 1.0
                source_plane = local_image * (chunk_channels * taps) + local_channel * taps + tap
            from_plane = source + source_plane * out_pitch
            if SHARED:
                pairs = _pairs(from_plane, moved_y, moved_x, 1, out_height, out_width, True)
            else:
                pairs = _strided_pairs(
                    from_plane, moved_y, moved_x, out_height, out_width, STRIDE_Y, STRIDE_X
                )
            blend_a = _blend(pairs, 0, upper, lower, left, right, SHARED)
            blend_b = _blend(pairs, 1, upper, lower, left, right, SHARED)
            blend_c = _blend(pairs, 2, upper, lower, left, right, SHARED)
            blend_d = _blend(pairs, 3, upper, lower, left, right, SHARED)
            a, b, c, d = a + scale * blend_a, b + scale * blend_b, c + scale * blend_c, d + scale * blend_d
            if TO_WEIGHT:
                target = by_weight + (part * channels * MULTIPLIER + kernel) * taps + tap
                tl.store(
                    target, tl.sum(x_a * blend_a + x_b * blend_b + x_c * blend_c + x_d * blend_d, axis=0)
                )
            if TO_POSITIONS:
                slopes_y = x_a * _blend(pairs, 0, 1.0, -1.0, left, right, SHARED)
                slopes_y += x_b * _blend(pairs, 1, 1.0, -1.0, left, right, SHARED)
                slopes_y += x_c * _blend(pairs, 2, 1.0, -1.0, left, right, SHARED)
                slopes_y += x_d * _blend(pairs, 3, 1.0, -1.0, left, right, SHARED)
                slopes_x = x_a * _blend(pairs, 0, upper, lower, 1.0, -1.0, SHARED)
                slopes_x += x_b * _blend(pairs, 1, upper, lower, 1.0, -1.0, SHARED)
                slopes_x += x_c * _blend(pairs, 2, upper, lower, 1.0, -1.0, SHARED)
                slopes_x += x_d * _blend(pairs, 3, upper, lower, 1.0, -1.0, SHARED)
                by_y += scale * slopes_y
                by_x += scale * slopes_x
        if TO_POSITIONS:
            target = by_position + (part * 2 * chunk_channels + local_channel) * taps + tap
            tl.store(target, tl.sum(by_y, axis=0))
            tl.store(target + chunk_channels * taps, tl.sum(by_x, axis=0))
    if TO_X:
        _store_lane(grad_x + plane * (height * width), y, column, height, width, a, b, c, d)


@triton.jit
def _strided_pairs(
    planes, moved_y, moved_x, out_height, out_width, STRIDE_Y: tl.constexpr, STRIDE_X: tl.constexpr
):
    """The outputs whose neighbour (1, 1), (1, 0), (0, 1), (0, 0) a lane's pixels are, at strides: 8 pairs, flat."""
    left, right = _divide(moved_x - 1, out_width, STRIDE_X), _divide(moved_x, out_width, STRIDE_X)
    a, b = _strided_pair(planes, moved_y - 1, left, right, out_height, out_width, STRIDE_Y)
    c, d = _strided_pair(planes, moved_y, left, right, out_height, out_width, STRIDE_Y)
    e, f = _strided_pair(planes, moved_y + 1, left, right, out_height, out_width, STRIDE_Y)
    g, h = _strided_pair(planes, moved_y + 2, left, right, out_height, out_width, STRIDE_Y)
    i, j = _strided_pair(planes, moved_y + 3, left, right, out_height, out_width, STRIDE_Y)
    return a, b, c, d, c, d, e, f, e, f, g, h, g, h, i, j


@triton.jit
def _strided_pair(planes, moved_y, left, right, out_height, out_width, STRIDE: tl.constexpr):
    above = _divide(moved_y, out_height, STRIDE) * (out_width + 2)
    return tl.load(planes + (above + left)), tl.load(planes + (above + right))


@triton.jit
def _divide(moved, size, STRIDE: tl.constexpr):
    """moved / STRIDE counted from the margin; 0, in the margin, where that is no whole number in [0, size)."""
    moved = moved.to(tl.uint32, bitcast=True)
    index = moved // STRIDE
    whole = (index < size.to(tl.uint32)) & (index * STRIDE == moved)
    return tl.where(whole, index + 1, 0).to(tl.int32, bitcast=True)
