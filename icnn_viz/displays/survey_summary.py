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
