"""Tables of positions, as `PositionCloud.to_frame` makes them -> PositionCloud."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from icnn_core.errors import DataError
from icnn_core.text import from_cell
from icnn_viz.positions.arrays import grid_of, to_cloud
from icnn_viz.records import PositionCloud

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ("slot", "slot_y", "slot_x", "y", "x")
_TEXTS = ("layer", "kernel", "channel", "kernel_size", "dilation")
_NUMBERS = ("slot_y", "slot_x", "y", "x", "weight_norm", "weight")
_MISSING = frozenset({"", "nan", "NaN", "NA", "N/A", "null", "None", None})  # among numbers


def read_table(path: Path, order: Sequence[int] | str | None = None) -> list[PositionCloud]:
    """The clouds of a .csv or .parquet file; see `read_arrays`.

    Raises:
        DataError: rows or columns are missing, or contradict each other. OSError, ValueError: it cannot be read.
    """
    import pandas as pd

    if path.suffix.lower() == ".parquet":
        table = pd.read_parquet(path)
        table = table.astype({name: str for name in _TEXTS if name in table.columns})
    else:  # as text: a layer may be called NA, and pandas' own numbers may be a rounding off
        table = pd.read_csv(path, dtype=str, keep_default_na=False).map(from_cell)
    missing = [name for name in _COLUMNS if name not in table.columns]
    if missing or table.empty:
        alone = str(table.columns[0]) if len(table.columns) == 1 else ""
        if any(mark in alone for mark in ";\t|"):
            raise DataError(
                str(path), needed="columns parted by commas, numbers with points", got=f"one column, {alone[:60]!r}",
                fix="Write it so: table.to_csv(path, index=False).",
            )  # fmt: skip
        raise DataError(
            str(path), needed=f"rows, and the columns {', '.join(_COLUMNS)}",
            got=f"no {', '.join(missing)}" if missing else "no rows", fix="Write it as `icnn-viz kernels` does.",
        )  # fmt: skip
    table = table.assign(**{n: _to_floats(table[n]) for n in _NUMBERS if n in table.columns})
    table = table.assign(**{n: "all" for n in ("layer", "kernel", "channel") if n not in table.columns})
    groups = table.groupby("layer", sort=False, dropna=False)
    return [_from_rows(path, str(layer), depth, rows, order) for depth, (layer, rows) in enumerate(groups)]


def _from_rows(
    path: Path, layer: str, depth: int, rows: pd.DataFrame, order: Sequence[int] | str | None
) -> PositionCloud:
    """One layer's rows, in any order."""
    shape, codes = [], []
    for name in ("kernel", "channel", "slot"):
        names, code = np.unique(_to_numbers(path, layer, name, rows[name]), return_inverse=True)
        shape.append(len(names))
        codes.append(code)
    place = np.ravel_multi_index(codes, shape)
    if len(rows) != math.prod(shape) or len(np.unique(place)) != len(rows):
        raise _refuse(
            path, f"a row for each of {math.prod(shape)} kernels, channels and slots of {layer}", f"{len(rows)} rows",
            "Give every slot of every shape once.",
        )  # fmt: skip
    ordered = rows.iloc[np.argsort(place)]
    slots = ordered[["slot_y", "slot_x"]].to_numpy(dtype=float).reshape(-1, shape[2], 2)
    if not np.allclose(slots, slots[:1], rtol=0, atol=1e-6):
        raise _refuse(
            path, f"slot_y and slot_x that are the same in every shape of {layer}", "slots that differ",
            "Slots are the regular places of the weights: one for all kernels and channels of a layer.",
        )  # fmt: skip
    shared = _count_shared(rows)
    positions = ordered[["y", "x"]].to_numpy(dtype=float).reshape(*shape, 2)
    weight = next((name for name in ("weight", "weight_norm") if name in ordered), None)
    weights = None if weight is None else ordered[weight].to_numpy(dtype=float).reshape(shape)
    size, dilation = (
        _to_pair(path, layer, name, ordered) or by_slots
        for name, by_slots in zip(("kernel_size", "dilation"), grid_of(slots[0]), strict=True)
    )
    return to_cloud(
        positions.reshape(positions.shape[shared:]), kernel_size=size, dilation=dilation, slots=slots[0],
        weights=None if weights is None else weights.reshape(weights.shape[shared:]), layer=layer, depth=depth,
        order=order, regular="regular" not in ordered or bool((ordered["regular"].astype(str) != "False").all()),
    )  # fmt: skip


def _to_floats(values: Any) -> np.ndarray:
    return np.array([math.nan if value in _MISSING else float(value) for value in values])


def _count_shared(rows: pd.DataFrame) -> int:
    """How many of the two leading axes, kernels and channels, a layer's shapes do without."""
    if set(rows["kernel"]) != {"all"}:
        return 0
    return 2 if set(rows["channel"]) == {"all"} else 1


def _to_numbers(path: Path, layer: str, name: str, values: Any) -> np.ndarray:
    """Numbers of kernels, channels or slots; "all" of the first two stands alone."""
    if name != "slot" and set(values) == {"all"}:
        return np.zeros(len(values), dtype=np.int64)
    try:
        numbers = values.to_numpy(dtype=np.float64)
        if not (np.isfinite(numbers).all() and (numbers == np.round(numbers)).all()):
            raise ValueError
    except (TypeError, ValueError) as error:
        alone = "" if name == "slot" else ', or "all" in every row'
        raise _refuse(
            path,
            f"whole numbers in the column {name} of {layer}{alone}",
            "something else",
            "Number them from 0.",
        ) from error
    return numbers.astype(np.int64)


def _to_pair(path: Path, layer: str, name: str, rows: pd.DataFrame) -> tuple[int, int] | None:
    """A pair that is written "3x2" in every row."""
    if name not in rows:
        return None
    texts = set(rows[name])
    parts = str(next(iter(texts))).split("x")
    if len(texts) > 1 or len(parts) != 2 or not all(part.isdecimal() and int(part) for part in parts):
        got = ", ".join(map(str, list(texts)[:3]))
        raise _refuse(path, f'one {name} of {layer}, like "3x2"', got, "Leave it out, or mend it.")
    return int(parts[0]), int(parts[1])


def _refuse(path: Path, needed: str, got: str, fix: str) -> DataError:
    return DataError(str(path), needed=needed, got=got, fix=fix)
