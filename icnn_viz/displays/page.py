"""What displays put on a notebook's page: tables and figures as HTML that needs nothing from elsewhere."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_MOST_ROWS = 60


def to_html_table(table: pd.DataFrame, note: str) -> str:
    """A table, its text escaped, and a note in small print below."""
    return f"{table.to_html(index=False, border=0, max_rows=_MOST_ROWS, na_rep='–')}<small>{note}</small>"


def to_image_tag(figure: Figure | None) -> str:
    """The figure as an <img> that holds its own bytes; nothing for None."""
    if figure is None:
        return ""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    picture = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<br><img alt="the figure last drawn" src="data:image/png;base64,{picture}">'
