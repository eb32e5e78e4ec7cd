"""A small table of measures at the foot of a page of panels: a row per measure, a column per network."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from icnn_viz.figures.panels import AXIS_LEFT, BAR, CHARACTER, LINE, MARGIN, WIDTH, Page
from icnn_viz.figures.style import Look, shorten

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NAMES = 58.0  # mm of the first column
_MOST = 49.0
_BOLD = 1.15  # width of bold letters
_HEADER_LINES = 3


def table_height(rows: Sequence[Sequence[str]], models: Sequence[str]) -> float:
    """Room in mm that `write_table` takes, with a little space below."""
    return (len(rows) + 0.8 + max(len(header) for header in _headers(models))) * LINE


def write_table(
    figure: Figure, page: Page, rows: Sequence[Sequence[str]], models: Sequence[str], look: Look
) -> None:
    """Write it below the colour bars: each row a name and one value per network, the networks' names above."""
    top = page.bars_top + BAR
    step = _step(models)
    rights = [AXIS_LEFT + _NAMES + step * (i + 1) for i in range(len(models))]
    headers = _headers(models)
    deep = max(len(header) for header in headers)
    for right, header in zip(rights, headers, strict=True):
        for number, line in enumerate(header, deep - len(header)):
            write_text(figure, page, right, top + number * (LINE - 0.5), line, ha="right", fontweight="bold")
    for number, row in enumerate(rows):
        y = top + (deep + number) * LINE
        _rule(figure, page, AXIS_LEFT, rights[-1], y - 0.35, look)
        write_text(figure, page, AXIS_LEFT, y, row[0])
        for right, text in zip(rights, row[1:], strict=True):
            write_text(figure, page, right, y, text, ha="right")


def write_text(figure: Figure, page: Page, left: float, top: float, text: str, **style: object) -> None:
    """Text whose upper left corner (or right, with `ha`) lies so many mm from the page's."""
    x, y, _, _ = page.box(left, top, 0, 0)
    figure.text(x, y, text, va="top", **style)  # type: ignore[arg-type]


def _step(models: Sequence[str]) -> float:
    return min(_MOST, (WIDTH - MARGIN - AXIS_LEFT - _NAMES) / len(models))


def _headers(models: Sequence[str]) -> list[list[str]]:
    """Names in lines that break between words; a name too long for them is shortened in its middle."""
    room = int((_step(models) - 2) / (_BOLD * CHARACTER))
    headers = []
    for model in models:
        lines = textwrap.wrap(model, room)
        if len(lines) > _HEADER_LINES:
            lines = textwrap.wrap(shorten(model, _HEADER_LINES * room - 3), room)[:_HEADER_LINES]
        headers.append(lines)
    return headers


def _rule(figure: Figure, page: Page, left: float, right: float, top: float, look: Look) -> None:
    from matplotlib.lines import Line2D

    start, end = page.box(left, top, 0, 0), page.box(right, top, 0, 0)
    figure.add_artist(Line2D([start[0], end[0]], [start[1], end[1]], color=look.grid, linewidth=0.5))
