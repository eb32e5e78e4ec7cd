"""A dense kernel that holds the interpolation weights of every tap, then conv2d.

Best where positions lie close together, and for the full version (sharing "none"). Native operations only. The kernel's
size follows from the positions' values, which therefore must be readable: see `reach`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from icnn_core.ops.geometry import Geometry, axis_weights, split_anchors, window
from icnn_core.ops.kept import keep

Reach = tuple[tuple[int, int], tuple[int, int]]
"""((first_y, last_y), (first_x, last_x)): the pixels, counted from the first tap, that a kernel must cover."""


def forward(
    x: Tensor,
    weight: Tensor,
    positions: Tensor,
    bias: Tensor | None,
    geometry: Geometry,
    span: Reach,
    sigma: Tensor | None = None,
) -> Tensor:
    """As `reference.forward`, if `span` covers every neighbour that lies inside the image for some output pixel."""
    parameters = (weight, positions) if sigma is None else (weight, positions, sigma)
    key = span, geometry.kernel_size, geometry.dilation, geometry.groups, x.dtype
    kernel = keep(
        "dense", parameters, key, lambda: dense_kernel(weight, positions, geometry, span, sigma).to(x.dtype)
    )
    (first_y, _), (first_x, _) = span
    padded = F.pad(x, (*_margins(1, first_x, kernel, geometry), *_margins(0, first_y, kernel, geometry)))
    return F.conv2d(padded, kernel, bias, stride=geometry.stride, groups=geometry.groups)


def dense_kernel(
    weight: Tensor, positions: Tensor, geometry: Geometry, span: Reach, sigma: Tensor | None = None
) -> Tensor:
    """(C_out, C_in/groups, kH, kW) and positions -> (C_out, C_in/groups, rows, columns of the span).

    The largest temporary is C_in·K·rows·columns of the span, or C_out·C_in/groups·K·rows with sharing "none".
    """
    floor, fraction = split_anchors(positions, geometry)
    rows, columns = (
        axis_weights(
            floor[..., axis],
            fraction[..., axis],
            torch.arange(first, last + 1, device=positions.device),
            None if sigma is None else sigma.expand(positions.shape)[..., axis],
        ).to(weight.dtype)
        for axis, (first, last) in enumerate(span)
    )
    flat = weight.flatten(2)
    if positions.ndim == 4:
        return torch.einsum("ocky,ockx->ocyx", flat.unsqueeze(-1) * rows, columns)
    basis = rows.unsqueeze(-1) * columns.unsqueeze(-2)
    if positions.shape[0] == 1:
        return torch.einsum("ock,kyx->ocyx", flat, basis[0])
    per_group = flat.unflatten(0, (geometry.groups, -1)), basis.unflatten(0, (geometry.groups, -1))
    return torch.einsum("gock,gckyx->gocyx", *per_group).flatten(0, 1)


def reach(positions: Tensor, geometry: Geometry, sigma: Tensor | None = None) -> Reach:
    """The smallest span that holds every neighbour which some output pixel reads inside the image. Reads the values.

    Positions whose neighbours all lie outside add nothing: its size is bounded by the image, not by the positions.
    Where none is left it is one pixel that some output reads, so that what is padded and cropped meets the image.
    """
    floor, _ = split_anchors(positions.detach(), geometry)
    floor = floor.nan_to_num(0.0, 0.0, 0.0).reshape(-1, 2)
    limits = floor.new_tensor(_useful(geometry))
    before, after = window(sigma)
    useful = ((floor + after >= limits[0]) & (floor + before <= limits[1])).all(-1, keepdim=True)
    low = torch.where(useful, floor + before, torch.inf).amin(0)
    high = torch.where(useful, floor + after, -torch.inf).amax(0)
    (low_y, low_x), (high_y, high_x) = torch.stack([low, high]).tolist()
    (first_y, first_x), (last_y, last_x) = _useful(geometry)
    if low_y > high_y:
        return (first_y, first_y), (first_x, first_x)
    return (
        (int(max(low_y, first_y)), int(min(high_y, last_y))),
        (int(max(low_x, first_x)), int(min(high_x, last_x))),
    )


def _useful(geometry: Geometry) -> tuple[tuple[int, int], tuple[int, int]]:
    """((first_y, first_x), (last_y, last_x)): offsets from the first tap that fall inside the image for some output."""
    sizes = zip(geometry.input_size, geometry.output_size, geometry.stride, geometry.padding, strict=True)
    bounds = [(pad - stride * (out - 1), size - 1 + pad) for size, out, stride, pad in sizes]
    return (bounds[0][0], bounds[1][0]), (bounds[0][1], bounds[1][1])


def _margins(axis: int, first: int, kernel: Tensor, geometry: Geometry) -> tuple[int, int]:
    """Zeros to add before and after the image along an axis, negative to crop, for conv2d's output to have its size."""
    before = geometry.padding[axis] - first
    covered = geometry.stride[axis] * (geometry.output_size[axis] - 1) + kernel.shape[2 + axis]
    return before, covered - geometry.input_size[axis] - before
