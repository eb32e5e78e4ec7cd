"""One shape of a layer: where its weights lay and where they lie now, their values as colour and size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from icnn_core.errors import ArgumentError
from icnn_viz.figures.marks import X_LABEL, Y_LABEL, describe_factor, set_view
from icnn_viz.figures.scales import facet_factor, spread_out, takes_facets
from icnn_viz.figures.sheet import Sheet
from icnn_viz.figures.style import Look, text_on, use_theme
from icnn_viz.records import SHARING, PositionCloud

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from matplotlib.figure import Figure


def draw_shape(
    cloud: PositionCloud,
    channel: int = 0,
    kernel: int = 0,
    *,
    before: PositionCloud | None = None,
    scale: str = "auto",
    theme: str = "light",
) -> Figure:
    """Two panels on one scale: the shape before and after. Each weight is a disc with its slot's number.

    Signed weights (sharing "none") get a diverging colour, and a minus in the disc below zero; norms of weights a
    sequential one. The disc's area goes with the magnitude, relative to the largest of both panels; smaller ones lie on
    larger ones, and weights on one place share a label. Thin lines on the right lead back to where a weight lay.

    Args:
        channel, kernel: which shape; kernel is 0 where kernels share their shapes.
        before: the same layer at another time; by default the same weights on their slots.
        scale: of displacements from the slots: "true", "facets" (as long as the slots' distance allows) or "auto": of
            layers where they are too small to be seen.

    Raises:
        ArgumentError: no such channel or kernel, or `before` has other shapes. NameNotFoundError: another scale.
    """
    _check(cloud, channel, kernel, before)
    words = _describe(cloud, channel, kernel)
    factor = facet_factor(cloud) if before is None and takes_facets(scale, cloud) else 1.0
    cloud = spread_out(cloud, factor) if factor > 1 else cloud
    now, weights = cloud.positions[kernel, channel], cloud.weights[kernel, channel]
    old, old_weights = cloud.slots, weights
    if before is not None:
        old, old_weights = before.positions[kernel, channel], before.weights[kernel, channel]
    with use_theme(theme) as look:
        sheet = Sheet(170, 92, look)
        left, right = sheet.add_axes(12, 15, 62, 62), sheet.add_axes(86, 15, 62, 62)
        half_width = _half_width(cloud.slots, old, now)
        largest = float(np.nanmax(np.abs([weights, old_weights]), initial=0.0)) or 1.0
        signed = any((one.weights < 0).any() for one in (cloud, before or cloud))
        for ax, points, values, title in (
            (left, old, old_weights, "before" if before else "on the slots"),
            (right, now, weights, "after" if before else "as learnt"),
        ):
            crosses = cloud.slots if before or points is now else None
            shown = _draw_discs(ax, points, values, largest, signed, half_width, crosses, look)
            set_view(ax, half_width, labels=False)
            ax.set(xlabel=X_LABEL, title=title)
        left.set_ylabel(Y_LABEL)
        right.tick_params(labelleft=False)
        _draw_moves(right, old, now, look)
        bar = sheet.figure.colorbar(shown, cax=sheet.add_axes(153, 20, 2.4, 52))
        single = cloud.sharing == "none"
        norm = "magnitude of the weight" if single else "norm of the weights that share the position"
        bar.set_label("weight" if signed else norm)
        bar.outline.set_linewidth(0.4)  # type: ignore[operator]
        sheet.write_heading(cloud.layer, words + describe_factor(factor))
        lost = int((~np.isfinite(now).all(-1)).sum())
        notes = ["+: slot; area: |weight|; − in a disc: below zero" if signed else "+: slot; area: weight"]
        sheet.write_notes(notes + [f"{lost} of {len(now)} positions are not finite"] * bool(lost), top=4.5)
    return sheet.figure


def _check(cloud: PositionCloud, channel: int, kernel: int, before: PositionCloud | None) -> None:
    kernels, channels = cloud.positions.shape[:2]
    if not (0 <= channel < channels and 0 <= kernel < kernels):
        needed, fix = f"channel 0 to {channels - 1}, kernel 0 to {kernels - 1}", "Choose one that exists."
        got = f"channel {channel}, kernel {kernel}"
        raise ArgumentError(f"draw_shape of {cloud.layer}", needed=needed, got=got, fix=fix)
    if before is not None and before.positions.shape != cloud.positions.shape:
        got = f"positions {before.positions.shape} and {cloud.positions.shape}"
        fix = "Give two states of one network."
        raise ArgumentError(f"draw_shape of {cloud.layer}", needed="the same layer before", got=got, fix=fix)


def _describe(cloud: PositionCloud, channel: int, kernel: int) -> str:
    shape = SHARING[cloud.sharing].one.format(kernel=kernel, channel=channel)
    moves = np.hypot(*(cloud.positions[kernel, channel] - cloud.slots).T)
    moves = moves[np.isfinite(moves)]
    if not len(moves):
        return shape
    return f"{shape}; mean displacement {moves.mean():.2f} px, largest {moves.max():.2f} px"


def _half_width(*places: np.ndarray) -> float:
    points = np.concatenate(places)
    return 1.16 * max(float(np.abs(points[np.isfinite(points).all(-1)]).max(initial=0.0)), 0.5)


def _draw_discs(
    ax: Axes, points: np.ndarray, weights: np.ndarray, scale: float, signed: bool, half_width: float,
    slots: np.ndarray | None, look: Look,
) -> PathCollection:  # fmt: skip
    from matplotlib.colors import to_hex

    finite = np.flatnonzero(np.isfinite(points).all(-1))
    finite = finite[np.argsort(-np.abs(weights[finite]), kind="stable")]
    if slots is not None:
        style = {"marker": "+", "s": 10, "color": look.muted, "linewidths": 0.5, "zorder": 1, "gid": "slots"}
        ax.scatter(slots[:, 1], slots[:, 0], **style)
    areas = 12 + 150 * np.abs(weights[finite]) / scale * min(1.0, 25 / len(points))
    discs = ax.scatter(
        points[finite, 1], points[finite, 0], s=areas, c=weights[finite],
        cmap=look.diverging if signed else look.sequential, vmin=-scale if signed else 0.0, vmax=scale,
        edgecolors=look.text, linewidths=0.5, zorder=3, gid="weights",
    )  # fmt: skip
    below = weights[finite] < 0
    if below.any():
        tones = [text_on(to_hex(tuple(rgba))) for rgba in discs.to_rgba(weights[finite][below]).tolist()]
        places = points[finite][below]
        style = {"marker": "_", "linewidths": 0.7, "zorder": 3.5, "gid": "below zero"}
        ax.scatter(places[:, 1], places[:, 0], s=0.3 * areas[below], c=tones, **style)
    point = 62 / 25.4 * 72 / (2 * half_width)  # of print, in a pixel
    crosses = point * slots if slots is not None else np.zeros((0, 2))
    _write_numbers(ax, finite, points[finite], point, np.sqrt(areas) / 2, crosses, look)
    return discs


def _write_numbers(
    ax: Axes, slots: np.ndarray, places: np.ndarray, point: float, radii: np.ndarray, crosses: np.ndarray, look: Look
) -> None:  # fmt: skip
    """The discs' slots beside them, where fewest discs, crosses and numbers lie; discs on one place share a label.

    Args:
        point: points of print in a pixel. radii (of the discs) and crosses in points.
    """
    from matplotlib.patheffects import withStroke

    small = len(slots) > 25
    style: dict[str, Any] = {"fontsize": 4.2 if small else 5.5, "ha": "center", "va": "center", "zorder": 10}
    style["path_effects"] = [withStroke(linewidth=1.2, foreground=look.background)]
    high = style["fontsize"]
    at = point * places
    groups: dict[int, list[int]] = {}
    for one in range(len(at)):
        same = next((g for g in groups if np.abs(at[g] - at[one]).max() < 1.5), one)
        groups.setdefault(same, []).append(one)
    written: list[np.ndarray] = []  # centre (y, x), half height, half width
    turns = np.pi * np.array([1.5, 0.0, 1.0, 0.5, 1.75, 1.25, 0.25, 0.75])  # above first
    for first, members in groups.items():
        words = ", ".join(str(slots[one]) for one in sorted(members, key=lambda one: slots[one]))
        half = np.array([0.5 * high, 0.31 * high * len(words)])
        away = radii[first] + 0.6
        steps = np.stack([np.sin(turns) * (away + half[0]), np.cos(turns) * (away + half[1])], 1)
        costs = []
        for centre in at[first] + steps:
            gaps = np.clip(np.abs(at - centre) - half, 0, None)
            cost = 2.0 * (np.hypot(*gaps.T) < radii).sum()
            cost += (np.abs(crosses - centre) < half + 1.5).all(-1).sum()
            cost += sum(4.0 * bool((np.abs(o[:2] - centre) < half + o[2:]).all()) for o in written)
            costs.append(cost)
        step = steps[int(np.argmin(costs))]
        written.append(np.concatenate([at[first] + step, half]))
        y, x = places[first]
        ax.annotate(words, (x, y), (step[1], -step[0]), textcoords="offset points", **style)


def _draw_moves(ax: Axes, old: np.ndarray, now: np.ndarray, look: Look) -> None:
    from matplotlib.collections import LineCollection

    both = np.isfinite(old).all(-1) & np.isfinite(now).all(-1)
    lines = np.stack([old[both], now[both]], 1)[..., ::-1]
    ax.add_collection(
        LineCollection(list(lines), colors=look.muted, linewidths=0.7, zorder=2, gid="moves"), autolim=False
    )
