"""Tables that survive a kill: cut anywhere, no row is lost but the torn group, and none comes twice."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from icnn_core.errors import DataError
from icnn_viz.displays.rows import RowFile, read_rows


def group(number: int) -> list[dict[str, object]]:
    return [
        {"pixel_id": number, "model": model, "value": number + 0.5, "note": 'a "quoted", name'}
        for model in "ab"
    ]


def ids_of(table: pd.DataFrame) -> list[int]:
    return table["pixel_id"].tolist()


def test_groups_are_appended_under_one_header(tmp_path: Path) -> None:
    path = tmp_path / "rows" / "0.csv"
    for start in (0, 3):  # reopened in between
        rows = RowFile(path, 2)
        for number in range(start, start + 3):
            rows.append(group(number))
    table = read_rows([path], 2)
    assert ids_of(table) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert table.to_dict("records")[-1] == group(5)[1]
    assert path.read_text().count("model") == 1


def test_cut_at_any_byte_it_goes_on_without_loss_or_repeat(tmp_path: Path) -> None:
    whole = tmp_path / "whole.csv"
    rows = RowFile(whole, 2)
    for number in range(3):
        rows.append(group(number))
    content, path = whole.read_bytes(), tmp_path / "cut.csv"
    ends = [len(b"".join(content.splitlines(keepends=True)[: 1 + 2 * n])) for n in range(4)]
    for size in sorted({*range(0, len(content), 7), *ends, *(end - 1 for end in ends[1:])}):
        path.write_bytes(content[:size])
        complete = sum(size >= end for end in ends[1:])
        assert ids_of(read_rows([path], 2)) == [n for n in range(complete) for _ in "ab"]
        rows = RowFile(path, 2)
        for number in range(complete, 3):
            rows.append(group(number))
        assert path.read_bytes() == content, size


def test_files_of_several_processes_are_merged(tmp_path: Path) -> None:
    for process, numbers in enumerate([(4, 0), (1, 3), ()]):
        rows = RowFile(tmp_path / f"{process}.csv", 2)
        for number in numbers:
            rows.append(group(number))
    RowFile(tmp_path / "3.csv", 2).append(group(1))  # done twice by accident
    table = read_rows(sorted(tmp_path.glob("*.csv")), 2)
    assert ids_of(table) == [0, 0, 1, 1, 3, 3, 4, 4]
    assert ids_of(read_rows([], 2)) == []


def test_missing_and_infinite_values_come_back(tmp_path: Path) -> None:
    row = {"pixel_id": 0, "a": float("nan"), "b": float("inf"), "name": "None"}
    RowFile(tmp_path / "0.csv", 1).append([row])
    (found,) = read_rows([tmp_path / "0.csv"], 1).to_dict("records")
    assert pd.isna(found["a"])
    assert found["b"] == float("inf")
    assert found["name"] == "None"


def test_other_columns_are_refused(tmp_path: Path) -> None:
    rows = RowFile(tmp_path / "0.csv", 2)
    rows.append(group(0))
    with pytest.raises(DataError, match="other"):
        rows.append([row | {"other": 1} for row in group(1)])
    with pytest.raises(DataError, match="1 rows"):
        rows.append(group(1)[:1])
