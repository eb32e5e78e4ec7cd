"""Irregular layers as files describe them, and as tensors alone tell of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from icnn_core.arrays import to_array, type_of
from icnn_core.checkpoint.contents import IrregularLayer, refuse

if TYPE_CHECKING:
    from torch import Tensor

    from icnn_core.nn import IrregularConv2d

_FLOATS = ("float16", "bfloat16", "float32", "float64")
_FARTHEST = 2.0**24  # px: no slot lies there


def describe_layer(name: str, layer: IrregularConv2d) -> IrregularLayer:
    """A layer as a file describes it."""
    return IrregularLayer(
        name=name,
        kernel_size=layer.kernel_size,
        dilation=layer.dilation,
        sharing=layer.sharing,
        groups=layer.groups,
        stride=layer.stride,
        padding=layer.padding,
        interpolation=layer.interpolation,
    )


def agree(layer: IrregularLayer, found: IrregularLayer, weight: Tensor) -> bool:
    """Whether a description fits the tensors. A single channel's own shape may be called the layer's."""
    same_sharing = layer.sharing == found.sharing or (layer.sharing, found.sharing) == ("channel", "layer")
    same_groups = found.sharing != "channel" or layer.groups == found.groups
    divisible = weight.shape[0] % layer.groups == 0
    return layer.kernel_size == found.kernel_size and same_sharing and same_groups and divisible


def detect_layers(path: Path, state: Mapping[str, Tensor]) -> tuple[IrregularLayer, ...]:
    """Irregular layers by their tensors alone: positions, slots and a weight that agree.

    Raises:
        CheckpointError: such a layer's tensors are of a type that cannot be, or its slots are not finite.
    """
    layers = []
    for key, positions in state.items():
        name, _, last = key.rpartition(".")
        weight, slots = state.get(f"{name}.weight"), state.get(f"{name}.slots")
        if last != "positions" or weight is None or slots is None or weight.ndim != 4:
            continue
        taps = weight.shape[2] * weight.shape[3]
        if slots.shape != (taps, 2) or positions.shape[-2:] != (taps, 2) or positions.ndim not in (3, 4):
            continue
        _check(path, name, {"positions": positions, "slots": slots, "weight": weight})
        sharing = "none" if positions.ndim == 4 else "layer" if positions.shape[0] == 1 else "channel"
        groups = positions.shape[0] // weight.shape[1] if sharing == "channel" else 1
        fits = positions.shape[:2] == weight.shape[:2] if sharing == "none" else True
        if sharing == "channel":
            fits = (
                positions.shape[0] == groups * weight.shape[1]
                and groups > 0
                and weight.shape[0] % groups == 0
            )
        if not fits:
            shapes = f"positions {tuple(positions.shape)} and a weight {tuple(weight.shape)}"
            raise refuse(path, f"a shape for each channel of {name}", shapes, "Write it again.")
        kernel = (weight.shape[2], weight.shape[3])
        interpolation = "gaussian" if f"{name}.sigma" in state else "bilinear"
        dilation = _dilation(slots, kernel)
        layers.append(IrregularLayer(name, kernel, dilation, sharing, groups, interpolation=interpolation))
    return tuple(layers)


def _check(path: Path, name: str, tensors: Mapping[str, Tensor]) -> None:
    for key, tensor in tensors.items():
        if type_of(tensor) not in _FLOATS:
            raise refuse(
                path, f"{key} of {name} in floating point", type_of(tensor), "Save the layer as float32."
            )
        if 0 in tensor.shape:
            shape = "×".join(map(str, tensor.shape))
            raise refuse(path, f"at least one channel and tap in {name}", f"{key} {shape}", "Write it again.")
    if not (np.abs(to_array(tensors["slots"])) <= _FARTHEST).all():
        raise refuse(
            path, f"finite slots of {name}", "NaN, infinity or larger than any kernel", "Write it again."
        )


def _dilation(slots: Tensor, kernel_size: tuple[int, int]) -> tuple[int, int]:
    extent = np.ptp(to_array(slots), axis=0)
    dy, dx = (round(length / (k - 1)) if k > 1 else 1 for length, k in zip(extent, kernel_size, strict=True))
    return max(dy, 1), max(dx, 1)
