"""Every command of both programs: an example, completion in the shell, the nearest name for a wrong one."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from icnn_core import cli as core
from icnn_core.files import nearest_files
from icnn_core.training.config import make_config
from icnn_core.training.presets import PRESETS
from icnn_viz import cli as viz
from icnn_viz.data import builtin_path

_ROOT = Path(__file__).resolve().parents[1]
_PROGRAMS = {"icnn": core, "icnn-viz": viz}


def _commands() -> Iterator[tuple[str, str, Any]]:
    for program, package in _PROGRAMS.items():
        group: Any = typer.main.get_command(package.build_app())
        for name, command in group.commands.items():
            yield program, name, command


_COMMANDS = list(_commands())


@pytest.mark.parametrize(
    ("program", "name", "command"), _COMMANDS, ids=lambda v: v if isinstance(v, str) else ""
)
def test_every_commands_help_has_an_example_that_can_be_parsed(program: str, name: str, command: Any) -> None:
    _, _, example = command.help.partition("Example:")
    words = example.split()
    assert words[:2] == [program, name], "its docstring needs a last line “Example: …”"
    command.make_context(name, words[2:])  # a wrong option or value raises


@pytest.mark.parametrize("program", _PROGRAMS)
def test_the_programs_help_has_an_example(program: str) -> None:
    group: Any = typer.main.get_command(_PROGRAMS[program].build_app())
    words = group.help.partition("Example:")[2].split()
    assert words[0] == program
    group.commands[words[1]].make_context(words[1], words[2:])


@pytest.mark.parametrize(
    ("program", "name", "command"), _COMMANDS, ids=lambda v: v if isinstance(v, str) else ""
)
def test_every_option_says_what_it_does(program: str, name: str, command: Any) -> None:
    silent = [p.opts[-1] for p in command.params if not p.help]
    assert not silent


@pytest.mark.parametrize(
    ("name", "earlier", "now", "value"),
    [
        ("heatmap", "--reduce", "reduction", "l2"),
        ("heatmap", "--smooth", "smoothing", "1.5"),
        ("kernels", "--height", "third_axis", "weight"),
    ],
)
def test_an_option_that_was_renamed_is_taken_and_not_shown(
    name: str, earlier: str, now: str, value: str
) -> None:
    group: Any = typer.main.get_command(viz.build_app())
    parent = group.context_class(group, **group.context_settings)
    context = group.commands[name].make_context(name, [earlier, value], parent=parent)
    assert str(context.params[now]) == value
    assert earlier + " " not in context.get_help()


@pytest.mark.parametrize(
    ("program", "name", "command"), _COMMANDS, ids=lambda v: v if isinstance(v, str) else ""
)
def test_placeholders_have_one_style_and_sixty_columns_are_enough(
    monkeypatch: pytest.MonkeyPatch, program: str, name: str, command: Any
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    text = command.make_context(name, ["--help"], resilient_parsing=True).get_help()
    options = text.partition("Options:")[2]
    assert not re.search(r"<[a-z]+>", options)
    assert max(map(len, text.splitlines())) <= 60
    for option in (p for p in command.params if p.param_type_name == "option" and not p.is_flag):
        assert option.metavar, option.opts


def test_help_says_what_every_preset_holds() -> None:
    (train,) = (command for _, name, command in _COMMANDS if name == "train")
    said = {param.name: param.help for param in train.params}
    for name in ("lr", "iterations", "evaluate_every"):
        groups = re.findall(r"(\S+) \(([^)]+)\)", said[name].partition("By default ")[2])
        found = {preset: float(value) for value, names in groups for preset in names.split(", ")}
        assert found == {preset: getattr(make_config(preset), name) for preset in PRESETS}
    assert "180x240 (camvid, folder)" in said["crop"]
    assert said["sharing"].endswith("By default channel.")


def test_the_command_reference_is_current() -> None:
    written = (_ROOT / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")
    tool = runpy.run_path(str(Path(__file__).parents[1] / "docs" / "write_commands.py"))
    assert written == tool["to_reference"](), "run: python docs/write_commands.py"


@pytest.mark.parametrize(
    ("program", "words", "wanted"),
    [
        ("icnn", "icnn tr", "train"),
        ("icnn", "icnn train --pos", "--position-lr"),
        ("icnn-viz", "icnn-viz he", "heatmap"),
        ("icnn-viz", "icnn-viz kernels --format p", "pdf"),
    ],
)
def test_bash_completes_commands_options_and_choices(program: str, words: str, wanted: str) -> None:
    package = _PROGRAMS[program].__name__
    variable = f"_{program.upper().replace('-', '_')}_COMPLETE"
    env = os.environ | {
        "PYTHONPATH": str(_ROOT),
        variable: "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    run = [sys.executable, "-c", f"from {package} import main; main()"]
    done = subprocess.run(run, capture_output=True, text=True, env=env)
    assert wanted in done.stdout.split()
    assert done.stderr == ""


def test_the_completion_script_can_be_shown(
    run_main: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    shown = run_main(core.main, "--show-completion", "bash")
    assert "_ICNN_COMPLETE=complete_bash" in shown.out


@pytest.mark.parametrize(
    ("main", "arguments", "suggestion"),
    [
        (
            core.main,
            ["evaluate", "PAIR/shapes-iregular.safetensors"],
            "Did you mean PAIR/shapes-irregular.safetensors",
        ),
        (
            core.main,
            ["convert", "PAIR/shapes-regular.safetensor", "--out", "x.pt"],
            "PAIR/shapes-regular.safetensors",
        ),
        (core.main, ["train", "shape"], "Did you mean shapes"),
        (viz.main, ["kernels", "PAIR/shapes-irregulr.safetensors"], "PAIR/shapes-irregular.safetensors"),
        (viz.main, ["kernels", "--layer", "classifer"], "Did you mean classifier"),
        (viz.main, ["heatmap", "-p", "3,4", "--image", "PAIR/sampel.png"], "Did you mean PAIR/sample.png"),
        (viz.main, ["heatmap", "-p", "3,4", "--class", "rign"], "Did you mean ring"),
        (viz.main, ["heatmap", "-p", "3,4", "--labels", "PAIR/sampl.png"], "Did you mean PAIR/sample.png"),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest(
    run_main: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    main: Callable[[], object],
    arguments: list[str],
    suggestion: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    pair = str(builtin_path("sample.png").parent)
    ended = run_main(main, *(a.replace("PAIR", pair) for a in arguments))
    assert ended.code == 1
    assert suggestion.replace("PAIR", pair) in ended.err
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize(
    ("main", "wrong", "right"), [(core.main, "trian", "train"), (viz.main, "heatmp", "heatmap")]
)
def test_a_wrong_command_is_answered_with_the_nearest(
    run_main: Callable[..., Any], main: Callable[[], object], wrong: str, right: str
) -> None:
    ended = run_main(main, wrong)
    assert ended.code == 2
    assert right in ended.err


@pytest.mark.parametrize("name", ["report", "explore", "heatmap"])
def test_the_split_looked_at_is_one_that_every_data_set_has(name: str) -> None:
    found = next(command for program, one, command in _COMMANDS if (program, one) == ("icnn-viz", name))
    assert next(p.default for p in found.params if p.name == "split") == "val"


def test_launchers_find_the_program_as_a_module() -> None:
    command = [sys.executable, "-m", "icnn_viz.cli", "heatmap", "--help"]
    ended = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(_ROOT)}
    )
    assert ended.returncode == 0, ended.stderr
    assert "--data" in ended.stdout


def test_nearest_files_looks_where_the_path_ends(tmp_path: Path) -> None:
    (tmp_path / "runs" / "irregular").mkdir(parents=True)
    (tmp_path / "runs" / "irregular" / "last.pt").touch()
    assert nearest_files(tmp_path / "runs" / "irregular" / "lst.pt") == (
        f"Did you mean {tmp_path / 'runs' / 'irregular' / 'last.pt'}?"
    )
    assert nearest_files(tmp_path / "runs" / "iregular" / "last.pt") == (
        f"Did you mean {tmp_path / 'runs' / 'irregular'}?"
    )
    assert nearest_files(tmp_path / "photo.jpg") == f"Nothing in {tmp_path} has such a name."
    assert nearest_files(tmp_path / "runs" / "irregular" / "last.pt" / "x") == (
        f"Did you mean {tmp_path / 'runs' / 'irregular' / 'last.pt'}?"
    )
