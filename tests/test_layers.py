"""The house keeps its order: who imports whom (read from docs/architecture.md), what `--help` may load."""

from __future__ import annotations

import ast
import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[1]
_PACKAGES = ("icnn_core", "icnn_viz")
_PLOTS = {"matplotlib", "seaborn", "plotly"}
_HEAVY = _PLOTS | {
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "pandas",
    "PIL",
    "numba",
    "triton",
    "safetensors",
    "dash",
    "flask",
}
_MODULES = sorted(path for package in _PACKAGES for path in (_ROOT / package).rglob("*.py"))


def _name(path: Path) -> str:
    return ".".join(path.relative_to(_ROOT).with_suffix("").parts).removesuffix(".__init__")


_NAMES = {_name(path) for path in _MODULES}
_FRONTS = {"report", "explorer", "recording", "cli"}  # they show what displays computes and names
_FLOORS = {"positions", "gradients", "statistics", "heatmaps", "taps"}
_DOORS = {"records", "statistics", "heatmaps", "figures"}  # behind the two doors, positions and gradients


@functools.cache
def _ranks() -> dict[str, dict[str, int]]:
    """Package -> room -> rank, from the arrows of docs/architecture.md."""
    text = (_ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    chains = re.findall(r"`([^`]*→[^`]*→[^`]*cli)`", text)
    ranks = [
        {
            room: rank
            for rank, layer in enumerate(chain.split("→"))
            for room in layer.replace("|", " ").split()
        }
        for chain in chains
    ]
    return dict(zip(_PACKAGES, ranks, strict=True))


def _room(module: str) -> str | None:
    """The room a module lies in; None for a package's own `__init__`."""
    package, *rest = module.split(".")
    if rest[:1] == ["ops"]:
        rest = rest[1:]
    if not rest:
        return None
    assert rest[0] in _ranks()[package], (
        f"{module} is in no room: name it in the arrows of docs/architecture.md"
    )
    return rest[0]


def _imports(path: Path, *, top_level_only: bool = False) -> Iterator[str]:
    """Every module that `path` imports, inside functions too unless `top_level_only`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{_name(path)}: a relative import hides where it goes"
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in _NAMES else str(node.module) for name in whole)


def _violation(importer: str, imported: str) -> str | None:
    package, target = importer.split(".")[0], imported.split(".")[0]
    if package == "icnn_core" and target in {"icnn_viz", *_PLOTS}:
        return "icnn_core knows nothing of pictures"
    here = _room(importer)
    if re.match(r"icnn_viz\.cli\._", importer) and target in {"numpy", "torch"}:
        return "the command line parses, calls and prints"
    if package == "icnn_viz" and here in _DOORS and target in {"torch", "torchvision"}:
        return "torch stays in positions and gradients"
    if package == "icnn_viz" and here in _DOORS - {"figures"} and target in _PLOTS:
        return "only figures draw"
    if target != package or here is None:
        return None
    there = _room(imported)
    if there is None or there == here:
        return None
    ranks = _ranks()[package]
    if package == "icnn_viz" and here in _FRONTS and there in _FLOORS:
        return "fronts only show: displays computes and names"
    if ranks[there] < ranks[here]:
        return None
    return "siblings never import each other" if ranks[there] == ranks[here] else "left never imports right"


def test_imports_go_one_way() -> None:
    found = {
        (_name(path), name): _violation(_name(path), name) for path in _MODULES for name in _imports(path)
    }
    assert not {pair: why for pair, why in found.items() if why}


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("icnn_core.ops.reference", "icnn_core.ops.dense"),
        ("icnn_core.ops.geometry", "icnn_core.nn"),
        ("icnn_core.nn", "icnn_viz.records"),
        ("icnn_core.training.loop", "matplotlib.pyplot"),
        ("icnn_viz.statistics.gaussian", "icnn_viz.positions"),
        ("icnn_viz.statistics.gaussian", "seaborn"),
        ("icnn_viz.figures.clouds", "icnn_viz.cli.kernels"),
        ("icnn_viz.figures.clouds", "torch"),
        ("icnn_viz.records", "icnn_viz.figures.style"),
        ("icnn_viz.cli.heatmap", "icnn_viz.gradients"),
        ("icnn_viz.cli.taps", "icnn_viz.taps"),
        ("icnn_viz.cli._shown", "numpy"),
        ("icnn_viz.report.panels", "icnn_viz.statistics.depth"),
        ("icnn_viz.explorer.session", "icnn_viz.heatmaps"),
        ("icnn_viz.explorer.pages.kernels", "icnn_viz.positions"),
    ],
)
def test_a_wrong_import_would_be_seen(importer: str, imported: str) -> None:
    assert _violation(importer, imported)


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("icnn_core.ops.dense", "icnn_core.ops.geometry"),
        ("icnn_core.models.deeplab", "icnn_core.models.registry"),
        ("icnn_viz.positions", "icnn_core.checkpoint"),
        ("icnn_viz.figures.clouds", "matplotlib"),
        ("icnn_viz.cli.kernels", "icnn_viz.figures.write"),
    ],
)
def test_a_right_import_is_let_through(importer: str, imported: str) -> None:
    assert _violation(importer, imported) is None


def test_command_modules_import_nothing_heavy_at_the_top() -> None:
    commands = [path for path in _MODULES if path.parent.name == "cli"]
    loaded = {_name(path): set(_imports(path, top_level_only=True)) for path in commands}
    heavy = {
        name: {module for module in modules if module.split(".")[0] in _HEAVY}
        for name, modules in loaded.items()
    }
    assert not {name: modules for name, modules in heavy.items() if modules}


def _commands(package: str) -> list[str]:
    folder = _ROOT / package / "cli"
    return [
        path.stem.replace("_", "-")
        for path in folder.glob("*.py")
        if path.stem not in {"__init__", "app"} and path.stem[0] != "_"
    ]


_HELP = """
import contextlib, io, json, sys
from {package}.cli import main
found = {{}}
for command in {commands!r}:
    sys.argv[1:] = [*filter(None, [command]), "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        try:
            main()
        except SystemExit as end:
            found[command] = end.code, said.getvalue(), [*sys.modules]
print(json.dumps(found))
"""


@functools.cache
def _helped(package: str) -> dict[str, tuple[int, str, list[str]]]:
    """By command how its --help ends, what it says, and what is loaded then: in one process, as all import the same."""
    code = _HELP.format(package=package, commands=["", *sorted(_commands(package))])
    env = os.environ | {"PYTHONPATH": str(_ROOT)}
    return json.loads(
        subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, env=env, check=True).stdout
    )


@pytest.mark.parametrize(
    ("package", "command"),
    [(package, command) for package in _PACKAGES for command in ("", *sorted(_commands(package)))],
)
def test_help_loads_nothing_heavy(package: str, command: str) -> None:
    code, said, loaded = _helped(package)[command]
    assert code == 0
    assert "Usage:" in said
    assert {name.split(".")[0] for name in loaded} & _HEAVY == set()
