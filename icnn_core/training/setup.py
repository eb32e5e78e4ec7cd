"""From a config to the network and the data that it names."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import nn

from icnn_core.checkpoint import Checkpoint, build_model, read_checkpoint
from icnn_core.datasets.registry import SegmentationDataset, open_dataset
from icnn_core.datasets.transforms import EvalTransform, TrainTransform
from icnn_core.errors import CheckpointError, DeviceError
from icnn_core.models.deeplab import deeplab_largefov
from icnn_core.nn import Sharing
from icnn_core.surgery import Surgery, irregular_layers, make_irregular
from icnn_core.training.config import TrainConfig
from icnn_core.training.stream import Sample, Transform

_log = logging.getLogger(__name__)


class Measured(Sequence[Sample]):
    """Validation samples: the image as the network wants it, the labels as they are on disk."""

    def __init__(
        self, data: SegmentationDataset, transform: EvalTransform, length: int | None = None
    ) -> None:
        self.data, self.transform = data, transform
        self.length = len(data) if length is None else min(length, len(data))

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:  # pyright: ignore[reportIncompatibleMethodOverride]
        if not 0 <= index < self.length:
            raise IndexError(index)
        image, labels = self.data[index]
        return self.transform(image, labels)[0], labels


class _First(Sequence[Sample]):
    """The first samples of a data set, kept in memory where they are drawn, not read."""

    def __init__(self, data: SegmentationDataset, length: int | None) -> None:
        self.data = data
        self.name, self.classes, self.palette = data.name, data.classes, data.palette
        self.ignore_index = data.ignore_index
        self.length = len(data) if length is None else min(length, len(data))
        self._kept: dict[int, Sample] = {}

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:  # pyright: ignore[reportIncompatibleMethodOverride]
        if self.name != "shapes":
            return self.data[index]
        if index not in self._kept:
            self._kept[index] = self.data[index]
        return self._kept[index]


@dataclass(frozen=True)
class Prepared:
    """What `train` takes, and what the surgery did (None for a regular network)."""

    model: nn.Module
    train_set: SegmentationDataset
    val_samples: Sequence[Sample]
    transform: Transform
    surgery: Surgery | None


def prepare(config: TrainConfig) -> Prepared:
    """Open the data and build the network, with random weights drawn from the config's seed.

    Raises:
        IcnnError: data, weights, a layer's name or another setting cannot be used; the message says which.
    """
    train_set = open_dataset(config.dataset, config.root, config.train_split, size=_drawn_size(config))
    val_set = open_dataset(config.dataset, config.root, config.val_split, size=_drawn_size(config))
    _log.info("%s: %d images in %s", config.dataset, len(train_set), config.train_split)
    torch.manual_seed(config.seed)
    model = _build(config, len(train_set.classes))
    surgery = None
    if config.irregular is not None:
        torch.manual_seed(config.seed)
        surgery = make_irregular(
            model, start=config.irregular, sharing=cast(Sharing, config.sharing), shift=config.shift
        )
    transform = TrainTransform(
        size=config.size,
        crop=config.crop,
        scale=config.scale,
        mirror=config.mirror,
        ignore_index=train_set.ignore_index,
    )
    return Prepared(
        model=model,
        train_set=_First(train_set, config.train_images),
        val_samples=Measured(val_set, EvalTransform(size=config.size), config.val_images),
        transform=transform,
        surgery=surgery,
    )


def _build(config: TrainConfig, num_classes: int) -> nn.Module:
    if config.init is None:
        return deeplab_largefov(
            config.backbone,
            num_classes,
            weights=config.weights,
            classifier_dilation=config.classifier_dilation,
        )
    checkpoint = read_checkpoint(config.init)
    model = build_model(checkpoint)
    built = len(checkpoint.classes)
    if built != num_classes:
        raise CheckpointError(
            config.init,
            needed=f"a network for the {num_classes} classes of {config.dataset}",
            got=f"one for {built}",
            fix="Start from one that was trained on this data set.",
        )
    if config.irregular is not None and irregular_layers(model):
        raise CheckpointError(
            config.init,
            needed="a regular network to make irregular",
            got="one with irregular layers",
            fix="Leave --irregular out to go on training it.",
        )
    return model


def _drawn_size(config: TrainConfig) -> tuple[int, int] | None:
    """Synthetic images are drawn in the size wanted, not resized."""
    return config.size if config.dataset == "shapes" else None


def open_measured(
    checkpoint: Checkpoint, data: str | None, root: str | Path | None, split: str, images: int | None
) -> Measured:
    """The data set to measure a checkpoint on, resized as in its training.

    Raises:
        CheckpointError: it names no data set and none is given, or was made for another number of classes.
        IcnnError: the data set cannot be opened.
    """
    who, trained_on = str(checkpoint.path), checkpoint.dataset
    name = data or trained_on.get("name")
    if name is None:
        raise CheckpointError(
            who, needed="the name of a data set", got="none in the file", fix="Name one: --data camvid."
        )
    size = tuple(trained_on["size"]) if trained_on.get("size") else None
    opened = open_dataset(name, root, split, size=size if name == "shapes" else None)
    if checkpoint.classes and len(checkpoint.classes) != len(opened.classes):
        raise CheckpointError(
            who,
            needed=f"a network for the {len(opened.classes)} classes of {name}",
            got=f"one for {len(checkpoint.classes)}",
            fix="Name the data set it was trained on.",
        )
    return Measured(opened, EvalTransform(size=size), images)


def choose_device(name: str) -> torch.device:
    """ "auto" (CUDA, else the CPU) or a device's name.

    Raises:
        DeviceError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device).item()  # meta has no values
    except (RuntimeError, AssertionError, ImportError, NotImplementedError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DeviceError(
            "--device", needed="a device of this machine", got=f"{name} ({reason})", fix="Try cpu."
        ) from error
    return device
