"""What displays put on a notebook's page: tables and figures as HTML that needs nothing from elsewhere."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING

from icnn_viz.displays.text_tables import tell_pixel

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from icnn_viz.records import PixelComparison

_MOST_ROWS = 60


def to_html_table(table: pd.DataFrame, note: str) -> str:
    """A table, its text escaped, and a note in small print below."""
    return f"{table.to_html(index=False, border=0, max_rows=_MOST_ROWS, na_rep='–')}<small>{note}</small>"


def to_measures_html(record: PixelComparison) -> str:
    """The measures of one pixel in words, a column per network.

    Styled by itself: a widget's HTML is not dressed like a notebook's.
    """
    rows = [["", *record.networks], *tell_pixel(record).rows]
    return f'<table style="border-collapse:collapse">{"".join(map(_to_row, rows))}</table>'


def _to_row(texts: Sequence[str]) -> str:
    first, *others = map(escape, texts)
    line = "padding:2px 8px;line-height:1.4;border-bottom:1px solid rgba(128,128,128,.4)"
    cells = "".join(f'<td style="{line};text-align:right;white-space:nowrap">{text}</td>' for text in others)
    return f'<tr><th style="{line};text-align:left;font-weight:normal">{first}</th>{cells}</tr>'


def to_image_tag(figure: Figure | None, dpi: int = 150) -> str:
    """The figure as an <img> that holds its own bytes, no wider than the page; nothing for None."""
    if figure is None:
        return ""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    picture = base64.b64encode(buffer.getvalue()).decode("ascii")
    shown = f'src="data:image/png;base64,{picture}" style="max-width:100%"'
    return f'<br><img alt="the figure last drawn" {shown}>'
