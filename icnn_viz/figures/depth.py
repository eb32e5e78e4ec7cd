"""Elongation and spread of the layers over their depth, with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from icnn_core.errors import ArgumentError
from icnn_viz.figures.marks import robust_top
from icnn_viz.figures.sheet import Sheet, distinct_names, list_names
from icnn_viz.figures.style import Look, use_theme

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANELS = {"elongation": "elongation\n(1 = round)", "spread": "spread\n(grid spacings)"}


def draw_depth(layers: pd.DataFrame, trend: pd.DataFrame | None = None, *, theme: str = "light") -> Figure:
    """Two panels over the layers in network order: the median slot's elongation and spread, with intervals.

    Args:
        layers: one row a layer and measure, as `bootstrap_layers` gives, in grid spacings (`in_spacings`): layer,
            depth, measure, estimate, low, high.
        trend: one row a measure, as `depth_trends` gives of such a table, for the line of text on each panel.

    Raises:
        ArgumentError: the table lacks a measure.
    """
    missing = set(_PANELS) - set(layers["measure"])
    if missing:
        raise ArgumentError(
            "draw_depth", needed="rows of elongation and spread", got=f"none of {sorted(missing)}",
            fix="Give the table of bootstrap_layers.",
        )  # fmt: skip
    names = list(dict.fromkeys(layers.sort_values("depth")["layer"]))
    width = 80.0 if len(names) <= 12 else 170.0
    labels = distinct_names(names, 24)
    below = 10 + 1.22 * max(len(label) for label in labels)
    with use_theme(theme) as look:
        sheet = Sheet(width, 82 + below, look)
        upper = sheet.add_axes(17, below + 38, width - 21, 29)
        lower = sheet.add_axes(17, below + 4, width - 21, 29)
        above: set[str] = set()
        for ax, measure, floor in ((upper, "elongation", 1.0), (lower, "spread", 0.0)):
            above |= _draw(ax, layers.query("measure == @measure"), names, floor, look)
            ax.set_ylabel(_PANELS[measure])
            if trend is not None:
                ax.set_title(
                    _describe_trend(trend, measure), loc="right", fontsize=6, color=look.muted, pad=4
                )
        upper.axhline(1.0, color=look.muted, linewidth=0.6, zorder=1)
        upper.set_xticks(range(len(names)), [""] * len(names))
        lower.set_xticks(range(len(names)), labels, rotation=90, fontsize=5.5)
        sheet.write_heading("Shapes over depth", "median slot of each layer; bars: 95 % interval", left=17)
        lost = set(layers.loc[layers["estimate"].isna(), "layer"])
        named = [label for name, label in zip(names, labels, strict=True) if name in lost]
        notes = [f"no spread to measure: {list_names(named)}"] if named else []
        cut = [label for name, label in zip(names, labels, strict=True) if name in above]
        sheet.write_notes(
            notes + ([f"bars reach above the panel: {list_names(cut)}"] if cut else []), top=7.5
        )
    return sheet.figure


def _draw(ax: Axes, rows: pd.DataFrame, names: list[str], floor: float, look: Look) -> set[str]:
    """One measure: points with bars, joined where neighbours are both measured; a cross where there is none.

    Returns the layers that reach above the panel.
    """
    rows = rows.set_index("layer").loc[names]
    estimate, low, high = (
        rows[c].to_numpy(dtype=float, na_value=np.nan) for c in ("estimate", "low", "high")
    )
    place = np.arange(len(names))
    known = np.isfinite(estimate)
    ax.plot(place, estimate, color=look.muted, linewidth=0.7, zorder=2)
    bars = np.stack([estimate - low, high - estimate])[:, known]
    ax.errorbar(
        place[known], estimate[known], yerr=np.clip(bars, 0, None), fmt="o", color=look.accent, markersize=2.6,
        elinewidth=0.8, capsize=1.4, capthick=0.6, zorder=3,
    )  # fmt: skip
    if not known.all():
        ax.plot(place[~known], np.full((~known).sum(), 0.03), "x", color=look.muted, markersize=3.5,
                transform=ax.get_xaxis_transform(), clip_on=False, gid="unmeasured")  # fmt: skip
    ax.set_xlim(-0.6, len(names) - 0.4)
    ax.grid(True, axis="y")
    top = max(robust_top(np.concatenate([estimate, high])), robust_top(estimate, times=6.0), floor)
    low_end = min(floor, float(np.nanmin(low, initial=floor)))
    ax.set_ylim(
        low_end - 0.03 * (top - low_end), top + 0.12 * (top - low_end) if top > low_end else floor + 1.0
    )
    return {name for name, end in zip(names, high, strict=True) if end > ax.get_ylim()[1]}


def _describe_trend(trend: pd.DataFrame, measure: str) -> str:
    rows = trend[trend["measure"] == measure]
    if rows.empty:
        return ""
    row = rows.iloc[0]
    if row["state"] != "ok":
        return f"no trend: {row['state']}"
    return (
        f"Kendall's τ {row['kendall']:+.2f} [{row['kendall_low']:+.2f}, {row['kendall_high']:+.2f}]".replace(
            "-", "−"
        )
    )
