"""Irregular layers as files describe them, and as tensors alone tell of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from icnn_core.checkpoint.contents import IrregularLayer
from icnn_core.nn import SHARINGS, IrregularConv2d


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


def layer_from(entry: dict[str, Any]) -> IrregularLayer:
    """The layer of an entry of a file's description.

    Raises:
        KeyError, TypeError, ValueError: the entry is broken.
    """
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()
    }
    if values["sharing"] not in SHARINGS:
        raise ValueError(f"sharing {values['sharing']!r}")
    return IrregularLayer(**values)


def agree(layer: IrregularLayer, found: IrregularLayer) -> bool:
    """Whether a description fits the tensors. A single channel's own shape may be called the layer's."""
    same_sharing = layer.sharing == found.sharing or (layer.sharing, found.sharing) == ("channel", "layer")
    same_groups = layer.groups == found.groups or layer.sharing != "channel" or found.sharing == "layer"
    return layer.kernel_size == found.kernel_size and same_sharing and same_groups


def detect_layers(state: Mapping[str, Tensor]) -> tuple[IrregularLayer, ...]:
    """Irregular layers by their tensors alone: positions, slots and a weight that agree."""
    layers = []
    for key, positions in state.items():
        name, _, last = key.rpartition(".")
        weight, slots = state.get(f"{name}.weight"), state.get(f"{name}.slots")
        if last != "positions" or weight is None or slots is None or weight.ndim != 4:
            continue
        taps = weight.shape[2] * weight.shape[3]
        if slots.shape != (taps, 2) or positions.shape[-2:] != (taps, 2) or positions.ndim not in (3, 4):
            continue
        sharing = "none" if positions.ndim == 4 else "layer" if positions.shape[0] == 1 else "channel"
        groups = 1 if positions.ndim == 4 else max(1, positions.shape[0] // weight.shape[1])
        kernel = (weight.shape[2], weight.shape[3])
        interpolation = "gaussian" if f"{name}.sigma" in state else "bilinear"
        dilation = _dilation(slots, kernel)
        layers.append(IrregularLayer(name, kernel, dilation, sharing, groups, interpolation=interpolation))
    return tuple(layers)


def _dilation(slots: Tensor, kernel_size: tuple[int, int]) -> tuple[int, int]:
    extent = (slots.amax(0) - slots.amin(0)).tolist()
    dy, dx = (round(length / (k - 1)) if k > 1 else 1 for length, k in zip(extent, kernel_size, strict=True))
    return dy, dx
