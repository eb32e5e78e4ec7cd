"""One shape of a layer: where its weights lay and where they lie now, their values as colour and size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from icnn_core.errors import ArgumentError
from icnn_viz.figures.marks import X_LABEL, Y_LABEL, draw_slots, set_view
from icnn_viz.figures.sheet import Sheet
from icnn_viz.figures.style import Look, use_theme
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
    theme: str = "light",
) -> Figure:
    """Two panels on one scale: the shape before and after. Each weight is a disc with its slot's number.

    Signed weights (sharing "none") get a diverging colour, norms of weights a sequential one; the disc's area
    goes with the magnitude, relative to the largest of both panels. Thin lines on the right lead
    back to where a weight lay.

    Args:
        channel, kernel: which shape; kernel is 0 where kernels share their shapes.
        before: the same layer at another time; by default the same weights on their slots.

    Raises:
        ArgumentError: no such channel or kernel, or `before` has other shapes.
    """
    _check(cloud, channel, kernel, before)
    now, weights = cloud.positions[kernel, channel], cloud.weights[kernel, channel]
    old, old_weights = cloud.slots, weights
    if before is not None:
        old, old_weights = before.positions[kernel, channel], before.weights[kernel, channel]
    with use_theme(theme) as look:
        sheet = Sheet(170, 92, look)
        left, right = sheet.add_axes(12, 15, 62, 62), sheet.add_axes(86, 15, 62, 62)
        half_width = _half_width(cloud.slots, old, now)
        scale = float(np.nanmax(np.abs([weights, old_weights]), initial=0.0)) or 1.0
        signed = any((one.weights < 0).any() for one in (cloud, before or cloud))
        for ax, points, values, title in (
            (left, old, old_weights, "before" if before else "on the slots"),
            (right, now, weights, "after" if before else "as learnt"),
        ):
            shown = _draw_discs(ax, points, values, scale, signed, look)
            draw_slots(ax, cloud.slots, look, size=14, width=0.5)
            set_view(ax, half_width, labels=False)
            ax.set(xlabel=X_LABEL, title=title)
        left.set_ylabel(Y_LABEL)
        right.tick_params(labelleft=False)
        _draw_moves(right, old, now, look)
        bar = sheet.figure.colorbar(shown, cax=sheet.add_axes(153, 20, 2.4, 52))
        norm = (
            "magnitude of the weight"
            if cloud.sharing == "none"
            else "norm of the weights that share the position"
        )
        bar.set_label("weight" if signed else norm)
        bar.outline.set_linewidth(0.4)  # type: ignore[operator]
        sheet.write_heading(cloud.layer, _describe(cloud, channel, kernel))
        lost = int((~np.isfinite(now).all(-1)).sum())
        sheet.write_notes([f"{lost} of {len(now)} positions are not finite"] if lost else [], top=4.5)
    return sheet.figure


def _check(cloud: PositionCloud, channel: int, kernel: int, before: PositionCloud | None) -> None:
    kernels, channels = cloud.positions.shape[:2]
    if not (0 <= channel < channels and 0 <= kernel < kernels):
        raise ArgumentError(
            f"draw_shape of {cloud.layer}",
            needed=f"channel 0 to {channels - 1}, kernel 0 to {kernels - 1}",
            got=f"channel {channel}, kernel {kernel}",
            fix="Choose one that exists.",
        )
    if before is not None and before.positions.shape != cloud.positions.shape:
        raise ArgumentError(
            f"draw_shape of {cloud.layer}",
            needed="the same layer before",
            got=f"positions {before.positions.shape} and {cloud.positions.shape}",
            fix="Give two states of one network.",
        )


def _describe(cloud: PositionCloud, channel: int, kernel: int) -> str:
    shape = SHARING[cloud.sharing].one.format(kernel=kernel, channel=channel)
    moves = np.hypot(*(cloud.positions[kernel, channel] - cloud.slots).T)
    moves = moves[np.isfinite(moves)]
    return (
        f"{shape}; mean displacement {moves.mean():.2f} px, largest {moves.max():.2f} px"
        if len(moves)
        else shape
    )


def _half_width(*places: np.ndarray) -> float:
    points = np.concatenate(places)
    return 1.3 * max(float(np.abs(points[np.isfinite(points).all(-1)]).max(initial=0.0)), 0.5)


def _draw_discs(
    ax: Axes, points: np.ndarray, weights: np.ndarray, scale: float, signed: bool, look: Look
) -> PathCollection:
    from matplotlib.patheffects import withStroke

    finite = np.isfinite(points).all(-1)
    discs = ax.scatter(
        points[finite, 1], points[finite, 0], s=12 + 150 * np.abs(weights[finite]) / scale, c=weights[finite],
        cmap=look.diverging if signed else look.sequential, vmin=-scale if signed else 0.0, vmax=scale,
        edgecolors=look.text, linewidths=0.5, zorder=3, gid="weights",
    )  # fmt: skip
    halo = [withStroke(linewidth=1.5, foreground=look.background)]
    for slot in np.flatnonzero(finite):
        ax.annotate(
            str(slot), (points[slot, 1], points[slot, 0]), (0, 8.5), textcoords="offset points", fontsize=5.5,
            ha="center", va="center", zorder=4, path_effects=halo,
        )  # fmt: skip
    return discs


def _draw_moves(ax: Axes, old: np.ndarray, now: np.ndarray, look: Look) -> None:
    from matplotlib.collections import LineCollection

    both = np.isfinite(old).all(-1) & np.isfinite(now).all(-1)
    lines = np.stack([old[both], now[both]], 1)[..., ::-1]
    ax.add_collection(
        LineCollection(list(lines), colors=look.muted, linewidths=0.7, zorder=2, gid="moves"), autolim=False
    )
