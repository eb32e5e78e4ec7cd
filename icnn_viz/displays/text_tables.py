"""Tables in words: of layers, claims, two networks' kernels, pixels, taps and surveys, for a terminal or a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from icnn_viz.displays.tables import to_records

if TYPE_CHECKING:
    import pandas as pd

    from icnn_viz.records import PixelComparison


@dataclass(frozen=True)
class TextTable:
    """What stands in each cell.

    Attributes:
        columns: headings; those of `words` hold text, the others numbers.
        title, caption: what stands above and below, or "".
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: Sequence[str]
    caption: str = ""
    title: str = ""


def tell_layers(layers: pd.DataFrame) -> TextTable:
    """The summary of every layer (`summarise_clouds`)."""
    rows = []
    for row in to_records(layers):
        kernel = row["kernel_size"] + (f" d{row['dilation']}" if row["dilation"] != "1x1" else "")
        measures = [_number(row[f"{name}_displacement"], "{:.2f}") for name in ("mean", "largest")]
        outside = _number(row["share_outside"], "{:.1%}")
        outside += f" ({_number(row['share_outside_jitter'], '{:.1%}')})" if row["share_outside"] else ""
        rows.append([row["layer"], kernel, f"{row['shapes']:,}", *measures, outside, row["state"]])
    caption = "displacements in input pixels; outside = points beyond the regular square (by jitter alone)"
    columns = ("layer", "kernel", "shapes", "mean", "largest", "outside", "state")
    return TextTable(columns, rows, ("layer", "kernel", "state"), caption)


def tell_claims(claims: pd.DataFrame) -> TextTable | str:
    """The paper's claims, and whether they hold here (`judge_claims`); one sentence if nothing can be said."""
    if len(set(claims["evidence"])) == 1:
        return f"The paper's {len(claims)} claims {claims['verdict'][0]}: {claims['evidence'][0]}."
    rows = claims[["claim", "verdict", "evidence"]].to_numpy().tolist()
    columns = ("claim of the paper", "verdict", "evidence")
    return TextTable(columns, rows, columns, "rules and thresholds: docs/statistics.md")


def tell_comparison(comparison: pd.DataFrame) -> TextTable:
    """How far two runs are apart, one row a layer: the slot that differs most (`compare_runs`)."""
    rows = []
    for row in most_different(comparison):
        values = (row.get(name) for name in ("energy_coefficient", "wasserstein", "wasserstein_floor", "q"))
        slot, moved = str(row.get("slot", "–")), _number(row.get("moved"), "{:.2f}")
        rows.append([row["layer"], slot, moved, *(_number(value, "{:.3f}") for value in values)])
    columns = ("layer", "slot", "centre moved", "energy coefficient", "Wasserstein", "its floor", "q")
    caption = "the slot with the largest energy coefficient (0 = alike, 1 = apart); distances in input pixels"
    return TextTable(columns, rows, ("layer",), caption)


def most_different(comparison: pd.DataFrame) -> list[dict[str, Any]]:
    """Of every layer the slot with the largest energy coefficient, and how far its centre moved; where there is none,
    as of a single shape, the slot whose centre moved farthest."""
    found = []
    for layer, rows in comparison.groupby("layer_a", sort=False):
        rows = rows.assign(moved=(rows["shift_y"] ** 2 + rows["shift_x"] ** 2) ** 0.5)
        measured = rows["energy_coefficient"].dropna()
        measured = rows["moved"].dropna() if measured.empty else measured
        row = {} if measured.empty else to_records(rows.loc[[measured.idxmax()]])[0]
        found.append(row | {"layer": str(layer)})
    return found


def tell_pixel(record: PixelComparison) -> TextTable:
    """What is predicted at a pixel, and its measures, one column per network."""
    from icnn_viz.figures.comparison import describe_question
    from icnn_viz.figures.measure_table import answer_rows, measure_rows

    said = [f"true class: {record.true_class}"] * bool(record.true_class)
    said += dict.fromkeys(note for heatmap in record.heatmaps for note in heatmap.notes)
    rows = [[row.title, *row.texts] for row in (*answer_rows(record), *measure_rows(record))]
    columns, title = ("measure", *record.networks), describe_question(record.gradients[0])
    return TextTable(columns, rows, ("measure",), "; ".join(said), title)


def tell_taps(summary: pd.DataFrame, notes: Sequence[str]) -> TextTable:
    """What `TapDisplay.summary` says of each panel, and its notes."""
    rows = []
    for row in summary.to_dict("records"):
        shares = (f"{row[name]:.1%}" for name in ("held", "beyond"))
        rows.append([row["layers"], row["places"], f"{row['points']:,}", *shares, f"{row['moved']:.2f}"])
    said = (
        "held: share of the weight that the points hold; beyond: share of it that falls into borders of zeros"
    )
    columns = ("layers, from the output on", "places", "points", "held", "beyond", "mean move (px)")
    return TextTable(columns, rows, columns[:2], "; ".join([said, *notes]))


def tell_differences(summary: pd.DataFrame, first: str, second: str) -> TextTable:
    """A survey's differences over all pixels, of its `summary`: measure, both means, difference, interval, share."""
    from icnn_viz.figures.panels import format_alike
    from icnn_viz.figures.survey import SHOWN
    from icnn_viz.heatmaps import MEASURES

    whole = summary.loc[summary["against"] == second].set_index("measure")
    rows = []
    for name in ("correct", "energy", *SHOWN):
        text, unit = MEASURES.get(name, ("class predicted rightly", "share"))
        *means, difference, low, high, higher = whole.loc[
            name, ["first", "second", "difference", "low", "high", "share_higher"]
        ].astype(float)
        values = format_alike(means) + format_alike([difference, low, high])
        interval = f"{values[3]} to {values[4]}" if low == low else "–"  # of five images or more
        rows.append([f"{text} ({unit})" if unit else text, *values[:3], interval, f"{higher:.0%}"])
    caption = (
        "95 % intervals over images: Student's t or a studentised bootstrap, whichever is wider; – where "
        "fewer than five images speak (effective number); by class and stratum in differences.csv"
    )
    columns = ("measure", first, second, "difference", "interval", f"higher in {first}")
    return TextTable(columns, rows, columns[:1], caption)


def _number(value: Any, form: str) -> str:
    return "–" if value is None or value != value else form.format(float(value))
