"""All positions of a layer together, whatever their slots: where they lie, where their weight lies, how far out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from icnn_viz.figures.clouds import count_hidden, describe
from icnn_viz.figures.marks import set_view, view_half_width
from icnn_viz.figures.panels import format_value
from icnn_viz.figures.sheet import Sheet
from icnn_viz.figures.style import Look, use_theme
from icnn_viz.records import PositionCloud

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CELLS = 49
_RINGS = 24


def draw_histogram(cloud: PositionCloud, *, half_width: float | None = None, theme: str = "light") -> Figure:
    """Three panels: positions per px² and shape; the same weighted by |w|, as shares of the layer's whole weight; and
    the radial profile of both: the share of the whole at each distance from the centre.

    Args:
        half_width: of the square views, in input pixels; by default all but far outliers are seen.
    """
    half_width = half_width or _half_width(cloud)
    points, weights = cloud.points.reshape(-1, 2), cloud.point_weights.ravel()
    good = np.isfinite(points).all(-1) & np.isfinite(weights)
    points, weights = points[good], weights[good]
    whole = float(weights.sum())
    edges = np.linspace(-half_width, half_width, _CELLS + 1)
    area = (edges[1] - edges[0]) ** 2
    with use_theme(theme) as look:
        sheet = Sheet(170, 80.5, look)
        names = ("positions", "weighted by |w|")
        for number, mass in enumerate((np.ones(len(points)), weights)):
            counts = np.histogram2d(points[:, 0], points[:, 1], bins=(edges, edges), weights=mass)[0]
            values = 100 * counts / (float(mass.sum()) or 1.0) / area
            left = 11 + number * 54
            ax = sheet.add_axes(left, 22.5, 44, 44)
            image = ax.imshow(values, cmap=look.sequential, vmin=0, vmax=_top(values), interpolation="none",
                              extent=(-half_width, half_width, half_width, -half_width), gid="cells")  # fmt: skip
            set_view(ax, half_width, labels=False)
            ax.grid(False)
            ax.set_title(names[number], loc="left", pad=2.5)
            ax.set_xlabel("x (px from centre)", labelpad=1)
            if number == 0:
                ax.set_ylabel("y (px from centre)", labelpad=1)
            _add_bar(sheet, image, left, values, look)
        profile = sheet.add_axes(126, 22.5, 41, 44)
        _draw_profile(profile, points, weights, half_width, look)
        sheet.write_heading(cloud.layer, _describe(cloud, points, weights), left=4)
        notes = count_hidden(cloud, half_width, limit=None)
        if not whole:
            notes.append("all weights are 0")
        sheet.write_notes(notes, top=5)
    return sheet.figure


def _describe(cloud: PositionCloud, points: np.ndarray, weights: np.ndarray) -> str:
    """What kernel it is, and within which distance half of the positions and of the weight lie."""
    if not len(points):
        return describe(cloud)
    radius = np.hypot(*points.T)
    order = np.argsort(radius)
    share = np.cumsum(weights[order]) / (float(weights.sum()) or 1.0)
    words = f"{describe(cloud)}; half of the positions lie within {np.median(radius):.2g} px of the centre"
    if share[-1] > 0:
        words += f", half of the weight within {radius[order][np.searchsorted(share, 0.5)]:.2g} px"
    return words


def _half_width(cloud: PositionCloud) -> float:
    """As of other figures; slots that are means of points have no step that had to be seen."""
    if cloud.regular:
        return view_half_width([cloud])
    reach = np.abs(cloud.points[np.isfinite(cloud.points).all(-1)]).max(-1, initial=0.0)
    return 1.04 * max(float(np.quantile(reach, 0.995)) if reach.size else 0.0, 0.5)


def _top(values: np.ndarray) -> float:
    """The largest value, unless a few cells stand far above all others: colours then stop lower, the bar says so."""
    some = values[values > 0]
    return min(float(values.max(initial=0.0)), float(np.quantile(some, 0.995)) if some.size else 1.0) or 1.0


def _add_bar(sheet: Sheet, image: object, left: float, values: np.ndarray, look: Look) -> None:
    top = _top(values)
    bar = sheet.figure.colorbar(
        image, cax=sheet.add_axes(left, 11.9, 44, 1.8), orientation="horizontal",  # type: ignore[arg-type]
        extend="max" if values.max(initial=0.0) > top else "neither",
    )  # fmt: skip
    bar.set_ticks([0, top / 2, top], labels=["0", format_value(top / 2), format_value(top)])
    bar.ax.tick_params(labelsize=5.5, length=1.5)
    bar.outline.set_visible(False)  # type: ignore[operator]
    bar.set_label("% of the whole per px²", labelpad=1, fontsize=6, color=look.muted)


def _draw_profile(ax: Axes, points: np.ndarray, weights: np.ndarray, half_width: float, look: Look) -> None:
    """Steps over the distance from the centre; rings that reach out of the square views are counted whole."""
    rings = np.linspace(0, half_width, _RINGS + 1)
    radius, top = np.hypot(*points.T), 0.0
    for mass, colour, line, name in (
        (np.ones(len(points)), look.text, "-", "positions"),
        (weights, look.accent, (0, (4, 1.5)), "weighted by |w|"),
    ):
        counts = np.histogram(radius, rings, weights=mass)[0]
        share = 100 * counts / (float(mass.sum()) or 1.0) / rings[1]
        top = max(top, float(share.max()))
        ax.stairs(
            share, rings, color=colour, linestyle=line, linewidth=1.0, label=name, gid=f"profile {name}"
        )
    ax.set(xlim=(0, half_width), xlabel="distance from centre (px)")
    ax.set_ylim(0, 1.28 * top or 1.0)  # the legend lies above
    ax.set_title("% of the whole per px", loc="left", pad=2.5)
    ax.grid(True, axis="y")
    ax.legend(loc="upper right", borderpad=0.1)
