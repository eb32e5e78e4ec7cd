"""A few measures of a pixel at the foot of a comparison: a dot a network on one axis, joined, and its value."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from icnn_viz.figures.measure_table import MeasureRow, wrap_names
from icnn_viz.figures.panels import LINE, NARROW, PanelSheet
from icnn_viz.figures.sheet import CHARACTER, MARGIN

MOST = 4
_PREFERRED = (
    "energy_in_object",
    "object_used",
    "area_90",
    "radius_of_gyration",
    "half_energy_radius",
    "gini",
)
_MARKERS = "oosD^v"
_GAP = 4.0
_WIDEST = 22.0  # mm of a column of values


def choose_rows(rows: Sequence[MeasureRow]) -> list[MeasureRow]:
    """The four that are drawn: what the paper's two claims are about, area and radius; without labels others."""
    found = {row.name: row for row in rows}
    return [found[name] for name in _PREFERRED if name in found][:MOST]


@dataclass(frozen=True)
class _Columns:
    """Widths in mm; on a narrow sheet names have lines of their own."""

    names: float
    dots: float
    values: float
    own_line: bool

    def wrap(self, row: MeasureRow) -> list[str]:
        return textwrap.wrap(row.title, int((self.names - 2) / CHARACTER))

    def tall(self, row: MeasureRow) -> float:
        return (len(self.wrap(row)) + self.own_line) * LINE + 0.6


def dumbbells_height(width: float, left: float, rows: Sequence[MeasureRow], networks: Sequence[str]) -> float:
    """Room in mm that `write_dumbbells` takes on a sheet of `width` mm."""
    columns = _lay_out(width, left, len(networks))
    deep = max(len(header) for header in wrap_names(networks, columns.values))
    return (deep + 0.8) * LINE + sum(map(columns.tall, rows))


def write_dumbbells(
    sheet: PanelSheet,
    left: float,
    rows: Sequence[MeasureRow],
    networks: Sequence[str],
    colours: Sequence[str],
) -> None:
    """Below the colour bars: each row a measure, its dots on an axis from 0, and the values by network."""
    columns = _lay_out(sheet.width, left, len(networks))
    start = left + columns.names * (not columns.own_line) + columns.dots + _GAP
    rights = [start + columns.values * (number + 1) for number in range(len(networks))]
    headers, y = wrap_names(networks, columns.values), sheet.below_bars
    deep = max(len(header) for header in headers)
    for right, header, colour in zip(rights, headers, colours, strict=True):
        for number, line in enumerate(header, deep - len(header)):
            at = y - number * (LINE - 0.5)
            sheet.write(right, at, line, va="top", ha="right", fontweight="bold", color=colour)
    y -= deep * LINE
    for row in rows:
        tall = columns.tall(row)
        sheet.rule(left, rights[-1], y + 0.35)
        sheet.write(left, y - 0.3, "\n".join(columns.wrap(row)), va="top", linespacing=1.15)
        down = LINE * len(columns.wrap(row)) if columns.own_line else 0.0
        if len(networks) > 1:
            box = start - _GAP - columns.dots, y - tall + 0.4, columns.dots, tall - down - 0.8
            _draw(sheet, box, row, colours)
        for right, text in zip(rights, row.texts, strict=True):
            sheet.write(right, y - 0.3 - down, text, va="top", ha="right")
        y -= tall


def _lay_out(width: float, left: float, count: int) -> _Columns:
    room, narrow = width - MARGIN - left, width < NARROW
    share = 0.56 if narrow else 0.34 if count < 3 else 0.48
    values = min(_WIDEST, share * room / count)
    rest = room - values * count - _GAP
    if narrow:
        return _Columns(room, rest, values, own_line=True)
    return _Columns(0.6 * rest, 0.4 * rest, values, own_line=False)


def _draw(
    sheet: PanelSheet, box: tuple[float, float, float, float], row: MeasureRow, colours: Sequence[str]
) -> None:
    """The dots of a row on an axis from 0 at the left edge of a box of mm."""
    from matplotlib.lines import Line2D

    values = np.array([value if isinstance(value, float | int) else np.nan for value in row.values], float)
    known = values[np.isfinite(values)]
    top = 1.0 if row.unit == "share" and known.max(initial=0) > 0.5 else 1.08 * known.max(initial=0.0) or 1.0
    left, bottom, width, height = box
    middle = bottom + height / 2

    def add(xs: Sequence[float], ys: Sequence[float], zorder: float, **style: Any) -> None:
        at = [x / sheet.width for x in xs], [y / sheet.height for y in ys]
        sheet.figure.add_artist(Line2D(*at, zorder=zorder, **style))

    add([left] * 2, [bottom, bottom + height], 2.5, color=sheet.look.muted, linewidth=0.6)
    add([left, left + width], [middle] * 2, 1, color=sheet.look.muted, linewidth=0.3)
    places = (left + width * values / top).tolist()
    if np.isfinite(values[:2]).all():
        style = {"linewidth": 1.6, "alpha": 0.45, "solid_capstyle": "butt"}
        add(places[:2], [middle] * 2, 2, color=colours[0], **style)
    for number in range(len(values) - 1, -1, -1):
        colour = colours[number]
        style = {"markeredgecolor": colour, "markeredgewidth": 1.1, "linestyle": "none", "gid": row.name}
        style["marker"] = _MARKERS[number % len(_MARKERS)]
        style["markersize"] = 4.4 if number < 2 else 3.2
        style["markerfacecolor"] = "none" if number == 1 else colour
        add([places[number]], [middle], 4 if number < 2 else 3, **style)
