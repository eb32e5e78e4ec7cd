"""The specification of the irregular convolution: equations 3 and 4 of arXiv 1706.07966, written out.

Loops over kernels, channels and taps; only pixels are vectorised. Slow, differentiable by autograd to any order.
"""

from __future__ import annotations

import torch
from torch import Tensor

from icnn_core.ops.geometry import SIGMA_RANGE, Geometry, split_anchors, window

_FAR = 2**40  # beyond any image, and still exact in every integer and float64 operation below


def forward(
    x: Tensor,
    weight: Tensor,
    positions: Tensor,
    bias: Tensor | None,
    geometry: Geometry,
    sigma: Tensor | None = None,
) -> Tensor:
    """out[n,o,i,j] = bias[o] + Σ_c Σ_k weight[o,c,k] · x̃[n,c](stride·(i,j) - padding + centre + position[k])."""
    floor, fraction = split_anchors(positions, geometry)
    kernels_per_group = geometry.out_channels // geometry.groups
    channels_per_group = geometry.in_channels // geometry.groups
    flat_weight = weight.flatten(2)
    sigma = None if sigma is None else sigma.expand(positions.shape)
    planes = []
    for kernel in range(geometry.out_channels):
        plane = x.new_zeros((geometry.batch, *geometry.output_size))
        for local in range(channels_per_group):
            channel = kernel // kernels_per_group * channels_per_group + local
            shape = _shape_index(positions, kernel, local, channel)
            for tap in range(geometry.taps):
                width = None if sigma is None else sigma[shape][tap]
                sample = _sample(x[:, channel], floor[shape][tap], fraction[shape][tap], width, geometry)
                plane = plane + flat_weight[kernel, local, tap] * sample
        planes.append(plane if bias is None else plane + bias[kernel])
    return torch.stack(planes, dim=1)


def _shape_index(positions: Tensor, kernel: int, local: int, channel: int) -> tuple[int, ...]:
    """Which of the (K, 2) shapes in `positions` a kernel uses on a channel (`local`: the channel within its group)."""
    if positions.ndim == 4:
        return kernel, local
    return (channel,) if positions.shape[0] > 1 else (0,)


def _sample(
    plane: Tensor, floor: Tensor, fraction: Tensor, sigma: Tensor | None, geometry: Geometry
) -> Tensor:
    """Equation 3 for one tap: (N, H, W) -> (N, H_out, W_out), blended from the window's integer neighbours."""
    first, last = window(sigma)
    weights = [
        _window_weights(fraction[axis], None if sigma is None else sigma[axis]).to(plane.dtype)
        for axis in (0, 1)
    ]
    blended = plane.new_zeros(())
    for row in range(first, last + 1):
        for column in range(first, last + 1):
            neighbour = _read(plane, (_integer(floor[0]) + row, _integer(floor[1]) + column), geometry)
            blended = blended + weights[0][row - first] * weights[1][column - first] * neighbour
    return blended


def _window_weights(fraction: Tensor, sigma: Tensor | None) -> Tensor:
    """The weights of the window's pixels along one axis: (1 - fraction, fraction), or a Gaussian with sum 1."""
    if sigma is None:
        return torch.stack([1 - fraction, fraction])
    first, last = window(sigma)
    offsets = torch.arange(first, last + 1, device=fraction.device, dtype=fraction.dtype)
    values = torch.exp(-(((offsets - fraction) / sigma.clamp(*SIGMA_RANGE)) ** 2) / 2)
    return values / values.sum()


def _integer(floor: Tensor) -> int:
    return max(-_FAR, min(_FAR, int(floor))) if bool(torch.isfinite(floor)) else 0


def _read(plane: Tensor, shift: tuple[int, int], geometry: Geometry) -> Tensor:
    """plane[n, stride·i - padding + shift_y, stride·j - padding + shift_x], 0 outside."""
    indices, inside = [], []
    for axis in (0, 1):
        outputs = torch.arange(geometry.output_size[axis], device=plane.device, dtype=torch.float64)
        index = outputs * geometry.stride[axis] - geometry.padding[axis] + shift[axis]
        inside.append((index >= 0) & (index < geometry.input_size[axis]))
        indices.append(index.clamp(0, geometry.input_size[axis] - 1).long())
    values = plane[:, indices[0]][:, :, indices[1]]
    return values * (inside[0][:, None] & inside[1]).to(plane.dtype)
