"""Tables that grow row by row and survive a kill: whole groups of rows are appended, a torn end is cut off."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icnn_core.errors import DataError
from icnn_core.files import announce, explain
from icnn_core.text import from_cell, to_cell

if TYPE_CHECKING:
    import pandas as pd

KEY = "pixel_id"


class RowFile:
    """One process's own CSV file. Each group of `group` rows shares its "pixel_id" and is written at once.

    Args:
        path: made with its folder if it is missing; an unfinished last group is cut off.
        group: rows per id.
    """

    def __init__(self, path: Path, group: int) -> None:
        self.path, self.group = path, group
        path.parent.mkdir(parents=True, exist_ok=True)
        announce(path)
        if path.exists():
            _repair(path, group)
        self.columns = _header(path) if path.exists() else []

    def append(self, rows: Sequence[dict[str, Any]]) -> None:
        """Add a group.

        Raises:
            DataError: other columns than before, or a folder that cannot be written.
        """
        columns = list(rows[0])
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns or columns, lineterminator="\n")
        if not self.columns:
            writer.writeheader()
            self.columns = columns
        if set(columns) != set(self.columns) or len(rows) != self.group:
            needed = f"{self.group} rows of the columns of this table"
            got = f"{len(rows)} rows with {sorted(set(columns) ^ set(self.columns))[:3]} more or less"
            raise DataError(str(self.path), needed=needed, got=got, fix="Choose another folder with --out.")
        writer.writerows(
            {k: "" if value != value else to_cell(value) for k, value in row.items()} for row in rows
        )
        try:
            with self.path.open("a", encoding="utf-8", newline="") as file:
                file.write(text.getvalue())
        except OSError as error:
            needed, got = "a file that can be written", explain(error)[0]
            raise DataError(str(self.path), needed=needed, got=got, fix="Make room and run again.") from error


def read_rows(paths: Iterable[Path], group: int) -> pd.DataFrame:
    """All whole groups of several files, sorted by id; of an id that occurs twice the first group. May be empty."""
    import pandas as pd

    tables = [table for path in paths if len(table := _read(path))]
    if not tables:
        return pd.DataFrame(columns=[KEY])
    whole = [t.loc[t.groupby(KEY)[KEY].transform("size").to_numpy() >= group] for t in tables]
    table = pd.concat(whole, ignore_index=True)
    first = table.loc[table.groupby(KEY).cumcount().to_numpy() < group]
    return first.sort_values(by=KEY, kind="stable", ignore_index=True)


def _read(path: Path) -> pd.DataFrame:
    import pandas as pd

    text = path.read_text(encoding="utf-8")
    text = text[: text.rfind("\n") + 1]  # another process may be writing
    if not text:
        return pd.DataFrame()
    table = pd.read_csv(io.StringIO(text), keep_default_na=False, na_values=[""])
    words = [name for name in table.columns if table[name].dtype.kind not in "biufc"]
    return table.assign(**{name: table[name].map(from_cell) for name in words})


def _header(path: Path) -> list[str]:
    with path.open(encoding="utf-8", newline="") as file:
        return next(csv.reader(file), [])


def _repair(path: Path, group: int) -> None:
    """Cut the file after its last whole group."""
    content = path.read_bytes()
    lines = content[: content.rfind(b"\n") + 1].splitlines(keepends=True)
    rows = (len(lines) - 1) // group * group if lines else 0
    kept = b"".join(lines[: rows + 1]) if rows else b""
    if kept != content:
        with path.open("r+b") as file:
            file.truncate(len(kept))
