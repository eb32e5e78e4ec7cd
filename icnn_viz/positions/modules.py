"""Modules -> PositionCloud: irregular layers and those of DCLS as they are, deformable layers as they act on images."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from icnn_core.errors import ArgumentError
from icnn_viz.positions.arrays import to_cloud
from icnn_viz.positions.checkpoints import layer_to_cloud
from icnn_viz.positions.dcls import dcls_to_cloud
from icnn_viz.records import PositionCloud

if TYPE_CHECKING:
    from torch import Tensor, nn

_DCLS = ("Dcls2d", "Dcls2dK1d")
_DEFORMABLE = ("DeformConv2d", "ModulatedDeformConv2d", "DeformConv2dPack", "ModulatedDeformConv2dPack")
SAMPLES = 4096
"""Places that a deformable layer's cloud holds, at most."""


def clouds_from_model(model: nn.Module) -> list[PositionCloud]:
    """The clouds of a network's irregular layers and layers of DCLS, in its order; an empty list if it has none."""
    from torch import nn

    from icnn_core.checkpoint import plain_name, unwrap
    from icnn_core.nn import IrregularConv2d

    clouds: list[PositionCloud] = []
    for name, layer in nn.Module.named_modules(unwrap(model)):
        # "layer": as the reader calls a network that is a single layer
        named = (plain_name(name) or "layer", len(clouds))
        if isinstance(layer, IrregularConv2d):
            tensors = (layer.weight, layer.positions, layer.slots)
            clouds.append(layer_to_cloud(*named, layer.dilation, layer.groups, layer.sharing, *tensors))
        elif type(layer).__name__ in _DCLS:
            clouds.append(_to_dcls_cloud(*named, layer))
    return clouds


def _to_dcls_cloud(name: str, depth: int, layer: Any) -> PositionCloud:
    size = tuple(int(length) for length in layer.dilated_kernel_size)
    if len(size) == 1:  # one axis has positions, the other none
        size = (size[0], 1) if layer.flat_dim == 0 else (1, size[0])
    widths = getattr(layer, "SIG", None)
    return dcls_to_cloud(name, depth, layer.version, (size[0], size[1]), layer.weight, layer.P, widths)


def clouds_from_deformable(
    model: nn.Module, images: Iterable[Tensor], *, samples: int = SAMPLES, seed: int = 0
) -> list[PositionCloud]:
    """The clouds of a network's deformable convolutions (torchvision's and mmcv's) over a set of images.

    Their offsets depend on the image, so a cloud's points are slot plus offset at places drawn at random, each with the
    same chance, over all images, output pixels and offset groups: a slot's mean and spread are those of its offset. The
    network runs in evaluation mode without gradients, and is left as it was.

    Args:
        images: what the network takes, one batch (N, C, H, W) at a time, on its device.
        samples: places kept a layer; `seed` draws them.

    Raises:
        ArgumentError: no deformable layer, no images, or none of the layers was reached.
    """
    import torch
    from torch import nn

    layers: dict[str, Any] = {
        name: module
        for name, module in nn.Module.named_modules(model)
        if type(module).__name__ in _DEFORMABLE
    }
    if not layers:
        raise _refuse(f"a layer of class {' or '.join(_DEFORMABLE)}", "none")
    drawn = {name: _Draw(samples, np.random.default_rng((seed, n))) for n, name in enumerate(layers)}
    modes = {module: module.training for module in nn.Module.modules(model)}
    with ExitStack() as stack:
        for name, layer in layers.items():
            taps = int(layer.weight.shape[-2] * layer.weight.shape[-1])
            handle = _watch(
                layer, lambda offset, name=name, taps=taps: drawn[name].add(_to_pairs(offset, taps))
            )
            stack.callback(handle.remove)
        stack.callback(lambda: [setattr(module, "training", mode) for module, mode in modes.items()])
        model.eval()
        with torch.no_grad():
            for batch in images:
                model(batch)
    reached = [name for name in layers if len(drawn[name].kept)]
    if not reached:
        raise _refuse("images that reach a deformable layer", "none that did")
    return [
        _to_offset_cloud(name, depth, layers[name], drawn[name].kept) for depth, name in enumerate(reached)
    ]


def _watch(layer: Any, keep: Any) -> Any:
    """Call `keep` with the offsets (N, 2·groups·K, H, W) whenever the layer runs."""
    # mmcv's packs make their offsets themselves; modulated ones a mask besides:
    if hasattr(layer, "conv_offset"):
        parts = 3 if "Modulated" in type(layer).__name__ else 2
        return layer.conv_offset.register_forward_hook(
            lambda module, inputs, made: keep(made[:, : made.shape[1] // parts * 2])
        )
    return layer.register_forward_pre_hook(
        lambda module, inputs, named: keep(inputs[1] if len(inputs) > 1 else named["offset"]),
        with_kwargs=True,
    )


def _to_pairs(offset: Tensor, taps: int) -> Tensor:
    """Offsets (N, 2·groups·K, H, W), pairs (dy, dx), as (N·groups·H·W, K, 2)."""
    return offset.unflatten(1, (-1, taps, 2)).permute(0, 1, 4, 5, 2, 3).reshape(-1, taps, 2)


class _Draw:
    """At most `count` rows of all that are added, each with the same chance: those with the smallest random numbers."""

    def __init__(self, count: int, random: np.random.Generator) -> None:
        self.kept = np.empty((0, 0, 2))
        self._count, self._random, self._numbers = count, random, np.empty(0)

    def add(self, rows: Tensor) -> None:
        numbers = np.concatenate([self._numbers, self._random.random(len(rows))])
        chosen = np.sort(np.argsort(numbers)[: self._count])
        old, new = chosen[chosen < len(self.kept)], chosen[chosen >= len(self.kept)] - len(self.kept)
        added = rows[new.tolist()].double().cpu().numpy()
        self.kept = np.concatenate([self.kept[old], added]) if len(self.kept) else added
        self._numbers = numbers[chosen]


def _to_offset_cloud(name: str, depth: int, layer: Any, offsets: np.ndarray) -> PositionCloud:
    size = (int(layer.weight.shape[-2]), int(layer.weight.shape[-1]))
    dilation = layer.dilation if isinstance(layer.dilation, tuple) else (layer.dilation, layer.dilation)
    norms = layer.weight.detach().double().flatten(2).norm(dim=(0, 1)).cpu().numpy()
    regular = to_cloud(np.zeros((size[0] * size[1], 2)), kernel_size=size, dilation=dilation)
    return to_cloud(
        regular.slots + offsets, kernel_size=size, dilation=dilation, weights=np.tile(norms, (len(offsets), 1)),
        layer=name or "layer", depth=depth,
    )  # fmt: skip


def _refuse(needed: str, got: str) -> ArgumentError:
    return ArgumentError(
        "clouds_from_deformable", needed=needed, got=got, fix="Give a network that has one, and images."
    )
