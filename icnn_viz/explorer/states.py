"""What a page shows, as a URL's query: written so that a view can be shared, read with distrust."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from typing import Any, Self, TypeVar
from urllib.parse import parse_qs, urlencode

T = TypeVar("T")

MOST_SMOOTHING = 20.0
_MOST_CORNERS = 100


@dataclass(frozen=True)
class PageState:
    """State of a page. Field names are the query's keys; None is left out."""

    def to_query(self) -> str:
        """ "?key=value&…"; what is None is left out."""
        pairs = {f.name.rstrip("_"): getattr(self, f.name) for f in fields(self)}
        return "?" + urlencode({k: _to_text(v) for k, v in pairs.items() if v is not None and v != ""})

    @classmethod
    def from_query(cls, search: str | None, default: Self, allowed: dict[str, Collection[str]]) -> Self:
        """The view that a query describes; what is missing, malformed or not allowed is as in `default`.

        Args:
            allowed: by key the values that it may have; numbers have their limits here.
        """
        found: dict[str, Any] = {}
        given = parse_qs((search or "").lstrip("?")[:8000], max_num_fields=40)
        for field in fields(cls):
            key = field.name.rstrip("_")
            text = given.get(key, [""])[-1]
            read: Callable[[str], Any] = _READERS.get(key, str)
            with suppress(ValueError):
                value = read(text)
                if text and (key not in allowed or value in allowed[key]):
                    found[field.name] = value
        return replace(default, **found)


@dataclass(frozen=True)
class HeatmapState(PageState):
    """Of the first page. `x`, `y`: column and row. `class_`: a class id as text, "" for the predicted one."""

    image: str = "0"
    x: int = 0
    y: int = 0
    method: str = "gradient"
    class_: str = ""
    smoothing: float = 0.0
    difference: str = "shares"
    opacity: int = 100


@dataclass(frozen=True)
class KernelState(PageState):
    """Of the second page. `brush`: "box:x0,y0,x1,y1" or "lasso:x0,y0,x1,y1,…" in px from the kernel's centre, or ""."""

    layer: str = "0"
    slot: str = ""
    third_axis: str = "weight"
    channel: int = 0
    kernel: int = 0
    brush: str = ""


@dataclass(frozen=True)
class RunState(PageState):
    """Of the fourth page."""

    layer: str = "0"


@dataclass(frozen=True)
class TapState(PageState):
    """Of the third page. `x`, `y`: column and row."""

    image: str = "0"
    x: int = 0
    y: int = 0


def parse_brush(text: str) -> list[tuple[float, float]]:
    """The corners (x, y) of a brush, of a box four; empty if there is none.

    Raises:
        ValueError: it is not written so.
    """
    kind, _, numbers = text.partition(":")
    values = [float(part) for part in numbers.split(",") if part]
    if not all(math.isfinite(value) for value in values):
        raise ValueError("a brush's corners are finite")
    points = list(zip(values[::2], values[1::2], strict=True))
    if kind == "box" and len(points) == 2:
        (x0, y0), (x1, y1) = points
        return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    if kind == "lasso" and 3 <= len(points) <= _MOST_CORNERS:
        return points
    raise ValueError("a brush is a box with two corners or a lasso with three or more")


def brush_of(selected: dict[str, Any] | None) -> str:
    """What plotly says was selected, as text: at most 100 corners, three digits after the point."""
    if not selected:
        return ""
    if "range" in selected:
        (x0, x1), (y0, y1) = selected["range"]["x"], selected["range"]["y"]
        return "box:" + _join([x0, y0, x1, y1])
    if "lassoPoints" in selected:
        corners = list(zip(selected["lassoPoints"]["x"], selected["lassoPoints"]["y"], strict=True))
        step = -(-len(corners) // _MOST_CORNERS)
        return "lasso:" + _join([v for corner in corners[::step] for v in corner])
    return ""


def _brush(text: str) -> str:
    parse_brush(text)
    return text


def _count(text: str) -> int:
    value = int(text)
    if not 0 <= value < 10**6:
        raise ValueError("out of range")
    return value


def _between(low: float, high: float, kind: Callable[[str], T]) -> Callable[[str], T]:
    def read(text: str) -> T:
        value = kind(text)
        if not low <= float(value) <= high:  # type: ignore[arg-type]
            raise ValueError("out of range")
        return value

    return read


_READERS: dict[str, Callable[[str], Any]] = {
    "x": _count,
    "y": _count,
    "channel": _count,
    "kernel": _count,
    "smoothing": _between(0, MOST_SMOOTHING, float),
    "opacity": _between(0, 100, int),
    "brush": _brush,
}


def _to_text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _join(values: list[float]) -> str:
    return ",".join(f"{value:.3f}".rstrip("0").rstrip(".") for value in values)
