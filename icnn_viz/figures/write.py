"""The only place that saves a figure: whole or not at all, and the same bytes for the same figure."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from icnn_core.errors import ArgumentError, DataError
from icnn_viz.figures.style import DPI

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf", "html")
_NO_DATE = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
_PLOTLY_CONFIG = {"displaylogo": False, "modeBarButtonsToRemove": ["sendDataToCloud"], "responsive": True}


def write_figure(figure: Figure | go.Figure, path: str | Path, *, dpi: int = DPI) -> Path:
    """Save a matplotlib figure (.png, .svg, .pdf) or a plotly figure (.html, plotly.js inside: works offline).

    Raises:
        ArgumentError: the suffix does not fit the kind of figure.
        DataError: the folder cannot be written.
    """
    path = Path(path)
    kind = path.suffix.lower().lstrip(".")
    wanted = ("html",) if hasattr(figure, "to_html") else tuple(_NO_DATE)
    if kind not in wanted:
        raise ArgumentError(
            "write_figure",
            needed=f"a path that ends in .{' or .'.join(wanted)}",
            got=path.name,
            fix="plotly figures are written as HTML, matplotlib figures as PNG, SVG or PDF.",
        )
    if kind == "html":
        text = _to_html(figure)  # type: ignore[arg-type]
        return write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return write_atomically(path, lambda temporary: _save(figure, temporary, kind, dpi))  # type: ignore[arg-type]


def write_atomically(path: Path, write: Callable[[Path], object]) -> Path:
    """Call `write` with a temporary path in the same folder (made if missing), then rename it to `path`.

    Raises:
        DataError: the folder or file cannot be written.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        write(temporary)
        temporary.chmod(0o644)  # mkstemp gives 0600
        temporary.replace(path)
    except OSError as error:
        raise DataError(
            str(path), needed="a folder that can be written", got=str(error), fix="Choose another with --out."
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
    return path


def _save(figure: Figure, path: Path, kind: str, dpi: int) -> None:
    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": "icnn"}):
        figure.savefig(path, format=kind, dpi=dpi, metadata=_NO_DATE[kind], facecolor=figure.get_facecolor())


def _to_html(figure: go.Figure) -> str:
    title = figure.layout.title.text or "icnn"  # type: ignore[attr-defined]
    page = figure.to_html(
        include_plotlyjs=True, full_html=True, config=_PLOTLY_CONFIG, div_id="figure", default_height="100vh"
    )
    background = figure.layout.paper_bgcolor  # type: ignore[attr-defined]
    head = (
        f"<title>{re.sub('<[^>]+>', ' ', title).strip()}</title>"
        f"<style>html, body {{ margin: 0; height: 100%; background: {background}; }}</style></head>"
    )
    return page.replace("</head>", head, 1)
