"""What a survey's rows say: paired differences as a table, a figure, and on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icnn_viz.cli._rows import KEY

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from icnn_viz.cli._survey import Survey

GROUPS = {"class": "class", "boundary": "boundary", "elongation": "object_elongation"}
"""Column of the rows by factor. ("elongation" is a measure of the heatmap.)"""
FEWEST_IMAGES = 5  # for an interval worth drawing


def summarise(table: pd.DataFrame, models: Sequence[str], classes: Sequence[str], seed: int) -> pd.DataFrame:
    """Paired differences of the first network from each other one, in every measure.

    Over all pixels, by stratum, and by whether the first two networks are right there.
    """
    import pandas as pd

    from icnn_viz.heatmaps import strata_of
    from icnn_viz.statistics.paired import compare_pairs

    described = {KEY, "image", "x", "y", "area", "model", "predicted", "correct", *GROUPS.values()}
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


def write_summary(
    rows: pd.DataFrame,
    labels: Sequence[str],
    classes: Sequence[str],
    survey: Survey,
    folder: Path,
    formats: Sequence[str],
    theme: str,
) -> tuple[pd.DataFrame, list[Path]]:
    """The merged measures.csv, differences.csv and a figure per pair of networks, of a survey that is done.

    Args:
        rows: all of them; labels: the networks' names, in their order.
    """
    from icnn_viz.cli._table import write_tables
    from icnn_viz.figures.survey import draw_survey
    from icnn_viz.figures.write import write_figure

    first, second, *_ = labels
    summary = summarise(rows, labels, classes, survey.seed)
    written = write_tables({"measures": rows, "differences": summary}, folder)
    pixels = rows[KEY].nunique()
    title = f"{survey.data} {survey.split} · {pixels} pixels of {rows['image'].nunique()} images · {survey.method}"
    drawn = []
    for other in labels[1:]:
        pair = summary.loc[summary["against"] == other]
        if bool((pair["low"].notna() & (pair["images"] >= FEWEST_IMAGES)).any()):
            figure = draw_survey(pair, first, other, title=title, theme=theme)
            stem = (
                "differences"
                if other == second
                else f"differences-{other.rpartition(', ')[2].replace(' ', '-')}"
            )
            drawn += [write_figure(figure, folder / f"{stem}.{kind}") for kind in formats]
    return summary, drawn + written


def to_difference_table(summary: pd.DataFrame, first: str, second: str) -> Table:
    """The differences over all pixels, for the terminal."""
    from rich.table import Table

    from icnn_viz.figures.panels import format_value
    from icnn_viz.figures.survey import SHOWN
    from icnn_viz.heatmaps import MEASURES

    table = Table(caption="95 % intervals over images; by class and stratum in differences.csv")
    table.add_column("measure")
    for title in (first, second, "difference", "interval", f"higher in {first}"):
        table.add_column(title, justify="right")
    chosen = (summary["group"] == "all") & (summary["against"] == second)
    whole = summary.loc[chosen].set_index("measure")
    for name in ("correct", "energy", *SHOWN):
        row = whole.loc[name]
        text, unit = MEASURES.get(name, ("class predicted rightly", "share"))
        values = [format_value(_number(row[key])) for key in ("first", "second", "difference", "low", "high")]
        share = f"{_number(row['share_higher']):.0%}"
        interval = f"{values[3]} to {values[4]}"
        table.add_row(f"{text} ({unit})" if unit else text, *values[:3], interval, share)
    return table


def _number(value: Any) -> float:
    return float("nan") if value is None or value != value else float(value)
