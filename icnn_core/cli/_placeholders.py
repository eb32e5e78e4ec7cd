"""What --help says of options' values: placeholders of one style, choices, and what the presets of a training hold."""

from __future__ import annotations

from dataclasses import fields
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

_BY_NAME = {
    "--irregular": "NAME",
    "--backbone": "NAME",
    "--split": "NAME",
    "--train-split": "NAME",
    "--val-split": "NAME",
    "--data": "NAME",
    "--layer": "PATTERN",
    "--sharing": "layer|channel|none",
    "--precision": "no|bf16|fp16",
    "--position-rule": "adam|sgd",
    "--batch-norm": "frozen|train|sync",
    "--size": "HxW",
    "--crop": "HxW",
    "--scale": "LOW,HIGH",
    "--method": "METHOD",
    "--init": "CKPT",
    "--config": "FILE",
}
_BY_KIND = {"int": "N", "float": "NUMBER", "Path": "PATH"}
_WIDEST = 30  # characters of choices that are listed
_SILENT = {"model", "init", "root", "out", "train_images", "val_images", "skip_bad"}


def placeholder(option: Any) -> str:
    """The placeholder of a click option that names none of its own."""
    for name in option.opts:
        if name in _BY_NAME:
            return _BY_NAME[name]
    kind = _kind_of(option)
    if choices := "|".join(choices_of(kind)):
        return choices if len(choices) <= _WIDEST else "KIND"
    return _BY_KIND.get(getattr(kind, "__name__", ""), "TEXT")


def _kind_of(option: Any) -> Any:
    """The type of an option's value, or of one of its values; older versions of typer leave it to click."""
    if (told := getattr(option, "type_descriptor", None)) is not None:
        return value_kind(told.annotation)
    if choices := getattr(option.type, "choices", None):
        return Literal[tuple(str(getattr(choice, "value", choice)) for choice in choices)]
    names = {"integer": int, "float": float, "path": Path}
    return names.get(option.type.name.partition(" ")[0], str)


def value_kind(annotation: Any) -> Any:
    """The type of one value of what is annotated: an optional one, a list of such."""
    parts = [part for part in get_args(annotation) if part is not type(None)]
    return value_kind(parts[0]) if parts and get_origin(annotation) is not Literal else annotation


def choices_of(kind: Any) -> tuple[str, ...]:
    """Those that a type of values names, if it does."""
    if isinstance(kind, type) and issubclass(kind, Enum):  # in lists, of which typer takes no others
        return tuple(str(choice.value) for choice in kind)
    return get_args(kind) if get_origin(kind) is Literal else ()


def style(command: Any) -> None:
    """Give a click command's options their placeholders and, where its function tells them, their presets' values."""
    told = getattr(command.callback, "defaults_by_preset", None)
    for option in command.params:
        if option.param_type_name != "option":
            continue
        if option.metavar is None and not option.is_flag and not option.count:
            option.metavar = placeholder(option)
        names, said = choices_of(_kind_of(option)), option.help or ""
        if names and option.metavar != "|".join(names) and not all(name in said for name in names):
            said = f"{_ended(said)} One of {', '.join(names)}."
        words = told(option.name) if told is not None else ""
        if words and words not in said:
            said = f"{_ended(said)} {words}"
        option.help = said


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith((".", "…", "?")) else f"{sentence}."


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
