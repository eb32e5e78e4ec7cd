"""Triton kernels without a product: depthwise layers, and the gradients of x and of the positions.

See blending.py for the words.
"""

# pyright: reportArgumentType=false, reportAssignmentType=false, reportGeneralTypeIssues=false
# `tl.constexpr` marks what the compiler must know; callers pass plain numbers.

from __future__ import annotations

import triton
import triton.language as tl

from icnn_core.ops.fused.blending import SIZES, blend, pairs_at


@triton.jit(do_not_specialize=SIZES)
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
        pairs = pairs_at(
            image + tl.load(plane + row), tl.load(corner + row) + lane_y, tl.load(corner + rows + row) + lane_x,
            stride_y, height, width, SHARED,
        )  # fmt: skip
        lower, right = tl.load(fraction + row), tl.load(fraction + rows + row)
        scale = tl.load(weight + tl.cast(kernel, tl.int64) * taps + tap).to(tl.float32)
        upper, lower, left = (1.0 - lower) * scale, lower * scale, 1.0 - right
        a += blend(pairs, 0, upper, lower, left, right, SHARED)
        b += blend(pairs, 1, upper, lower, left, right, SHARED)
        c += blend(pairs, 2, upper, lower, left, right, SHARED)
        d += blend(pairs, 3, upper, lower, left, right, SHARED)
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


@triton.jit(do_not_specialize=SIZES)
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
        is_read = _is_read(moved_x, out_width, STRIDE_X)
        own_a = tl.where(is_read & _is_read(moved_y, out_height, STRIDE_Y), x_a, 0.0)
        own_b = tl.where(is_read & _is_read(moved_y + 1, out_height, STRIDE_Y), x_b, 0.0)
        own_c = tl.where(is_read & _is_read(moved_y + 2, out_height, STRIDE_Y), x_c, 0.0)
        own_d = tl.where(is_read & _is_read(moved_y + 3, out_height, STRIDE_Y), x_d, 0.0)
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
                pairs = pairs_at(from_plane, moved_y, moved_x, 1, out_height, out_width, True)
            else:
                pairs = _strided_pairs(
                    from_plane, moved_y, moved_x, out_height, out_width, STRIDE_Y, STRIDE_X
                )
            blend_a = blend(pairs, 0, upper, lower, left, right, SHARED)
            blend_b = blend(pairs, 1, upper, lower, left, right, SHARED)
            blend_c = blend(pairs, 2, upper, lower, left, right, SHARED)
            blend_d = blend(pairs, 3, upper, lower, left, right, SHARED)
            a, b, c, d = a + scale * blend_a, b + scale * blend_b, c + scale * blend_c, d + scale * blend_d
            if TO_WEIGHT:
                target = by_weight + (part * channels * MULTIPLIER + kernel) * taps + tap
                tl.store(
                    target,
                    tl.sum(own_a * blend_a + own_b * blend_b + own_c * blend_c + own_d * blend_d, axis=0),
                )
            if TO_POSITIONS:
                slopes_y = own_a * blend(pairs, 0, 1.0, -1.0, left, right, SHARED)
                slopes_y += own_b * blend(pairs, 1, 1.0, -1.0, left, right, SHARED)
                slopes_y += own_c * blend(pairs, 2, 1.0, -1.0, left, right, SHARED)
                slopes_y += own_d * blend(pairs, 3, 1.0, -1.0, left, right, SHARED)
                slopes_x = own_a * blend(pairs, 0, upper, lower, 1.0, -1.0, SHARED)
                slopes_x += own_b * blend(pairs, 1, upper, lower, 1.0, -1.0, SHARED)
                slopes_x += own_c * blend(pairs, 2, upper, lower, 1.0, -1.0, SHARED)
                slopes_x += own_d * blend(pairs, 3, upper, lower, 1.0, -1.0, SHARED)
                by_y += scale * slopes_y
                by_x += scale * slopes_x
        if TO_POSITIONS:
            target = by_position + (part * 2 * chunk_channels + local_channel) * taps + tap
            tl.store(target, tl.sum(by_y, axis=0))
            tl.store(target + chunk_channels * taps, tl.sum(by_x, axis=0))
    if TO_X:
        _store_lane(grad_x + plane * (height * width), y, column, height, width, a, b, c, d)


@triton.jit
def _is_read(moved, size, STRIDE: tl.constexpr):
    """Whether an output reads the pixel along this axis. What none reads takes no part, even if it is NaN."""
    if STRIDE == 1:
        found = moved.to(tl.uint32, bitcast=True) <= size.to(tl.uint32)
    else:
        found = (_divide(moved - 1, size, STRIDE) > 0) | (_divide(moved, size, STRIDE) > 0)
    return found


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
