"""One frozen, typed description of a training run; presets; reading and writing it as TOML."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from icnn_core.errors import ArgumentError, NameNotFoundError, nearest_names

Size = tuple[int, int]


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a run. Sizes are (height, width) in pixels.

    Attributes:
        dataset, root: name and folder of the data set ("shapes" needs none).
        train_split, val_split: splits to train on and to measure.
        train_images, val_images: use only the first so many images; None uses all.
        size: resize images (not the labels measured against) to this; None keeps theirs.
        crop: train on random crops of this size; None trains on whole images.
        scale: range of the random scale; (1, 1) for none.
        mirror: mirror half of the training images.
        backbone: see `deeplab_largefov`.
        weights: the backbone's weights: None, "imagenet" (torchvision's) or a file.
        init: a checkpoint to start all weights from, e.g. the trained regular network.
        classifier_dilation: of the classifier `fc1`.
        irregular: make irregular from this module to the end; None trains the regular network.
        sharing, shift: see `IrregularConv2d`.
        iterations, batch_size, seed: as they say.
        optimizer: of the weights: "sgd" (with momentum, the paper's) or "adamw".
        lr, momentum, weight_decay, power: of the weights, with the poly policy.
        classifier_lr_factor: multiplies the rate of the classifier, which starts from nothing.
        balance: exponent of the class weights in the loss, (median frequency / frequency) ** balance, from the training
            labels: 0 counts every pixel alike, 1 is median frequency balancing (arXiv 1411.4734).
        position_rule: "adam": position_lr is in pixels a step; "sgd": the paper's.
        position_lr: rate of the positions; 0 freezes them.
        position_warmup: share of the iterations in which positions rest.
        step_bound: how far in pixels a position may leave its cell in one step (equation 7).
        frozen_batch_norm: keep batch statistics as they were (DeepLab's way); False trains them.
        evaluate_every: iterations between evaluations; 0 measures at the end alone.
        workers: processes that load data; 0 loads in the training process.
    """

    dataset: str = "shapes"
    root: str | None = None
    train_split: str = "train"
    val_split: str = "val"
    train_images: int | None = None
    val_images: int | None = None
    size: Size | None = None
    crop: Size | None = None
    scale: tuple[float, float] = (1.0, 1.0)
    mirror: bool = True
    backbone: str = "tiny"
    weights: str | None = None
    init: str | None = None
    classifier_dilation: int = 12
    irregular: str | None = None
    sharing: str = "channel"
    shift: float = 1e-3
    iterations: int = 1000
    batch_size: int = 8
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
    frozen_batch_norm: bool = False
    evaluate_every: int = 0
    workers: int = 0

    def __post_init__(self) -> None:
        for name, needed, holds in (
            ("iterations", "at least 1", self.iterations >= 1),
            ("batch_size", "at least 1", self.batch_size >= 1),
            ("lr", "above 0", self.lr > 0),
            ("position_lr", "at least 0", self.position_lr >= 0),
            ("position_warmup", "from 0 to below 1", 0 <= self.position_warmup < 1),
            ("balance", "from 0 to 1", 0 <= self.balance <= 1),
            ("step_bound", "above 0", self.step_bound > 0),
            ("scale", "0 < low ≤ high", 0 < self.scale[0] <= self.scale[1]),
            ("optimizer", '"sgd" or "adamw"', self.optimizer in ("sgd", "adamw")),
            ("position_rule", '"adam" or "sgd"', self.position_rule in ("adam", "sgd")),
        ):
            if not holds:
                raise ArgumentError(
                    "train",
                    needed=f"{name} {needed}",
                    got=f"{name}={getattr(self, name)!r}",
                    fix=f"Set {name} in that range.",
                )


_DEEPLAB: dict[str, Any] = {
    "scale": (0.5, 1.5),
    "batch_size": 16,
    "optimizer": "sgd",
    "lr": 0.001,
    "classifier_lr_factor": 10.0,
    "frozen_batch_norm": True,
    "weights": "imagenet",
}
PRESETS: dict[str, dict[str, Any]] = {
    "shapes": {"classifier_dilation": 4, "balance": 0.5},  # 12 would reach beyond a feature map of 15 × 20
    "camvid": _DEEPLAB
    | {
        "dataset": "camvid",
        "backbone": "squeezenet1_0",
        "size": (180, 240),
        "scale": (0.75, 1.5),
        "crop": (180, 240),
        "batch_size": 8,
        "optimizer": "adamw",
        "lr": 4e-4,
        "balance": 0.5,
        "weight_decay": 0.01,
        "iterations": 1000,
    },
}


def make_config(preset: str, toml: str | Path | None = None, **overrides: Any) -> TrainConfig:
    """The preset, changed by the TOML file, changed by the overrides that are not None.

    Raises:
        NameNotFoundError: an unknown preset or key; the nearest names are listed.
        ArgumentError: a value of the wrong type or out of range, or a file that is not TOML.
    """
    if preset not in PRESETS:
        raise NameNotFoundError(
            "train", needed="a preset", got=repr(preset), fix=nearest_names(preset, PRESETS)
        )
    values = dict(PRESETS[preset])
    if toml is not None:
        values |= _read_toml(Path(toml))
    values |= {key: value for key, value in overrides.items() if value is not None}
    return config_from(values)


def config_from(values: Mapping[str, Any]) -> TrainConfig:
    """A config from plain values, as TOML or a checkpoint holds them. Raises as `make_config`."""
    hints = get_type_hints(TrainConfig)
    for key in values:
        if key not in hints:
            raise NameNotFoundError("train", needed="a known setting", got=key, fix=nearest_names(key, hints))
    return TrainConfig(**{key: _converted(key, value, hints[key]) for key, value in values.items()})


def to_toml(config: TrainConfig) -> str:
    """The config as TOML; settings that are None are left out, which means the same."""
    values = {key: value for key, value in dataclasses.asdict(config).items() if value is not None}
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ArgumentError(str(path), needed="a TOML file", got=str(error), fix="Mend it.") from error


def _converted(key: str, value: Any, hint: Any) -> Any:
    """`value` as `hint` wants it: lists become tuples, whole numbers may stand for fractions."""
    options = get_args(hint) if type(None) in get_args(hint) else (hint,)
    for option in options:
        if option is type(None):
            if value is None:
                return None
        elif get_origin(option) is tuple:
            inner = get_args(option)
            if isinstance(value, list | tuple) and len(value) == len(inner):
                return tuple(_converted(key, v, kind) for v, kind in zip(value, inner, strict=True))
        elif option is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        elif type(value) is option:
            return value
    raise ArgumentError("train", needed=f"{key} as {hint}", got=repr(value), fix="Change its type.")
