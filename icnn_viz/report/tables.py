"""Tables of the page: what stands in each cell, and the full number that sorting and downloading take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from icnn_viz.records import shape_per

if TYPE_CHECKING:
    import pandas as pd

    from icnn_viz.records import PixelComparison


@dataclass(frozen=True)
class Column:
    """A column: its name in the downloaded file, what the reader sees over it, and how a number is written ("" for
    text).
    """

    name: str
    heading: str
    form: str = ""

    @property
    def is_number(self) -> bool:
        return bool(self.form)


@dataclass(frozen=True)
class Cell:
    """What is read, and what is sorted by and downloaded."""

    text: str
    value: str


@dataclass(frozen=True)
class Table:
    """A table that can be sorted and downloaded as `name`.csv."""

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]


_EACH, _ALIKE = "3", "alike"  # three digits of each number, or one precision for the column
_LAYERS = (
    Column("layer", "layer"),
    Column("kernel_size", "kernel"),
    Column("dilation", "dilation"),
    Column("sharing", "one shape per"),
    Column("shapes", "shapes", ",.0f"),
    Column("mean_displacement", "mean displacement (px)", ".3f"),
    Column("largest_displacement", "largest (px)", ".2f"),
    Column("share_moved", "moved over 0.1 px", ".1%"),
    Column("share_outside", "outside the regular square", ".1%"),
    Column("share_outside_jitter", "by jitter alone", ".1%"),
    Column("elongation", "elongation", ".2f"),
    Column("spread", "spread (px)", ".3f"),
    Column("spread_ratio", "widest / narrowest slot", ".2f"),
    Column("extent_ratio", "reach against regular", ".2f"),
    Column("pinning", "on the pixel lattice, times chance", ".2f"),
    Column("corners", "on the diagonals, times chance", ".2f"),
    Column("state", "state"),
)
_SLOTS = (
    Column("layer", "layer"),
    Column("slot", "slot", ".0f"),
    Column("state", "state"),
    Column("points", "points", ",.0f"),
    Column("mean_y", "centre y (px)", ".3f"),
    Column("mean_x", "centre x (px)", ".3f"),
    Column("distance", "from slot (px)", ".3f"),
    Column("closeness", "close to it?"),
    Column("sd_major", "long sd (px)", ".3f"),
    Column("sd_minor", "short sd (px)", ".3f"),
    Column("elongation", "elongation", ".2f"),
    Column("orientation", "orientation (°)", ".0f"),
    Column("skewness", "skewness", ".2f"),
    Column("excess_kurtosis", "excess kurtosis", ".2f"),
    Column("roughly_gaussian", "roughly Gaussian?"),
)
_CLAIMS = (
    Column("claim", "claim of the paper"),
    Column("verdict", "verdict here"),
    Column("number", "number", _EACH),
    Column("unit", "of"),
    Column("evidence", "evidence"),
    Column("rule", "rule, fixed beforehand"),
    Column("layers", "layers judged", ".0f"),
)


def to_table(rows: pd.DataFrame | Sequence[Any], name: str, caption: str, columns: Sequence[Column]) -> Table:
    """The columns of a frame, or of rows by order or name; what is missing is an empty cell, shown as a dash."""
    import pandas as pd

    names = [column.name for column in columns]
    frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(rows, columns=pd.Index(names))
    cells = [_to_cells(frame[column.name].tolist(), column) for column in columns]
    return Table(name, caption, tuple(columns), tuple(zip(*cells, strict=True)))


def list_kernel_tables(tables: Mapping[str, pd.DataFrame]) -> list[Table]:
    """Layers, and slots with what was tested on them."""
    import pandas as pd

    layers = tables["layers"].assign(sharing=tables["layers"]["sharing"].map(shape_per))
    keys = ["layer", "slot"]
    tests = tables["tests"][
        [*keys, "distance", "closeness", "skewness", "excess_kurtosis", "roughly_gaussian"]
    ]
    slots = tables["gaussians"].merge(tests, on=keys, how="left")
    slots["roughly_gaussian"] = [
        None if pd.isna(one) else "yes" if one else "no" for one in slots["roughly_gaussian"]
    ]
    return [
        to_table(layers, "layers", "Layers: one row for each irregular layer, in network order", _LAYERS),
        to_table(slots, "slots", "Slots: one row for each slot of each layer", _SLOTS),
    ]


def to_claim_table(*claims: pd.DataFrame) -> Table:
    """The paper's claims as `judge_claims` and `judge_effects` found them."""
    import pandas as pd

    return to_table(
        pd.concat(claims, ignore_index=True),
        "claims",
        "What the paper says of learnt positions, judged on this network",
        _CLAIMS,
    )


def to_measure_table(records: Sequence[PixelComparison]) -> Table:
    """One row for each pixel and network: what was predicted, and the measures of its heatmap."""
    from icnn_viz.displays.pixels import describe_networks
    from icnn_viz.figures.measure_table import measure_rows

    measured = {row.name: row.title for record in records for row in measure_rows(record)}
    columns = [
        Column("image", "image"),
        Column("x", "x", ".0f"),
        Column("y", "y", ".0f"),
        Column("class", "class"),
    ]
    columns += [Column("label", "true class"), Column("model", "network"), Column("predicted", "predicts")]
    columns += [Column("logit", "logit", _ALIKE)]
    columns += [Column(name, title, _ALIKE) for name, title in measured.items()]
    rows = [
        {"image": record.source, **described, **measures}
        for record in records
        for described, measures in zip(describe_networks(record), record.measures, strict=True)
    ]
    return to_table(rows, "measures", "Measures: one row for each pixel and network", columns)


def _to_cells(values: Sequence[Any], column: Column) -> list[Cell]:
    import pandas as pd

    from icnn_viz.figures.panels import format_alike, format_value

    if not column.is_number:
        return [Cell("–", "") if pd.isna(value) else Cell(str(value), str(value)) for value in values]
    numbers = [float("nan") if pd.isna(value) else float(value) for value in values]
    if column.form == _ALIKE:
        texts = format_alike(numbers)
    elif column.form == _EACH:
        texts = [format_value(number) for number in numbers]
    else:
        texts = [format(number, column.form).replace("-", "−") for number in numbers]
    fulls = [repr(int(number)) if number.is_integer() else repr(number) for number in numbers]
    return [
        Cell(text, full) if number == number else Cell("–", "")
        for text, full, number in zip(texts, fulls, numbers, strict=True)
    ]
