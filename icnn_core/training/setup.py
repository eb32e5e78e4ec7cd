"""From a config to the network and the data that it names."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch
from torch import nn

from icnn_core.checkpoint import build_model, read_checkpoint
from icnn_core.datasets.images import Reader
from icnn_core.datasets.registry import SegmentationDataset, open_dataset
from icnn_core.datasets.splits import warn_of_twins
from icnn_core.datasets.transforms import EvalTransform, TrainTransform
from icnn_core.devices import check_default_device
from icnn_core.errors import ArgumentError, CheckpointError, NameNotFoundError
from icnn_core.evaluation.samples import Measured, check_classes, warn_of_another_shape
from icnn_core.models.deeplab import deeplab_largefov
from icnn_core.models.factory import build_with
from icnn_core.models.pretrained import load_network_weights
from icnn_core.nn import Sharing
from icnn_core.preparation import IMAGE_SETTINGS, Preparation, preparation_of
from icnn_core.surgery import Surgery, irregular_layers, make_irregular
from icnn_core.text import counted
from icnn_core.training.config import TrainConfig, irregular_of_preset
from icnn_core.training.same_run import describe_sources
from icnn_core.training.stream import Sample, Transform
from icnn_core.training.variants import apply_variant

_log = logging.getLogger(__name__)
Factory = Callable[..., nn.Module]


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

    @property
    def skipped(self) -> list[Path]:
        """Images left out because they cannot be decoded (`skip_bad`), so far."""
        return list(getattr(self.data, "skipped", []))


@dataclass(frozen=True)
class Prepared:
    """What `train` takes, and what the surgery did (None for a regular network).

    `sources` are digests of what the weights come from, see `describe_sources`.
    """

    model: nn.Module
    train_set: SegmentationDataset
    val_samples: Sequence[Sample]
    transform: Transform
    surgery: Surgery | None
    sources: Mapping[str, str | None] | None = None


def _make_irregular(model: nn.Module, config: TrainConfig, start: str) -> Surgery:
    try:
        return make_irregular(
            model,
            irregular=start,
            sharing=cast(Sharing, config.sharing),
            shift=config.shift,
            interpolation=config.interpolation,
            sigma=config.sigma,
            learn_sigma=config.learn_sigma,
        )
    except NameNotFoundError as error:
        if (backbone := irregular_of_preset(config)) is None:
            raise
        fix = f"It is the preset's, for {backbone}: give --irregular NAME of this network (icnn layers), or none."
        raise NameNotFoundError("train", needed=error.needed, got=error.got, fix=fix) from error


def prepare(config: TrainConfig, factory: Factory | None = None, reader: Reader | None = None) -> Prepared:
    """Open the data and build the network, with random weights drawn from the config's seed.

    Args:
        factory: builds the network of the user's own that `config.model` names; called with num_classes.
        reader: the user's own function that `config.reader` names, see `FolderDataset`.

    Raises:
        IcnnError: data, weights, a layer's name or another setting cannot be used; the message says which.
    """
    check_default_device("prepare")
    train_set, val_samples = open_data(config, reader)
    _log.info("%s: %d images in %s", config.dataset, len(train_set), config.train_split)
    sources = describe_sources(config)  # before they are read: a file overwritten in between is another one
    torch.manual_seed(config.seed)
    model = _build(config, tuple(train_set.classes), factory)
    preparation = _prepare_images(model, config)
    surgery = None
    if config.irregular is not None:
        torch.manual_seed(config.seed)
        surgery = _make_irregular(model, config, config.irregular)
    if config.variant is not None:
        torch.manual_seed(config.seed)
        apply_variant(model, config)
    if config.batch_norm == "frozen":
        _warn_of_untrained_norms(model)
    transform = TrainTransform(
        size=config.size,
        crop=config.crop,
        scale=config.scale,
        mirror=config.mirror,
        ignore_index=train_set.ignore_index,
        preparation=preparation,
    )
    val_samples.prepare_for(preparation)
    return Prepared(
        model=model,
        train_set=train_set,
        val_samples=val_samples,
        transform=transform,
        surgery=surgery,
        sources=sources,
    )


def _warn_of_untrained_norms(model: nn.Module) -> None:
    fresh = [
        name
        for name, module in nn.Module.named_modules(model)
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
        and module.running_mean is not None
        and module.running_var is not None
        and not bool(module.running_mean.any())
        and bool((module.running_var == 1).all())
    ]
    if fresh:
        _log.warning(
            "batch norm is frozen, in %s at its start (mean 0, variance 1: %s), which is of no images: give weights to "
            "start from, or say --batch-norm train",
            counted(len(fresh), "layer"),
            ", ".join(fresh[:3]) + (", …" if len(fresh) > 3 else ""),
        )


def _prepare_images(model: nn.Module, config: TrainConfig) -> Preparation:
    """How the network gets images: as it says itself, or as the config does, which it carries from then on."""
    said = {name: getattr(config, name) for name in IMAGE_SETTINGS}
    found = preparation_of(model).changed(**said)
    if replace(found, source="") != Preparation():
        setattr(model, "icnn_preparation", found)  # noqa: B010  (no attribute that a module declares)
        _log.info("images: %s", found)
    return found


def open_data(config: TrainConfig, reader: Reader | None = None) -> tuple[SegmentationDataset, Measured]:
    """The images that a config trains on, and those that it measures.

    Raises:
        IcnnError: as `open_dataset`.
    """
    if config.reader is not None and reader is None:
        needed = f"the function {config.reader} itself, for code is not imported because a config names it"
        fix = "Give it: reader=load_factory(…), from icnn_core.models.factory."
        raise ArgumentError("prepare", needed=needed, got="its name alone", fix=fix)
    splits = (config.train_split, config.val_split)
    train_set, val_set = (_open(config, split, reader) for split in splits)
    for data in (train_set, val_set):
        warn_of_another_shape(data, config.size)
    warn_of_twins(
        {config.train_split: getattr(train_set, "pairs", ()), config.val_split: getattr(val_set, "pairs", ())}
    )
    measured = Measured(val_set, EvalTransform(size=config.size), config.val_images)
    return _First(train_set, config.train_images), measured


def _open(config: TrainConfig, split: str, reader: Reader | None) -> SegmentationDataset:
    """Synthetic images are drawn in the size wanted, not resized, and are never bad."""
    if config.dataset == "shapes":  # which refuses classes
        return open_dataset(config.dataset, config.root, split, size=config.size, classes=config.classes)
    return open_dataset(
        config.dataset,
        config.root,
        split,
        skip_bad=config.skip_bad,
        sbd_root=config.sbd_root,
        png_order=config.png_order,
        classes=config.classes,
        reader=reader,
    )


def _build(config: TrainConfig, classes: tuple[str, ...], factory: Factory | None) -> nn.Module:
    if config.model is not None and factory is None:
        needed = f"the function {config.model} itself, for code is not imported because a config names it"
        fix = "Give it: factory=load_factory(…), from icnn_core.models.factory."
        raise ArgumentError("prepare", needed=needed, got="its name alone", fix=fix)
    if config.init is not None:
        return _build_from(config, config.init, classes, factory)
    if factory is not None:
        model = build_with(factory, len(classes))
        if config.weights is not None:
            load_network_weights(model, config.weights, config.prefix)
        return model
    names = ("classifier_dilation", "dropout", "dilation_factor")
    given = {name: getattr(config, name) for name in names}
    known = {name: value for name, value in given.items() if value is not None}
    return deeplab_largefov(str(config.backbone), len(classes), weights=config.weights, **known)


def _build_from(
    config: TrainConfig, init: str, classes: tuple[str, ...], factory: Factory | None
) -> nn.Module:
    """The network of a checkpoint, with its weights; for another number of classes with a head of its own."""
    checkpoint = read_checkpoint(init, config.prefix)
    as_many = len(checkpoint.classes) == len(classes)
    if as_many or not checkpoint.classes:
        check_classes(str(checkpoint.path), checkpoint.classes, classes, str(config.dataset))
    build = None if factory is None else lambda: build_with(factory, len(classes))
    model = build_model(checkpoint, build, classes=None if as_many else len(classes))
    if config.irregular is not None and irregular_layers(model):
        needed, got = "a regular network to make irregular", "one with irregular layers"
        raise CheckpointError(init, needed=needed, got=got, fix="Say --irregular none to go on training it.")
    return model
