"""The documentation names everything public, and links only to what is there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

import icnn_core
import icnn_viz

_ROOT = Path(__file__).resolve().parents[1]
_DOCS = _ROOT / "docs"
_PAGES = sorted([*_DOCS.rglob("*.md"), _ROOT / "README.md", _ROOT / "CONTRIBUTING.md"])
_DOCUMENTED = {
    "icnn_core": re.findall(
        r"^::: (\S+)$", (_DOCS / "reference" / "core.md").read_text(encoding="utf-8"), re.M
    ),
    "icnn_viz": re.findall(
        r"^::: (\S+)$", (_DOCS / "reference" / "viz.md").read_text(encoding="utf-8"), re.M
    ),
}


@pytest.mark.parametrize("package", [icnn_core, icnn_viz], ids=lambda package: package.__name__)
def test_every_public_name_is_in_the_reference(package: object) -> None:
    name = package.__name__  # type: ignore[attr-defined]
    documented = {path.rpartition(".")[2] for path in _DOCUMENTED[name]}
    assert {public for public in dir(package) if not public.startswith("_")} - documented == set()


@pytest.mark.parametrize("path", [path for paths in _DOCUMENTED.values() for path in paths])
def test_what_the_reference_names_is_there_and_has_a_docstring(path: str) -> None:
    module, _, name = path.rpartition(".")
    assert getattr(importlib.import_module(module), name).__doc__


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.relative_to(_ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    links = re.findall(r"\]\(([^)\s#]+)[^)]*\)|(?:src|srcset)=\"([^\"]+)\"", text)
    files = [a or b for a, b in links if not re.match(r"[a-z]+:", a or b)]
    missing = [file for file in files if not (page.parent / file).exists()]
    assert not missing


def test_every_page_is_in_the_sites_menu() -> None:
    menu = (_ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    pages = {page.relative_to(_DOCS).as_posix() for page in _DOCS.rglob("*.md")}
    assert pages == set(re.findall(r": (\S+\.md)", menu))
