"""Weights that are computed from others: by a parametrisation, by pruning, by the older weight and spectral norm."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize, prune


def effective_tensors(module: nn.Module) -> dict[str, Tensor]:
    """By name in the module's own `state_dict`, what a forward pass would compute now; empty if nothing is computed.

    The names are those that the tensors would have without what computes them: "conv.weight".
    """
    found: dict[str, Tensor] = {}
    for prefix, part in nn.Module.named_modules(module, remove_duplicate=False):
        dot = f"{prefix}." if prefix else ""
        if parametrize.is_parametrized(part):
            found |= {f"{dot}{name}": getattr(part, name).detach() for name in part.parametrizations}  # type: ignore[union-attr]
        found |= {f"{dot}{name}": tensor.detach() for name, tensor in _by_hooks(part).items()}
    return found


def is_source(key: str, computed: str) -> bool:
    """Whether a name of a state dict is one of those from which the tensor `computed` is computed."""
    owner, _, name = computed.rpartition(".")
    dot = f"{owner}." if owner else ""
    sources = {f"{dot}{name}{end}" for end in ("_orig", "_mask", "_g", "_v", "_u")}
    return key in sources or key.startswith(f"{dot}parametrizations.{name}.")


def _by_hooks(module: nn.Module) -> dict[str, Tensor]:
    found = {}
    for hook in module._forward_pre_hooks.values():
        each: Any = hook
        if isinstance(hook, prune.BasePruningMethod):
            found[each._tensor_name] = each.apply_mask(module)
        elif hasattr(hook, "compute_weight") and hasattr(hook, "n_power_iterations"):  # spectral norm
            found[each.name] = each.compute_weight(module, do_power_iteration=False)
        elif hasattr(hook, "compute_weight"):  # weight norm
            found[each.name] = each.compute_weight(module)
    return found
