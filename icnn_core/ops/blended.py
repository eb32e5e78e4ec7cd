"""Multiply first, blend after: for few kernels whose channels share one shape.

With one shape for the layer a tap moves all channels alike, so moving and summing over channels commute: `W_k · x`, a
convolution of 1×1 with C_out·K kernels, then C_out·K planes are sampled instead of C_in·K. The planes are sampled by
another back end: it sees a convolution of 1×1 in C_out groups of K channels, with weights of 1.
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from icnn_core.ops.geometry import Geometry, pair_on, split_anchors

Sample = Callable[[Tensor, Tensor, Tensor, Tensor | None, Geometry], Tensor]


def forward(
    x: Tensor, weight: Tensor, positions: Tensor, bias: Tensor | None, geometry: Geometry, sample: Sample
) -> Tensor:
    """As `reference.forward`, for positions (1, K, 2). `sample(x, weight, positions, bias, geometry)` samples."""
    g = geometry
    by_tap = weight.flatten(2).transpose(1, 2).flatten(0, 1)[..., None, None]
    planes = F.conv2d(x, by_tap, groups=g.groups)
    sampling = planes_geometry(geometry)
    less_y, less_x = (float(new - old) for new, old in zip(sampling.padding, g.padding, strict=True))
    # Rounded as in every back end; whole pixels are added to that.
    floor, fraction = split_anchors(positions[0], g)
    anchors = floor + fraction + pair_on(positions.device, (less_y, less_x), floor.dtype)
    by_plane = anchors.repeat(g.out_channels, 1)[:, None]
    ones = planes.new_ones(g.out_channels, g.taps, 1, 1)
    out = sample(planes, ones, by_plane, bias, sampling)
    if sampling.output_size == g.output_size:
        return out
    return out[..., : g.output_size[0], : g.output_size[1]].contiguous()


def planes_geometry(geometry: Geometry) -> Geometry:
    """How the planes are sampled: with the least padding whose output is as large as wanted, or larger."""
    sizes = zip(geometry.input_size, geometry.output_size, geometry.stride, strict=True)
    padding_y, padding_x = (max(0, -((size - 1 - stride * (out - 1)) // 2)) for size, out, stride in sizes)
    return Geometry(
        batch=geometry.batch,
        in_channels=geometry.out_channels * geometry.taps,
        out_channels=geometry.out_channels,
        input_size=geometry.input_size,
        kernel_size=(1, 1),
        stride=geometry.stride,
        padding=(padding_y, padding_x),
        dilation=(1, 1),
        groups=geometry.out_channels,
    )
