"""What a survey's rows say: paired differences, as a table and in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from icnn_viz.displays.rows import KEY

if TYPE_CHECKING:
    import pandas as pd

GROUPS = {"class": "class", "boundary": "boundary", "elongation": "object_elongation"}
"""Column of the rows by factor. ("elongation" is a measure of the heatmap.)"""


def summarise(table: pd.DataFrame, models: Sequence[str], classes: Sequence[str], seed: int) -> pd.DataFrame:
    """Paired differences of the first network from each other one, in every measure.

    Over all pixels, by stratum, and by whether the first two networks are right there.
    """
    import pandas as pd

    from icnn_viz.heatmaps import strata_of
    from icnn_viz.statistics.paired import compare_pairs

    described = {KEY, "image", "x", "y", "area", "target", "model", "predicted", "correct", *GROUPS.values()}
    measures = ["correct", *(column for column in table.columns if column not in described)]
    of_pair = table.loc[table["model"].isin(models[:2])]
    right = of_pair.groupby(KEY)["correct"].min()
    outcomes = ["both right" if right[number] else "one or both wrong" for number in table[KEY]]
    ordered = {
        column: pd.Categorical(table[column], strata_of(factor, classes)) for factor, column in GROUPS.items()
    }
    table = table.assign(outcome=outcomes, **ordered)
    groups = [*GROUPS.values(), "outcome"]
    parts = [compare_pairs(table, models[0], other, measures, groups, seed=seed) for other in models[1:]]
    return pd.concat(parts, ignore_index=True)


def name_of_pair(other: str, number: int, view: str = "differences") -> str:
    """The name of a figure's file, without suffix, for the first network and another."""
    return view if number == 1 else f"{view}-{other.rpartition(', ')[2].replace(' ', '-')}"


def difference_rows(summary: pd.DataFrame, second: str) -> list[list[str]]:
    """The differences over all pixels in words: measure, both means, difference, interval, share of pixels."""
    from icnn_viz.displays.tables import to_records
    from icnn_viz.figures.panels import format_alike
    from icnn_viz.figures.survey import SHOWN
    from icnn_viz.heatmaps import MEASURES

    whole = summary.loc[(summary["group"] == "all") & (summary["against"] == second)]
    found = {str(row["measure"]): row for row in to_records(whole)}
    rows = []
    for name in ("correct", "energy", *SHOWN):
        row = {key: float("nan") if value is None else value for key, value in found[name].items()}
        text, unit = MEASURES.get(name, ("class predicted rightly", "share"))
        numbers = [float(row[key]) for key in ("first", "second", "difference", "low", "high")]
        values = format_alike(numbers[:2]) + format_alike(numbers[2:])
        known = row["low"] == row["low"]  # over five images or more
        interval, share = f"{values[3]} to {values[4]}" if known else "–", f"{float(row['share_higher']):.0%}"
        rows.append([f"{text} ({unit})" if unit else text, *values[:3], interval, share])
    return rows
