"""Random calls of the operator in the sizes of networks' layers, each from one seed, and the time of every back end."""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from icnn_core.ops.backends import BACKENDS, read_reach
from icnn_core.ops.cpu_costs import product_size, reach_area
from icnn_core.ops.geometry import Geometry, regular_slots
from icnn_core.ops.irregular_conv import irregular_conv2d, make_request
from icnn_core.ops.request import Request

_MULTIPLY_ADDS = 1e6, 6e8  # of the convolution with as many taps
_MOST_OF_A_BACK_END = (
    1e10  # that `dense` and `gathered` may need: more takes longer than the slowest of the others
)
_MOST_NUMBERS = 5e7  # that `gathered` may hold
_ROUNDS, _SECONDS = 9, 0.1  # of one back end, after its first call
_HOPELESS = 12  # times as long as the quickest at the first call: it is not called again
_COMPILED: set[tuple[Any, ...]] = set()  # kinds of calls whose first one was made


@dataclass(frozen=True)
class LayerCall:
    """One call; `backward`: with all gradients."""

    seed: int
    request: Request
    sharing: str
    spread: float
    backward: bool
    tensors: dict[str, Tensor]

    def run(self, backend: str | None) -> None:
        """Compute the output, and if wanted all gradients."""
        g, tensors = self.request.geometry, self.tensors
        sizes = {"stride": g.stride, "padding": g.padding, "dilation": g.dilation, "groups": g.groups}
        gaussian = {"interpolation": "gaussian", "sigma": tensors["sigma"]} if "sigma" in tensors else {}
        given: dict[str, Any] = sizes | gaussian
        arguments = tensors["x"], tensors["weight"], tensors["positions"]
        if not self.backward:
            with torch.no_grad():
                irregular_conv2d(*arguments, **given, backend=backend)
            return
        out = irregular_conv2d(*arguments, **given, backend=backend)
        torch.autograd.grad(out, list(tensors.values()), torch.ones_like(out))

    def servers(self) -> list[str]:
        """The back ends that serve it, without those that would take beyond all measure."""
        names = [name for name, back_end in BACKENDS.items() if not back_end.reasons(self.request)]
        return [name for name in names if name != "reference" and self._is_bearable(name)]

    def _is_bearable(self, name: str) -> bool:
        request, g = self.request, self.request.geometry
        if name == "dense":
            assert request.reach is not None
            return product_size(g, reach_area(request.reach)) <= _MOST_OF_A_BACK_END
        if name == "gathered":
            planes = g.batch * g.in_channels * g.taps * (1 if request.shared else g.out_channels / g.groups)
            (height, width), (out_height, out_width) = g.input_size, g.output_size
            numbers = planes * out_height * max(width, out_width)
            return numbers <= _MOST_NUMBERS and numbers * (height + out_width) <= _MOST_OF_A_BACK_END
        return True

    def __str__(self) -> str:
        g, kind = self.request.geometry, str(self.request.dtype).removeprefix("torch.")
        parts = [f"{g.batch}×{g.in_channels}→{g.out_channels}", f"{g.input_size[0]}×{g.input_size[1]}"]
        parts += [
            f"kernel {g.kernel_size[0]}×{g.kernel_size[1]}",
            f"stride {g.stride[0]}",
            f"groups {g.groups}",
        ]
        parts += [
            self.sharing,
            f"σ {self.spread:.2g}",
            "gaussian" if self.request.gaussian else "bilinear",
            kind,
        ]
        return ", ".join(parts) + (", both passes" if self.backward else "")


def draw_layer_call(seed: int) -> LayerCall:
    """The call of that seed: half of them with a shape per kernel and channel, half of them with gradients."""
    rng = random.Random(seed)
    geometry = _draw_geometry(rng)
    while not _MULTIPLY_ADDS[0] <= product_size(geometry, geometry.taps) <= _MULTIPLY_ADDS[1]:
        geometry = _draw_geometry(rng)
    g = geometry
    sharing = rng.choice(("none", "none", "channel", "layer"))
    gaussian, backward = rng.random() < 0.15, rng.random() < 0.5
    dtype = torch.float64 if rng.random() < 0.15 else torch.float32
    spread = _log_uniform(rng, 0.05, 16)
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype).requires_grad_(backward)

    lead = {"layer": (1,), "channel": (g.in_channels,), "none": (g.out_channels, g.in_channels // g.groups)}
    slots = regular_slots(g.kernel_size, g.dilation).to(dtype)
    x = normal(g.batch, g.in_channels, *g.input_size)
    weight = normal(g.out_channels, g.in_channels // g.groups, *g.kernel_size)
    positions = (slots + spread * normal(*lead[sharing], g.taps, 2)).detach().requires_grad_(backward)
    sigma = torch.full((), 0.5, dtype=dtype, requires_grad=backward) if gaussian else None
    tensors = {"x": x, "weight": weight, "positions": positions} | ({} if sigma is None else {"sigma": sigma})
    request = make_request(x, weight, positions, g, sigma)
    return LayerCall(
        seed, request.with_reach(read_reach(positions, g, sigma)), sharing, spread, backward, tensors
    )


def _draw_geometry(rng: random.Random) -> Geometry:
    kernel, dilation = rng.choice((1, 3, 3, 3, 5, 7)), rng.choice((1, 1, 1, 2))
    stride = rng.choice((1, 1, 1, 2))
    groups = rng.choice((1, 1, 1, round(_log_uniform(rng, 1, 64))))
    channels, kernels = (groups * round(_log_uniform(rng, 1, 256 / groups)) for _ in range(2))
    height = round(_log_uniform(rng, 5, 100))
    width = min(100, max(5, round(height * rng.uniform(0.6, 1.6))))
    padding = dilation * (kernel - 1) // 2
    batch = round(_log_uniform(rng, 1, 8))
    kernel_size, steps, margin = (kernel, kernel), (stride, stride), (padding, padding)
    return Geometry(
        batch, channels, kernels, (height, width), kernel_size, steps, margin, (dilation, dilation), groups
    )


def _log_uniform(rng: random.Random, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def time_back_ends(call: LayerCall) -> dict[str, float]:
    """Seconds of processor time per back end: the least of interleaved rounds, so that other work disturbs little."""
    names = call.servers()
    first: dict[str, float] = {}
    spent, least = dict.fromkeys(names, 0.0), dict.fromkeys(names, math.inf)
    for name in names:
        kind = name, call.request.dtype, call.request.gaussian, call.backward
        if kind not in _COMPILED:
            _COMPILED.add(kind)
            call.run(name)
        first[name] = _time(call, name)
    for _ in range(_ROUNDS):
        for name in names:
            if spent[name] < _SECONDS and first[name] < _HOPELESS * min(first.values()):
                taken = _time(call, name)
                spent[name] += taken
                least[name] = min(least[name], taken)
    return {name: min(least[name], first[name]) for name in names}


def _time(call: LayerCall, name: str) -> float:
    start = time.process_time()
    call.run(name)
    return time.process_time() - start
