"""Training positions: parameter groups of their own, the step bound, the poly schedule."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.hooks import RemovableHandle

from icnn_core.errors import ArgumentError
from icnn_core.nn import IrregularConv2d


def parameter_groups(
    model: nn.Module, *, lr: float, position_lr: float, weight_decay: float = 0.0
) -> list[dict[str, Any]]:
    """Groups for any torch optimiser: weights at `lr`, and positions at `position_lr` without decay.

    Frozen parameters are left out. The second group, named "positions", is missing if no layer is irregular.
    """
    positions = position_parameters(model)
    own = {id(parameter) for parameter in positions}
    weights = [p for p in model.parameters() if p.requires_grad and id(p) not in own]
    groups: list[dict[str, Any]] = [
        {"name": "weights", "params": weights, "lr": lr, "weight_decay": weight_decay}
    ]
    if positions:
        groups.append({"name": "positions", "params": positions, "lr": position_lr, "weight_decay": 0.0})
    return groups


def position_parameters(model: nn.Module, *, frozen: bool = False) -> list[nn.Parameter]:
    """The positions, and learnt Gaussian widths, of all irregular layers, in network order.

    Those that are frozen are left out, unless `frozen`.
    """
    layers = (module for module in model.modules() if isinstance(module, IrregularConv2d))
    shapes = (p for layer in layers for p in (layer.positions, layer.sigma))
    return [p for p in shapes if isinstance(p, nn.Parameter) and (frozen or p.requires_grad)]


class StepBound:
    """Keep every step of a position within the pixel cell in which its gradient was true. Source: equation 7.

    After each step of the optimiser, with c = floor(centre + p_old) - centre,
    p ← clip(p_new, c - margin, c + 1 + margin).

    Args:
        optimizer: any torch optimiser; two hooks are registered on it.
        model: whose irregular layers are bounded.
        margin: how far, in pixels, a position may leave its cell in one step; above 0.

    Raises:
        ArgumentError: `margin` is not above 0, so that no position could ever leave its cell.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, model: nn.Module, margin: float = 0.1) -> None:
        if not margin > 0:
            raise ArgumentError(
                "StepBound", needed="a margin above 0 pixels", got=f"margin={margin!r}", fix="Use e.g. 0.1."
            )
        self.margin = margin
        self._layers = [
            m for m in model.modules() if isinstance(m, IrregularConv2d) and m.positions.requires_grad
        ]
        self._cells: list[Tensor] = []
        self._handles: list[RemovableHandle] = [
            optimizer.register_step_pre_hook(self._remember),
            optimizer.register_step_post_hook(self._clip),
        ]

    @torch.no_grad()
    def _remember(self, *_: Any) -> None:
        self._cells = [
            torch.floor(layer.positions + _centre(layer)) - _centre(layer) for layer in self._layers
        ]

    @torch.no_grad()
    def _clip(self, *_: Any) -> None:
        for layer, cell in zip(self._layers, self._cells, strict=True):
            layer.positions.clamp_(cell - self.margin, cell + 1 + self.margin)
        self._cells = []

    def remove(self) -> None:
        """Take the hooks off the optimiser."""
        for handle in self._handles:
            handle.remove()


def _centre(layer: IrregularConv2d) -> Tensor:
    """The kernel's centre counted from its first tap: the last slot, by symmetry."""
    return layer.slots[-1]


def poly_schedule(
    optimizer: torch.optim.Optimizer, iterations: int, power: float = 0.9, warmup: int = 0
) -> LambdaLR:
    """lr · (1 - i/iterations)^power for every group (DeepLab's policy), and 0 for the first `warmup` iterations."""
    return LambdaLR(optimizer, lambda i: 0.0 if i < warmup else max(0.0, 1 - i / max(iterations, 1)) ** power)
