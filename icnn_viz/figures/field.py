"""The displacement field of a layer: from every slot to its centre, and on to the points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from icnn_viz.figures.clouds import count_hidden, describe
from icnn_viz.figures.marks import draw_key, draw_slots, magnified, make_ellipse, set_view, view_half_width
from icnn_viz.figures.scales import ROUND_FACTORS, facet_factor, takes_facets
from icnn_viz.figures.sheet import Sheet
from icnn_viz.figures.style import Look, emphasise, slot_colours, use_theme
from icnn_viz.records import GaussianFit, PositionCloud
from icnn_viz.statistics.centres import centre_region
from icnn_viz.statistics.gaussian import NO_SPREAD

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RAYS = 250
"""Shapes whose rays are drawn; more are thinned, and the figure says so."""
FEWEST = 10
"""Points of a slot whose centre gets a region: that of a few reaches over all other slots."""


def draw_field(
    cloud: PositionCloud,
    fit: GaussianFit,
    *,
    theme: str = "light",
    half_width: float | None = None,
    scale: str = "auto",
) -> Figure:
    """Two panels of the same slots on the same axes. Left: a line from slot to centre, and rays from it to every point.
    Right: an arrow from each slot to its centre where that is no chance, its true length beside it, and the 95 %
    confidence region of the centre, where a slot has `FEWEST` points. Displacements are longer by the factors over the
    panels.

    Args:
        fit: the cloud's Gaussians, whose means are the centres.
        half_width: of the square views, in input pixels.
        scale: of the left panel: "true", "facets" (as long as the slots' distance allows) or "auto", see `draw_cloud`.
    """
    factor, near = _choose_factor(cloud, fit), 1.0
    if takes_facets(scale, cloud):
        near = facet_factor(cloud)
    shown, shown_fit = magnified(cloud, fit, near)
    half_width = half_width or max(view_half_width([shown]), _arrows_reach(cloud, fit, factor))
    with use_theme(theme) as look:
        sheet = Sheet(170, 94, look)
        left, right = sheet.add_axes(12, 17, 64, 64), sheet.add_axes(84, 17, 64, 64)
        _draw_rays(left, shown, shown_fit, look)
        _draw_arrows(right, cloud, fit, factor, look)
        left.set_title(f"slot, centre, points{_times(near)}", loc="left")
        right.set_title(f"slot to centre{_times(factor)}", loc="left")
        for ax in (left, right):
            set_view(ax, half_width)
        right.set_ylabel("")
        right.tick_params(labelleft=False)
        draw_key(sheet, (154, 69, 12, 9), cloud.slots, look)
        sheet.write_heading(cloud.layer, describe(cloud))
        notes = ["numbers: distance from slot to centre in px"]
        some = len(_with_region(fit)) > 0
        notes.append(
            "ellipses: 95 % region of the centre" if some else f"regions of centres: from {FEWEST} shapes on"
        )
        sure = _sure(cloud, fit)
        if not sure.all():
            notes.append(f"no arrow where chance would do ({int((~sure).sum())} of {len(sure)} slots)")
        if len(cloud.points) > RAYS:
            notes.append(f"rays of {RAYS} of {len(cloud.points):,} shapes")
        sheet.write_notes(notes + count_hidden(shown, half_width, limit=None), top=6.5)
    return sheet.figure


def _times(factor: float) -> str:
    return f", displacements ×{factor:g}" if factor > 1 else ""


def _sure(cloud: PositionCloud, fit: GaussianFit) -> np.ndarray:
    """(K,) bool: slots whose centre has moved, and of those with a region, by more than chance moves one of so many."""
    move = fit.mean - cloud.slots
    level = 1 - 0.05 / max(len(_with_region(fit)), 1)
    sure = (np.hypot(move[:, 0], move[:, 1]) > NO_SPREAD) & (fit.count > 0)
    for slot in _with_region(fit):
        apart = move[slot] @ np.linalg.solve(fit.covariance[slot], move[slot])
        sure[slot] &= np.sqrt(apart) > centre_region(int(fit.count[slot]), level)
    return sure


def _choose_factor(cloud: PositionCloud, fit: GaussianFit) -> float:
    """A round factor from 1 to 100: the longest arrow about 0.6 grid spacings, the largest region's radius 0.4. Shifts
    that chance would do are not magnified."""
    sure = _sure(cloud, fit)
    if not sure.any():
        return 1.0
    longest = float(np.hypot(*(fit.mean - cloud.slots)[sure].T).max())
    regions = [
        centre_region(int(fit.count[slot])) * float(fit.axes()[0][slot, 0]) for slot in _with_region(fit)
    ]
    longest = max([longest / 0.6, *(region / 0.4 for region in regions)])
    wanted = cloud.spacing.min() / longest
    return max([1.0, *(factor for factor in ROUND_FACTORS if factor <= min(wanted, 100))])


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
        if fit.count[slot]:
            (y0, x0), (y1, x1) = cloud.slots[slot], fit.mean[slot]
            tone = emphasise(colour, look)
            ax.plot(
                [x0, x1], [y0, y1], color=look.background, linewidth=2.6, zorder=8.5, solid_capstyle="butt"
            )
            ax.plot([x0, x1], [y0, y1], color=tone, linewidth=1.5, zorder=9, gid=f"shift {slot}")
            ax.plot(x1, y1, "o", color=tone, markersize=3, markeredgecolor=look.background,
                    markeredgewidth=0.5, zorder=9, gid=f"centre {slot}")  # fmt: skip
    draw_slots(ax, cloud.slots, look)


def _draw_arrows(ax: Axes, cloud: PositionCloud, fit: GaussianFit, factor: float, look: Look) -> None:
    from matplotlib.patheffects import withStroke

    ax.scatter(cloud.slots[:, 1], cloud.slots[:, 0], s=5, color=look.muted, linewidths=0, gid="slots")
    spread, directions = fit.axes()
    with_region, sure = _with_region(fit), _sure(cloud, fit)
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
            ax.add_artist(
                make_ellipse(cloud.slots[slot] + factor * move, half, directions[slot, 0], **filled)
            )
        if not sure[slot]:
            _write_length(ax, (x, y), -7, move, look.muted, len(cloud.slots), halo)
            continue
        arrow = {"arrowstyle": "-|>,head_length=0.25,head_width=0.12", "color": tone, "linewidth": 1.1}
        ax.annotate(
            "", (x + dx, y + dy), (x, y), arrowprops=arrow | {"shrinkA": 0, "shrinkB": 0}, gid=f"arrow {slot}"
        )
        upwards = 7 if dy > 0 else -7  # clear of the arrow: it points the other way
        _write_length(ax, (x, y), upwards, move, look.text, len(cloud.slots), halo)


def _write_length(
    ax: Axes, place: tuple[float, float], up: float, move: np.ndarray, colour: str, slots: int, halo: Any
) -> None:
    style = {"fontsize": 5.5 if slots <= 25 else 4, "ha": "center", "va": "center", "path_effects": halo}
    words = f"{np.hypot(*move):.2f}"
    ax.annotate(words, place, (0, up), textcoords="offset points", color=colour, **style)  # type: ignore[arg-type]


def _with_region(fit: GaussianFit) -> list[int]:
    """Slots whose centre's region is drawn."""
    return np.flatnonzero((fit.state == "ok") & (fit.count >= FEWEST)).tolist()
