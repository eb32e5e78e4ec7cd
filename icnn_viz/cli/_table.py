"""Tables: on the terminal for people, on disk for programs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table


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


def to_records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as dictionaries of plain values; what is missing is None."""
    return table.astype(object).where(table.notna(), None).to_dict("records")  # type: ignore[return-value]


def write_tables(tables: Mapping[str, pd.DataFrame], folder: Path) -> list[Path]:
    """Write each table as `<name>.csv`, missing values as empty fields."""
    from icnn_viz.figures.write import write_atomically

    written = []
    for name, table in tables.items():
        written.append(
            write_atomically(
                folder / f"{name}.csv", lambda path, table=table: table.to_csv(path, index=False)
            )
        )
    return written


def _number(value: Any, form: str) -> str:
    return "–" if value is None or value != value else form.format(float(value))
