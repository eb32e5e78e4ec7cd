"""One frozen, typed description of a training run; presets; reading and writing it as TOML."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import tomllib
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from icnn_core.errors import ArgumentError, check_name, nearest_names
from icnn_core.files import read_text
from icnn_core.kinds import INTERPOLATIONS, SHARINGS
from icnn_core.training.presets import PRESETS
from icnn_core.training.used import settle_network
from icnn_core.training.values import to_type

Size = tuple[int, int]
_CHOICES = {
    "optimizer": ("sgd", "adamw"),
    "position_rule": ("adam", "sgd"),
    "precision": ("no", "bf16", "fp16"),
    "batch_norm": ("frozen", "train", "sync"),
    "interpolation": INTERPOLATIONS,
    "sharing": SHARINGS,
}


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a run. Sizes are (height, width) in pixels.

    Attributes:
        dataset, root: name and folder of the data set ("shapes" needs none).
        train_split, val_split: splits to train on and to measure.
        train_images, val_images: use only the first so many images; None uses all.
        sbd_root, png_order: of VOC's train_aug and of PASCAL Context, see `VOCDataset` and `ContextDataset`.
        skip_bad: leave out images that cannot be decoded, and list them at the end, instead of stopping.
        size: resize images (not the labels measured against) to this; None keeps theirs.
        crop: train on random crops of this size; None trains on whole images.
        scale: range of the random scale; (1, 1) for none.
        mirror: mirror half of the training images.
        backbone: see `deeplab_largefov`.
        weights: what the network starts from: None (random), "imagenet" (torchvision's, of the backbone) or a file: of
            the backbone or, for a `model` of the user's own, of all of it.
        prefix: of names in a state dict that `init` or, for a `model` of the user's own, `weights` leads to: those that
            begin so are taken, without it.
        classes: a file of names (and a palette) of a folder's classes, see `FolderDataset`; None takes the folder's.
        init: a checkpoint to start all weights from, e.g. the trained regular network.
        model: "package.module:factory" of a network of the user's own, in place of the backbone's. A record: it is
            imported only when it is named on the command line, see `make_config` and `prepare`.
        output, divisor, fit, mean, std, white, order: how the network wants images and where its logits are, see
            `Preparation`; None leaves it to what the network says itself.
        reader: "package.module:function" that reads the images of a folder, from a path to an array. A record, as
            `model` is.
        classifier_dilation, dropout: of the classifier `fc1`. They, `dilation_factor` and `backbone` are those of the
            network that `init` holds, and None where `model` builds it.
        dilation_factor: of all dilations, see `deeplab_largefov`.
        irregular: make irregular from this module to the end; None trains the regular network.
        variant: what becomes of those layers instead, see `icnn_core.training.variants`: a control of a study.
        positions_from: the checkpoint whose positions, or their spread, a variant takes.
        sharing, shift, interpolation, sigma, learn_sigma: see `IrregularConv2d`.
        iterations, batch_size, seed: as they say; 0 iterations measure alone. A batch is what one step sees, over all
            processes.
        accumulate: parts of a batch that one process sees one after another, to save memory.
        precision: "no" (float32), "bf16" or "fp16" (the latter on CUDA alone): autocast by Accelerate.
        optimizer: of the weights: "sgd" (with momentum, the paper's) or "adamw".
        lr, momentum, weight_decay, power: of the weights, with the poly policy.
        classifier_lr_factor: multiplies the rate of the classifier, which starts from nothing.
        balance: exponent of the class weights in the loss, see `class_weights`: 0 counts every pixel alike, 1 every
            class.
        position_rule: "adam": position_lr is in pixels a step; "sgd": the paper's.
        position_lr: rate of the positions; 0 freezes them.
        position_warmup: share of the iterations in which positions rest.
        step_bound: how far in pixels a position may leave its cell in one step (equation 7).
        batch_norm: "frozen" keeps the statistics as they were (DeepLab's way), "train" takes each process's part of
            the batch, "sync" that of all processes (on GPUs).
        evaluate_every: iterations between evaluations; 0 measures at the end alone.
        checkpoint_every: iterations after which `last.pt` is written at the latest; 0 leaves it to evaluations.
        workers: processes that load data, at most one a processor; 0 loads in the training process.
    """

    dataset: str = "shapes"
    root: str | None = None
    train_split: str = "train"
    val_split: str = "val"
    train_images: int | None = None
    val_images: int | None = None
    sbd_root: str | None = None
    png_order: str | None = None
    classes: str | None = None
    skip_bad: bool = False
    size: Size | None = None
    crop: Size | None = None
    scale: tuple[float, float] = (1.0, 1.0)
    mirror: bool = True
    backbone: str | None = "tiny"
    weights: str | None = None
    init: str | None = None
    prefix: str | None = None
    model: str | None = None
    output: str | None = None
    divisor: int | None = None
    fit: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    white: float | None = None
    order: str | None = None
    reader: str | None = None
    classifier_dilation: int | None = 12
    dropout: float | None = 0.0
    dilation_factor: float | None = 1.0
    irregular: str | None = None
    variant: str | None = None
    positions_from: str | None = None
    sharing: str = "channel"
    shift: float = 1e-3
    interpolation: str = "bilinear"
    sigma: float = 0.5
    learn_sigma: bool = False
    iterations: int = 1000
    batch_size: int = 8
    accumulate: int = 1
    precision: str = "no"
    seed: int = 0
    optimizer: str = "adamw"
    lr: float = 0.005
    momentum: float = 0.9
    weight_decay: float = 5e-4
    power: float = 0.9
    classifier_lr_factor: float = 1.0
    balance: float = 0.0
    position_rule: str = "adam"
    position_lr: float = 0.05
    position_warmup: float = 0.1
    step_bound: float = 0.1
    batch_norm: str = "train"
    evaluate_every: int = 0
    checkpoint_every: int = 200
    workers: int = 0

    def __post_init__(self) -> None:
        for name, needed, holds in (
            ("iterations", "at least 0", self.iterations >= 0),
            ("batch_size", "at least 1", self.batch_size >= 1),
            (
                "accumulate",
                "that divides batch_size",
                self.accumulate >= 1 and self.batch_size % max(self.accumulate, 1) == 0,
            ),
            ("lr", "above 0", self.lr > 0),
            ("momentum", "from 0 to below 1", 0 <= self.momentum < 1),
            ("weight_decay", "at least 0", self.weight_decay >= 0),
            ("power", "at least 0", self.power >= 0),
            ("classifier_lr_factor", "at least 0", self.classifier_lr_factor >= 0),
            ("shift", "at least 0", self.shift >= 0),
            ("sigma", "above 0", self.sigma > 0),
            ("position_lr", "at least 0", self.position_lr >= 0),
            ("position_warmup", "from 0 to below 1", 0 <= self.position_warmup < 1),
            ("balance", "from 0 to 1", 0 <= self.balance <= 1),
            ("step_bound", "above 0", self.step_bound > 0),
            *((n, "at least 1 × 1", min(getattr(self, n) or (1,)) >= 1) for n in ("size", "crop")),
            ("scale", "0 < low ≤ high, finite", 0 < self.scale[0] <= self.scale[1] < math.inf),
            ("evaluate_every", "at least 0", self.evaluate_every >= 0),
            ("checkpoint_every", "at least 0", self.checkpoint_every >= 0),
            ("workers", "at least 0", self.workers >= 0),
            *((n, " or ".join(map(repr, known)), getattr(self, n) in known) for n, known in _CHOICES.items()),
        ):
            if not holds:
                raise ArgumentError(
                    "train",
                    needed=f"{name} {needed}",
                    got=f"{name}={getattr(self, name)!r}",
                    fix=nearest_names(str(getattr(self, name)), _CHOICES[name])
                    if name in _CHOICES
                    else f"Set {name} in that range.",
                )


