"""Training positions: parameter groups of their own, the step bound, the poly schedule."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from icnn_core.errors import ArgumentError
from icnn_core.nn import IrregularConv2d


def parameter_groups(
    model: nn.Module, *, lr: float, position_lr: float, weight_decay: float | None = None
) -> list[dict[str, Any]]:
    """Groups for any torch optimiser: weights at `lr`, and positions at `position_lr` without decay.

    Frozen parameters are left out. The second group, named "positions", is missing if no layer is irregular.

    Args:
        weight_decay: of the weights; None leaves it to the optimiser's own (AdamW's is 0.01).
    """
    positions = position_parameters(model)
    own = {id(parameter) for parameter in positions}
    weights = [p for p in nn.Module.parameters(model) if p.requires_grad and id(p) not in own]
    groups: list[dict[str, Any]] = [{"name": "weights", "params": weights, "lr": lr}]
    if weight_decay is not None:
        groups[0]["weight_decay"] = weight_decay
    if positions:
        groups.append({"name": "positions", "params": positions, "lr": position_lr, "weight_decay": 0.0})
    return groups


def split_positions(
    groups: Iterable[Mapping[str, Any]], model: nn.Module, *, position_lr: float
) -> list[dict[str, Any]]:
    """The groups that another library made (by layers, with and without decay), and positions in one of their own.

    For timm's `param_groups_layer_decay`, and what a transformers Trainer's optimiser is made of. What a group says
    besides its parameters stays; positions, taken out of whichever group they were in, have `position_lr`, no decay,
    and `use_fallback`, by which timm's Muon moves them as AdamW does: they are no matrix to be orthogonalised. Frozen
    positions are left out, and groups that would be empty.

    Args:
        groups: of parameters, or of (name, parameter). They are not changed.

    Raises:
        ArgumentError: parameters that are in no group.
    """
    given = list(groups)
    if not all(isinstance(group, Mapping) and "params" in group for group in given):
        needed = "lists of groups, as optimisers take them"
        got = ", ".join(sorted({type(group).__name__ for group in given}))
        raise ArgumentError("split_positions", needed=needed, got=got, fix='Give [{"params": …}, …].')
    every = {id(parameter) for parameter in position_parameters(model, frozen=True)}
    kept = []
    for group in given:
        params = [group["params"]] if isinstance(group["params"], Tensor) else list(group["params"])
        params = [entry[1] if isinstance(entry, tuple) else entry for entry in params]
        rest = [parameter for parameter in params if id(parameter) not in every]
        if rest:
            kept.append({**group, "params": rest})
    positions = position_parameters(model)
    own = {"name": "positions", "params": positions, "lr": position_lr, "weight_decay": 0.0}
    own["use_fallback"] = True
    return [*kept, own] if positions else kept


def position_parameters(model: nn.Module, *, frozen: bool = False) -> list[nn.Parameter]:
    """The positions, and learnt Gaussian widths, of all irregular layers, in network order.

    Of those that are computed (pruned, normed, parametrised) it is what they are computed from. Those that are frozen
    are left out, unless `frozen`.
    """
    layers = [module for module in nn.Module.modules(model) if isinstance(module, IrregularConv2d)]
    found = [p for layer in layers for name in ("positions", "sigma") for p in _learnt(layer, name)]
    once = {id(p): p for p in found if frozen or p.requires_grad}
    return list(once.values())


def _learnt(layer: nn.Module, name: str) -> list[nn.Parameter]:
    """The parameters that a tensor of a layer is, or is computed from."""
    if parametrize.is_parametrized(layer, name):
        computed = cast(nn.ModuleDict, layer.parametrizations)[name]
        return list(nn.Module.parameters(computed))
    own = (layer._parameters.get(name + ending) for ending in ("", *_SOURCES))
    return [parameter for parameter in own if parameter is not None]


class StepBound:
    """Keep every step of a position within the pixel cell in which its gradient was true. Source: equation 7.

    After each step of the optimiser, with c = floor(centre + p_old) - centre,
    p ← clip(p_new, c - margin, c + 1 + margin), whose edges are rounded inwards where they are no numbers of p's type.

    All of the model's positions that the optimiser moves are bounded, whenever they were unfrozen or added to it. The
    bound stands in the optimiser's parameter groups, so that copies of the optimiser, and of its state, keep it.

    Warns once of layers whose weight has a gradient and whose positions have none: a module that reads its
    convolution's weight, instead of calling it, computes what a regular one does.

    Args:
        optimizer: any torch optimiser.
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
        held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        learnt = position_parameters(model)
        if learnt and not any(id(p) in held for p in position_parameters(model, frozen=True)):
            warnings.warn(
                f"StepBound: none of the model's {len(learnt)} position parameters is in the optimiser, which was "
                "perhaps made before make_irregular: they will not learn. Make it of parameter_groups(model, …).",
                stacklevel=2,
            )
        unbound = sum(isinstance(m, IrregularConv2d) and _moved(m) is None for m in nn.Module.modules(model))
        if unbound:
            warnings.warn(
                f"StepBound: the positions of {unbound} layers are computed from other parameters (parametrised): "
                "their steps are not bounded.",
                stacklevel=2,
            )
        self.margin, self.model, self._optimizer = margin, model, optimizer
        self._has_told = False
        vars(optimizer).setdefault(_BOUNDS, []).append(self)
        _mark(optimizer)

    def _tell_idle(self) -> None:
        if self._has_told:
            return
        idle = [
            name or type(layer).__name__
            for name, layer in nn.Module.named_modules(self.model)
            if isinstance(layer, IrregularConv2d) and _is_idle(layer)
        ]
        if idle:
            self._has_told = True
            warnings.warn(
                f"StepBound: the weights of {', '.join(idle[:3])}{', …' if len(idle) > 3 else ''} "
                "have gradients, their positions none: something reads these weights and does not call the layers, so "
                "that it computes a regular convolution. Leave such layers out of make_irregular's names.",
                stacklevel=2,
            )

    def remove(self) -> None:
        """Let the optimiser's steps go as far as they do."""
        vars(self._optimizer)[_BOUNDS].remove(self)
        _mark(self._optimizer)


