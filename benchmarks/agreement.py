"""Back ends against the specification on random calls: outputs and all gradients, differences in units of rounding.

A difference is measured in `eps · Σ|terms|`: the machine epsilon of the call's dtype times the sum of the absolute
values of what is added up to the number in question, each of the pixels that a position blends counted in full. The
specification forms both the result and that sum, in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from random_calls import Call
from torch import Tensor

from icnn_core.errors import IcnnError, UnsupportedError
from icnn_core.ops import reference
from icnn_core.ops.geometry import SIGMA_RANGE, split_anchors
from icnn_core.ops.irregular_conv import irregular_conv2d

LIMIT = 4.0
"""A difference above this many `eps · Σ|terms|` is more than rounding. Rounding a result alone makes 0.5."""

Values = dict[str, Tensor]


class DisagreementError(IcnnError, ArithmeticError):
    """A back end differs from the specification by more than rounding."""


@dataclass
class Largest:
    """Per back end how many calls it served, and per quantity its largest difference and the seed of that call."""

    served: dict[str, int] = field(default_factory=dict)
    errors: dict[str, dict[str, tuple[float, int]]] = field(default_factory=dict)

    def add(self, backend: str, seed: int, errors: dict[str, float]) -> None:
        self.served[backend] = self.served.get(backend, 0) + 1
        known = self.errors.setdefault(backend, {})
        for name, error in errors.items():
            known[name] = max(known.get(name, (0.0, seed)), (error, seed), key=lambda pair: pair[0])


def compare(
    call: Call, backends: Sequence[str], largest: Largest, device: torch.device | str = "cpu"
) -> None:
    """Run every one of `backends` that does not refuse the call, on `device`, and note the differences in `largest`.

    Raises:
        DisagreementError: a difference is above `LIMIT`, or one result has a NaN where the other has none.
    """
    expected, sums = _specify(call)
    for backend in backends:
        if backend == "dense" and call.dtype.itemsize < 4:
            continue  # PyTorch's own convolution may add up in half precision on the way back, and would be measured
        try:
            found = _differentiate(call, backend, device)
        except UnsupportedError:
            continue
        errors = {name: _distance(name, found[name], expected[name], sums[name], call) for name in found}
        largest.add(backend, call.seed, errors)
        worst = max(errors, key=lambda name: errors[name])
        if not errors[worst] <= LIMIT:
            raise DisagreementError(
                f"back end {backend!r}",
                needed=f"at most {LIMIT:g} roundings between it and the specification",
                got=f"{errors[worst]:.3g} in {worst}, {call}",
                fix=f"`python benchmarks/compare_backends.py --case {call.seed}` draws it again.",
            )


def _leaves(call: Call) -> Values:
    tensors = {"x": call.x, "weight": call.weight, "positions": call.positions}
    tensors |= {} if call.bias is None else {"bias": call.bias}
    tensors |= {} if call.sigma is None else {"sigma": call.sigma}
    return {name: tensor.detach().requires_grad_() for name, tensor in tensors.items()}


def _differentiate(call: Call, backend: str, device: torch.device | str) -> Values:
    """The output and the gradient of every input."""
    leaves = {name: tensor.to(device).detach().requires_grad_() for name, tensor in _leaves(call).items()}
    arguments = leaves["x"], leaves["weight"], leaves["positions"], leaves.get("bias")
    options: dict[str, Any] = call.options | {"sigma": leaves.get("sigma")}
    out = irregular_conv2d(*arguments, **options, backend=backend)
    gradients = torch.autograd.grad(out, list(leaves.values()), call.grad_out.to(device))
    found = {"out": out.detach(), **dict(zip(leaves, gradients, strict=True))}
    return {name: tensor.cpu() for name, tensor in found.items()}


def _specify(call: Call) -> tuple[Values, Values]:
    """What the specification gives in float64, and its `Σ|terms|`.

    Its anchors are those of the call's precision: a position beside the lattice may come to lie on it, where the
    derivative is another one.
    """
    floor, fraction = split_anchors(call.positions, call.geometry)
    centre = torch.tensor(call.geometry.centre, dtype=torch.float64)
    precise = {name: tensor.detach().double() for name, tensor in _leaves(call).items()}
    precise["positions"] = floor.double() + fraction.double() - centre
    expected = _run_reference(call, precise)
    absolute = {name: tensor.abs() for name, tensor in precise.items()}
    if call.sigma is None:
        # Half-way between its four neighbours a position reads their mean; with weights four times as large, their sum.
        halfway = floor.double().nan_to_num(0.0) + 0.5 - centre
        at = {"positions": halfway, "weight": 4 * absolute["weight"]}
        total = _run_reference(call, absolute | at, absolute=True)
        total["weight"] = 4 * total["weight"]
        narrow, steep = 1.0, 1.0
    else:
        at = {"positions": precise["positions"].nan_to_num(0.0, 0.0, 0.0)}
        total = _run_reference(call, absolute | at, absolute=True)
        narrow = float(call.sigma.clamp(*SIGMA_RANGE).min())
        # Weights are exponentials of (distance / σ)²/2, whose relative rounding, and slopes, grow with 1/σ².
        total = {name: tensor * (1 + 1 / narrow**2) for name, tensor in total.items()}
        steep = 4 / narrow**2
    by_tap = total["weight"].flatten(2) * precise["weight"].abs().flatten(2) * steep
    total["positions"] = _share(by_tap.unsqueeze(-1).expand(*by_tap.shape, 2), call)
    if call.sigma is not None:
        total["sigma"] = (2 / narrow * total["positions"]).sum_to_size(call.sigma.shape)
    return expected, total


def _run_reference(call: Call, tensors: Values, *, absolute: bool = False) -> Values:
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in tensors.items()}
    arguments = leaves["x"], leaves["weight"], leaves["positions"], leaves.get("bias")
    out = reference.forward(*arguments, call.geometry, leaves.get("sigma"))
    grad_out = call.grad_out.double()
    gradients = torch.autograd.grad(out, list(leaves.values()), grad_out.abs() if absolute else grad_out)
    return {"out": out.detach(), **dict(zip(leaves, gradients, strict=True))}


def _share(by_kernel: Tensor, call: Call) -> Tensor:
    """(C_out, C_in/groups, K, 2) -> positions' shape, summed over what shares a position."""
    if call.positions.ndim == 4:
        return by_kernel
    by_channel = by_kernel.unflatten(0, (call.geometry.groups, -1)).sum(1).flatten(0, 1)
    return by_channel if call.sharing == "channel" else by_channel.sum(0, keepdim=True)


