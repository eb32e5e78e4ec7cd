"""All layers of a network in one strip: a column a layer, its ellipses above, what they measure below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from icnn_core.errors import ArgumentError
from icnn_core.text import counted
from icnn_viz.figures.layers import rescale
from icnn_viz.figures.marks import draw_centres, draw_keys, make_ellipse, robust_top
from icnn_viz.figures.scales import facet_factor, is_tight, spread_out
from icnn_viz.figures.sheet import Sheet, distinct_names, group_names, shorten_apart
from icnn_viz.figures.style import Look, slot_colours, use_theme
from icnn_viz.records import GaussianFit, PositionCloud
from icnn_viz.statistics.gaussian import fit_gaussians

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_COLUMNS = 34
"""Layers in a row of the page; more go on below."""
_LEFT, _RIGHT = 19.0, 3.0
_GAP = 3.2
_MOVED = ("moved", "moved\n(%)", 9.0)
_CLOUDS = (("spread", "spread\n(spacings)", 13.0), ("elongation", "elongation\n(1 = round)", 13.0), _MOVED)
_SINGLE = (("displacement", "displaced\n(spacings)", 13.0), _MOVED)


def draw_strip(
    clouds: Sequence[PositionCloud],
    fits: Sequence[GaussianFit],
    layers: pd.DataFrame,
    *,
    theme: str = "light",
) -> Figure:
    """A column a layer, in network order. From above: the slots' 1-sigma ellipses (of a layer with one shape its
    weights), drawn large enough to be seen; the median slot's spread in grid spacings and elongation with intervals;
    the share of points that moved; the dilation; the layers' names, grouped.

    Args:
        clouds, fits: of the same layers, in network order.
        layers: one row a layer and measure, as `bootstrap_layers` gives, in grid spacings (`in_spacings`).

    Raises:
        ArgumentError: no layers, or a layer that the table lacks.
    """
    lacking = [cloud.layer for cloud in clouds if cloud.layer not in set(layers["layer"])]
    if not clouds or lacking:
        raise ArgumentError(
            "draw_strip", needed="layers, each with its measures", got=", ".join(lacking[:3]) or "none",
            fix="Give the table of bootstrap_layers of the same clouds.",
        )  # fmt: skip
    values = _measure(clouds, layers)
    panels = _CLOUDS if np.isfinite(values["spread"][0]).any() else _SINGLE
    limits = {name: _limits(name, *values[name]) for name, _, _ in panels}
    bands = -(-len(clouds) // MOST_COLUMNS)
    columns = -(-len(clouds) // bands)
    width = 80.0 if columns <= 6 else 170.0
    step = min((width - _LEFT - _RIGHT) / columns, 18.0)
    cell = min(step * 0.94, 16.0)
    short = distinct_names([cloud.layer for cloud in clouds])
    names = [_shorten(group_names(short[n * columns : (n + 1) * columns])) for n in range(bands)]
    below = max(_room(groups, step) for groups in names)
    tall = cell + 2 + sum(height + _GAP for _, _, height in panels) + 3.6 + below
    with use_theme(theme) as look:
        sheet = Sheet(width, 11 + bands * tall + (bands - 1) * 5 + 6.5, look)
        for band in range(bands):
            part = slice(band * columns, (band + 1) * columns)
            top = sheet.height - 14 - band * (tall + 5)
            _draw_band(sheet, clouds[part], fits[part], panels, {k: v[:, part] for k, v in values.items()}, limits,
                       names[band], top, step, cell, look)  # fmt: skip
        clear = draw_keys(sheet, clouds, look)
        count = f"{len(clouds)} layers" if len(clouds) > 1 else "one layer"
        sheet.write_heading("All layers", f"{count} in network order", left=4, right=clear)
        notes = ["bars: 95 % intervals of the median slot; ellipses: 1σ, each layer's on a scale of its own"]
        if panels is _SINGLE:
            notes = ["one shape each: discs where the weights lie, area: weight; displaced: the mean weight"]
        sheet.write_notes(notes + _describe_cut(clouds, values, limits), top=5.2)
    return sheet.figure


def _measure(clouds: Sequence[PositionCloud], layers: pd.DataFrame) -> dict[str, np.ndarray]:
    """By measure (3, layers): estimate, low, high; NaN where there is none."""
    from icnn_viz.statistics.summary import summarise

    found: dict[str, np.ndarray] = {}
    for name in ("spread", "elongation"):
        rows = layers[layers["measure"] == name].set_index("layer").loc[[cloud.layer for cloud in clouds]]
        found[name] = rows[["estimate", "low", "high"]].to_numpy(dtype=float, na_value=np.nan).T
    spacings = np.array([float(np.sqrt(cloud.spacing.prod())) for cloud in clouds])
    summaries = [summarise(cloud) for cloud in clouds]
    units = {"moved": 0.01, "displacement": spacings}
    for name, column in (("moved", "share_moved"), ("displacement", "mean_displacement")):
        taken = np.array([np.nan if row[column] is None else row[column] for row in summaries], dtype=float)
        found[name] = np.stack([taken / units[name], *[np.full(len(clouds), np.nan)] * 2])
    return found


def _limits(name: str, estimate: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[float, float]:
    if name == "moved":
        return 0.0, 104.0
    floor = 1.0 if name == "elongation" else 0.0
    top = max(robust_top(np.concatenate([estimate, high])), floor)
    room = top - floor or 1.0
    return floor - 0.05 * room * (floor > 0), top + 0.1 * room


def _describe_cut(
    clouds: Sequence[PositionCloud], values: dict[str, np.ndarray], limits: dict[str, tuple[float, float]]
) -> list[str]:
    cut = [
        int((np.fmax(of[0], of[2]) > limits[name][1]).sum()) for name, of in values.items() if name in limits
    ]
    return [f"{counted(sum(cut), 'bar')} above the panel (arrow)"] if sum(cut) else []


def _draw_band(
    sheet: Sheet,
    clouds: Sequence[PositionCloud],
    fits: Sequence[GaussianFit],
    panels: Sequence[tuple[str, str, float]],
    values: dict[str, np.ndarray],
    limits: dict[str, tuple[float, float]],
    groups: Sequence[tuple[str, list[str]]],
    top: float,
    step: float,
    cell: float,
    look: Look,
) -> None:
    """A row of the page, downwards from `top` mm."""
    across = step * len(clouds)
    for number, (cloud, fit) in enumerate(zip(clouds, fits, strict=True)):
        ax = sheet.add_axes(_LEFT + number * step + (step - cell) / 2, top - cell, cell, cell, gid="shape")
        _draw_shape(ax, cloud, fit, cell, look)
    bottom = top - cell - 2
    for name, word, height in panels:
        bottom -= height
        ax = sheet.add_axes(_LEFT, bottom, across, height, gid=name)
        _draw_measure(ax, name, values[name], limits[name], look)
        ax.set_ylabel(word, fontsize=6, labelpad=2)
        bottom -= _GAP
    bottom -= 0.4
    _draw_dilation(sheet.add_axes(_LEFT, bottom, across, 3.2), clouds, step, look)
    sheet.write(_LEFT - 1, bottom + 1.6, "dilation", fontsize=6, ha="right", va="center")
    _write_names(sheet, groups, bottom - 1.0, step, look)


def _draw_shape(ax: Axes, cloud: PositionCloud, fit: GaussianFit, size: float, look: Look) -> None:
    """Slots and 1-sigma ellipses, magnified where they are too small; of a single shape its weights."""
    from icnn_viz.figures.zoo import draw_glyph

    spacing = cloud.spacing
    factor = _factor(cloud, fit)
    slots = cloud.slots / spacing
    reach = max(float(np.abs(slots).max(initial=0.0)), 0.5) + 0.75
    ax.set(xlim=(-reach, reach), ylim=(reach, -reach), xticks=[], yticks=[])
    if len(cloud.points) == 1:
        drawn = spread_out(cloud, factor).points[0] / spacing
        weights = cloud.weights[0, 0] / (float(np.nanmax(np.abs(cloud.weights), initial=0.0)) or 1.0)
        draw_glyph(ax, slots, drawn, weights, look, size=size)
    else:
        drawn_fit = rescale(fit_gaussians(spread_out(cloud, factor)) if factor > 1 else fit, spacing)
        colours = slot_colours(cloud.slots)
        style: dict[str, Any] = {"s": 0.25 * size, "color": look.muted, "linewidths": 0, "zorder": 1}
        ax.scatter(slots[:, 1], slots[:, 0], gid="slots", **style)
        spread, directions = drawn_fit.axes()
        fitted = drawn_fit.state == "ok"
        farthest = (np.abs(drawn_fit.mean).max(1) + spread[:, 0])[fitted].max(initial=0.0)
        reach = max(reach, 1.05 * float(farthest))  # wide ellipses are whole, too
        ax.set(xlim=(-reach, reach), ylim=(reach, -reach))
        for slot in np.flatnonzero(fitted).tolist():
            fill = {"fill": True, "facecolor": colours[slot], "linewidth": 0, "alpha": 0.9}
            ax.add_artist(make_ellipse(drawn_fit.mean[slot], spread[slot], directions[slot, 0], **fill))
        if not fitted.any() and (drawn_fit.state != "undeformed").any():
            draw_centres(ax, drawn_fit, colours, look, size=0.5 * size)
    for spine in ax.spines.values():
        spine.set(visible=True, color=look.grid, linewidth=0.4)


def _factor(cloud: PositionCloud, fit: GaussianFit) -> float:
    """How many times larger displacements are drawn, so that the widest ellipse is about as wide as half a slot."""
    if len(cloud.points) == 1:
        return facet_factor(cloud) if is_tight(cloud, fewest=1) else 1.0
    widest = float((fit.axes()[0] / cloud.spacing.min()).max(initial=0.0)) if cloud.regular else 1.0
    return max(1.0, 0.32 / widest) if widest > 0 else 1.0


def _draw_measure(ax: Axes, name: str, values: np.ndarray, limits: tuple[float, float], look: Look) -> None:
    """Points with bars, a small arrow where one reaches above the panel; the share that moved as columns."""
    from matplotlib.ticker import MaxNLocator

    estimate, low, high = values
    place = np.arange(len(estimate))
    ax.set(xlim=(-0.5, len(estimate) - 0.5), ylim=limits, xticks=[])
    ax.yaxis.set_major_locator(MaxNLocator(2 if name == "moved" else 3, steps=[1, 2, 5, 10]))
    ax.tick_params(labelsize=5.5)
    ax.grid(True, axis="y")
    ax.spines["bottom"].set_color(look.grid)
    if name == "moved":
        ax.bar(place, np.nan_to_num(estimate), width=0.7, color=look.muted, gid="columns")
        return
    seen = np.isfinite(estimate) & (estimate <= limits[1])
    for number in np.flatnonzero(np.isfinite(low) & np.isfinite(high)):
        ax.plot([number] * 2, [max(low[number], limits[0]), min(high[number], limits[1])],
                color=look.accent, linewidth=0.8, gid="bar", solid_capstyle="butt")  # fmt: skip
    ax.plot(place[seen], estimate[seen], "o", color=look.accent, markersize=2.2, clip_on=False, gid="points")
    above = np.fmax(estimate, high) > limits[1]
    ax.plot(place[above], np.full(above.sum(), 0.97), "^", color=look.accent, markersize=2.4, clip_on=False,
            transform=ax.get_xaxis_transform(), gid="above")  # fmt: skip
    lost = ~np.isfinite(estimate)
    ax.plot(place[lost], np.full(lost.sum(), 0.08), "x", color=look.muted, markersize=2.6,
            transform=ax.get_xaxis_transform(), gid="unmeasured")  # fmt: skip


def _draw_dilation(ax: Axes, clouds: Sequence[PositionCloud], step: float, look: Look) -> None:
    """A band whose pieces are runs of layers of one dilation."""
    from matplotlib.patches import Rectangle

    words = ["×".join(str(d) for d in dict.fromkeys(cloud.dilation)) for cloud in clouds]
    starts = [n for n, word in enumerate(words) if n == 0 or word != words[n - 1]]
    for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(words)], strict=True)):
        ax.add_patch(Rectangle((start - 0.5, 0), end - start, 1, facecolor=look.grid, linewidth=0,
                               alpha=1.0 if number % 2 else 0.55, gid="dilation"))  # fmt: skip
        small = 5.5 if len(words[start]) * 1.0 < (end - start) * step else 4.0
        ax.text((start + end - 1) / 2, 0.46, words[start], ha="center", va="center", fontsize=small)
    ax.set(xlim=(-0.5, len(words) - 0.5), ylim=(0, 1))
    ax.axis("off")


def _room(groups: Sequence[tuple[str, list[str]]], step: float) -> float:
    """mm that names take below the band of dilations."""
    longest = max(
        0 if lies else max(map(len, lines)) for lines, lies in (_to_lines(*g, step) for g in groups)
    )
    return 6.0 if longest == 0 else 3.5 + 1.15 * longest


def _shorten(groups: Sequence[tuple[str, list[str]]]) -> list[tuple[str, list[str]]]:
    """Names of layers that stand alone, and those of groups, in so many letters that they are not read as the same."""
    told = shorten_apart([head or tails[0] for head, tails in groups], 25)
    return [
        (name, tails) if head else ("", [name, *tails[1:]])
        for name, (head, tails) in zip(told, groups, strict=True)
    ]


def _to_lines(head: str, tails: Sequence[str], step: float) -> tuple[list[str], bool]:
    """The words on a group of layers: on one line or two where they lie under it, else one upright line."""
    own = [tails[0]] if len(tails) == 1 else [f"{tails[0]}…{tails[-1]}"]
    lines = [head, *own] if head else own
    room = len(tails) * step / 1.12
    if len(" · ".join(lines)) <= room:
        return [" · ".join(lines)], True
    return (lines, True) if max(map(len, lines)) <= room else ([" · ".join(lines)], False)


def _write_names(
    sheet: Sheet, groups: Sequence[tuple[str, list[str]]], top: float, step: float, look: Look
) -> None:
    """Under each run of layers a line and its name: lying where it fits, else upright."""
    start = 0
    for head, tails in groups:
        left, right = _LEFT + start * step + 0.4, _LEFT + (start + len(tails)) * step - 0.4
        if len(tails) > 1:
            sheet.rule(left, right, top, colour=look.muted)
        lines, lies = _to_lines(head, tails, step)
        style = {"fontsize": 5.5, "ha": "center", "va": "top", "linespacing": 1.15}
        sheet.write((left + right) / 2, top - 0.9, "\n".join(lines), rotation=0 if lies else 90, **style)
        start += len(tails)
