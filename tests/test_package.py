"""What is published: one version, dependencies that are declared and used, extras that texts may name."""

from __future__ import annotations

import ast
import importlib
import re
import sys
import tomllib
from pathlib import Path

import pytest

import icnn_core

_ROOT = Path(__file__).resolve().parents[1]
_PROJECT = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
_EXTRAS = _PROJECT["optional-dependencies"]
_DISTRIBUTIONS = {"PIL": "pillow", "IPython": "ipython", "DCLS": "dcls"}  # where it is not the module's name
_BROUGHT = {"triton"}  # by torch, and only where there are GPUs for it
_GIVEN = {
    "wandb",
    "pytorch_lightning",
    "huggingface_hub",
}  # imported only where what is given comes from them


def _names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^\w-]", requirement)[0] for requirement in requirements}


def _imported() -> set[str]:
    """Distributions that the packages import, anywhere."""
    modules = set()
    for path in (path for package in ("icnn_core", "icnn_viz") for path in (_ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                modules.add(str(node.module).partition(".")[0])
    third_party = modules - sys.stdlib_module_names - {"icnn_core", "icnn_viz"}
    return {_DISTRIBUTIONS.get(module, module) for module in third_party}


def test_what_is_imported_is_declared() -> None:
    declared = _names([*_PROJECT["dependencies"], *(name for names in _EXTRAS.values() for name in names)])
    assert _imported() - declared == _BROUGHT | _GIVEN


def test_what_every_installation_brings_is_imported() -> None:
    assert _names(_PROJECT["dependencies"]) - _imported() == set()


def test_the_version_is_said_once_in_code_and_elsewhere_the_same() -> None:
    assert "version" in _PROJECT["dynamic"]
    citation = (_ROOT / "CITATION.cff").read_text(encoding="utf-8")
    changes = (_ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.+)$", citation, re.M) == [icnn_core.__version__]
    assert re.findall(r"^## (\S+)", changes, re.M)[0] == icnn_core.__version__


@pytest.mark.parametrize("package", ["icnn_core", "icnn_viz"])
def test_a_star_import_brings_the_public_names_and_no_others(package: str) -> None:
    module = importlib.import_module(package)
    found: dict[str, object] = {}
    exec(f"from {package} import *", found)
    assert set(found) - {"__builtins__"} == set(dir(module)) == set(module.__all__)


def test_texts_install_this_distribution_with_extras_that_it_has() -> None:
    """Another project is called icnn on PyPI."""
    kinds = {".py", ".md", ".ipynb", ".j2", ".html", ".js", ".toml"}
    named = []
    for path in (p for p in _ROOT.rglob("*") if p.suffix in kinds and p.name != "test_package.py"):
        if not any(part[0] == "." for part in path.relative_to(_ROOT).parts):
            named += re.findall(r"\b(icnn[\w-]*)\[([a-z,]+)\]", path.read_text(encoding="utf-8"))
    assert {distribution for distribution, _ in named} == {_PROJECT["name"]}
    assert {extra for _, extras in named for extra in extras.split(",")} <= set(_EXTRAS)
    assert len(named) > 5