_SOURCES = ("_orig", "_g", "_v")  # what torch.nn.utils.prune, spectral_norm and weight_norm compute from
_BOUNDS, _EDGES, _KEY = "_step_bounds", "_step_edges", "step_bound"


def _mark(optimizer: torch.optim.Optimizer) -> None:
    """Write into each parameter group, as it is now, the bounds of its parameters: (margin, centre's y, x) or None."""
    bounds = {
        id(moved): (bound.margin, *_centre(layer))
        for bound in vars(optimizer)[_BOUNDS]
        for layer in nn.Module.modules(bound.model)
        if isinstance(layer, IrregularConv2d) and (moved := _moved(layer)) is not None
    }
    for group in optimizer.param_groups:
        found = [bounds.get(id(parameter)) for parameter in group["params"]]
        group.pop(_KEY, None)
        if any(found):
            group[_KEY] = found


@torch.no_grad()
def _remember(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    if _BOUNDS in vars(optimizer):  # a copy has none, and goes by what is written
        _mark(optimizer)
        for bound in vars(optimizer)[_BOUNDS]:
            bound._tell_idle()
    vars(optimizer)[_EDGES] = [
        (here := _local(parameter), *_edges(here, *bound))
        for group in optimizer.param_groups
        for parameter, bound in zip(group["params"], group.get(_KEY, ()), strict=False)
        if bound is not None
    ]


@torch.no_grad()
def _clip(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    for positions, low, high in vars(optimizer).pop(_EDGES, ()):
        positions.clamp_(low, high)


register_optimizer_step_pre_hook(_remember)  # of all optimisers: a copy loses its own hooks
register_optimizer_step_post_hook(_clip)


def _moved(layer: IrregularConv2d) -> nn.Parameter | None:
    """What an optimiser moves in pixels: positions, or those behind a pruning mask; None if they are computed else."""
    own = layer._parameters
    masked = own.get("positions_orig") if "positions_mask" in layer._buffers else None
    return masked if own.get("positions") is None else own.get("positions")


def _is_idle(layer: IrregularConv2d) -> bool:
    """Whether a step is about to learn its weight, and nothing of its positions."""
    weight, positions = layer._parameters.get("weight"), _moved(layer)
    if weight is None or positions is None or not positions.requires_grad:
        return False
    return weight.grad is not None and positions.grad is None


def _edges(positions: Tensor, margin: float, *centre: float) -> tuple[Tensor, Tensor]:
    """Between which a step may leave each position, in their type: rounded inwards, so as not to lie beyond."""
    exact = positions.float() if positions.dtype in (torch.bfloat16, torch.float16) else positions
    offset = exact.new_tensor(centre)
    cell = (exact + offset).floor() - offset
    low, high = cell - margin, cell + 1 + margin
    if exact is positions:
        return low, high
    near_low, near_high = low.to(positions.dtype), high.to(positions.dtype)
    infinity = torch.full_like(near_low, torch.inf)
    return (
        torch.where(near_low < low, near_low.nextafter(infinity), near_low),
        torch.where(near_high > high, near_high.nextafter(-infinity), near_high),
    )


def _local(parameter: Tensor) -> Tensor:
    """The part of it that this process holds: all, unless it is sharded."""
    part = getattr(parameter, "to_local", None)
    return parameter if part is None else part()


def _centre(layer: IrregularConv2d) -> tuple[float, float]:
    """The kernel's centre (y, x), counted from its first tap."""
    (height, width), (dy, dx) = layer.kernel_size, layer.dilation
    return (height - 1) * dy / 2, (width - 1) * dx / 2


def poly_schedule(
    optimizer: torch.optim.Optimizer, iterations: int, power: float = 0.9, warmup: int = 0
) -> LambdaLR:
    """lr · (1 - i/iterations)^power for every group (DeepLab's policy), and 0 for the first `warmup` iterations."""
    return LambdaLR(optimizer, lambda i: 0.0 if i < warmup else max(0.0, 1 - i / max(iterations, 1)) ** power)
