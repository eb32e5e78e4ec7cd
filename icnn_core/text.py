"""Words on their way out: strangers' to a terminal and into tables that a spreadsheet opens, and numbers of things."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'=", "'+", "'-", "'@", "'\t", "'\r", "''")


def to_visible(text: str) -> str:
    r"""Control characters, and those that turn the direction of writing, as escapes: `\x1b` cannot act on a terminal.

    New lines and tabs stay.
    """
    return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)


def to_line(text: str) -> str:
    r"""The same on one line: new lines and tabs are escapes, too, so that a row stays a row."""
    return to_visible(text).replace("\n", r"\n").replace("\t", r"\t")


def counted(number: int, thing: str) -> str:
    """How many of something: "1 layer", "1,234 layers"; `thing` in the singular, which takes an s."""
    return f"{number:,} {thing}{'s' * (number != 1)}"


def to_cell(value: object) -> object:
    """A value for a CSV file: text that a spreadsheet would take for a formula gets an apostrophe before it."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def to_csv(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows that bear the same names as CSV, the names first; None is an empty field."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: to_cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def from_cell(value: object) -> object:
    """The value that `to_cell` was given."""
    if isinstance(value, str) and value.startswith("'") and value[1:].startswith(_FORMULA):
        return value[1:]
    return value
