"""Draws docs/images/concepts-light.svg and -dark.svg: run `python docs/drawings.py`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from icnn_viz.figures.sheet import Sheet
from icnn_viz.figures.style import Look, slot_colours, use_theme
from icnn_viz.figures.write import write_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SLOTS = np.array([(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)], float)
SHARINGS = (
    ("layer", "one shape for all"),
    ("channel", "one per\ninput channel"),
    ("none", "one per kernel\nand channel"),
)
_SIZE = 46.0  # mm of a panel


def main() -> None:
    """Write both themes beside this file."""
    for theme in ("light", "dark"):
        with use_theme(theme) as look:
            write_figure(draw_concepts(look), Path(__file__).parent / "images" / f"concepts-{theme}.svg")


def draw_concepts(look: Look) -> Figure:
    """A kernel on the pixel grid, a weight between four pixels, and who shares a shape."""
    sheet = Sheet(170, 63, look)
    for number, title in enumerate(
        ("A  slots and positions", "B  between four pixels", "C  who shares a shape")
    ):
        sheet.write(4 + number * 57, 60, title, fontsize=7.5, weight="bold", va="top")
    _draw_kernel(sheet.add_axes(4, 9, _SIZE, _SIZE), look)
    _draw_neighbours(sheet.add_axes(61, 9, _SIZE, _SIZE), look)
    for row, (sharing, words) in enumerate(SHARINGS):
        _draw_sharing(sheet.add_axes(141, 41.6 - row * 16.4, 26, 13.6), sharing, look)
        sheet.write(118, 50.4 - row * 16.4, f"“{sharing}”", fontsize=7, weight="bold", va="center")
        sheet.write(118, 47 - row * 16.4, words, fontsize=6, color=look.muted, va="top")
    style = {"fontsize": 6, "color": look.muted, "va": "top", "linespacing": 1.3}
    sheet.write(
        4, 7.6, "3×3, dilation 2. + slots, ● positions,\n· pixels; the ring is the kernel's centre", **style
    )
    sheet.write(
        61, 7.6, "grey: share of each pixel in the value read\ndashed: where the next step may lead", **style
    )
    sheet.write(141, 7.6, "across: input channels\ndown: kernels", **style)
    return sheet.figure


def _draw_kernel(ax: Axes, look: Look) -> None:
    """Slots at dilation 2 on the pixel grid, and where the weights went."""
    slots = 2 * SLOTS
    moves = np.array(
        [
            (-0.6, 0.9),
            (-1.3, 0.2),
            (-0.3, -0.7),
            (0.5, -0.8),
            (0.2, 0.3),
            (-0.9, 0.5),
            (0.8, 0.7),
            (1.2, -0.3),
            (0.4, 0.6),
        ]
    )
    pixels = np.arange(-4, 5)
    ax.plot(*np.meshgrid(pixels, pixels), ".", color=look.muted, markersize=1.8, alpha=0.7)
    for slot, move, colour in zip(slots, moves, slot_colours(slots), strict=True):
        place = slot + move
        ax.annotate(
            "",
            (place[1], place[0]),
            (slot[1], slot[0]),
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 1.0, "shrinkA": 0, "shrinkB": 0},
        )
        ax.plot(slot[1], slot[0], "+", color=colour, markersize=7, markeredgewidth=1.3)
        ax.plot(place[1], place[0], "o", color=colour, markersize=5, markeredgecolor=look.background)
    ax.plot(0, 0, "o", markersize=11, markerfacecolor="none", markeredgecolor=look.text, markeredgewidth=0.7)
    _frame(ax, 4.4)


def _draw_neighbours(ax: Axes, look: Look) -> None:
    """One position in the cell of four pixel centres, their shares, and the bound of the next step."""
    y, x = 0.3, 0.65
    for row in range(-1, 3):
        for column in range(-1, 3):
            share = max(0.0, 1 - abs(y - row)) * max(0.0, 1 - abs(x - column))
            ax.add_patch(_square(column - 0.5, row - 0.5, 1, look.muted, fill=share))
            ax.plot(column, row, ".", color=look.text if share else look.muted, markersize=3)
            if share:
                words = f"{share:.0%}".replace("%", " %")
                ax.text(
                    column, row - 0.22 if row < 1 else row + 0.26, words, ha="center", va="center", fontsize=7
                )
    margin = 0.1
    ax.add_patch(_square(-margin, -margin, 1 + 2 * margin, look.accent, dashed=True))
    ax.plot(x, y, "o", color=look.accent, markersize=7, markeredgecolor=look.background)
    ax.set(xlim=(-1.53, 2.53), ylim=(2.53, -1.53))
    _bare(ax)


def _draw_sharing(ax: Axes, sharing: str, look: Look) -> None:
    """Small shapes of two kernels (rows) over three channels (columns): the same ones where they are shared."""
    for row in range(2):
        for column in range(3):
            seed = {"layer": 0, "channel": column, "none": 3 * row + column}[sharing]
            move = np.random.default_rng(seed + 8).uniform(-0.7, 0.7, size=SLOTS.shape)
            points = SLOTS + move
            centre = np.array([row * 4.2, column * 4.2])
            colours = slot_colours(SLOTS)
            ax.scatter(points[:, 1] + centre[1], points[:, 0] + centre[0], s=3.4, c=colours, linewidths=0)
            ax.add_patch(_square(centre[1] - 1.95, centre[0] - 1.95, 3.9, look.muted))
    ax.set(xlim=(-2.2, 10.6), ylim=(6.3, -2.1))
    _bare(ax)


def _square(x: float, y: float, side: float, colour: str, *, fill: float = 0.0, dashed: bool = False):
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Rectangle

    style = {"linewidth": 1.1, "linestyle": (0, (3, 2))} if dashed else {"linewidth": 0.5}
    return Rectangle((x, y), side, side, facecolor=to_rgba(colour, 0.75 * fill), edgecolor=colour, **style)


def _frame(ax: Axes, half: float) -> None:
    ax.set(xlim=(-half, half), ylim=(half, -half))
    _bare(ax)


def _bare(ax: Axes) -> None:
    ax.set_aspect("equal")
    ax.axis("off")


if __name__ == "__main__":
    main()
