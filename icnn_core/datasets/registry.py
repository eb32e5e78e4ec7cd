"""Data sets by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch

from icnn_core.datasets.camvid import CamVidDataset
from icnn_core.datasets.cityscapes import CityscapesDataset
from icnn_core.datasets.context import ContextDataset
from icnn_core.datasets.folder import FolderDataset
from icnn_core.datasets.shapes import ShapesDataset
from icnn_core.datasets.voc import VOCDataset
from icnn_core.errors import ArgumentError, DataError, check_name


class SegmentationDataset(Protocol):
    """What every data set offers: items of image (3, H, W) uint8 and mask (H, W) int64, and its label set."""

    name: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    ignore_index: int

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[torch.Tensor, torch.Tensor]: ...


DATASETS: dict[str, Callable[..., SegmentationDataset]] = {
    "shapes": ShapesDataset,
    "camvid": CamVidDataset,
    "voc": VOCDataset,
    "context": ContextDataset,
    "cityscapes": CityscapesDataset,
    "folder": FolderDataset,
}


def open_dataset(name: str, root: str | Path | None, split: str, **options: Any) -> SegmentationDataset:
    """A data set of this package.

    Args:
        name: a key of `DATASETS`.
        root: the folder in which it was unpacked; None for "shapes", which is drawn.
        split: see the data set.
        options: the data set's own (`skip_bad`, `size`, …); those that are None or False are left out.

    Raises:
        NameNotFoundError: an unknown name.
        ArgumentError: an unknown split or option.
        DataError: no root given, or what the data set finds wrong with it.
    """
    check_name("open_dataset", "a known data set", name, DATASETS)
    make = DATASETS[name]
    known = [p for p in inspect.signature(make).parameters if p not in ("root", "split")]
    given = {key: value for key, value in options.items() if value is not None and value is not False}
    for key in given:
        check_name(f"data set {name}", "known options", key, known, ArgumentError)
    if name == "shapes":
        if root is not None:
            fix = "Leave the folder (root) out, or name another data set."
            raise ArgumentError("data set shapes", needed="no folder: it is drawn", got=str(root), fix=fix)
        return make(split, **given)
    if root is None:
        fix = 'Give its path (root); "shapes" alone needs none.'
        raise DataError(f"data set {name}", needed="the folder in which it was unpacked", got="none", fix=fix)
    return make(root, split, **given)
