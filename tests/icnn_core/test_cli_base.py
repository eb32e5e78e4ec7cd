"""The base of both console scripts: how they end, and what goes to which stream."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from icnn_core.cli.app import make_console, print_json

_APP = """
import logging, sys
from icnn_core.cli.app import make_app, make_console, make_progress, print_json, run
from icnn_core.cli._options import JsonOption
from icnn_core.errors import NameNotFoundError

app = make_app("icnn-test", "Says things.")

@app.command("say")
def say(what: str, json: JsonOption = False) -> None:
    "Say one thing."
    if what == "known":
        raise NameNotFoundError("say", needed="a word", got="two\\n  lines", fix="Say one.")
    if what == "bug":
        raise ZeroDivisionError("a bug")
    if what == "late":
        sys.stdin.read()
        print("too late")
        return
    if what == "interrupt":
        raise KeyboardInterrupt
    with make_progress() as progress:
        progress.advance(progress.add_task("working", total=1))
    make_console(json=json).print("a table of blocks[conv] and :smile:")
    logging.getLogger("icnn_core.x").debug("a detail")
    for number in range(200_000 if what == "much" else 0):
        print(number)
    if json:
        print_json({"said": what})

@app.command("sing")
def sing() -> None:
    "Sing."

run(app)
"""


@pytest.fixture
def script(tmp_path: Path) -> list[str]:
    path = tmp_path / "script.py"
    path.write_text(_APP)
    return [sys.executable, str(path)]


def _run(script: list[str], *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "FORCE_COLOR": "1", "GITHUB_ACTIONS": "true"}
    return subprocess.run([*script, *arguments], capture_output=True, text=True, env=env | environment)


def test_a_known_error_is_one_line_on_stderr_and_exit_1(script: list[str]) -> None:
    result = _run(script, "say", "known")
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr == "icnn-test: error: say: needs a word; got two lines. Say one.\n"


def test_a_bug_keeps_its_traceback(script: list[str]) -> None:
    result = _run(script, "say", "bug")
    assert result.returncode == 1
    assert "Traceback" in result.stderr
    assert result.stderr.endswith("ZeroDivisionError: a bug\n")


def test_an_interrupt_exits_130_without_traceback(script: list[str]) -> None:
    result = _run(script, "say", "interrupt")
    assert result.returncode == 130
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("arguments", [("sey",), ("say",), ("say", "x", "--jsn"), ("say", "x", "y")])
def test_wrong_usage_exits_2_and_says_how_to_get_help(script: list[str], arguments: tuple[str, ...]) -> None:
    result = _run(script, *arguments)
    assert result.returncode == 2
    assert result.stdout == ""
    assert "--help" in result.stderr


def test_output_is_plain_where_it_is_no_terminal(script: list[str]) -> None:
    for arguments in (("--help",), ("say", "--help"), ("say", "x")):
        result = _run(script, *arguments)
        assert result.returncode == 0
        assert "\x1b" not in result.stdout + result.stderr


def test_json_is_alone_on_stdout(script: list[str]) -> None:
    result = _run(script, "say", "x", "--json")
    assert json.loads(result.stdout) == {"said": "x"}
    assert "a table of blocks[conv] and :smile:" in result.stderr


def test_quiet_prints_no_table_and_verbose_prints_details(script: list[str]) -> None:
    quiet = _run(script, "-q", "say", "x")
    assert (quiet.stdout, quiet.stderr) == ("", "")
    assert "a detail" not in _run(script, "say", "x").stderr
    assert "a detail" in _run(script, "-v", "say", "x").stderr


@pytest.mark.parametrize("what", ["much", "late"])
def test_a_reader_that_leaves_early_is_no_error_message(script: list[str], what: str) -> None:
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": ""}
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen([*script, "say", what], **pipes, env=env) as process:  # type: ignore[call-overload]
        process.stdout.close()
        process.stdin.close()  # "late" waits for this before it prints
        assert process.stderr.read() == b""


def test_version_names_the_package(script: list[str]) -> None:
    result = _run(script, "--version")
    assert result.returncode == 0
    assert result.stdout.startswith("icnn ")


def test_print_json_writes_plain_values(capsys: pytest.CaptureFixture[str]) -> None:
    print_json(
        {
            "path": Path("a/b"),
            "array": np.arange(6).reshape(2, 3),
            "one": np.float32(0.5),
            "nan": [np.nan, 1.0],
        }
    )
    assert json.loads(capsys.readouterr().out) == {
        "path": "a/b",
        "array": [[0, 1, 2], [3, 4, 5]],
        "one": 0.5,
        "nan": [None, 1.0],
    }


def test_a_piped_table_is_not_squeezed_into_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert make_console().width >= 100
    monkeypatch.setenv("COLUMNS", "170")
    assert make_console().width == 170


def test_names_in_a_piped_table_are_whole_and_leave_others_their_room(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """So that `icnn layers | grep downsample.0` finds it; sentences are folded as before."""
    from rich.table import Table

    monkeypatch.delenv("COLUMNS", raising=False)
    name, sentence = "encoder." + "intermediate." * 12 + "downsample.0", 12 * "many words "
    for first, second in ((name, sentence), (sentence, name[:40])):
        table = Table("first", "second", "third")
        table.add_row(first, second, "0.123456789")
        make_console().print(table)
    whole, folded = capsys.readouterr().out.split("third", 2)[1:]
    [row] = [line for line in whole.splitlines() if name in line]
    assert "many words many words" in row
    assert "0.123456789" in row
    assert max(map(len, folded.splitlines())) <= 100


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_an_old_console_gets_escapes_instead_of_an_error(script: list[str], encoding: str) -> None:
    source = Path(script[1])
    source.write_text(_APP.replace("a table of blocks", "a table τ of 道 blocks"), encoding="utf-8")
    result = _run(script, "say", "known", PYTHONIOENCODING=encoding)
    assert result.returncode == 1
    result = _run(script, "say", "hello", PYTHONIOENCODING=encoding)
    assert result.returncode == 0, result.stderr
    assert r"\u03c4 of \u9053 blocks" in result.stdout


def test_a_width_that_is_no_number_is_passed_over(script: list[str]) -> None:
    result = _run(script, "say", "hello", COLUMNS="abc")
    assert result.returncode == 0, result.stderr
    assert "a table" in result.stdout
