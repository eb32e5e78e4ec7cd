"""Controls: the same trained network without its shapes, or without its weights. Is it the shape that matters?"""

from __future__ import annotations

import copy

import torch
from torch import nn

from icnn_core.surgery import snap_to_slots


def snapped(model: nn.Module) -> nn.Module:
    """A copy whose positions lie on their slots: the same weights in regular shapes."""
    return snap_to_slots(copy.deepcopy(model))


@torch.no_grad()
def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """A copy with every weight tensor's values in random order: the same shapes and magnitudes, nothing learnt.

    A map that survives this shows the network's structure or the image's edges, not what was learnt (Adebayo et al.,
    Sanity checks for saliency maps, 2018). Positions, biases and normalisation are kept.
    """
    shuffled = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in shuffled.named_parameters():
        if parameter.ndim > 1 and name.rpartition(".")[2] != "positions":
            order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return shuffled
