"""Which way the clouds of a layer stretch: the major axis of every slot as a spoke."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from icnn_viz.figures.marks import draw_keys, robust_top
from icnn_viz.figures.sheet import Sheet, choose_columns, distinct_names
from icnn_viz.figures.style import Look, slot_colours, use_theme
from icnn_viz.records import GaussianFit, PositionCloud
from icnn_viz.statistics.gaussian import may_be_round

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_rose(
    clouds: Sequence[PositionCloud], fits: Sequence[GaussianFit], *, theme: str = "light"
) -> Figure:
    """One rose a layer, on one scale. A spoke lies along a slot's major axis and is as long as the elongation; the
    inner ring is 1, round. Clouds that may be round have no direction, and no spoke. An axis points both ways: the half
    nearer to the slot is drawn, of the centre slot both. The dot on the rim is the slot's direction: where a spoke
    points at its dot, the cloud lies along its radius. Angles run as in the image, y downwards.
    """
    elongation = [_elongation(fit) for fit in fits]
    every = np.concatenate(elongation)
    rim = 1.08 * max(2.0, robust_top(every[every > 0]))
    columns = choose_columns(len(clouds))
    width = 80.0 if columns == 1 else 170.0
    size = min((width - 10 - 5 * (columns - 1)) / columns, 56)
    rows = -(-len(clouds) // columns)
    with use_theme(theme) as look:
        sheet = Sheet(width, rows * (size + 6) + 24, look)
        left = (width - columns * (size + 5) + 5) / 2
        axes = sheet.add_grid(len(clouds), columns, left=left, bottom=11, size=size, gap=(5, 6))
        names = distinct_names([cloud.layer for cloud in clouds], int(size / 1.05))
        for ax, name, cloud, fit, values in zip(axes, names, clouds, fits, elongation, strict=True):
            _draw_rings(ax, rim, look)
            _draw_spokes(ax, cloud, fit, values, rim, look)
            ax.set_title(name, fontsize=5, pad=2)
        clear = draw_keys(sheet, clouds, look)
        sheet.write_heading("Orientation of the clouds", "length of a spoke: elongation", left=4, right=clear)
        notes = ["spoke: a slot's major axis; ring 1: round", "dot on the rim: the slot's direction"]
        long = int((every > rim).sum())
        if any(may_be_round(fit).any() for fit in fits):
            notes.append("no spoke: the cloud may be round")
        sheet.write_notes(notes + [f"spokes that end at the rim are longer ({long})"] * bool(long), top=7)
    return sheet.figure


def _elongation(fit: GaussianFit) -> np.ndarray:
    """(K,): √(λ1/λ2), 0 where there is no covariance, or the cloud may be round."""
    spread, _ = fit.axes()
    ok = (fit.state == "ok") & ~may_be_round(fit)
    return np.where(ok, spread[:, 0] / np.where(ok, spread[:, 1], 1.0), 0.0)


def _draw_rings(ax: Axes, rim: float, look: Look) -> None:
    from matplotlib.patches import Circle

    step = next(step for step in (1, 2, 5, 10, 20, 50, 1e9) if rim / step <= 4.5)
    for ring in [1.0, *np.arange(step, rim, step).tolist(), rim]:
        colour = look.muted if ring == 1 else look.grid
        ax.add_patch(Circle((0, 0), ring, fill=False, edgecolor=colour, linewidth=0.6, zorder=1))
        if ring < 0.95 * rim:
            y, x = ring * np.sin(1.2), ring * np.cos(1.2)
            ax.text(x, y, f"{ring:g}", fontsize=4.8, color=look.muted, ha="center", va="center", zorder=4)
    ax.set(xlim=(-1.05 * rim, 1.05 * rim), ylim=(1.05 * rim, -1.05 * rim), aspect="equal")
    ax.axis("off")


def _draw_spokes(
    ax: Axes, cloud: PositionCloud, fit: GaussianFit, elongation: np.ndarray, rim: float, look: Look
) -> None:
    _, directions = fit.axes()
    for slot, (length, colour) in enumerate(zip(elongation, slot_colours(cloud.slots), strict=True)):
        distance = np.hypot(*cloud.slots[slot])
        if length:
            end = min(length, rim) * directions[slot, 0]
            end = end if end @ cloud.slots[slot] >= 0 else -end
            start = -end if distance == 0 else np.zeros(2)
            (y0, x0), (y1, x1) = start, end
            style = {"color": colour, "linewidth": 1.4, "solid_capstyle": "butt", "gid": f"spoke {slot}"}
            ax.plot([x0, x1], [y0, y1], **style)  # type: ignore[arg-type]
        if distance > 0:
            y, x = rim * cloud.slots[slot] / distance
            ax.scatter(x, y, s=9, color=colour, linewidths=0, clip_on=False, zorder=5, gid=f"dot {slot}")
    if not elongation.any():
        states = dict.fromkeys(str(state) for state in fit.state)
        words = ", ".join("all may be round" if state == "ok" else state for state in states)
        ax.text(0, -0.5 * rim, words, fontsize=5.5, color=look.muted, ha="center", va="center")
