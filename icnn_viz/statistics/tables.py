"""Tables with declared columns: an empty table has them too, and what was not measured is NA, never NaN."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

_DTYPES = {"str": "string", "int": "Int64", "bool": "boolean", "": "Float64"}


def to_table(rows: Iterable[Mapping[str, object]], columns: str) -> pd.DataFrame:
    """Rows to a table.

    Args:
        rows: one mapping a row; keys that are missing, and None, become NA; other keys than the columns are
        dropped. columns: names in order, apart by spaces: "name:str", "name:int", "name:bool", or "name" for
        a number.
    """
    import pandas as pd

    pairs = [column.partition(":") for column in columns.split()]
    dtypes = {name: _DTYPES[kind] for name, _, kind in pairs}
    return pd.DataFrame(list(rows), columns=pd.Index(dtypes)).astype(dtypes)


def with_adjusted(rows: Sequence[dict[str, object]], columns: Iterable[str]) -> Sequence[dict[str, object]]:
    """The rows, with "q" or "q_…" beside each column "p" or "p_…": adjusted over the rows that have it.

    Benjamini and Hochberg (1995).
    """
    for column in columns:
        tested = [row for row in rows if row.get(column) is not None]
        if tested:
            for row, q in zip(tested, _adjusted([row[column] for row in tested]), strict=True):
                row["q" + column[1:]] = q
    return rows


def _adjusted(p: Sequence[Any]) -> np.ndarray:
    """Each p times their number over its rank, and no more than the next larger one's."""
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(-values, kind="stable")
    ranks = np.arange(len(values), 0, -1)
    found = np.empty_like(values)
    found[order] = np.minimum(np.minimum.accumulate(values[order] * len(values) / ranks), 1.0)
    return found
