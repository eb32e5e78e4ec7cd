"""Where taps land on the image for one pixel: the regular places beside the learnt ones, layer upon layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from icnn_core.errors import ArgumentError
from icnn_viz.figures.maps import draw_cross, draw_photo
from icnn_viz.figures.marks import draw_key
from icnn_viz.figures.panels import AXIS_LEFT, LINE, PanelSheet
from icnn_viz.figures.sheet import MARGIN
from icnn_viz.figures.style import WHITE, slot_colours, use_theme
from icnn_viz.pictures import to_grey
from icnn_viz.records import PixelTaps

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FEW = 25  # places that get a line from the pixel
_MANY = 3000  # points without an outline
_INK, _INK_OF_MANY = 0.16, 0.6  # of a panel that dots cover, at most
_LARGEST = 110.0  # area of a dot in square points


def draw_taps(rows: Sequence[tuple[PixelTaps, PixelTaps]], *, theme: str = "light") -> Figure:
    """The image in grey and a dot where each tap lands: left on regular places, right on learnt ones, a row for one
    layer, one for two, …

    A dot's colour is the slot of the layer nearest to the output, its area the size of the weight, the largest of a
    panel being alike; where single weights are shown it is hollow below zero.

    Args:
        rows: what is shown left and right, of one pixel and image.
        theme: "light" or "dark".

    Returns:
        A figure one page (170 mm) wide.

    Raises:
        ArgumentError: no row, or rows of several pixels or images.
    """
    if not rows or len({(taps.pixel, taps.image.shape) for row in rows for taps in row}) != 1:
        raise ArgumentError(
            "draw_taps", needed="taps of one pixel and image", got="others", fix="Give each its figure."
        )
    first = rows[0][1]
    notes = _explain(rows)
    with use_theme(theme) as look:
        sheet = PanelSheet(2 * len(rows), first.image.shape, LINE * 2, look, columns=2)
        sheet.write_heading(title_of(first), describe_area(first), left=MARGIN)
        grey = to_grey(first.image)
        for row in rows:
            for taps, where in zip(row, ("regular", "learnt"), strict=True):
                ax = sheet.add_panel(name_of(taps, where))
                draw_photo(ax, grey)
                _draw_points(ax, taps)
                draw_cross(ax, taps.pixel, look)
        if len(first.slots) > 1:
            side = 11.0
            box = sheet.width - MARGIN - side, sheet.below_bars + 1.5, side, side
            draw_key(sheet, box, first.slots, look)
        sheet.write_footnote(notes, left=AXIS_LEFT, most=4)
    return sheet.figure


def title_of(taps: PixelTaps) -> str:
    """What is shown, in words."""
    y, x = taps.pixel
    return f"Where the taps of {taps.layers[0]} land for x = {x}, y = {y}"


def describe_area(taps: PixelTaps) -> str:
    """What dots are, in words."""
    what = f"|weight for “{taps.class_name}”|" if taps.class_name else "size of the weight, over all outputs"
    hollow = "; hollow: below zero" if (taps.weight < 0).any() else ""
    return f"colour: slot of {taps.layers[0]} · area: {what}{hollow}"


def name_of(taps: PixelTaps, where: str) -> str:
    """Over a panel."""
    count = len(taps.layers)
    what = "tap" if count == 1 else "point"
    words = f"{where}: {len(taps.at):,} {what}{'s' * (len(taps.at) != 1)}"
    words += f" of {count} layers" if count > 1 else ""
    held = f"{100 * taps.held:.0f} %" if taps.held >= 0.01 else "under 1 %"
    return words + (f", {held} of the weight" if taps.held < 0.995 else "")


def _draw_points(ax: Axes, taps: PixelTaps) -> None:
    from matplotlib.collections import LineCollection
    from matplotlib.colors import to_rgba, to_rgba_array

    y, x = taps.pixel
    spokes = np.unique(taps.regular.round(3), axis=0)
    if len(spokes) <= _FEW and len(taps.layers) == 1:
        lines = [[(x, y), (px, py)] for py, px in spokes]
        ax.add_collection(
            LineCollection(lines, colors=WHITE, linewidths=0.5, alpha=0.7, gid="spokes"), autolim=False
        )
    order = np.argsort(-np.abs(taps.weight), kind="stable")  # the largest lie lowest
    at, weight, many = taps.at[order], taps.weight[order], len(order) > _MANY
    colours = to_rgba_array(slot_colours(taps.slots), 0.5 if many else 0.92)[taps.slot[order]]
    hollow, areas = (weight < 0)[:, None], _areas(ax, weight)
    # A rim hides no small dot's colour:
    rims = np.minimum(np.where(hollow[:, 0], 0.8, 0.4), 0.2 * np.sqrt(areas))
    ax.scatter(
        at[:, 1], at[:, 0], s=areas, c=np.where(hollow, 0.0, colours),
        edgecolors=list(np.where(hollow, colours, to_rgba(WHITE, 0.0 if many else 0.9))),
        linewidths=0 if many else rims.tolist(),
        zorder=4, gid="taps", rasterized=many,
    )  # fmt: skip


def _areas(ax: Axes, weight: np.ndarray) -> np.ndarray:
    """Square points, so that dots together cover no more of the panel than leaves the image to be seen."""
    size = np.abs(weight) / max(np.abs(weight).max(initial=0.0), 1e-300)
    box, figure = ax.get_position(), ax.figure
    wide, tall = figure.get_size_inches()  # type: ignore[union-attr]
    panel = box.width * wide * box.height * tall * 72**2
    ink = (_INK_OF_MANY if len(size) > _MANY else _INK) * panel
    return np.maximum(size * min(_LARGEST, ink / max(size.sum(), 1e-300)), 0.3)


def _explain(rows: Sequence[tuple[PixelTaps, PixelTaps]]) -> str:
    taps = [taps for row in rows for taps in row]
    notes = ["The largest dot of each panel has the weight that is largest there"]
    if len(rows) > 1:
        names = rows[-1][1].layers
        notes.append(f"layers one after another: {' < '.join(names)}")
    if any(one.held < 0.995 for one in taps):
        notes.append("of many points the heaviest are shown, with the share of the weight that they hold")
    beyond = max(one.beyond for one in taps)
    if beyond >= 0.005:
        notes.append(f"up to {100 * beyond:.0f} % of the weight falls into borders of zeros and is not drawn")
    notes += dict.fromkeys(note for one in taps for note in one.notes)
    return "; ".join(notes) + "."
