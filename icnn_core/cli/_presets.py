"""What the presets of a training hold, for --help."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

_SILENT = {"model", "init", "root", "out", "train_images", "val_images", "skip_bad"}


def defaults_by_preset(setting: str) -> str:
    """The value that every preset gives to a setting, in words; "" where there is none to tell."""
    from icnn_core.training.config import TrainConfig
    from icnn_core.training.presets import PRESETS

    own = {field.name: field.default for field in fields(TrainConfig)}
    if setting not in own or setting in _SILENT:
        return ""
    groups: dict[str, list[str]] = {}
    for preset, values in PRESETS.items():
        groups.setdefault(_written(values.get(setting, own[setting])), []).append(preset)
    if len(groups) == 1:
        (value,) = groups
        return "" if value == "none" else f"By default {value}."
    told = "; ".join(f"{value} ({', '.join(names)})" for value, names in groups.items())
    return f"By default {told}."


def _written(value: Any) -> str:
    if isinstance(value, tuple):
        return ("x" if all(isinstance(v, int) for v in value) else ",").join(f"{v:g}" for v in value)
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
