"""Records that say what matters of them: one line in a console, a small table in a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape


class Facts:
    """A mixin for records of many numbers, which are shown by their `_facts` instead."""

    def _facts(self) -> Mapping[str, str]:
        """What to say, by name, in order. Values may come from a file: they are escaped where that matters."""
        raise NotImplementedError

    def __repr__(self) -> str:
        said = ", ".join(f"{name}: {value}" for name, value in self._facts().items())
        return f"{type(self).__name__}({said})"

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><th style="text-align:left">{escape(name)}</th>'
            f'<td style="text-align:left">{escape(value)}</td></tr>'
            for name, value in self._facts().items()
        )
        title = f'<caption style="text-align:left">{type(self).__name__}</caption>'
        return f"<table>{title}<tbody>{rows}</tbody></table>"
