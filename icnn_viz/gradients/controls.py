"""Controls: the same trained network without its shapes, or without its weights. Is it the shape that matters?"""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn.utils import parametrize, prune
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from icnn_core.surgery import snap_to_slots

PLACES = ("positions", "sigma", "P", "SIG")
"""Parameters that say where weights lie and how wide, by the last part of their names (the last two are DCLS's)."""


def snapped(model: nn.Module) -> nn.Module:
    """A copy whose positions lie on their slots: the same weights in regular shapes."""
    return snap_to_slots(_copied(model))


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """A copy with every weight tensor's values in random order: the same shapes and magnitudes, nothing learnt.

    A map that survives this shows the network's structure or the image's edges, not what was learnt (Adebayo et al.,
    Sanity checks for saliency maps, 2018). Positions, their widths, biases and normalisation are kept. What computes a
    weight (weight norm, spectral norm, pruning, …) is taken away, and the effective weight is shuffled.
    """
    shuffled = _copied(model)
    with torch.enable_grad():  # without, what was learnt is left as no parameter
        _make_plain(shuffled)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in nn.Module.named_parameters(shuffled):
            if parameter.ndim > 1 and name.rpartition(".")[2] not in PLACES:
                order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
                parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return shuffled


def _copied(model: nn.Module) -> nn.Module:
    """A deep copy, also of weights that hooks compute, which PyTorch does not copy by itself."""
    computed = [t for m in nn.Module.modules(model) for t in vars(m).values() if isinstance(t, torch.Tensor)]
    return copy.deepcopy(model, {id(t): t.detach().clone() for t in computed if not t.is_leaf})


def _make_plain(model: nn.Module) -> None:
    """Make parameters of the weights that are computed from others, as they are."""
    for module in list(nn.Module.modules(model)):
        for name in list(getattr(module, "parametrizations", ())):
            kind = type(module)  # made for the original, which keeps it
            own = {k: v for k, v in vars(kind).items() if k not in ("__dict__", "__weakref__")}
            module.__class__ = type(kind.__name__, kind.__bases__, own)  # pyright: ignore[reportAttributeAccessIssue]
            parametrize.remove_parametrizations(module, name, leave_parametrized=True)
        for hook in list(module._forward_pre_hooks.values()):
            if isinstance(hook, prune.BasePruningMethod):
                prune.remove(module, hook._tensor_name)
            elif isinstance(hook, WeightNorm):
                nn.utils.remove_weight_norm(module, hook.name)
            elif isinstance(hook, SpectralNorm):
                nn.utils.remove_spectral_norm(module, hook.name)
