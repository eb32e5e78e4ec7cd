"""Sizes of one call, and where its taps fall: what every back end needs and none should compute twice."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Geometry:
    """Sizes of one irregular convolution; pairs are (y, x). Symbolic sizes are allowed while tracing."""

    batch: int
    in_channels: int
    out_channels: int
    input_size: tuple[int, int]
    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int

    @property
    def taps(self) -> int:
        return self.kernel_size[0] * self.kernel_size[1]

    @property
    def centre(self) -> tuple[float, float]:
        """The kernel's centre, counted from its first tap, in input pixels (half-integer for even kernels)."""
        (kh, kw), (dy, dx) = self.kernel_size, self.dilation
        return dy * (kh - 1) / 2, dx * (kw - 1) / 2

    @property
    def output_size(self) -> tuple[int, int]:
        """As conv2d's."""
        sizes = zip(self.input_size, self.kernel_size, self.stride, self.padding, self.dilation, strict=True)
        height, width = ((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sizes)
        return height, width


def regular_slots(kernel_size: tuple[int, int], dilation: tuple[int, int]) -> Tensor:
    """(K, 2), the (y, x) that the taps have in the regular kernel, row-major, from its centre, in input pixels."""
    rows, columns = (
        d * (torch.arange(k, dtype=torch.float64) - (k - 1) / 2)
        for k, d in zip(kernel_size, dilation, strict=True)
    )
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2).float()


def split_anchors(positions: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor]:
    """Positions -> (floor, fraction), counted from the kernel's first tap, shaped as `positions`.

    The two neighbours along an axis are floor and floor + 1, also where the fraction is 0: the derivative with
    respect to a position is then the right-hand one at the integers. The floor carries no gradient and stays a
    floating-point number, so that no position, however large, overflows. Non-finite positions have a NaN fraction.
    """
    dtype = torch.promote_types(positions.dtype, torch.float32)
    centre = positions.new_tensor(geometry.centre, dtype=dtype)
    anchors = positions.to(dtype) + centre
    floor = anchors.detach().floor()
    return floor, anchors - floor


def hat_weights(floor: Tensor, fraction: Tensor, pixels: Tensor) -> Tensor:
    """Bilinear weight of each pixel index along one axis: (..., len(pixels)) for floor and fraction of shape (...).

    1 - fraction at `floor`, fraction at `floor + 1`, 0 elsewhere; NaN everywhere if the fraction is NaN.
    """
    pixels = pixels.to(floor.dtype)
    left = (pixels == floor.unsqueeze(-1)).to(fraction.dtype)
    right = (pixels == floor.unsqueeze(-1) + 1).to(fraction.dtype)
    return left * (1 - fraction).unsqueeze(-1) + right * fraction.unsqueeze(-1)


def as_blocks(positions: Tensor, geometry: Geometry) -> Tensor:
    """Positions as (C_out or 1, C_in/groups or C_in or 1, K, 2), so that a leading axis always stands for kernels."""
    return positions if positions.ndim == 4 else positions.unsqueeze(0)
