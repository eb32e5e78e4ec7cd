"""What is found, for the terminal: tables for people, plain values for --json; and bars while it is computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icnn_core.cli.app import make_console, make_progress, print_json
from icnn_core.text import counted

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from icnn_viz.displays.drawings import Track
    from icnn_viz.records import PixelComparison


def bar(description: str) -> Track:
    """Goes through a sequence with a bar on the terminal."""

    def track(items: Sequence[Any]) -> Iterator[Any]:
        with make_progress() as progress:
            yield from progress.track(items, description=description)

    return track


def tell(shown: Sequence[Any], written: Sequence[Path], out: Path, found: Mapping[str, Any] | None) -> None:
    """Print what was found, what was written and what to open; and `found`, if it is given, as JSON."""
    from icnn_viz.displays.drawings import choose_to_open

    console = make_console(json=found is not None)
    for one in shown:
        console.print(one)
    console.print(f"{counted(len(written), 'file')} in {out}. Open {choose_to_open(written)}.")
    if found is not None:
        print_json(dict(found) | {"written": written})


def to_layer_table(layers: pd.DataFrame) -> Table:
    """The summary of every layer (`summarise_clouds`) as a table for the terminal."""
    from rich.table import Table

    from icnn_viz.displays.tables import to_records

    table = Table(
        caption="displacements in input pixels; outside = points beyond the regular square (by jitter alone)"
    )
    table.add_column("layer", overflow="fold")
    table.add_column("kernel")
    for title in ("shapes", "mean", "largest", "outside"):
        table.add_column(title, justify="right")
    table.add_column("state")
    for row in to_records(layers):
        kernel = row["kernel_size"] + (f" d{row['dilation']}" if row["dilation"] != "1x1" else "")
        measures = [_number(row[f"{name}_displacement"], "{:.2f}") for name in ("mean", "largest")]
        outside = _number(row["share_outside"], "{:.1%}")
        outside += f" ({_number(row['share_outside_jitter'], '{:.1%}')})" if row["share_outside"] else ""
        table.add_row(row["layer"], kernel, f"{row['shapes']:,}", *measures, outside, row["state"])
    return table


def to_claim_words(claims: pd.DataFrame) -> Table | str:
    """The paper's claims, and whether they hold here (`judge_claims`); one sentence if nothing can be said."""
    from rich.table import Table

    if len(set(claims["evidence"])) == 1:
        return f"The paper's {len(claims)} claims {claims['verdict'][0]}: {claims['evidence'][0]}."
    table = Table(caption="rules and thresholds: docs/statistics.md")
    for title in ("claim of the paper", "verdict", "evidence"):
        table.add_column(title)
    for row in claims.to_dict("records"):
        table.add_row(row["claim"], row["verdict"], row["evidence"])
    return table


def to_comparison_table(comparison: pd.DataFrame) -> Table:
    """How far two runs are apart, one row a layer: the slot that differs most (`compare_runs`)."""
    from rich.table import Table

    from icnn_viz.displays.kernel_pair import most_different

    table = Table(
        caption="the slot with the largest energy coefficient (0 = alike, 1 = apart); distances in input pixels"
    )
    table.add_column("layer", overflow="fold")
    for title in ("slot", "centre moved", "energy coefficient", "Wasserstein", "its floor", "q"):
        table.add_column(title, justify="right")
    for row in most_different(comparison):
        slot, moved = str(row.get("slot", "–")), _number(row.get("moved"), "{:.2f}")
        values = (row.get(name) for name in ("energy_coefficient", "wasserstein", "wasserstein_floor", "q"))
        table.add_row(row["layer"], slot, moved, *(_number(value, "{:.3f}") for value in values))
    return table


def to_json(record: PixelComparison) -> dict[str, Any]:
    """A pixel's findings as plain values."""
    from icnn_viz.displays.pixels import describe_networks

    shared = ("x", "y", "class", "against", "label")
    described = zip(describe_networks(record), record.measures, strict=True)
    models = [model | {"measures": measures} for model, measures in described]
    return {
        **{key: models[0][key] for key in shared},
        "class_id": record.gradients[0].class_id,
        "notes": list(record.heatmaps[0].notes),
        "models": [{key: value for key, value in model.items() if key not in shared} for model in models],
    }


def to_measure_table(record: PixelComparison) -> Table:
    """A pixel's measures for the terminal, one column per network."""
    from rich.table import Table

    from icnn_viz.figures.comparison import describe_question
    from icnn_viz.figures.measure_table import answer_rows, measure_rows

    said = [f"true class: {record.true_class}"] * bool(record.true_class)
    said += dict.fromkeys(note for heatmap in record.heatmaps for note in heatmap.notes)
    title = describe_question(record.gradients[0])
    table = Table(title=title, title_justify="left", caption="; ".join(said) or None)
    table.add_column("measure")
    for network in record.networks:
        table.add_column(network, justify="right")
    for row in (*answer_rows(record), *measure_rows(record)):
        table.add_row(row.title, *row.texts)
    return table


def to_tap_table(summary: pd.DataFrame, notes: Sequence[str]) -> Table:
    """What `TapDisplay.summary` says of each panel."""
    from rich.table import Table

    caption = (
        "held: share of the weight that the points hold; beyond: share of it that falls into borders of zeros"
    )
    table = Table(caption="; ".join([caption, *notes]))
    table.add_column("layers, from the output on", overflow="fold")
    table.add_column("places")
    for title in ("points", "held", "beyond", "mean move (px)"):
        table.add_column(title, justify="right")
    for row in summary.to_dict("records"):
        shares = (f"{row[name]:.1%}" for name in ("held", "beyond"))
        table.add_row(row["layers"], row["places"], f"{row['points']:,}", *shares, f"{row['moved']:.2f}")
    return table


def to_difference_table(summary: pd.DataFrame, first: str, second: str) -> Table:
    """A survey's differences over all pixels."""
    from rich.table import Table

    from icnn_viz.displays.survey_summary import difference_rows

    table = Table(
        caption="95 % intervals over images: Student's t or a studentised bootstrap, whichever is wider; – where "
        "fewer than five images speak (effective number); by class and stratum in differences.csv"
    )
    table.add_column("measure")
    for title in (first, second, "difference", "interval", f"higher in {first}"):
        table.add_column(title, justify="right")
    for row in difference_rows(summary, second):
        table.add_row(*row)
    return table


def _number(value: Any, form: str) -> str:
    return "–" if value is None or value != value else form.format(float(value))
