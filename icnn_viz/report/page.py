"""Findings to one page of HTML: filled in, checked for its size, written whole or not at all."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from icnn_core.errors import DataError
from icnn_viz.report.card import to_card
from icnn_viz.report.findings import Findings
from icnn_viz.report.lead import group_verdicts, summarise
from icnn_viz.report.panels import count_others, draw_panels
from icnn_viz.report.pictures import LIMIT, TURNED_LAYERS, make_budget
from icnn_viz.report.space import read_plotly_js, to_space
from icnn_viz.report.tables import list_kernel_tables, to_claim_table, to_measure_table
from icnn_viz.report.words import FIGURES, GLOSSARY

_PRINTED_LAYERS = 6  # more would make a book
_LIBRARIES = ("torch", "numpy", "scipy", "matplotlib", "plotly")


def build_report(
    findings: Findings,
    *,
    limit: int = LIMIT,
    now: datetime | None = None,
    on_drawn: Callable[[int, int], object] = lambda done, total: None,
) -> str:
    """The page as HTML that needs nothing else: no file, no network.

    Args:
        findings: what it tells of.
        limit: bytes that it may have; what is left out to keep it is said on the page.
        now: the date on the page; by default $SOURCE_DATE_EPOCH, or today (UTC).
        on_drawn: called with figures done and figures in all.

    Raises:
        DataError: the page is larger than `limit` whatever is left out.
    """
    from jinja2.utils import htmlsafe_json_dumps

    from icnn_viz.figures.screen import to_policy

    environment = _open_templates()
    turns = len(findings.display.clouds) <= TURNED_LAYERS
    space = str(htmlsafe_json_dumps(to_space(findings.display.clouds))) if turns else ""
    tables = list_kernel_tables(findings.tables)
    scripts = {"theme": _read(environment, "theme.js"), "page": _read(environment, "report.js")}
    if turns:
        scripts["plotly"] = read_plotly_js()
    content: dict[str, Any] = {
        "findings": findings,
        "card": to_card(findings.checkpoints),
        "summary": summarise(findings),
        "verdicts": [group_verdicts(findings.tables[name]) for name in ("claims", "effects")],
        "claims": to_claim_table(findings.tables["claims"], findings.tables["effects"]),
        "tables": tables,
        "measures": to_measure_table(findings.comparisons) if findings.comparisons else None,
        "words": FIGURES,
        "files": name_files(findings),
        "glossary": GLOSSARY,
        "made": _list_versions(findings, now or _today()),
        "print_all": len(findings.display.clouds) <= _PRINTED_LAYERS,
        "space": space,
        "scripts": scripts,
        "policy": to_policy(scripts.values()),
    }
    page = environment.get_template("report.html.j2")
    bare = _check_size(page.render(content | {"panels": None, "notes": ()}), limit)
    budget = make_budget(len(findings.display.clouds), count_others(findings), bare + 20_000, limit)
    panels = draw_panels(findings, budget, on_drawn)
    text = page.render(content | {"panels": panels, "notes": (*findings.notes, *budget.notes)})
    _check_size(text, limit)
    return text


def write_report(text: str, path: str | Path) -> Path:
    """Write the page under a temporary name that is then renamed.

    Raises:
        DataError: the folder cannot be written.
    """
    from icnn_viz.figures.write import write_atomically

    return write_atomically(
        Path(path), lambda temporary: temporary.write_text(text, encoding="utf-8", newline="\n")
    )


def name_files(findings: Findings) -> list[str]:
    """The networks' files; with the networks' names where the files have the same name."""
    files = {name: one.path.name for name, one in findings.checkpoints.items()}
    same = len(set(files.values())) < len(files)
    return [f"{file} ({name})" if same else file for name, file in files.items()]


def _open_templates() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("icnn_viz.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _read(environment: Any, name: str) -> str:
    return environment.loader.get_source(environment, name)[0]


def _list_versions(findings: Findings, now: datetime) -> list[tuple[str, str]]:
    from icnn_core import __version__

    versions = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    return [
        ("made", f"{now:%Y-%m-%d}"),  # no minute: the same call gives the same bytes
        ("icnn", __version__),
        ("with", f"Python {platform.python_version()}, {versions}"),
        ("seed", str(findings.seed)),
        ("device", findings.device),
    ]


def _today() -> datetime:
    seconds = os.environ.get("SOURCE_DATE_EPOCH", "")
    return datetime.fromtimestamp(int(seconds), UTC) if seconds.isdecimal() else datetime.now(UTC)


def _check_size(text: str, limit: int) -> int:
    size = len(text.encode())
    if size > limit:
        got, fix = f"{size / 1e6:.1f} MB", "Choose fewer layers (--layer) or fewer pixels (--pixels)."
        raise DataError("report", needed=f"a page of at most {limit / 1e6:.0f} MB", got=got, fix=fix)
    return size
