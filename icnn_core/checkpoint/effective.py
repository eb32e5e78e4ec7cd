"""Weights that are computed from others: by a parametrisation, by pruning, by the older weight and spectral norm."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from icnn_core.arrays import to_array

if TYPE_CHECKING:
    from torch import Tensor, nn

_SOURCE = re.compile(
    r"(?P<owner>(?:.*\.)?)(?:parametrizations\.(?P<new>\w+)\.original0?|(?P<old>\w+)_(?:orig|v))"
)


def effective_tensors(module: nn.Module) -> dict[str, Tensor]:
    """By name in the module's own `state_dict`, what a forward pass would compute now; empty if nothing is computed.

    The names are those that the tensors would have without what computes them: "conv.weight".
    """
    from torch import nn
    from torch.nn.utils import parametrize

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


def computed_tensors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """By name, what a state dict holds only as what it is computed from: pruned weights, weight norm and spectral norm,
    the older and the newer, as evaluation computes them. Other parametrisations cannot be known from tensors alone.
    """
    found: dict[str, Tensor] = {}
    for key, tensor in state.items():
        source = _SOURCE.fullmatch(key)
        if source is None:
            continue
        name = source["owner"] + (source["new"] or source["old"])
        with np.errstate(all="ignore"):  # of a file's numbers; those that are lost are told as others are
            value = None if name in state or name in found else _computed(state, name, source)
        if value is None:
            continue
        found[name] = _like(value, tensor)
    return found


def _computed(state: Mapping[str, Tensor], name: str, source: re.Match[str]) -> np.ndarray | None:
    """The value of a tensor by its sources, or None where they are not these."""

    def get(key: str) -> np.ndarray | None:
        return to_array(state[key]) if key in state else None

    if source["old"]:
        original, mask, left, right, size = (get(f"{name}_{end}") for end in ("orig", "mask", "u", "v", "g"))
        if original is None:
            return _weight_norm(size, right)
    else:
        under = f"{source['owner']}parametrizations.{source['new']}."
        original, mask = get(f"{under}original"), None
        if original is None:
            return _weight_norm(get(f"{under}original0"), get(f"{under}original1"))
        left, right = get(f"{under}0._u"), get(f"{under}0._v")
        if right is not None and any(key.startswith(f"{under}1.") for key in state):
            return None  # another one on top
    if mask is not None:
        return original * mask if mask.shape == original.shape else None
    return _spectral_norm(original, left, right)


def _weight_norm(size: np.ndarray | None, direction: np.ndarray | None) -> np.ndarray | None:
    """size · direction / |direction|, whose norm is over the axes along which the size is one."""
    if size is None or direction is None or direction.ndim < 2:
        return None
    kept = [axis for axis in range(size.ndim) if size.shape[axis] > 1]
    fits = size.ndim in (0, direction.ndim) and all(size.shape[a] == direction.shape[a] for a in kept)
    if not fits or len(kept) > 1:
        return None
    over = tuple(axis for axis in range(direction.ndim) if axis not in kept)
    return size * direction / np.sqrt((direction**2).sum(over, keepdims=True))


def _spectral_norm(
    original: np.ndarray, left: np.ndarray | None, right: np.ndarray | None
) -> np.ndarray | None:
    """original / (leftᵀ · matrix · right), the estimate of its largest singular value that evaluation keeps."""
    if left is None or right is None or original.ndim < 2:
        return None
    matrix = original.reshape(len(original), -1)
    if matrix.shape != (left.size, right.size):
        return None
    return original / (left.ravel() @ matrix @ right.ravel())


def _like(value: np.ndarray, tensor: Tensor) -> Tensor:
    given: Any = tensor
    if isinstance(given, np.ndarray):
        return cast("Tensor", value.astype(given.dtype))
    import torch

    return torch.from_numpy(value).to(given.dtype)


def _by_hooks(module: nn.Module) -> dict[str, Tensor]:
    from torch.nn.utils import prune

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
