"""The displacement field of a layer: from every slot to its centre, and on to the points."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from icnn_viz.figures.clouds import count_hidden, describe
from icnn_viz.figures.marks import draw_key, draw_slots, emphasise, make_ellipse, set_view, view_half_width
from icnn_viz.figures.sheet import Sheet
from icnn_viz.figures.style import Look, slot_colours, use_theme
from icnn_viz.records import GaussianFit, PositionCloud
from icnn_viz.statistics.centres import centre_region

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RAYS = 250
"""Shapes whose rays are drawn; more are thinned, and the figure says so."""
FEWEST = 10
"""Points of a slot whose centre gets a region: that of a few reaches over all other slots."""


def draw_field(
    cloud: PositionCloud, fit: GaussianFit, *, theme: str = "light", half_width: float | None = None
) -> Figure:
    """Two panels of the same slots. Left, at true scale: slot, centre, and a ray from it to every point. Right: an
    arrow from each slot towards its centre, longer by a factor that the figure states, its true length beside it, and
    the 95 % confidence region of the centre at the same factor, where a slot has `FEWEST` points.

    Args:
        fit: the cloud's Gaussians, whose means are the centres.
        half_width: of the square view on the left, in input pixels.
    """
    half_width = half_width or view_half_width([cloud])
    factor = _choose_factor(cloud, fit)
    with use_theme(theme) as look:
        sheet = Sheet(170, 94, look)
        left, right = sheet.add_axes(12, 17, 62, 62), sheet.add_axes(90, 17, 62, 62)
        _draw_rays(left, cloud, fit, look)
        _draw_arrows(right, cloud, fit, factor, look)
        left.set_title("slot, centre, points", loc="left")
        right.set_title(f"slot to centre, ×{factor:g}", loc="left")
        set_view(left, half_width)
        set_view(right, _arrows_reach(cloud, fit, factor))
        draw_key(sheet.add_axes(154, 69, 12, 9), cloud.slots, look)
        sheet.write_heading(cloud.layer, describe(cloud))
        notes = ["numbers: distance from slot to centre in px"]
        some = len(_with_region(fit)) > 0
        notes.append(
            "ellipses: 95 % region of the centre" if some else f"regions of centres: from {FEWEST} shapes on"
        )
        if len(cloud.points) > RAYS:
            notes.append(f"rays of {RAYS} of {len(cloud.points):,} shapes")
        sheet.write_notes(notes + count_hidden(cloud, half_width, limit=None), top=6.5)
    return sheet.figure


def _choose_factor(cloud: PositionCloud, fit: GaussianFit) -> float:
    """A round factor, at least 1: the longest arrow about 0.6 grid spacings, the largest region's radius 0.4."""
    move = (fit.mean - cloud.slots)[fit.count > 0]
    longest = float(np.hypot(move[:, 0], move[:, 1]).max(initial=0.0))
    regions = [
        centre_region(int(fit.count[slot])) * float(fit.axes()[0][slot, 0]) for slot in _with_region(fit)
    ]
    longest = max([longest / 0.6, *(region / 0.4 for region in regions)])
    wanted = cloud.spacing.min() / longest if longest > 1e-6 else 1.0
    rounds = [step * 10.0**power for power in range(6) for step in (1, 2, 5)]
    return max([1.0, *(factor for factor in rounds if factor <= wanted)])


def _arrows_reach(cloud: PositionCloud, fit: GaussianFit, factor: float) -> float:
    """Half the side of a square view that holds the grid and the tip of every arrow."""
    tips = (cloud.slots + factor * (fit.mean - cloud.slots))[fit.count > 0]
    return max(1.5 * float(np.abs(cloud.slots).max(initial=0.5)), 1.1 * float(np.abs(tips).max(initial=0.0)))


def _draw_rays(ax: Axes, cloud: PositionCloud, fit: GaussianFit, look: Look) -> None:
    from matplotlib.collections import LineCollection

    chosen = np.sort(np.random.default_rng(0).permutation(len(cloud.points))[:RAYS])
    for slot, colour in enumerate(slot_colours(cloud.slots)):
        points = cloud.points[chosen, slot]
        points = points[np.isfinite(points).all(-1)]
        if len(points):
            rays = np.stack([np.broadcast_to(fit.mean[slot], points.shape), points], 1)[..., ::-1]
            lines = LineCollection(list(rays), colors=colour, linewidths=0.3, alpha=0.5, gid=f"rays {slot}")
            ax.add_collection(lines, autolim=False)
            ax.scatter(points[:, 1], points[:, 0], s=2, color=colour, linewidths=0, zorder=3)
    draw_slots(ax, cloud.slots, look)


def _draw_arrows(ax: Axes, cloud: PositionCloud, fit: GaussianFit, factor: float, look: Look) -> None:
    from matplotlib.patheffects import withStroke

    ax.scatter(cloud.slots[:, 1], cloud.slots[:, 0], s=5, color=look.muted, linewidths=0, gid="slots")
    spread, directions = fit.axes()
    with_region = _with_region(fit)
    halo = [withStroke(linewidth=1.4, foreground=look.background)]
    for slot, colour in enumerate(slot_colours(cloud.slots)):
        if not fit.count[slot]:
            continue
        (y, x), move = cloud.slots[slot], fit.mean[slot] - cloud.slots[slot]
        dy, dx = factor * move
        tone = emphasise(colour, look)
        if slot in with_region:
            half = factor * centre_region(int(fit.count[slot])) * spread[slot]
            filled = {
                "fill": True,
                "facecolor": colour,
                "alpha": 0.3,
                "linewidth": 0,
                "gid": f"region {slot}",
            }
            ax.add_patch(make_ellipse(cloud.slots[slot] + factor * move, half, directions[slot, 0], **filled))
        arrow = {"arrowstyle": "-|>,head_length=0.25,head_width=0.12", "color": tone, "linewidth": 1.1}
        ax.annotate(
            "", (x + dx, y + dy), (x, y), arrowprops=arrow | {"shrinkA": 0, "shrinkB": 0}, gid=f"arrow {slot}"
        )
        place = (x, y), (0, 7 if dy > 0 else -7)  # clear of the arrow: it points the other way
        style = {
            "fontsize": 5.5 if len(cloud.slots) <= 25 else 4,
            "ha": "center",
            "va": "center",
            "path_effects": halo,
        }
        ax.annotate(f"{np.hypot(*move):.2f}", *place, textcoords="offset points", **style)  # type: ignore[arg-type]


def _with_region(fit: GaussianFit) -> list[int]:
    """Slots whose centre's region is drawn."""
    return np.flatnonzero((fit.state == "ok") & (fit.count >= FEWEST)).tolist()
