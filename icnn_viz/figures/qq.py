"""Are the clouds Gaussian? Quantiles of Mahalanobis² against those of χ² with two degrees of freedom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from icnn_viz.figures.clouds import describe, describe_ellipses
from icnn_viz.figures.marks import choose_slots, draw_key
from icnn_viz.figures.sheet import Sheet
from icnn_viz.figures.style import Look, slot_colours, use_theme
from icnn_viz.records import GaussianFit, PositionCloud
from icnn_viz.statistics.normality import mahalanobis_squared

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_qq(
    cloud: PositionCloud,
    fit: GaussianFit,
    *,
    theme: str = "light",
    slots: Sequence[int] | None = None,
    ax: Axes | None = None,
) -> Figure:
    """One line a slot: a Gaussian cloud follows the diagonal; above it, tails are heavy, below it, light.

    Distances are taken from each slot's own mean in its own covariance. Both axes have a square-root scale, so that
    they are even in standard deviations. The band holds 95 % of a Gaussian sample's points, one by one.

    Args:
        fit: the cloud's Gaussians. slots: draw these only. ax: draw into these axes alone.
    """
    fit = fit if slots is None else choose_slots(fit, slots)
    with use_theme(theme) as look:
        if ax is not None:
            _draw(ax, cloud, fit, look)
            return ax.get_figure(root=True)  # type: ignore[return-value]
        sheet = Sheet(80, 82, look)
        beyond = _draw(sheet.add_axes(12, 18, 55, 50), cloud, fit, look)
        draw_key(sheet, (67.5, 70.5, 9, 7), cloud.slots, look)
        sheet.write_heading(cloud.layer, describe(cloud), right=14)
        notes = ["line: a Gaussian; band: 95 % of its samples", *describe_ellipses(fit, np.inf)]
        sheet.write_notes(notes + [f"{beyond:,} points lie above the view"] * bool(beyond), top=8)
    return sheet.figure


def _draw(ax: Axes, cloud: PositionCloud, fit: GaussianFit, look: Look) -> int:
    """Returns how many points lie above the view."""
    observed = {slot: _distances(cloud, slot) for slot in np.flatnonzero(fit.state == "ok").tolist()}
    count = max((len(values) for values in observed.values()), default=1)
    expected = _chi2_quantiles((np.arange(1, count + 1) - 0.5) / count)
    right = float(expected[-1]) * 1.15
    top = max(min(max((v[-1] for v in observed.values()), default=0.0), 4 * right), right)
    _draw_band(ax, count, look)
    ax.plot([0, top], [0, top], color=look.text, linewidth=0.7, zorder=2)
    for slot, values in observed.items():
        chosen = np.unique(
            np.r_[
                0,
                len(values) - 1,
                np.linspace(0, len(values) - 1, 150).astype(int),
                range(max(len(values) - 40, 0), len(values)),
            ]
        )
        quantiles = _chi2_quantiles((np.arange(1, len(values) + 1) - 0.5) / len(values))
        ax.plot(
            quantiles[chosen], values[chosen], color=slot_colours(cloud.slots)[slot], marker=".", markersize=2.2,
            linewidth=0.8, markeredgewidth=0, zorder=3, gid=f"slot {slot}",
        )  # fmt: skip
    for set_scale, axis in ((ax.set_xscale, ax.xaxis), (ax.set_yscale, ax.yaxis)):
        set_scale("function", functions=(lambda v: np.sqrt(np.clip(v, 0, None)), np.square))
        axis.set_ticks([n * n for n in range(int(np.sqrt(top * 1.05)) + 1)])
    step = max(1, round(np.sqrt(top) / 6))
    ax.set_yticks([n * n for n in range(0, int(np.sqrt(top * 1.05)) + 1, step)])
    ax.set(xlim=(0, right), ylim=(0, top * 1.05))
    ax.set(
        xlabel="χ² quantile, 2 degrees of freedom (√ scale)", ylabel="Mahalanobis² of the points (√ scale)"
    )
    ax.grid(True)
    return sum(int((values > top * 1.05).sum()) for values in observed.values())


def _distances(cloud: PositionCloud, slot: int) -> np.ndarray:
    """Mahalanobis² of a slot's finite points, ascending."""
    points = cloud.displacements[:, slot]
    return np.sort(mahalanobis_squared(points[np.isfinite(points).all(-1)]))


def _chi2_quantiles(probability: np.ndarray) -> np.ndarray:
    """Of two degrees of freedom."""
    return -2.0 * np.log1p(-probability)


def _draw_band(ax: Axes, count: int, look: Look) -> None:
    """Where 95 % of the i-th smallest of `count` values fall: quantiles of Beta(i, count - i + 1)."""
    from scipy.special import betaincinv

    rank = np.unique(np.geomspace(1, count, 120).astype(int))
    rank = np.union1d(rank, count + 1 - rank)
    low, high = (_chi2_quantiles(betaincinv(rank, count - rank + 1, tail)) for tail in (0.025, 0.975))
    ax.fill_between(
        _chi2_quantiles((rank - 0.5) / count),
        low,
        high,
        color=look.muted,
        alpha=0.25,
        linewidth=0,
        gid="band",
    )
