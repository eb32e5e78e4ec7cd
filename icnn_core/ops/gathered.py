"""A column gathered by two small matrices per tap, then one product with the weights.

A tap reads the same offset at every output pixel, so its samples are `A_y · x · A_xᵀ` with matrices `A_y`
(H_out, H) and `A_x` (W_out, W). No size depends on the positions' values: it traces, exports, vmaps and differentiates
to any order and in forward mode. The column is held in memory; with a shape per kernel (sharing "none"), C_out columns.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from icnn_core.ops.geometry import Geometry, axis_weights, split_anchors


def forward(
    x: Tensor,
    weight: Tensor,
    positions: Tensor,
    bias: Tensor | None,
    geometry: Geometry,
    sigma: Tensor | None = None,
) -> Tensor:
    """As `reference.forward`, from native matrix products alone."""
    groups, height, width = geometry.groups, *geometry.output_size
    sigma = None if sigma is None else sigma.expand(positions.shape)
    if positions.ndim == 4:
        per_group = x.unflatten(1, (groups, 1, -1)).expand(
            -1, -1, geometry.out_channels // groups, -1, *geometry.input_size
        )
        widths = None if sigma is None else sigma.flatten(0, 1)
        column = _column(per_group.flatten(1, 3), positions.flatten(0, 1), geometry, widths)
        column = column.unflatten(1, (geometry.out_channels, -1))
        out = torch.einsum("nockyx,ock->noyx", column, weight.flatten(2))
    else:
        column = _column(x, positions, geometry, sigma).unflatten(1, (groups, -1))
        out = torch.einsum("ngckyx,gock->ngoyx", column, weight.flatten(2).unflatten(0, (groups, -1)))
        out = out.reshape(geometry.batch, geometry.out_channels, height, width)
    return out if bias is None else out + bias.to(out.dtype)[:, None, None]


def backward(
    grad_out: Tensor, x: Tensor, weight: Tensor, positions: Tensor, *rest: Any
) -> list[Tensor | None]:
    """Gradients of x, weight, positions and bias where needed, as differentiable functions of the first four.

    `rest`: geometry and needs; before them may come sigma, or None, whose gradient then comes before the bias's.
    """
    *widths, geometry, needs = rest
    sigma = widths[0] if widths else None
    tensors = [x, weight, positions, *([] if sigma is None else [sigma])]
    out = forward(x, weight, positions, None, geometry, sigma)
    gradients: list[Tensor | None] = list(torch.autograd.grad(out, tensors, grad_out, create_graph=True))
    gradients += [None] * (len(widths) - (sigma is not None))
    pairs = zip((*gradients, grad_out.sum((0, 2, 3))), needs, strict=True)
    return [gradient if need else None for gradient, need in pairs]


def _column(x: Tensor, positions: Tensor, geometry: Geometry, sigma: Tensor | None) -> Tensor:
    """(N, C, H, W) and (C or 1, K, 2) -> (N, C, K, H_out, W_out)."""
    floor, fraction = split_anchors(positions, geometry)
    rows, columns = (
        _axis_matrix(
            floor[..., axis], fraction[..., axis], None if sigma is None else sigma[..., axis], axis, geometry
        ).to(x.dtype)
        for axis in (0, 1)
    )
    if positions.shape[0] == 1:
        return torch.einsum("nchw,kyh,kxw->nckyx", x, rows[0], columns[0])
    return torch.einsum("nchw,ckyh,ckxw->nckyx", x, rows, columns)


def _axis_matrix(
    floor: Tensor, fraction: Tensor, sigma: Tensor | None, axis: int, geometry: Geometry
) -> Tensor:
    """(C, K) -> (C, K, outputs, inputs): the weight of every input index in every output, along one axis."""
    outputs = torch.arange(geometry.output_size[axis], device=floor.device, dtype=floor.dtype)
    starts = outputs * geometry.stride[axis] - geometry.padding[axis]
    inputs = torch.arange(geometry.input_size[axis], device=floor.device)
    return axis_weights(
        floor.unsqueeze(-1) + starts,
        fraction.unsqueeze(-1),
        inputs,
        None if sigma is None else sigma.unsqueeze(-1),
    )
