"""Settings of `TrainConfig` that go together, by name."""

from __future__ import annotations

from typing import Any

_DEEPLAB: dict[str, Any] = {
    "scale": (0.5, 1.5),
    "batch_size": 16,
    "optimizer": "sgd",
    "lr": 0.001,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "power": 0.9,
    "classifier_lr_factor": 10.0,
    "batch_norm": "frozen",
    "weights": "imagenet",
}
_PAPER = _DEEPLAB | {  # arXiv 1706.07966, section 4
    "backbone": "resnet101",
    "irregular": "res4b11",
    "crop": (321, 321),
    "iterations": 20_000,
    "position_rule": "sgd",
    "position_lr": 50.0,
    "position_warmup": 0.0,
    "step_bound": 0.1,
    "evaluate_every": 2_000,
    "workers": 4,
}
_SMALL = _DEEPLAB | {  # SqueezeNet on a CPU: minutes
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
}

PRESETS: dict[str, dict[str, Any]] = {
    "shapes": {  # dilation and rate are those at which the regular network is best: docs/results/synthetic.md
        "backbone": "small",
        "classifier_dilation": 4,
        "dilation_factor": 0.25,
        "lr": 0.0025,
        "balance": 0.5,
    },
    "camvid": _SMALL | {"dataset": "camvid"},
    "folder": _SMALL | {"dataset": "folder"},
    "voc": _PAPER | {"dataset": "voc", "train_split": "train_aug"},
    "voc-context": _PAPER | {"dataset": "context"},
    "cityscapes": _PAPER
    | {"dataset": "cityscapes", "crop": (473, 473), "iterations": 45_000, "evaluate_every": 5_000},
}