def _distance(name: str, found: Tensor, expected: Tensor, total: Tensor, call: Call) -> float:
    """The largest difference in units of `eps · Σ|terms|`, infinite where one is NaN and the other is not."""
    found, judged = found.double(), _judged(name, found, call)
    if not torch.equal(found.isnan() & judged, expected.isnan() & judged):
        return float("inf")
    limits = torch.finfo(call.dtype)
    # A distant Gaussian underflows in single precision, in which its weights are formed: below that nothing is known.
    least = max(limits.eps * limits.smallest_normal, torch.finfo(torch.float32).smallest_normal)
    difference = (found - expected).abs() / (limits.eps * total + least)
    difference = difference.where(judged & ~expected.isnan(), 0.0)
    return float(difference.amax()) if found.numel() else 0.0


def _judged(name: str, found: Tensor, call: Call) -> Tensor:
    """What is defined. Where a position is lost its own gradient, and its channel's, may be NaN or not."""
    lost = ~call.positions.isfinite().all(-1)
    judged = torch.ones_like(found, dtype=torch.bool)
    if not lost.any():
        return judged
    if name == "positions":
        return judged & ~lost.unsqueeze(-1)
    if name == "x":
        by_channel = _share_lost(lost, call)
        return judged & ~by_channel[None, :, None, None]
    if name == "sigma" or (name == "weight" and call.geometry.batch == 0):
        return torch.zeros_like(judged)
    return judged


def _share_lost(lost: Tensor, call: Call) -> Tensor:
    """(C_in,): whether a channel has a position that is lost."""
    g = call.geometry
    if lost.ndim == 3:
        return lost.any(-1).unflatten(0, (g.groups, -1)).any(1).flatten()
    return lost.any(-1).expand(g.in_channels)
