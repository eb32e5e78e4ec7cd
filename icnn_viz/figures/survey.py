"""Two networks over a data set: paired differences of measures, by class and stratum, with their intervals."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from icnn_core.errors import ArgumentError
from icnn_viz.figures.sheet import CHARACTER, MARGIN, WIDTH, Sheet
from icnn_viz.figures.style import Look, shorten, use_theme
from icnn_viz.heatmaps import MEASURES

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = (
    "energy_in_object",
    "energy_in_class",
    "object_used",
    "rank_accuracy",
    "radius_of_gyration",
    "area_90",
)
_COLUMNS = 3
_NAMES = 46.0  # mm of the names of strata
_ROW, _TITLE, _BELOW, _GAP = 3.6, 9.0, 9.0, 5.0
_HEADING, _NOTE = 11.0, 8.0
_FEWEST = 5
_NOTES = (
    "Mean paired differences at the same pixels, with 95 % intervals over images; coloured and "
    "filled where the interval leaves out 0 (not adjusted for the number of rows). In brackets: pixels."
)


def draw_survey(
    summary: pd.DataFrame,
    first: str,
    second: str,
    *,
    measures: Sequence[str] = SHOWN,
    title: str = "",
    theme: str = "light",
) -> Figure:
    """A panel per measure: the mean paired difference and its interval, over everything and by stratum.

    Args:
        summary: from `icnn_viz.statistics.paired.compare_pairs`; rows without an interval are left out.
        first, second: the networks' names; differences are first minus second.
        measures: those of them that are in the table are shown.
        title: what was looked at, e.g. the data set.
        theme: "light" or "dark".

    Raises:
        ArgumentError: nothing to show.
    """
    kept = summary.loc[_is_shown(summary)]
    shown = [m for m in measures if m in set(kept["measure"])]
    if not shown:
        needed, fix = f"differences with intervals, over {_FEWEST} images or more", "Look at more pixels."
        raise ArgumentError("draw_survey", needed=needed, got=f"{len(summary)} rows without any", fix=fix)
    strata = list(dict.fromkeys(zip(kept["group"], kept["stratum"], strict=True)))
    rows = -(-len(shown) // _COLUMNS)
    spaces = 0.6 * (len({group for group, _ in strata}) - 1)
    tall = _ROW * (len(strata) + spaces) + 2
    height = _HEADING + rows * (_TITLE + tall + _BELOW) + _NOTE
    wide = (WIDTH - _NAMES - MARGIN - (_COLUMNS - 1) * _GAP) / _COLUMNS
    with use_theme(theme) as look:
        sheet = Sheet(WIDTH, height, look)
        sheet.write_heading(f"What pixels look at: {first} minus {second}", title, left=MARGIN)
        for number, measure in enumerate(shown):
            row, column = divmod(number, _COLUMNS)
            top = _HEADING + _TITLE + row * (_TITLE + tall + _BELOW)
            left = _NAMES + column * (wide + _GAP)
            ax = sheet.add_axes(left, height - top - tall, wide, tall)
            _draw_panel(
                ax, kept.loc[kept["measure"] == measure], strata, measure, wide, look, names=column == 0
            )
        sheet.write_footnote(_NOTES)
    return sheet.figure


def has_intervals(summary: pd.DataFrame) -> bool:
    """Whether `draw_survey` would have something to show."""
    return bool(_is_shown(summary).any())


def _is_shown(summary: pd.DataFrame) -> np.ndarray:
    return (summary["low"].notna() & (summary["images"] >= _FEWEST)).to_numpy(bool)


def _heights(strata: Sequence[tuple[str, str]]) -> np.ndarray:
    """Where each stratum's row lies, downwards, with space between groups."""
    groups = [group for group, _ in strata]
    steps = [1.0 if i == 0 or groups[i] == groups[i - 1] else 1.6 for i in range(len(groups))]
    return np.cumsum(steps) - 1


def _draw_panel(
    ax: Axes,
    table: pd.DataFrame,
    strata: Sequence[tuple[str, str]],
    measure: str,
    wide: float,
    look: Look,
    *,
    names: bool,
) -> None:
    from matplotlib.ticker import MaxNLocator

    places = _heights(strata)
    found: dict[tuple[str, str], Any] = {(r["group"], r["stratum"]): r for r in table.to_dict("records")}
    ax.axvline(0, color=look.muted, linewidth=0.8, zorder=1)
    for place, key in zip(places, strata, strict=True):
        if key not in found:
            continue
        row = found[key]
        certain = row["low"] > 0 or row["high"] < 0
        colour = look.accent if certain else look.muted
        ax.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=1.2, zorder=2)
        style = {"marker": "o", "markersize": 3.6, "markeredgewidth": 0.9, "linestyle": "none", "zorder": 3}
        fill = colour if certain else look.background
        ax.plot([row["difference"]], [place], color=fill, markeredgecolor=colour, **style)
    ax.set_ylim(places[-1] + 0.8, -0.8)
    ax.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
    ax.grid(True, axis="x")
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    labels = [_name(key, found.get(key)) for key in strata] if names else [""] * len(strata)
    ax.set_yticks(places, labels)
    text, unit = MEASURES.get(measure, (measure, ""))
    title = "\n".join(textwrap.wrap(text, int(wide / CHARACTER))[:2])
    ax.set_title(title, loc="left", pad=3, linespacing=1.05)
    ax.set_xlabel(f"difference ({unit})" if unit else "difference", labelpad=1.5)


def _name(key: tuple[str, str], row: Any) -> str:
    stratum = "all pixels" if key[0] == "all" else key[1]
    count = f" ({row['pixels']})" if row is not None else ""
    return shorten(stratum, int((_NAMES - 2) / CHARACTER) - len(count)) + count
