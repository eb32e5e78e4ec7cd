"""Pages of equal panels over the pixels of an image: where each lies, its frame, its title, its colour bar. In mm."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from icnn_viz.figures.maps import HeatScale
from icnn_viz.figures.style import MM, PAGE, Look, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

WIDTH = PAGE / MM
MARGIN = 3.0
AXIS_LEFT, AXIS_BELOW = 12.0, 7.0
GAP = 4.0
TITLE = 7.5
HEADING = 10.0
BAR = 15.0
LINE = 3.7
MOST_HEIGHT = 160.0
CHARACTER = 1.42  # mm of a letter of 7 pt, on average and rounded up

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Page:
    """A heading, rows of panels, colour bars, and room for text, downwards."""

    columns: int
    rows: int
    panel_width: float
    panel_height: float
    below: float

    @property
    def height(self) -> float:
        """Of the whole page, in mm."""
        return self.bars_top + BAR + self.below

    @property
    def bars_top(self) -> float:
        return HEADING + self.rows * (self.panel_height + TITLE) + AXIS_BELOW

    def box(self, left: float, top: float, width: float, height: float) -> Box:
        """A box given in mm from the upper left corner, as matplotlib wants it."""
        return (left / WIDTH, 1 - (top + height) / self.height, width / WIDTH, height / self.height)

    def panel(self, number: int) -> Box:
        """The box of a panel, counted row by row."""
        row, column = divmod(number, self.columns)
        used = self.columns * self.panel_width + (self.columns - 1) * GAP
        left = AXIS_LEFT + (WIDTH - AXIS_LEFT - MARGIN - used) / 2 + column * (self.panel_width + GAP)
        return self.box(
            left, HEADING + TITLE + row * (self.panel_height + TITLE), self.panel_width, self.panel_height
        )

    def bar(self, number: int, count: int = 2) -> Box:
        """The box of one of `count` colour bars side by side."""
        room = (WIDTH - AXIS_LEFT - MARGIN - 6) / count
        return self.box(AXIS_LEFT + 3 + number * room, self.bars_top + 2.0, room - 11, 2.4)


def fit_page(panels: int, shape: tuple[int, int], below: float, columns: int | None = None) -> Page:
    """The number of columns that gives large panels of an image (height, width) on a page that is not much longer.

    Args:
        below: room in mm for text below the colour bars.
        columns: the number of columns, if it is given.
    """
    ratio = shape[0] / shape[1]
    pages = []
    for count in [columns] if columns else range(1, panels + 1):
        rows = -(-panels // count)
        if panels % count and panels <= 4:
            continue  # no holes in a small page
        width = (WIDTH - AXIS_LEFT - MARGIN - (count - 1) * GAP) / count
        width = min(width, (MOST_HEIGHT / rows - TITLE) / ratio)
        pages.append(Page(count, rows, width, width * ratio, below))
    return max(pages, key=lambda page: page.panel_width / page.height**0.5)


def add_panel(
    figure: Figure, page: Page, number: int, panels: int, shape: tuple[int, int], title: str
) -> Axes:
    """Axes over the pixels of an image, named where nothing lies to the left or below."""
    from matplotlib.ticker import MaxNLocator

    ax = figure.add_axes(page.panel(number))
    ax.set(xlim=(-0.5, shape[1] - 0.5), ylim=(shape[0] - 0.5, -0.5))
    for axis, size in ((ax.xaxis, page.panel_width), (ax.yaxis, page.panel_height)):
        axis.set_major_locator(MaxNLocator(max(1, int(size / 14)), steps=[1, 2, 5, 10], integer=True))
    for spine in ax.spines.values():
        spine.set_visible(False)
    if number % page.columns == 0:
        ax.set_ylabel("y (pixels)", labelpad=1)
    else:
        ax.tick_params(left=False, labelleft=False)
    if number + page.columns >= panels:
        ax.set_xlabel("x (pixels)", labelpad=1)
    else:
        ax.tick_params(bottom=False, labelbottom=False)
    room = max(8, int(page.panel_width / CHARACTER))
    lines = textwrap.wrap(shorten(title, 2 * room - 4), room)[:2]
    ax.set_title("\n".join(lines), pad=2.5, loc="left", linespacing=1.05)
    return ax


def add_colour_bar(
    figure: Figure, box: Box, norm: Normalize, cmap: str, scale: HeatScale, name: str, look: Look
) -> None:
    """A horizontal colour bar with the name and unit of its values; with a `signed_norm` it is symmetric about 0."""
    from matplotlib.cm import ScalarMappable

    signed = (norm.vmin or 0) < 0
    ends = ("both" if signed else "max") if scale.beyond else "neither"
    place, colours = figure.add_axes(box), ScalarMappable(norm, cmap)
    bar = figure.colorbar(colours, cax=place, orientation="horizontal", extend=ends, extendfrac=0.03)
    ends_at = (1, 0.25) if signed else (1, 0.25, 0.0625) if scale.gamma < 1 else (1, 0.75, 0.5, 0.25)
    ticks = [0.0, *(scale.top * part for part in ends_at)]
    ticks = sorted({*ticks, *(-tick for tick in ticks[1:])} if signed else ticks)
    power = 0 if 0.01 <= scale.top < 10_000 else int(f"{scale.top:e}".partition("e")[2])
    bar.set_ticks(ticks, labels=[format_value(tick / 10.0**power) for tick in ticks])
    bar.ax.minorticks_off()
    bar.outline.set_linewidth(0.4)  # type: ignore[operator]
    bar.outline.set_edgecolor(look.muted)  # type: ignore[operator]
    bar.set_label(f"{name} ({_ten_to(power) + ' ' if power else ''}{scale.unit})", labelpad=1.5)


def format_value(value: float) -> str:
    """A number in at most three significant digits, short enough for a table."""
    if value != value:
        return "–"
    if value in (float("inf"), float("-inf")):
        return "∞" if value > 0 else "−∞"
    if value and not 1e-3 <= abs(value) < 1e5:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa}·{_ten_to(int(exponent))}".replace("-", "−")
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return text.replace("-", "−")


def _ten_to(power: int) -> str:
    return "10" + str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
