"""Make a network's convolutions irregular, in place, and say which, and why not others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import nn

from icnn_core.errors import ArgumentError
from icnn_core.facts import Facts
from icnn_core.folding import allow_folding, refuse_folding
from icnn_core.layer_names import match_name, match_names
from icnn_core.nn import (
    IrregularConv2d,
    Sharing,
    make_layer_irregular,
    make_layer_regular,
    reason_to_stay_regular,
)

_WHO = "make_irregular"
_CONVOLUTIONS = ("Conv1d", "Conv2d", "Conv3d", "ConvTranspose2d")  # as TorchScript names them


@dataclass(frozen=True, repr=False)
class Surgery(Facts):
    """What was done to a network: names in network order."""

    replaced: tuple[str, ...] = ()
    skipped: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{len(self.replaced)} convolutions made irregular: {', '.join(self.replaced) or 'none'}"]
        return "\n".join(lines + [f"skipped {name}: {reason}" for name, reason in self.skipped.items()])

    def _facts(self) -> dict[str, str]:
        reasons: dict[str, list[str]] = {}
        for name, reason in self.skipped.items():
            reasons.setdefault(reason, []).append(name)
        made = f"{len(self.replaced)}: {', '.join(self.replaced)}" if self.replaced else "none"
        return {"made irregular": made} | {
            f"left as they are, {reason}": f"{len(names)}: {', '.join(names)}"
            for reason, names in reasons.items()
        }


def make_irregular(
    model: nn.Module,
    irregular: str | None = None,
    names: str | Iterable[str] | None = None,
    *,
    sharing: Sharing = "channel",
    interpolation: str = "bilinear",
    sigma: float = 0.5,
    learn_sigma: bool = False,
    shift: float = 1e-3,
    backend: str | None = None,
) -> Surgery:
    """Make k×k convolutions (k > 1) irregular, in place; they start with the weights that they have.

    A convolution stays the same module with the same parameters: what is shared, hooked, pruned, parametrised or held
    by an optimiser stays so. A subclass of `Conv2d` keeps its own forward, within which the convolution is irregular.
    An optimiser made before knows nothing of the new positions: make it afterwards, of `parameter_groups`. Blocks that
    can fold their convolutions into one kernel (`reparameterize`, `fuse`, …) refuse that from now on, for the kernel
    would lie on the slots: fold first.

    Args:
        model: changed in place.
        irregular: a module's name; every convolution from it to the network's end, in order of registration.
        names: names or shell patterns of modules ("classifier.*"); every convolution in or below a match. Default,
            with no `irregular`: the whole network.
        sharing, interpolation, sigma, learn_sigma, shift, backend: as in `IrregularConv2d`.

    Both accept the dotted names of the modules and, for ResNets, Caffe's ("res4b11", "res5a_branch2b", "fc1_voc12").

    Returns:
        What was replaced, and what was skipped and why (1×1, transposed, already irregular, …).

    Raises:
        NameNotFoundError: a name matches nothing; the nearest names are listed.
        ArgumentError: `irregular` is the end of several names; `model` is itself a convolution, so that it cannot be
            replaced in place, or wrapped in DistributedDataParallel, which would not average the gradients of
            positions that it has not seen.
    """
    if isinstance(model, nn.parallel.DistributedDataParallel):
        needed = "a network that is wrapped only afterwards"
        got = "one in DistributedDataParallel, which would never average the new positions' gradients"
        raise ArgumentError(_WHO, needed=needed, got=got, fix="Make it irregular first, then wrap it.")
    if isinstance(model, nn.Conv2d):
        got, fix = "a single Conv2d", "Use IrregularConv2d.from_conv2d(conv), which returns the new layer."
        raise ArgumentError(_WHO, needed="a network that contains convolutions", got=got, fix=fix)
    selected = choose_modules(model, irregular, [names] if isinstance(names, str) else names)
    shapes = {"sharing": sharing, "interpolation": interpolation, "sigma": sigma, "learn_sigma": learn_sigma}
    replaced, skipped, made = [], {}, set[int]()
    for name in selected:
        module = model.get_submodule(name)
        reason = "" if id(module) in made else reason_to_skip(module)
        if reason == "":
            if id(module) not in made:
                assert isinstance(module, nn.Conv2d)
                make_layer_irregular(module, **shapes, shift=shift, backend=backend)
                made.add(id(module))
            replaced.append(name)
        elif reason is not None:
            skipped[name] = reason
    refuse_folding(model)
    return Surgery(tuple(replaced), skipped)


@torch.no_grad()
def snap_to_slots(model: nn.Module) -> nn.Module:
    """Put all positions of a network back on their slots, in place: the same weights in regular shapes."""
    for module in nn.Module.modules(model):
        if isinstance(module, IrregularConv2d):
            module.reset_positions(shift=0.0)
    return model


def make_regular(model: nn.Module) -> tuple[str, ...]:
    """Make every irregular layer the convolution with its weights, in place; the names of those changed."""
    layers = irregular_layers(model)
    for layer in layers.values():
        make_layer_regular(layer)
    allow_folding(model)
    return tuple(layers)


def irregular_layers(model: nn.Module) -> dict[str, IrregularConv2d]:
    """The irregular layers by name, in network order."""
    return {
        name: module for name, module in nn.Module.named_modules(model) if isinstance(module, IrregularConv2d)
    }


def choose_modules(model: nn.Module, irregular: str | None, names: Iterable[str] | None) -> list[str]:
    """The names of all modules that `make_irregular` would look at; arguments and errors as there."""
    order = [name for name, _ in nn.Module.named_modules(model, remove_duplicate=False) if name]
    chosen = set(order) if irregular is None and names is None else set()
    if irregular is not None:
        chosen.update(order[order.index(match_name(irregular, order, who=_WHO)) :])
    if names is not None:
        roots = match_names(names, order, who=_WHO)
        chosen.update(
            name for name in order if any(name == root or name.startswith(root + ".") for root in roots)
        )
    return [name for name in order if name in chosen]


def reason_to_skip(module: nn.Module) -> str | None:
    """ "" to make it irregular, a reason to skip it, None if it is no convolution at all."""
    if isinstance(module, nn.modules.conv._ConvTransposeNd):
        return "transposed"
    if isinstance(module, nn.Conv1d | nn.Conv3d):
        return "not 2-D"
    if isinstance(module, torch.jit.ScriptModule) and module.original_name in _CONVOLUTIONS:
        return "part of a TorchScript program"
    if not isinstance(module, nn.modules.conv._ConvNd):
        return None
    lazy = isinstance(module, nn.modules.conv._LazyConvXdMixin)
    if not lazy and not isinstance(module, IrregularConv2d) and max(module.kernel_size) == 1:
        return "1×1"
    return reason_to_stay_regular(module)
