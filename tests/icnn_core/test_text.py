"""Strangers' words: on a terminal, in spreadsheets, and what the operating system says."""

from __future__ import annotations

import errno
import io
import logging
import os
import sys

import pytest
from rich.table import Table

from icnn_core.cli.app import _set_level, make_console
from icnn_core.datasets.folder import read_class_file
from icnn_core.datasets.listing import read_stems
from icnn_core.errors import DataError, IcnnError
from icnn_core.files import explain, write_atomically
from icnn_core.text import counted, from_cell, to_cell, to_visible
from icnn_core.training.config import _read_toml


def test_control_characters_are_shown_not_obeyed():
    title = "\x1b]0;pwned\x07features.3\x9b2J"
    assert to_visible(title) == r"\x1b]0;pwned\x07features.3\x9b2J"
    assert to_visible("reversed \u202egnp.exe") == r"reversed \u202egnp.exe"
    assert to_visible("Straße, 道路, café\tτ\n") == "Straße, 道路, café\tτ\n"


def test_a_name_cannot_act_on_the_terminal(monkeypatch: pytest.MonkeyPatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    table = Table()
    table.add_column("layer", style="bold")
    table.add_row("\x1b]0;pwned\x07features\x1b[2J")
    console = make_console()
    console.print(table)
    console.print("read \x1b[31mA\x1b[0m")
    said = terminal.getvalue()
    assert "\x1b[1m" in said, "the product's own colours stay"
    for trick in ("\x1b]0", "\x07", "\x1b[2J", "\x1b[31m"):
        assert trick not in said
    assert r"\x1b]0;pwned" in said


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("-2+3", "'-2+3"),
        ("@sum", "'@sum"),
        ("+1", "'+1"),
        ("'=quoted", "''=quoted"),
        ("''", "'''"),
        ("features.3", "features.3"),
        ("'tis", "'tis"),
        (-0.5, -0.5),
        ("", ""),
        (None, None),
    ],
)
def test_text_is_no_formula_and_is_read_back(value, cell):
    assert to_cell(value) == cell
    assert from_cell(cell) == value


def raising(error):
    def write(_: str) -> None:
        raise error

    return write


def test_a_row_stays_a_row_whatever_its_name(monkeypatch: pytest.MonkeyPatch):
    from rich.table import Table

    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    table = Table("layer", "shapes")
    table.add_row("one\ntwo\tthree\r\n", "4")
    make_console().print(table)
    [row] = [line for line in stream.getvalue().splitlines() if "4" in line]
    assert r"one\ntwo\tthree\r\n" in row


def test_a_line_of_the_log_stays_a_line(capsys: pytest.CaptureFixture[str]):
    logger = logging.getLogger("icnn_core")
    before = logger.level, logger.handlers[:]
    try:
        _set_level(logging.WARNING)
        logger.warning("layer %s is odd", "one\nicnn_core: ERROR: made up")
    finally:
        logger.level, logger.handlers[:] = before
    assert (
        capsys.readouterr().err == r"icnn_core: WARNING: layer one\nicnn_core: ERROR: made up is odd" + "\n"
    )


@pytest.mark.parametrize(
    ("number", "words", "fix"),
    [
        (errno.ENOSPC, "a full disk", "Free some room"),
        (errno.EACCES, "no permission", "permissions"),
        (errno.ENAMETOOLONG, "too long", "shorter"),
        (errno.EEXIST, "a file where a folder should be", "another path"),
    ],
)
def test_the_systems_errors_in_words(tmp_path, number, words, fix):
    error = OSError(number, "in the system's words", str(tmp_path))
    with pytest.raises(DataError) as caught:
        write_atomically(tmp_path / "a.csv", raising(error), DataError)
    said = str(caught.value)
    assert words in said
    assert fix in said
    assert "Errno" not in said
    assert not list(tmp_path.iterdir())


def test_real_errors_of_the_system_have_no_number_in_them(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"got a file where a folder should be\. Choose"):
        write_atomically(tmp_path / "file" / "a.csv", raising(AssertionError), DataError)
    with pytest.raises(DataError, match=r"got a name that is too long"):
        write_atomically(tmp_path / ("n" * 300), lambda name: open(name, "w").close(), DataError)
    assert explain(OSError("odd\n words")) == ("odd words", "Choose another place.")
    assert explain(ValueError("line 3:\n no"))[0] == "line 3: no"


def test_torchs_writer_on_a_full_disk_and_other_faults_keep_their_names(tmp_path):
    full = RuntimeError("[enforce fail at inline_container.cc:659] . PytorchStreamWriter failed writing file")
    with pytest.raises(DataError, match="a full disk"):
        write_atomically(tmp_path / "a.pt", raising(full), DataError)
    with pytest.raises(RuntimeError, match="latex could not be found"):
        write_atomically(tmp_path / "a.png", raising(RuntimeError("latex could not be found")), DataError)


ENCODINGS = {
    "utf-8-sig": None,
    "utf-16": "UTF-16",
    "utf-16-le": "UTF-16 or binary",  # no mark, and some of it is UTF-8
    "cp1252": "as cp1252",
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_users_texts_are_utf8_or_their_encoding_is_named(tmp_path, encoding):
    words = {
        "classes.txt": "Grund\nStraße\n",
        "train.txt": "bäume_1\nbäume_2\n",
        "run.toml": "# Größe\nsize = [96, 128]\n",
    }
    for name, text in words.items():
        (tmp_path / name).write_bytes(text.encode(encoding))
    reads = {
        "classes.txt": lambda path: tuple(read_class_file(path).classes),
        "train.txt": lambda path: tuple(read_stems("folder", path)),
        "run.toml": lambda path: _read_toml(path)["size"],
    }
    expected = {
        "classes.txt": ("Grund", "Straße"),
        "train.txt": ("bäume_1", "bäume_2"),
        "run.toml": [96, 128],
    }
    for name, read in reads.items():
        if ENCODINGS[encoding] is None:
            assert read(tmp_path / name) == expected[name], "without the mark before it"
            continue
        with pytest.raises(
            IcnnError, match=rf"{name}: needs text in UTF-8; got .*{ENCODINGS[encoding]}.* in line [12]"
        ):
            read(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names on this system")
@pytest.mark.parametrize("name", ["classes.txt", "train.txt", "run.toml"])
def test_a_pipe_is_refused_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    read = {"classes.txt": read_class_file, "train.txt": lambda path: read_stems("folder", path)}.get(
        name, _read_toml
    )
    with pytest.raises(IcnnError, match="a regular file; got a pipe"):
        read(tmp_path / name)


def test_one_of_a_thing_is_not_many() -> None:
    assert [counted(number, "layer") for number in (0, 1, 2, 12345)] == [
        "0 layers",
        "1 layer",
        "2 layers",
        "12,345 layers",
    ]
