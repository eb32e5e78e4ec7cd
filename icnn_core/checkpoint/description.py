"""This package's description in a file, a text in JSON -> its values, of the types and sizes that they may have."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from icnn_core.checkpoint.contents import FORMAT_VERSION, IrregularLayer, refuse
from icnn_core.errors import ArgumentError
from icnn_core.kinds import INTERPOLATIONS, SHARINGS
from icnn_core.models.architecture import Architecture
from icnn_core.preparation import Preparation
from icnn_core.weights.loading import LARGEST_TEXT

_MOST = 1 << 31  # of any whole number
_MOST_PIXELS = 1 << 24  # of an image that a network was trained on
_MOST_SIDE = 1 << 14  # of an image that a network was made for
MOST_LAYERS = 2000
_MOST_CLASSES = 1 << 16
_MOST_CHANNELS = 1 << 12


def parse_description(path: Path, text: str) -> dict[str, Any]:
    """The parts of a `Checkpoint` that a file's description gives.

    Raises:
        CheckpointError: no JSON, a newer version, another order of axes; something is missing, of another type, or out
            of its range, and which.
    """
    header = _parse(path, text)
    try:
        return {
            "irregular": _layers(_list(header, "irregular", MOST_LAYERS)),
            "architecture": _architecture(header["architecture"]),
            "classes": tuple(_string(name) for name in _list(header, "classes", _MOST_CLASSES)),
            "palette": tuple(_colour(colour) for colour in _list(header, "palette", _MOST_CLASSES)),
            "ignore_index": _whole(header["ignore_index"], -_MOST),
            "dataset": _data_set(_dictionary(header["dataset"])),
            "metrics": _dictionary(header["metrics"]),
            "package_version": _string(header["package_version"]),
            "preparation": _preparation(header.get("preparation")),
        }
    except KeyError as error:
        raise refuse(path, "a whole description", f"one without {error}", "Write it again.") from error
    except (TypeError, ValueError, ArgumentError) as error:
        raise refuse(path, "a whole description", f"a broken one: {error}", "Write it again.") from error


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        if len(text) > LARGEST_TEXT:
            raise ValueError("too long")
        header = json.loads(text)
        version = _whole(header["format_version"], 0)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise refuse(path, "a description in JSON", "a broken one", "Write it again.") from error
    if version > FORMAT_VERSION:
        got = f"version {version} (written by icnn {str(header.get('package_version', 'unknown'))[:40]})"
        raise refuse(path, f"format version {FORMAT_VERSION} or older", got, "Upgrade this package.")
    if header.get("axis_order") != "yx":
        raise refuse(
            path, "positions in the order (y, x)", str(header.get("axis_order"))[:40], "Write it again."
        )
    return header


def _layers(entries: list[Any]) -> tuple[IrregularLayer, ...]:
    layers = tuple(_layer(_dictionary(entry)) for entry in entries)
    names = [layer.name for layer in layers]
    if len(set(names)) < len(names):
        raise ValueError("two layers of one name")
    return layers


def _layer(entry: Mapping[str, Any]) -> IrregularLayer:
    padding = entry.get("padding")
    return IrregularLayer(
        name=_string(entry["name"]),
        kernel_size=_pair(entry["kernel_size"], 1),
        dilation=_pair(entry["dilation"], 1),
        sharing=_one_of(entry["sharing"], SHARINGS),
        groups=_whole(entry.get("groups", 1), 1),
        stride=None if entry.get("stride") is None else _pair(entry["stride"], 1),
        padding=padding if padding in (None, "same", "valid") else _pair(padding, 0),
        interpolation=_one_of(entry.get("interpolation", "bilinear"), INTERPOLATIONS),
    )


def _architecture(value: Any) -> Architecture | None:
    if value is None:
        return None
    return Architecture(_string(value["name"]), _dictionary(value["arguments"]))


def _preparation(value: Any) -> Preparation | None:
    if value is None:
        return None
    given = _dictionary(value)
    for key in ("mean", "std"):
        if not len(_list(given, key, _MOST_CHANNELS)) > 0 or not all(
            type(v) in (int, float) for v in given[key]
        ):
            raise ValueError(f"{key} that is no list of numbers")
    sides = given.get("size")
    for side in _pair(sides, 1) if isinstance(sides, list) else (sides, given.get("longest")):
        _whole(1 if side is None else side, 1, _MOST_SIDE)
    _whole(given.get("divisor", 1), 1, _MOST_CHANNELS)
    for key in ("order", "fit", "source"):
        _string(given.get(key, ""))
    _string(given.get("output") or "")
    return Preparation.from_plain(given)


def _data_set(values: dict[str, Any]) -> dict[str, Any]:
    """What is known of a data set; the size of its images is bounded, for images are brought to it."""
    if values.get("size") is not None:
        height, width = _pair(values["size"], 1)
        if height * width > _MOST_PIXELS:
            raise ValueError(f"images of {height} × {width} pixels")
    return values


def _list(header: Mapping[str, Any], name: str, most: int) -> list[Any]:
    values = header[name]
    if not isinstance(values, list) or len(values) > most:
        raise ValueError(f"{name} that is no list of at most {most:,}")
    return values


def _dictionary(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{str(value)[:40]!r} where a dictionary belongs")
    return value


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{str(value)[:40]!r} where a name belongs")
    return value


def _whole(value: Any, least: int, most: int = _MOST) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{str(value)[:40]!r} where a whole number from {least} belongs")
    return value


def _pair(value: Any, least: int) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2:
        raise TypeError(f"{str(value)[:40]!r} where (y, x) belongs")
    return _whole(value[0], least), _whole(value[1], least)


def _colour(value: Any) -> tuple[int, int, int]:
    if not isinstance(value, list) or len(value) != 3:
        raise TypeError(f"{str(value)[:40]!r} where red, green and blue belong")
    red, green, blue = (_whole(part, 0, 255) for part in value)
    return red, green, blue


def _one_of(value: Any, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ValueError(f"{str(value)[:40]!r} where one of {', '.join(known)} belongs")
    return value
