"""Tables with declared columns: an empty table has them too, and what was not measured is NA, never NaN."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

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
    from scipy.stats import false_discovery_control

    for column in columns:
        tested = [row for row in rows if row.get(column) is not None]
        if tested:
            found = false_discovery_control([row[column] for row in tested])
            for row, q in zip(tested, found, strict=True):
                row["q" + column[1:]] = q
    return rows