def make_config(preset: str, toml: str | Path | None = None, **overrides: Any) -> TrainConfig:
    """The preset, changed by the TOML file, changed by the overrides; None among them means none, as "none" does.

    Raises:
        NameNotFoundError: an unknown preset or key; the nearest names are listed.
        ArgumentError: a value of the wrong type or out of range, a setting that `init` or `model` would pass over, a
            file that is not TOML, or one that names a network of the user's own which the overrides do not: no code
            is imported because a file names it.
        CheckpointError: `init` cannot be read.
    """
    check_name("train", "a preset", preset, PRESETS)
    written = {} if toml is None else _read_toml(Path(toml))
    for code in ("model", "reader"):
        if written.get(code) not in (None, "none", overrides.get(code)):
            raise ArgumentError(
                str(toml),
                needed=f"the {code}'s code named on the command line, for code is not run because a file names it",
                got=f"{code} = {written[code]!r} in the file, {overrides.get(code)!r} there",
                fix=f"Give it with --{code} if you trust it.",
            )
    chosen = overrides.keys() | written.keys()
    return _with_crop_inside(
        settle_network(config_from(PRESETS[preset] | written | overrides), chosen), chosen
    )


def irregular_of_preset(config: TrainConfig) -> str | None:
    """The backbone whose module `irregular` is, if it is as a preset has it and the network another one."""
    start = {preset["irregular"]: preset["backbone"] for preset in PRESETS.values() if "irregular" in preset}
    backbone = start.get(config.irregular)
    return None if backbone is None or (config.model, config.backbone) == (None, backbone) else backbone


