"""Random calls of the operator, each from one seed: sizes, dtypes, places, layouts in memory."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from icnn_core.ops.geometry import Geometry, regular_slots

PLACES = ("near", "far", "on the lattice", "beside the lattice", "on the border", "huge", "lost")
LAYOUTS = ("contiguous", "channels_last", "every second column", "transposed")
SHARINGS = ("layer", "channel", "none")
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Call:
    """One call with its tensors, and the gradient of its output.

    `sigma` is None with bilinear interpolation. Tensors have `dtype`, but sigma and some positions float32.
    """

    seed: int
    geometry: Geometry
    sharing: str
    places: str
    layout: str
    dtype: torch.dtype
    x: Tensor
    weight: Tensor
    positions: Tensor
    bias: Tensor | None
    sigma: Tensor | None
    grad_out: Tensor

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments of `irregular_conv2d`."""
        g = self.geometry
        sizes = {"stride": g.stride, "padding": g.padding, "dilation": g.dilation, "groups": g.groups}
        return sizes | {
            "interpolation": "bilinear" if self.sigma is None else "gaussian",
            "sigma": self.sigma,
        }

    def __str__(self) -> str:
        kind = f"sharing {self.sharing!r}, {self.options['interpolation']}, {self.dtype}"
        return f"case {self.seed}: {self.geometry}, {kind}, x {self.layout}, positions {self.places}"


def draw_call(seed: int, *, small: bool = False, dtypes: Sequence[torch.dtype] = DTYPES) -> Call:
    """The call of that seed. `small`: of a few pixels and channels, for Triton's kernels: never Gaussian nor "none"."""
    rng = random.Random(seed)
    generator = torch.Generator().manual_seed(seed)
    gaussian = not small and rng.random() < 0.1
    geometry = _draw_geometry(rng, small or gaussian)
    dtype, sharing = rng.choice(dtypes), rng.choice(SHARINGS[:2] if small else SHARINGS)
    places, layout = rng.choice(PLACES), rng.choice(LAYOUTS)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    g = geometry
    lead = {"layer": (1,), "channel": (g.in_channels,), "none": (g.out_channels, g.in_channels // g.groups)}
    positions = _draw_positions(rng, normal(*lead[sharing], g.taps, 2), places, g, generator)
    x = normal(g.batch, g.in_channels, *g.input_size).to(dtype)
    grad_out = normal(g.batch, g.out_channels, *g.output_size).to(dtype)
    if rng.random() < 0.2:  # what the gradient of a sum looks like
        grad_out = torch.ones((), dtype=dtype).expand(grad_out.shape)
    weight = normal(g.out_channels, g.in_channels // g.groups, *g.kernel_size).to(dtype)
    bias = normal(g.out_channels).to(dtype) if rng.random() < 0.6 else None
    precise = torch.float64 if dtype == torch.float64 else torch.float32
    positions = positions.to(rng.choice((dtype, precise)))
    sigma = _draw_sigma(rng, positions, generator).to(precise) if gaussian else None
    return Call(
        seed, g, sharing, places, layout, dtype, _lay_out(x, layout), weight, positions, bias, sigma, grad_out
    )


def _draw_geometry(rng: random.Random, small: bool) -> Geometry:
    most = 2 if small else 3
    groups = rng.choice((1, 1, 1, 2, 3))
    channels, kernels = groups * rng.randint(1, most), groups * rng.randint(1, most)
    kernel = rng.choice((1, 2, 3, most + 1)), rng.choice((1, 2, 3, most + 1))
    stride = rng.choice((1, 1, 2, 3)), rng.choice((1, 1, 2, 3))
    dilation = rng.randint(1, 3), rng.randint(1, 3)
    padding = rng.randint(0, 4), rng.randint(0, 4)
    spans = zip(kernel, dilation, padding, strict=True)
    least = [max(1, d * (k - 1) + 1 - 2 * p) for k, d, p in spans]
    height, width = (size + rng.randint(0, 5 if small else 11) for size in least)
    if rng.random() < 0.2:  # rows of several vectors
        width += rng.randint(20, 60)
    batch = rng.choice((0, 1, 1, 1, 1, 2, 2, 3))
    return Geometry(batch, channels, kernels, (height, width), kernel, stride, padding, dilation, groups)


def _draw_positions(
    rng: random.Random, noise: Tensor, places: str, geometry: Geometry, generator: torch.Generator
) -> Tensor:
    """Positions of the shape of `noise`, which is normal; anchors are counted from the first tap."""
    centre = torch.tensor(geometry.centre, dtype=torch.float64)
    anchors = regular_slots(geometry.kernel_size, geometry.dilation).double() + centre
    anchors = anchors + noise * {"near": 0.5, "far": 5.0}.get(places, 1.5)
    if places in ("on the lattice", "beside the lattice"):
        anchors = anchors.round()
    if places == "beside the lattice":
        anchors = anchors + noise.sign() * 10.0 ** rng.randint(-7, -2)
    if places == "on the border":
        for axis in (0, 1):
            edges = torch.tensor(_edges(geometry, axis), dtype=torch.float64)
            chosen = torch.randint(len(edges), anchors.shape[:-1], generator=generator)
            anchors[..., axis] = edges[chosen] + rng.choice((0.0, 0.25, -1e-3))
    positions = anchors - centre
    if places in ("huge", "lost"):
        values = {"huge": (1e7, -1e7, 6e4, -6e4, 3e38), "lost": (torch.nan, torch.inf, -torch.inf)}[places]
        flat = positions.view(-1, 2)
        for _ in range(1 if places == "lost" else max(1, len(flat) // 3)):
            flat[rng.randrange(len(flat)), rng.randrange(2)] = rng.choice(values)
    return positions


def _edges(geometry: Geometry, axis: int) -> list[float]:
    """Anchors with which the first or last output pixel reads the image's first or last pixel, or just misses it."""
    first = geometry.padding[axis]
    last = first + geometry.input_size[axis] - 1
    back = geometry.stride[axis] * (geometry.output_size[axis] - 1)
    return [float(edge + by) for edge in (first, last, first - back, last - back) for by in (-1, 0, 1)]


def _draw_sigma(rng: random.Random, positions: Tensor, generator: torch.Generator) -> Tensor:
    if rng.random() < 0.5:
        return torch.tensor(rng.choice((0.05, 0.3, 0.5, 1.0, 1.5)))
    return 0.3 + 0.6 * torch.rand(positions.shape, generator=generator)


def _lay_out(x: Tensor, layout: str) -> Tensor:
    """The same values, laid out otherwise in memory."""
    if layout == "channels_last":
        return x.to(memory_format=torch.channels_last)
    if layout == "every second column":
        return torch.stack([x, torch.full_like(x, torch.nan)], -1).flatten(3)[..., ::2]
    if layout == "transposed":
        return x.transpose(0, 3).contiguous().transpose(0, 3)
    return x
