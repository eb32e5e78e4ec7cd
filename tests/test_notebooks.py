"""Notebooks are committed without output, and run from top to bottom, shown as a notebook shows them."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

_FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(_FOLDER.glob("*.ipynb"))


def _cells(path: Path, kind: str) -> list[dict[str, Any]]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == kind]


def _run(source: str, name: str, namespace: dict[str, object]) -> None:
    """Run a cell and ask what its last line gives for the form in which a notebook would show it."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec"), namespace)
    if isinstance(last, ast.Expr):
        value = eval(compile(ast.Expression(last.value), name, "eval"), namespace)
        if hasattr(value, "_ipython_display_"):
            value._ipython_display_()
        elif value is not None and not source.rstrip().endswith(";"):
            show = getattr(value, "_repr_html_", None) or getattr(value, "_repr_mimebundle_", value.__repr__)
            assert show()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ICNN_NOTEBOOK_ITERATIONS", "3")
    namespace: dict[str, object] = {}
    for cell in _cells(path, "code"):
        _run("".join(cell["source"]), path.name, namespace)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_committed_without_output(path: Path) -> None:
    for cell in _cells(path, "code"):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
    assert set(json.loads(path.read_text(encoding="utf-8"))["metadata"]) == {"kernelspec", "language_info"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_tells_a_story_and_ends_with_a_question(path: Path) -> None:
    words = ["".join(cell["source"]) for cell in _cells(path, "markdown")]
    assert words[0].startswith("# ")
    assert "**A question to try:**" in words[-1]


def test_there_are_three_notebooks() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["01_kernel_shapes", "02_heatmaps", "03_your_own_network"]
