"""Which measures of a pixel are shown, how they are written; and their table at the foot of a sheet of panels."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from icnn_viz.figures.panels import AXIS_LEFT, LINE, PanelSheet, format_alike
from icnn_viz.figures.sheet import CHARACTER, MARGIN, WIDTH
from icnn_viz.figures.style import shorten
from icnn_viz.heatmaps import MEASURES
from icnn_viz.records import PixelComparison

_IN_FILES_ALONE = ("area_99", "extent_major", "extent_minor", "orientation", "pointing_game")
_NAMES = 58.0  # mm of the first column
_MOST = 49.0
_BOLD = 1.15  # width of bold letters
_HEADER_LINES = 3


@dataclass(frozen=True)
class MeasureRow:
    """A line of a pixel's table.

    Attributes:
        name: its key in files.
        words, unit: what a reader is told; the unit may be "".
        values: one per network, NaN where a network has none.
    """

    name: str
    words: str
    unit: str
    values: tuple[float | str, ...]

    @property
    def title(self) -> str:
        """Words and unit."""
        return f"{self.words} ({self.unit})" if self.unit else self.words

    @property
    def texts(self) -> list[str]:
        """The values as they are written everywhere: numbers to as many decimals as each other."""
        numbers = iter(format_alike([value for value in self.values if not isinstance(value, str)]))
        return [value if isinstance(value, str) else next(numbers) for value in self.values]


def measure_rows(record: PixelComparison) -> list[MeasureRow]:
    """The measures of a pixel that are shown, everywhere: those of `MEASURES` that any of its networks has, in their
    order, but for the few that stand in files alone.
    """
    return [
        MeasureRow(name, *MEASURES[name], tuple(found.get(name, float("nan")) for found in record.measures))
        for name in MEASURES
        if name not in _IN_FILES_ALONE and any(name in found for found in record.measures)
    ]


def answer_rows(record: PixelComparison) -> list[MeasureRow]:
    """What stands above the measures: what each network predicts at the pixel, and the logit that was followed."""
    predicted = tuple(gradient.predicted_name for gradient in record.gradients)
    logits = tuple(gradient.logit for gradient in record.gradients)
    return [
        MeasureRow("predicted", "class predicted", "", predicted),
        MeasureRow(
            "logit", "difference of logits" if record.gradients[0].against_name else "logit", "", logits
        ),
    ]


def table_height(rows: Sequence[Sequence[str]], networks: Sequence[str]) -> float:
    """Room in mm that `write_table` takes, with a little space below."""
    return (len(rows) + 0.8 + max(len(header) for header in wrap_names(networks, _step(networks)))) * LINE


def write_table(sheet: PanelSheet, rows: Sequence[Sequence[str]], networks: Sequence[str]) -> None:
    """Write it below the colour bars: each row a name and one value per network, the networks' names above."""
    top, step = sheet.below_bars, _step(networks)
    rights = [AXIS_LEFT + _NAMES + step * (i + 1) for i in range(len(networks))]
    headers = wrap_names(networks, _step(networks))
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


def wrap_names(networks: Sequence[str], step: float) -> list[list[str]]:
    """Bold names over columns of `step` mm, in lines that break between words; one too long is cut in its middle."""
    room = max(4, int((step - 2) / (_BOLD * CHARACTER)))
    headers = []
    for network in networks:
        lines = textwrap.wrap(network, room)
        if len(lines) > _HEADER_LINES:
            lines = textwrap.wrap(shorten(network, _HEADER_LINES * room - 3), room)[:_HEADER_LINES]
        headers.append(lines)
    return headers


def _step(networks: Sequence[str]) -> float:
    return min(_MOST, (WIDTH - MARGIN - AXIS_LEFT - _NAMES) / len(networks))
