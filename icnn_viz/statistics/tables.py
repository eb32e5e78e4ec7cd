"""Tables with declared columns: an empty table has them too, and what was not measured is NA, never NaN."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_DTYPES = {"str": "str", "int": "Int64", "bool": "boolean", "": "Float64"}


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


def adjusted(p_values: Sequence[float | None]) -> list[float | None]:
    """Benjamini and Hochberg's adjusted p-values (1995) over those that are not None."""
    from scipy.stats import false_discovery_control

    given = [p for p in p_values if p is not None]
    found = iter(false_discovery_control(given).tolist() if given else [])
    return [None if p is None else next(found) for p in p_values]