def _with_crop_inside(config: TrainConfig, chosen: Set[str]) -> TrainConfig:
    """A preset's crop is no larger than the size chosen: most of it would be void.

    Raises:
        ArgumentError: a crop that was chosen is larger than the images ever are.
    """
    size, crop, largest = config.size, config.crop, config.scale[1]
    if size is None or crop is None:
        return config
    if "size" in chosen and "crop" not in chosen:
        return dataclasses.replace(config, crop=(min(crop[0], size[0]), min(crop[1], size[1])))
    if "crop" in chosen and any(c > s * largest for c, s in zip(crop, size, strict=True)):
        raise ArgumentError(
            "train",
            needed=f"a crop within the images, which are at most {largest:g} times their size of {size[0]} × {size[1]}",
            got=f"crop {crop[0]} × {crop[1]}: what is beyond is void",
            fix="Make the crop smaller, or the size larger.",
        )
    return config


def config_from(values: Mapping[str, Any]) -> TrainConfig:
    """A config from plain values, as TOML or a checkpoint holds them; "none" means None. Raises as `make_config`."""
    return TrainConfig(**_typed(_renamed(values)))


def change_config(config: TrainConfig, values: Mapping[str, Any]) -> TrainConfig:
    """The config with other values of some settings, plain ones as for `config_from`. Raises as `make_config`."""
    return dataclasses.replace(config, **_typed(values))


def _typed(values: Mapping[str, Any]) -> dict[str, Any]:
    hints = get_type_hints(TrainConfig)
    for key in values:
        check_name("train", "a known setting", key, hints)
    return {key: to_type(key, value, hints[key]) for key, value in values.items()}


def setting_names() -> set[str]:
    """The names of all settings."""
    return {field.name for field in dataclasses.fields(TrainConfig)}


def parse_setting(text: str) -> tuple[str, Any]:
    """ "key=value" to both, the value as in TOML, or a string where it is none: `crop=[321, 321]`, `backbone=vgg16`.

    Raises:
        ArgumentError: there is no "=".
    """
    key, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not key:
        raise ArgumentError("--set", needed="key=value", got=repr(text), fix="E.g. --set power=1.")
    if re.fullmatch(r"\d+x\d+", value):  # a size; 0x4 is no number in another base
        return key, value
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value


def to_toml(config: TrainConfig) -> str:
    """The config as TOML, with "none" for None, which a preset could otherwise fill."""
    values = {k: "none" if v is None else v for k, v in dataclasses.asdict(config).items()}
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())


def _renamed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings under the names they have now: checkpoints of before 0.1 say frozen_batch_norm."""
    values = dict(values)
    frozen = values.pop("frozen_batch_norm", None)
    if frozen is not None:
        values["batch_norm"] = "frozen" if frozen else "train"
    return values


def _read_toml(path: Path) -> dict[str, Any]:
    text = read_text(path, str(path), ArgumentError)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ArgumentError(str(path), needed="a TOML file", got=str(error), fix="Mend it.") from error
