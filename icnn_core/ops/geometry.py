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
    anchors = positions.to(dtype) + pair_on(positions.device, geometry.centre, dtype)
    floor = anchors.detach().floor()
    return floor, anchors - floor


def pair_on(device: torch.device, pair: tuple[float, float], dtype: torch.dtype) -> Tensor | float:
    """(y, x) to be added to a tensor (…, 2). Nothing is copied to a GPU, which no CUDA graph would allow."""
    y, x = pair
    return y if y == x else y + (x - y) * torch.arange(2, device=device, dtype=dtype)


GAUSSIAN_RADIUS = 4  # pixels on either side of a position that its Gaussian covers
SIGMA_RANGE = (0.1, GAUSSIAN_RADIUS / 4)  # so that what is cut off is below exp(-8)


def window(sigma: Tensor | None) -> tuple[int, int]:
    """Offsets (first, last) from the floor of the pixels that a tap reads along an axis: 2 bilinear, 8 Gaussian."""
    return (0, 1) if sigma is None else (1 - GAUSSIAN_RADIUS, GAUSSIAN_RADIUS)


def axis_weights(floor: Tensor, fraction: Tensor, pixels: Tensor, sigma: Tensor | None = None) -> Tensor:
    """Weight of each pixel index along one axis: (..., len(pixels)) for floor, fraction and sigma of shape (...).

    Without sigma bilinear: 1 - fraction at `floor`, fraction at `floor + 1`. With sigma, clamped to `SIGMA_RANGE`, a
    Gaussian around the position, over the window's pixels and normalised over them (inside the image or not). Weights
    are 0 outside the window, and NaN everywhere if the fraction is.
    """
    pixels, floor = pixels.to(floor.dtype), floor.unsqueeze(-1)
    fraction = fraction.unsqueeze(-1)
    if sigma is None:
        left, right = ((pixels == floor + side).to(fraction.dtype) for side in (0, 1))
        return left * (1 - fraction) + right * fraction
    first, last = window(sigma)
    sigma = sigma.clamp(*SIGMA_RANGE).to(fraction.dtype).unsqueeze(-1)
    inside = (pixels >= floor + first) & (pixels <= floor + last)
    distance = torch.where(inside, pixels - floor, 0.0) - fraction
    offsets = torch.arange(first, last + 1, device=floor.device, dtype=fraction.dtype)
    total = torch.exp(-((offsets - fraction) / sigma).square() / 2).sum(-1, keepdim=True)
    return torch.exp(-(distance / sigma).square() / 2) * inside.to(fraction.dtype) / total
