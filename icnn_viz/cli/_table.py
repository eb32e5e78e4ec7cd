"""Tables: on the terminal for people, on disk for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from icnn_viz.records import GaussianFit, PositionCloud


def make_tables(
    clouds: Sequence[PositionCloud], fits: Sequence[GaussianFit], seed: int = 0
) -> dict[str, pd.DataFrame]:
    """Everything that `kernels` counts and tests: positions, gaussians, layers, tests and claims.

    Args:
        seed: of the resamples, permutations and subsamples.
    """
    import pandas as pd

    from icnn_viz.statistics.centres import CentreTest
    from icnn_viz.statistics.claims import judge_claims
    from icnn_viz.statistics.gaussian import to_shapes
    from icnn_viz.statistics.layers import measure_layers
    from icnn_viz.statistics.normality import NormalityTest
    from icnn_viz.statistics.rules import ClaimRules
    from icnn_viz.statistics.spreads import SpreadTest, radial_spreads

    slot = ["layer", "depth", "slot", "state"]
    centres = CentreTest()(clouds).rename(columns={"p": "p_centre", "q": "q_centre"}).drop(columns="points")
    tests = (
        NormalityTest(seed=seed)(clouds)
        .merge(centres, on=slot)
        .merge(radial_spreads(clouds), on=slot, how="left")
    )
    spreads = SpreadTest(seed=seed)(clouds).drop(columns=["state", "slots", "outer_to_centre"])
    spreads = spreads.rename(columns={"p": "p_spread", "q": "q_spread"})
    return {
        "positions": pd.concat([cloud.to_frame() for cloud in clouds], ignore_index=True),
        "gaussians": pd.concat([to_shapes(fit) for fit in fits], ignore_index=True),
        "layers": measure_layers(clouds, seed=seed).merge(spreads, on=["layer", "depth"]),
        "tests": tests,
        "claims": judge_claims(clouds, ClaimRules(seed=seed)),
    }


def to_layer_table(layers: pd.DataFrame) -> Table:
    """The summary of every layer (`summarise_clouds`) as a table for the terminal."""
    from rich.table import Table

    table = Table(caption="displacements in input pixels; outside = points beyond the regular square")
    table.add_column("layer", overflow="fold")
    table.add_column("kernel")
    for title in ("shapes", "mean", "largest", "outside"):
        table.add_column(title, justify="right")
    table.add_column("state")
    for row in layers.to_dict("records"):
        kernel = row["kernel_size"] + (f" d{row['dilation']}" if row["dilation"] != "1x1" else "")
        measures = [_number(row[f"{name}_displacement"], "{:.2f}") for name in ("mean", "largest")]
        outside = _number(row["share_outside"], "{:.1%}")
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

    table = Table(
        caption="the slot with the largest energy coefficient (0 = alike, 1 = apart); distances in input pixels"
    )
    table.add_column("layer", overflow="fold")
    for title in ("slot", "centre moved", "energy coefficient", "Wasserstein", "its floor", "q"):
        table.add_column(title, justify="right")
    for layer, rows in comparison.groupby("layer_a", sort=False):
        measured = rows.dropna(subset=["energy_coefficient"])
        if measured.empty:
            table.add_row(str(layer), *["–"] * 6)
            continue
        row = measured.loc[measured["energy_coefficient"].idxmax()]
        moved = (float(row["shift_y"]) ** 2 + float(row["shift_x"]) ** 2) ** 0.5
        values = [row[name] for name in ("energy_coefficient", "wasserstein", "wasserstein_floor", "q")]
        table.add_row(
            str(layer), str(row["slot"]), f"{moved:.2f}", *(_number(value, "{:.3f}") for value in values)
        )
    return table


def to_comparison_notes(comparison: pd.DataFrame) -> list[str]:
    """What a reader of the comparison must be told: layers that one run lacks, slots that were not simply the same."""
    from icnn_viz.statistics.pairing import NUMBERED, REORDERED, RESCALED

    notes = []
    for side, word in (("a", "first"), ("b", "second")):
        lone = comparison.loc[comparison["state"] == f"only in the {word}", f"layer_{side}"]
        notes += [f"Only in the {word}, and not compared: {', '.join(lone)}."] if len(lone) else []
    told = {
        REORDERED: "slots stand in another order in the second; they were paired by their places",
        RESCALED: "slots lie at another spacing in the second; they were paired by row and column, displacements in px",
        NUMBERED: "no regular positions; slots were paired by number, and positions compared",
    }
    for pairing, words in told.items():
        layers = comparison.loc[comparison["pairing"] == pairing, "layer_a"].unique()
        notes += [f"{', '.join(layers)}: {words}."] if len(layers) else []
    return notes


def to_records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as dictionaries of plain values; what is missing is None."""
    return table.astype(object).where(table.notna(), None).to_dict("records")  # type: ignore[return-value]


def write_tables(
    tables: Mapping[str, pd.DataFrame], folder: Path, kinds: Sequence[str] = ("csv",)
) -> list[Path]:
    """Write each table as `<name>.csv` (missing values as empty fields) or `<name>.parquet`.

    Raises:
        ArgumentError: parquet without pyarrow.
    """
    from importlib.util import find_spec

    from icnn_core.errors import ArgumentError
    from icnn_viz.figures.write import write_atomically

    if "parquet" in kinds and find_spec("pyarrow") is None:
        raise ArgumentError(
            "--table parquet", needed="pyarrow", got="none", fix="pip install pyarrow, or write csv."
        )
    written = []
    for name, table in tables.items():
        for kind in dict.fromkeys(kinds):
            write = _write_csv if kind == "csv" else _write_parquet
            path = folder / f"{name}.{kind}"
            written.append(write_atomically(path, lambda temporary, w=write, t=table: w(t, temporary)))
    return written


def _write_csv(table: pd.DataFrame, path: Path) -> None:
    table.to_csv(path, index=False)


def _write_parquet(table: pd.DataFrame, path: Path) -> None:
    mixed = {name: "string" for name in table.columns if table[name].dtype == object}  # "all" beside numbers
    table.astype(mixed).to_parquet(path, index=False)


def _number(value: Any, form: str) -> str:
    import pandas as pd

    return "–" if pd.isna(value) else form.format(float(value))
