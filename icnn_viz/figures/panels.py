"""Sheets of equal panels over the pixels of an image: where each lies, its frame, its title, its colour bar."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from icnn_viz.figures.maps import HeatScale
from icnn_viz.figures.sheet import CHARACTER, MARGIN, WIDTH, Sheet
from icnn_viz.figures.style import Look, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize

AXIS_LEFT, AXIS_BELOW = 12.0, 7.0
BAR = 15.0
LINE = 3.7
_GAP = 4.0
_TITLE = 7.5
_HEADING = 10.0
_MOST_HEIGHT = 160.0
NARROW = 120.0
"""Sheets of fewer mm have two columns of panels, and colour bars one below the other."""
_ROW_WIDTH, _ROW_HEIGHT = 28.0, 14.0  # the least of a panel in a single row


@dataclass(frozen=True)
class _Layout:
    """Rows of panels, downwards from the heading; in mm."""

    columns: int
    rows: int
    panel_width: float
    panel_height: float
    above: float = 0.0

    @property
    def bars_top(self) -> float:
        """From the upper edge to the colour bars."""
        return _HEADING + self.above + self.rows * (self.panel_height + _TITLE) + AXIS_BELOW


class PanelSheet(Sheet):
    """A sheet with a heading, panels over an image, colour bars below them, and room for text.

    Args:
        panels: how many; they are added row by row.
        shape: (height, width) of the image.
        below: room in mm for text below the colour bars.
        columns: None takes the number that gives large panels on a page that is not much longer.
        row: all panels beside each other, if they stay large enough to be read.
        width: of the sheet, in mm.
        above: room in mm between the heading and the panels.
    """

    def __init__(
        self,
        panels: int,
        shape: tuple[int, ...],
        below: float,
        look: Look,
        columns: int | None = None,
        *,
        row: bool = False,
        width: float = WIDTH,
        above: float = 0.0,
    ) -> None:
        self._layout = _choose_layout(panels, (shape[0], shape[1]), columns, width, above, row=row)
        self._panels, self._shape = panels, (shape[0], shape[1])
        self._bars, self._lefts = 0, list[float]()
        self._bar = 2 * BAR if width < NARROW else BAR + LINE * (self._layout.rows == 1)
        super().__init__(width, self._layout.bars_top + self._bar + below, look)

    @property
    def below_bars(self) -> float:
        """Where, in mm from the lower edge, the room for text begins."""
        return self.height - self._layout.bars_top - self._bar

    def add_panel(self, title: str, colour: str | None = None) -> Axes:
        """The next panel, its title in `colour`: axes over the pixels, named where nothing lies left of it or below."""
        from matplotlib.ticker import MaxNLocator

        layout, number = self._layout, len(self._lefts)
        row, column = divmod(number, layout.columns)
        wide, tall = layout.panel_width, layout.panel_height
        used = layout.columns * wide + (layout.columns - 1) * _GAP
        left = AXIS_LEFT + (self.width - AXIS_LEFT - MARGIN - used) / 2 + column * (wide + _GAP)
        self._lefts.append(left)
        ax = self.add_axes(
            left, self.height - _HEADING - layout.above - (row + 1) * (tall + _TITLE), wide, tall
        )
        height, width = self._shape
        ax.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
        for axis, size in ((ax.xaxis, wide), (ax.yaxis, tall)):
            axis.set_major_locator(MaxNLocator(max(1, int(size / 14)), steps=[1, 2, 5, 10], integer=True))
        for spine in ax.spines.values():
            spine.set_visible(False)
        if column == 0:
            ax.set_ylabel("y (pixels)", labelpad=1)
        else:
            ax.tick_params(left=False, labelleft=False)
        if number + layout.columns >= self._panels:
            ax.set_xlabel("x (pixels)", labelpad=1)
        else:
            ax.tick_params(bottom=False, labelbottom=False)
        room = max(8, int(wide / (CHARACTER * 7.5 / 7)))
        lines = textwrap.wrap(shorten(title, 2 * room - 4), room)[:2]
        ax.set_title("\n".join(lines), pad=2.5, loc="left", linespacing=1.05, color=colour or self.look.text)
        return ax

    def add_colour_bar(
        self, norm: Normalize, cmap: str, scale: HeatScale, name: str, under: tuple[int, int] | None = None
    ) -> None:
        """The next of two colour bars: name and unit of its values; with a `signed_norm` symmetric about 0.

        Args:
            under: first and last of the panels that it belongs to, below which it lies where all are in one row.
        """
        from matplotlib.cm import ScalarMappable

        left, room, down = self._bar_place(under)
        self._bars += 1
        signed = (norm.vmin or 0) < 0
        bar = self.figure.colorbar(
            ScalarMappable(norm, cmap),
            cax=self.add_axes(left, self.height - self._layout.bars_top - 4.4 - down, room, 2.4),
            orientation="horizontal",
            extend=("both" if signed else "max") if scale.beyond else "neither",
            extendfrac=0.03,
        )
        ends_at = (1, 0.25) if signed else (1, 0.25, 0.0625) if scale.gamma < 1 else (1, 0.75, 0.5, 0.25)
        ticks = [0.0, *(scale.top * part for part in ends_at)]
        ticks = sorted({*ticks, *(-tick for tick in ticks[1:])} if signed else ticks)
        power = 0 if 0.01 <= scale.top < 10_000 else int(f"{scale.top:e}".partition("e")[2])
        labels = [format_value(tick / 10.0**power) for tick in ticks]
        if CHARACTER * sum(map(len, labels)) + 3 * len(labels) > room:
            kept = [n for n, tick in enumerate(ticks) if abs(tick) in (0, scale.top)]
            ticks, labels = [ticks[n] for n in kept], [labels[n] for n in kept]
        bar.set_ticks(ticks, labels=labels)
        bar.ax.minorticks_off()
        bar.outline.set_linewidth(0.4)  # type: ignore[operator]
        bar.outline.set_edgecolor(self.look.muted)  # type: ignore[operator]
        label = f"{name} ({_ten_to(power) + ' ' if power else ''}{scale.unit})"
        lines = textwrap.wrap(label, max(12, int((room + 6) / CHARACTER)))
        bar.set_label("\n".join(lines[:2]), labelpad=1.5, linespacing=1.1)

    def _bar_place(self, under: tuple[int, int] | None) -> tuple[float, float, float]:
        """Left edge, width, and how far below the first bar, in mm."""
        layout = self._layout
        if self.width < NARROW:
            return AXIS_LEFT + 3, self.width - AXIS_LEFT - MARGIN - 12, self._bars * BAR
        if under and layout.rows == 1:
            first, last = (self._lefts[number] for number in under)
            return first + 3, last + layout.panel_width - first - 6, 0.0
        room = (self.width - AXIS_LEFT - MARGIN - 6) / 2
        return AXIS_LEFT + 3 + self._bars * room, room - 11, 0.0


def _choose_layout(
    panels: int, shape: tuple[int, int], columns: int | None, sheet: float, above: float, *, row: bool
) -> _Layout:
    ratio = shape[0] / shape[1]
    layouts = []
    room = sheet - AXIS_LEFT - MARGIN
    if row:
        wide = min((room - (panels - 1) * _GAP) / panels, (_MOST_HEIGHT - _TITLE) / ratio)
        if wide >= _ROW_WIDTH and wide * ratio >= _ROW_HEIGHT:
            columns = panels
    for count in [columns] if columns else range(1, panels + 1):
        rows = -(-panels // count)
        if panels % count and panels <= 4:
            continue  # no holes in a small page
        width = (room - (count - 1) * _GAP) / count
        width = min(width, (_MOST_HEIGHT / rows - _TITLE) / ratio)
        layouts.append(_Layout(count, rows, width, width * ratio, above))
    return max(layouts, key=lambda layout: layout.panel_width / (layout.bars_top + BAR) ** 0.5)


def format_value(value: float) -> str:
    """A number in three significant digits, or whole from 100 on, short enough for a table."""
    if value != value:
        return "–"
    if value in (float("inf"), float("-inf")):
        return "∞" if value > 0 else "−∞"
    if value and not 1e-3 <= abs(value) < 1e7:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa}·{_ten_to(int(exponent))}".replace("-", "−")
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return text.replace("-", "−")


def format_alike(values: Sequence[float]) -> list[str]:
    """Numbers of one row or column to one precision: that of `format_value` for the largest of them."""
    sizes = [abs(value) for value in values if abs(value) < float("inf")]
    largest = max(sizes, default=0.0)
    if not 1e-3 <= largest < 1e7:
        return [format_value(value) for value in values]
    whole = all(float(size).is_integer() for size in sizes)
    decimals = 0 if whole else max(0, 2 - int(f"{largest:.2e}".partition("e")[2]))
    return [
        f"{value:,.{decimals}f}".replace("-", "−") if abs(value) < float("inf") else format_value(value)
        for value in (value + 0.0 if round(value, decimals) else 0.0 for value in values)
    ]


def _ten_to(power: int) -> str:
    return "10" + str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
