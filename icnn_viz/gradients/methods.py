"""The attribution methods: how passes through the network become one map per target."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from icnn_viz.gradients.targets import ResolvedTarget

METHODS = ("gradient", "deconvnet", "guided", "gradient*input", "integrated", "smoothgrad")
INTEGRATION_NODES = 50
NOISE_SAMPLES = 25
NOISE_LEVEL = 0.15  # standard deviation, as a share of the range of the normalised image

TargetsByImage = Sequence[Sequence[ResolvedTarget]]
Maps = list[list[torch.Tensor]]
Passes = Callable[[torch.Tensor], Maps]


def backward(logits: torch.Tensor, leaf: torch.Tensor, plan: TargetsByImage) -> Maps:
    """∂target/∂leaf for all targets of a batch.

    One backward pass serves one target of every image, since images of a batch do not depend on each other.
    """
    maps: Maps = [[] for _ in plan]
    rounds = max((len(targets) for targets in plan), default=0)
    for number in range(rounds):
        now = [targets[number] for targets in plan if len(targets) > number]
        total = torch.stack([target.scalar(logits) for target in now]).sum()
        # Not autograd.grad, which checkpointed activations may refuse; all else is frozen.
        leaf.grad = None
        torch.autograd.backward(total, retain_graph=number < rounds - 1)
        gradient = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        for target in now:
            maps[target.image].append(gradient[target.image])
    leaf.grad = None
    return maps


def attribute(method: str, leaf: torch.Tensor, first: Callable[[], Maps], passes: Passes, seed: int) -> Maps:
    """Maps (3, H, W) per target.

    Args:
        method: one of `METHODS`.
        leaf: (B, 3, H, W), the normalised images.
        first: the backward passes of the forward pass already made at `leaf`.
        passes: forward and backward passes at other points.
        seed: of smoothgrad's noise.
    """
    if method == "integrated":
        return _integrated(leaf, passes)
    if method == "smoothgrad":
        return _smoothgrad(leaf, passes, seed)
    maps = first()
    return _times(maps, leaf.detach()) if method == "gradient*input" else maps


def _integrated(leaf: torch.Tensor, passes: Passes) -> Maps:
    nodes, weights = np.polynomial.legendre.leggauss(INTEGRATION_NODES)  # on [-1, 1]
    points = leaf.detach()
    total: Maps = []
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        total = _add(total, passes((points * float(node)).requires_grad_()), float(weight))
    return _times(total, points)


def _smoothgrad(leaf: torch.Tensor, passes: Passes, seed: int) -> Maps:
    points = leaf.detach()
    flat = points.flatten(1)
    level = NOISE_LEVEL * (flat.amax(1) - flat.amin(1))[:, None, None, None]
    generator = torch.Generator().manual_seed(seed)
    total: Maps = []
    for _ in range(NOISE_SAMPLES):
        noise = torch.randn(points.shape, generator=generator, dtype=points.dtype).to(points.device)
        total = _add(total, passes((points + level * noise).requires_grad_()), 1 / NOISE_SAMPLES)
    return total


def _add(total: Maps, maps: Maps, weight: float) -> Maps:
    if not total:
        return [[m * weight for m in of_image] for of_image in maps]
    return [[t + m * weight for t, m in zip(ts, ms, strict=True)] for ts, ms in zip(total, maps, strict=True)]


def _times(maps: Maps, points: torch.Tensor) -> Maps:
    return [[m * image for m in of_image] for of_image, image in zip(maps, points, strict=True)]
