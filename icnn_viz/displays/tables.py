"""Tables: computed when they are first asked for, as plain values, and on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


class Tables(Mapping[str, "pd.DataFrame"]):
    """Tables by name, each computed when it is first asked for, and kept.

    Args:
        makers: what computes each.
    """

    def __init__(self, makers: Mapping[str, Callable[[], pd.DataFrame]]) -> None:
        self._makers = dict(makers)
        self._made: dict[str, pd.DataFrame] = {}

    def __getitem__(self, name: str) -> pd.DataFrame:
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)

    def __repr__(self) -> str:
        return f"Tables: {', '.join(self)}"


def to_records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as dictionaries of plain values; what is missing is None."""
    return table.astype(object).where(table.notna(), None).to_dict("records")  # type: ignore[return-value]


def write_tables(
    tables: Mapping[str, pd.DataFrame],
    folder: Path,
    kinds: Sequence[str] = ("csv",),
    track: Callable[[Sequence[str]], Iterable[str]] = iter,
) -> list[Path]:
    """Write each table as `<name>.csv` (missing values as empty fields) or `<name>.parquet`.

    Args:
        track: goes through the tables' names, some of which take long, and shows how far it is.

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
    for name in track(list(tables)):
        table = tables[name]
        for kind in dict.fromkeys(kinds):
            write = _write_csv if kind == "csv" else _write_parquet
            path = folder / f"{name}.{kind}"
            written.append(write_atomically(path, lambda temporary, w=write, t=table: w(t, temporary)))
    return written


def to_csv(table: pd.DataFrame, **options: Any) -> str:
    """A table as CSV without its index; text in it is no formula to a spreadsheet. `options` as of pandas."""
    from icnn_core.text import to_cell

    words = {
        name: table[name].map(to_cell)
        for name in table.columns  # of most, each text is many rows'
        if table[name].dtype.kind not in "biufc" and any(to_cell(t) is not t for t in table[name].unique())
    }
    named = {name: str(to_cell(str(name))) for name in table.columns}
    return table.assign(**words).rename(columns=named).to_csv(index=False, **options)


def _write_csv(table: pd.DataFrame, path: Path) -> None:
    path.write_text(to_csv(table), encoding="utf-8", newline="")


def _write_parquet(table: pd.DataFrame, path: Path) -> None:
    mixed = {name: "string" for name in table.columns if table[name].dtype == object}  # "all" beside numbers
    table.astype(mixed).to_parquet(path, index=False)
