"""What is found, on the terminal: tables, bars while it is computed, and JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icnn_core.cli.app import make_console, make_progress, print_json
from icnn_core.text import counted

if TYPE_CHECKING:
    from rich.table import Table

    from icnn_viz.displays.drawings import Track
    from icnn_viz.displays.text_tables import TextTable


def bar(description: str) -> Track:
    """Goes through a sequence with a bar on the terminal."""

    def track(items: Sequence[Any]) -> Iterator[Any]:
        with make_progress() as progress:
            yield from progress.track(items, description=description)

    return track


def say(*shown: TextTable | str, json: bool) -> None:
    """Print tables and sentences for people."""
    console = make_console(json=json)
    for one in shown:
        console.print(one if isinstance(one, str) else _to_table(one))


def tell(
    shown: Sequence[TextTable | str], written: Sequence[Path], found: Mapping[str, Any], *, json: bool
) -> None:
    """Print what was found, what was written to `found["out"]` and what to open; and all that is `found` as JSON."""
    from icnn_viz.displays.drawings import choose_to_open

    words = f"{counted(len(written), 'file')} in {found['out']}. Open {choose_to_open(written)}."
    say(*shown, words, json=json)
    if json:
        print_json(dict(found) | {"written": written})


def _to_table(shown: TextTable) -> Table:
    from rich.table import Table

    table = Table(title=shown.title or None, title_justify="left", caption=shown.caption or None)
    for number, column in enumerate(shown.columns):
        justify = "left" if column in shown.words else "right"
        cut = number and column in shown.words  # of a long word the end may be missing, of a number no digit
        table.add_column(column, justify=justify, overflow="ellipsis" if cut else "fold")
    for row in shown.rows:
        table.add_row(*row)
    return table
