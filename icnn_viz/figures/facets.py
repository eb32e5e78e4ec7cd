"""Clouds too small to be seen on their grid: each slot's displacements on axes of its own, all on one scale."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from icnn_viz.figures.clouds import describe, describe_ellipses, thin
from icnn_viz.figures.marks import choose_slots, draw_slots, make_ellipse
from icnn_viz.figures.scales import describe_reach, facet_reach
from icnn_viz.figures.sheet import CHARACTER, Sheet
from icnn_viz.figures.style import Look, emphasise, slot_colours, use_theme
from icnn_viz.records import GaussianFit, PositionCloud

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LEFT, _BOTTOM, _RIGHT, _HEADING = 12.0, 14.0, 2.5, 16.5
_CELLS = 33
_DENSE = 150  # points of a slot from which their density is drawn


def draw_facets(
    cloud: PositionCloud,
    fit: GaussianFit,
    *,
    theme: str = "light",
    reach: float | None = None,
    subtitle: str | None = None,
    slots: Sequence[int] | None = None,
) -> Figure:
    """One panel a slot, where the slot lies in the kernel: its points' displacements with density, mean, and 1- and
    2-sigma ellipses. All panels have the same axes; the small square in the corner shows the kernel at true scale.

    Args:
        fit: the cloud's Gaussians.
        reach: half the side of the panels, in px; by default nearly all displacements are seen.
        subtitle: by default what kernel it is.
        slots: show these in colour and the others in grey.
    """
    reach = reach or facet_reach([cloud])
    fit = fit if slots is None else choose_slots(fit, slots)
    with use_theme(theme) as look:
        sheet, axes = lay_out_facets(cloud, reach, look, describe(cloud) if subtitle is None else subtitle)
        pairs = zip(slot_colours(cloud.slots), fit.state, strict=True)
        colours = [look.grid if state == "not chosen" else colour for colour, state in pairs]
        points, owners = thin(cloud)
        for slot, (ax, colour) in enumerate(zip(axes, colours, strict=True)):
            moves = points[owners == slot] - cloud.slots[slot]
            _draw_points(ax, moves, colour, reach, look, len(cloud.slots))
            _draw_gaussian(ax, fit, slot, cloud.slots[slot], emphasise(colour, look), look)
        notes = [
            "dot: mean; solid 1σ, dashed 2σ",
            *describe_ellipses(fit, np.inf),
            *count_beyond(cloud, reach),
        ]
        sheet.write_notes(notes, top=5.6)
    return sheet.figure


def lay_out_facets(cloud: PositionCloud, reach: float, look: Look, subtitle: str) -> tuple[Sheet, list[Axes]]:
    """A sheet with a panel for every slot, and the kernel at true scale; what is said in its heading."""
    places, rows, columns = _places(cloud.slots)
    width = 80.0 if columns <= 5 else 170.0
    gap = 1.6 if columns <= 5 else 1.2
    size = min((width - _LEFT - _RIGHT - (columns - 1) * gap) / columns, 40.0)
    across, down = (count * (size + gap) - gap for count in (columns, rows))
    sheet = Sheet(width, _BOTTOM + down + _HEADING, look)
    left = _LEFT + (width - _LEFT - _RIGHT - across) / 2
    axes = []
    for slot, (row, column) in enumerate(places):
        box = (left + column * (size + gap), _BOTTOM + (rows - 1 - row) * (size + gap), size, size)
        ax = sheet.add_axes(*box, gid=f"facet {slot}")
        _set_facet(ax, reach, first=column == 0, last=row == rows - 1, small=columns > 3)
        ax.annotate(
            str(slot), (0, 1), (2, -2), xycoords="axes fraction", textcoords="offset points", fontsize=5.5,
            color=emphasise(slot_colours(cloud.slots)[slot], look), weight="bold", ha="left", va="top", zorder=9,
        )  # fmt: skip
        axes.append(ax)
    sheet.write(left + across / 2, 8.0, "x displacement from the slot (px)", ha="center", va="center")
    middle = _BOTTOM + down / 2
    sheet.write(2.4, middle, "y displacement (px)", ha="center", va="center", rotation=90)
    sheet.write_heading(cloud.layer, subtitle, left=4, right=15)
    words = textwrap.fill(describe_reach(cloud), int((width - 4 - 16) / CHARACTER))
    sheet.write(4, sheet.height - 8.2, words, fontsize=6.5, va="top", linespacing=1.2)
    _draw_inset(sheet.add_axes(width - 14.5, sheet.height - 13, 12, 12), cloud, look)
    return sheet, axes


def count_beyond(cloud: PositionCloud, reach: float) -> list[str]:
    """What facets of this reach do not show, in words."""
    moves = cloud.displacements.reshape(-1, 2)
    finite = np.isfinite(moves).all(-1)
    beyond = int((np.abs(moves[finite]) > reach).any(-1).sum())
    notes = [f"{beyond:,} of {len(moves):,} points lie outside the panels"] if beyond else []
    lost = int((~finite).sum())
    return notes + [f"{lost:,} of {len(moves):,} are not finite"] * bool(lost)


def _places(slots: np.ndarray) -> tuple[list[tuple[int, int]], int, int]:
    """Row and column of every slot's panel, and how many there are: as the slots lie, if they are a grid."""
    ys, xs = (np.unique(slots[:, axis].round(4)) for axis in (0, 1))
    if len(ys) * len(xs) == len(slots):
        pairs = zip(
            np.searchsorted(ys, slots[:, 0].round(4)), np.searchsorted(xs, slots[:, 1].round(4)), strict=True
        )
        return [(int(row), int(column)) for row, column in pairs], len(ys), len(xs)
    columns = int(np.ceil(np.sqrt(len(slots))))
    return [divmod(slot, columns) for slot in range(len(slots))], -(-len(slots) // columns), columns


def _set_facet(ax: Axes, reach: float, *, first: bool, last: bool, small: bool) -> None:
    """Equal square axes with 0 in the middle, y downwards; numbers at the left and lower edge of the sheet alone."""
    end = float(f"{reach * (0.6 if small else 2 / 3):.1g}")
    ticks = [-end, 0.0, end]
    ax.set(xlim=(-reach, reach), ylim=(reach, -reach), xticks=ticks, yticks=ticks)
    ax.set_box_aspect(1)
    labels = [f"{tick:g}".replace("-", "−") for tick in ticks]
    ax.set_xticklabels(labels if last else [""] * 3)
    ax.set_yticklabels(labels if first else [""] * 3)
    ax.tick_params(length=1.5, labelsize=5.5 if small else 6, pad=1.5)
    ax.grid(True)


def _draw_points(ax: Axes, moves: np.ndarray, colour: str, reach: float, look: Look, slots: int) -> None:
    """Dots, over the density of many: shades of the slot's colour, the darkest where most points lie."""
    from matplotlib.colors import LinearSegmentedColormap

    if len(moves) >= _DENSE:
        from scipy.ndimage import gaussian_filter

        edges = np.linspace(-reach, reach, _CELLS + 1)
        counts, _, _ = np.histogram2d(moves[:, 0], moves[:, 1], bins=(edges, edges))
        density = gaussian_filter(counts, 1.0, mode="constant")
        shades = LinearSegmentedColormap.from_list("slot", [look.background, emphasise(colour, look)])
        style = {"cmap": shades, "extent": (-reach, reach, reach, -reach), "interpolation": "bilinear"}
        ax.imshow(density, vmin=0, vmax=1.3 * (density.max() or 1.0), aspect="auto", gid="density", **style)
    ax.scatter(
        moves[:, 1],
        moves[:, 0],
        s=float(np.clip(900 / max(len(moves), 1), 0.4, 6)) * (1.0 if slots <= 9 else 0.5),
        color=colour if len(moves) < _DENSE else emphasise(colour, look),
        alpha=float(np.clip(120 / max(len(moves), 1), 0.12, 0.9)),
        linewidths=0,
        rasterized=True,
        gid="points",
        zorder=3,
    )


def _draw_gaussian(ax: Axes, fit: GaussianFit, slot: int, place: np.ndarray, tone: str, look: Look) -> None:
    if fit.state[slot] == "not chosen" or not fit.count[slot]:
        return
    y, x = fit.mean[slot] - place
    if fit.state[slot] == "ok":
        spread, directions = fit.axes()
        for sigma, line in ((1, "-"), (2, (0, (4, 2)))):
            outline = {"edgecolor": tone, "linewidth": 0.8, "linestyle": line, "zorder": 5}
            half = sigma * spread[slot]
            name = f"slot {slot}, {sigma} sigma"
            ax.add_patch(make_ellipse(np.array([y, x]), half, directions[slot, 0], look, gid=name, **outline))
    style = {"edgecolors": look.background, "linewidths": 0.6, "zorder": 7, "gid": f"centre {slot}"}
    ax.scatter(x, y, s=9, color=tone, **style)


def _draw_inset(ax: Axes, cloud: PositionCloud, look: Look) -> None:
    """The kernel at true scale: what all panels together would look like in one plane."""
    points, owners = thin(cloud, 4000)
    colours = np.array(slot_colours(cloud.slots))
    half_width = 1.25 * max(float(np.abs(cloud.slots).max(initial=0.0)), 0.5)
    ax.scatter(points[:, 1], points[:, 0], s=1.2, c=colours[owners], linewidths=0, rasterized=True)
    if len(cloud.slots) <= 9:
        draw_slots(ax, cloud.slots, look, size=5, width=0.4)
    ax.set(xlim=(-half_width, half_width), ylim=(half_width, -half_width), xticks=[], yticks=[])
    ax.set_box_aspect(1)
    ax.set_xlabel("true scale", fontsize=5, labelpad=1, color=look.muted)
    for spine in ax.spines.values():
        spine.set(visible=True, color=look.grid)
