"""Variants of a study over seeds: every run, the means, and the differences to one of them, paired by seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from icnn_core.errors import ArgumentError
from icnn_viz.figures.sheet import Sheet
from icnn_viz.figures.style import Look, shorten, use_theme

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from icnn_core.training.ablation_table import VariantSummary

_WIDTH, _LEFT, _GAP, _RIGHT = 170.0, 32.0, 9.0, 4.0  # mm
_ROW, _BELOW, _ABOVE = 8.0, 19.0, 11.0
_LETTERS = 20  # of a variant's name


def draw_ablation(
    runs: pd.DataFrame,
    summaries: Sequence[VariantSummary],
    *,
    against: str = "none",
    title: str = "Ablation",
    subtitle: str = "",
    theme: str = "light",
) -> Figure:
    """Two panels, a line a variant: mean IoU of every run, seeds joined; differences to `against` with their intervals.

    Args:
        runs: one row a run: variant, seed, mean_iou in [0, 1].
        summaries: of `icnn_core.training.ablation_table.summarise`; their order is that of the lines.
        against: the variant that the others are compared with.

    Raises:
        ArgumentError: nothing to show.
    """
    if not summaries:
        raise ArgumentError(
            "draw_ablation", needed="at least one finished run", got="none", fix="Train one first."
        )
    rows = [summary.variant for summary in summaries]
    height = _BELOW + _ROW * len(rows) + _ABOVE
    wide = (_WIDTH - _LEFT - _GAP - _RIGHT) / 2
    with use_theme(theme) as look:
        sheet = Sheet(_WIDTH, height, look)
        panels = [
            sheet.add_axes(left, _BELOW, wide, _ROW * len(rows)) for left in (_LEFT, _LEFT + wide + _GAP)
        ]
        _draw_runs(panels[0], runs, summaries, look)
        _draw_differences(panels[1], runs, summaries, against, look)
        for ax in panels:
            _set_rows(ax, len(rows))
        panels[0].set_yticks(range(len(rows)), [shorten(row, _LETTERS) for row in rows])
        panels[1].set_yticks(range(len(rows)), [""] * len(rows))
        panels[0].set_xlabel("mean IoU (%)")
        panels[1].set_xlabel(f"mean IoU − that of {shorten(against, _LETTERS)} (points)")
        sheet.write_heading(title, subtitle, left=4)
        sheet.write_notes(_notes(summaries), top=7.5)
    return sheet.figure


def _draw_runs(ax: Axes, runs: pd.DataFrame, summaries: Sequence[VariantSummary], look: Look) -> None:
    """Small dots joined by seed, and the rows' means."""
    import seaborn as sns

    places = {summary.variant: place for place, summary in enumerate(summaries)}
    shown = runs[runs["variant"].isin(list(places))]
    shown = shown.assign(place=[places[row] for row in shown["variant"]], percent=100 * shown["mean_iou"])
    dots: dict[str, Any] = {"marker": "o", "markersize": 3, "markeredgewidth": 0, "alpha": 0.8}
    sns.lineplot(
        shown, x="percent", y="place", units="seed", estimator=None, orient="y", ax=ax, color=look.muted,
        linewidth=0.5, zorder=2, **dots,
    )  # fmt: skip
    means = [100 * summary.mean for summary in summaries]
    ax.plot(means, range(len(means)), "D", color=look.accent, markersize=4, gid="means", zorder=3)


def _draw_differences(
    ax: Axes, runs: pd.DataFrame, summaries: Sequence[VariantSummary], against: str, look: Look
) -> None:
    """A dot a seed, none on another, above the mean and its interval, which is filled where it leaves out 0."""
    import seaborn as sns

    wide = 100 * runs.pivot_table(index="seed", columns="variant", values="mean_iou")
    ax.axvline(0, color=look.muted, linewidth=0.8, zorder=1)
    for place, summary in enumerate(summaries):
        if summary.difference is None:
            continue
        points = (wide[summary.variant] - wide[against]).dropna().to_numpy()
        sns.swarmplot(
            x=points, y=np.full(len(points), place - 0.22), orient="h", native_scale=True, ax=ax, color=look.muted,
            size=3, alpha=0.8, gid=f"differences of {summary.variant}", warn_thresh=1,
        )  # fmt: skip
        certain = False
        if summary.low is not None and summary.high is not None:
            ends = [100 * summary.low, 100 * summary.high]
            ax.plot(
                ends,
                [place + 0.12] * 2,
                color=look.accent,
                linewidth=1.2,
                gid=f"interval of {summary.variant}",
            )
            certain = ends[0] > 0 or ends[1] < 0
        ax.plot(
            [100 * summary.difference], [place + 0.12], "D", markersize=4, markeredgecolor=look.accent,
            color=look.accent if certain else look.background, gid=f"mean of {summary.variant}", zorder=3,
        )  # fmt: skip


def _set_rows(ax: Axes, count: int) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.set_ylabel("")
    ax.set_ylim(count - 0.5, -0.5)
    ax.margins(x=0.08)
    ax.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    ax.grid(True, axis="x")
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)


def _notes(summaries: Sequence[VariantSummary]) -> list[str]:
    most = max(summary.seeds for summary in summaries)
    notes = [f"dots: {most} seeds, lines join a seed's runs", "diamonds: means"]
    if any(summary.low is not None for summary in summaries):
        notes.append("bars: 95 % intervals (Student's t over seeds), filled where they leave out 0")
    elif any(summary.difference is not None for summary in summaries):
        notes.append("too few seeds for intervals")
    return notes
