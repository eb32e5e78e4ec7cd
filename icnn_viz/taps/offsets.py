"""Offsets of deformable convolutions as other people lay them out, in one form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from icnn_core.errors import ArgumentError, check_name

if TYPE_CHECKING:
    from icnn_viz.taps.layers import Layer

LAYOUTS = {
    "yx": "(y, x) of each tap in turn, taps row by row: torchvision, mmcv",
    "xy": "(x, y) of each tap in turn, taps row by row",
    "yyxx": "all taps' y, then all taps' x",
    "xxyy": "all taps' x, then all taps' y",
    "dcnv3": "(x, y) of each tap in turn, taps column by column, group by group: DCNv3",
    "dcnv4": "as DCNv3, behind each group its masks, and filled up to a multiple of 8: DCNv4",
    "absolute": "places in the layer's input, all taps' y, then all taps' x: snake convolutions",
}
"""What a tensor of offsets holds along its channels."""


@dataclass(frozen=True)
class OffsetSource:
    """Where a network holds offsets that it applies itself.

    Attributes:
        module: whose output they are, or with `item` "in0", "in1", … one of its arguments, "0", "1", … one of several
            outputs.
        layout: one of LAYOUTS.
        layer: the module that samples; None = the one that holds `module`.
    """

    module: str
    layout: str = "yx"
    layer: str | None = None
    item: str = ""

    def __post_init__(self) -> None:
        check_name("--layout", "a layout", self.layout, LAYOUTS)

    @classmethod
    def parse(cls, text: str, layout: str, layer: str | None = None) -> OffsetSource:
        """ "backbone.offset", "dcn:in1" or "branch:0"."""
        module, _, item = text.partition(":")
        return cls(module, layout, layer, item)


def arrange(
    tensor: np.ndarray,
    layout: str,
    kernel_size: Sequence[int],
    size: Sequence[int],
    channels: int,
    *,
    groups: int | None = None,
    scale: float = 1.0,
    layer: Layer | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """A tensor of offsets as (S, K, 2, height, width), (y, x) in pixels from the slots, taps row by row; and its masks.

    Args:
        tensor: of one image, channels first or last, or (height·width, channels).
        kernel_size, size: (kH, kW) and the output's (height, width).
        channels: of the layer's input, which S must divide.
        groups: S, where the layer says it.
        scale: by which DCNv3 and DCNv4 multiply offsets and slots.
        layer: the layer, for absolute places and scales.

    Raises:
        ArgumentError: the tensor has other counts than the layout says.
    """
    rows, columns = size
    taps = int(np.prod(kernel_size))
    found = _channels_first(tensor, rows, columns)
    if found is None:
        shape = " × ".join(map(str, tensor.shape))
        raise _refuse(layout, f"offsets for the layer's output of {rows} × {columns}", shape)
    count = found.shape[0]
    each = taps * (3 if layout == "dcnv4" else 2)
    sets = groups or count // each
    whole = -(-sets * each // 8) * 8 if layout == "dcnv4" else sets * each
    if layout == "absolute":
        sets, whole = 1, each
    if sets < 1 or count not in (whole, sets * each) or channels % sets:
        kernel = f"{kernel_size[0]} × {kernel_size[1]} taps"
        per = f"{each} channels for each of S groups ({kernel}), S a divisor of {channels}"
        raise _refuse(
            layout, per if groups is None else f"{whole} channels ({sets} groups of {each})", f"{count}"
        )
    found = found[: sets * each]
    mask = None
    if layout in ("yyxx", "xxyy", "absolute"):
        found = found.reshape(2, sets, taps, rows, columns).transpose(1, 2, 0, 3, 4)
    elif layout == "dcnv4":
        parts = found.reshape(sets, 3 * taps, rows, columns)
        found = parts[:, : 2 * taps].reshape(sets, taps, 2, rows, columns)
        mask = _by_rows(parts[:, 2 * taps :], kernel_size)
    else:
        found = found.reshape(sets, taps, 2, rows, columns)
    if layout in ("xy", "xxyy", "dcnv3", "dcnv4"):
        found = found[:, :, ::-1]
    if layout in ("dcnv3", "dcnv4"):
        found = _by_rows(found, kernel_size)
    if layout == "absolute":
        assert layer is not None
        units = np.moveaxis(layer.centres(np.moveaxis(np.indices((rows, columns)), 0, -1)), -1, 0)
        return found - units - layer.slots[:, :, None, None], None
    if scale != 1 and layer is not None:
        found = found * scale + ((scale - 1) * layer.slots)[None, :, :, None, None]
    return found, mask


def _channels_first(tensor: np.ndarray, rows: int, columns: int) -> np.ndarray | None:
    if tensor.ndim == 3 and tensor.shape[1:] == (rows, columns):
        return tensor
    if tensor.ndim == 3 and tensor.shape[:2] == (rows, columns):
        return np.moveaxis(tensor, -1, 0)
    if tensor.ndim == 2 and len(tensor) == rows * columns:
        return tensor.T.reshape(-1, rows, columns)
    return None


def _by_rows(values: np.ndarray, kernel_size: Sequence[int]) -> np.ndarray:
    """Taps (axis 1) that come column by column, row by row."""
    order = np.arange(int(np.prod(kernel_size))).reshape(kernel_size[1], kernel_size[0]).T.ravel()
    return values[:, order]


def _refuse(layout: str, needed: str, got: str) -> ArgumentError:
    others = ", ".join(name for name in LAYOUTS if name != layout)
    fix = f"Name the tensor that holds them with --offsets MODULE[:in0|:1], or another --layout: {others}."
    return ArgumentError(f"--offsets in the layout {layout}", needed=needed, got=got, fix=fix)
