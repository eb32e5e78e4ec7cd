"""A small table of measures at the foot of a sheet of panels: a row per measure, a column per network."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from icnn_viz.figures.panels import AXIS_LEFT, LINE, PanelSheet
from icnn_viz.figures.sheet import CHARACTER, MARGIN, WIDTH
from icnn_viz.figures.style import shorten

_NAMES = 58.0  # mm of the first column
_MOST = 49.0
_BOLD = 1.15  # width of bold letters
_HEADER_LINES = 3


def table_height(rows: Sequence[Sequence[str]], models: Sequence[str]) -> float:
    """Room in mm that `write_table` takes, with a little space below."""
    return (len(rows) + 0.8 + max(len(header) for header in _headers(models))) * LINE


def write_table(sheet: PanelSheet, rows: Sequence[Sequence[str]], models: Sequence[str]) -> None:
    """Write it below the colour bars: each row a name and one value per network, the networks' names above."""
    top, step = sheet.below_bars, _step(models)
    rights = [AXIS_LEFT + _NAMES + step * (i + 1) for i in range(len(models))]
    headers = _headers(models)
    deep = max(len(header) for header in headers)
    for right, header in zip(rights, headers, strict=True):
        for number, line in enumerate(header, deep - len(header)):
            sheet.write(right, top - number * (LINE - 0.5), line, va="top", ha="right", fontweight="bold")
    for number, row in enumerate(rows):
        y = top - (deep + number) * LINE
        sheet.rule(AXIS_LEFT, rights[-1], y + 0.35)
        sheet.write(AXIS_LEFT, y, row[0], va="top")
        for right, text in zip(rights, row[1:], strict=True):
            sheet.write(right, y, text, va="top", ha="right")


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
