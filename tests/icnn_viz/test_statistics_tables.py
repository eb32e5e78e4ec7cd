"""Tables have the columns that were declared, and one word for what is missing."""

from __future__ import annotations

import numpy as np
import pandas as pd

from icnn_viz.statistics.tables import to_table


def test_what_is_missing_is_na_in_every_kind_of_column() -> None:
    columns = "name:str count:int held:bool value"
    full = {"name": "None", "count": 3, "held": False, "value": 0.5}
    table = to_table([full, dict.fromkeys(full), {}], columns)
    assert table.iloc[0].to_dict() == full  # the word stays a word
    assert all(value is pd.NA for value in table.iloc[1:].to_numpy(object).ravel())


def test_an_empty_table_has_its_columns() -> None:
    table = to_table([], "name:str value")
    assert list(table.columns) == ["name", "value"]
    assert table["value"].sum() == 0


def test_other_keys_are_dropped_and_numbers_are_numbers() -> None:
    table = to_table([{"a": np.float32(2), "b": 1}, {"a": 3}], "a")
    assert table.to_dict("list") == {"a": [2.0, 3.0]}
