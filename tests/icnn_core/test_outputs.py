"""A folder holds one call's files: the same again replaces them, another one is refused, nobody's are touched."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from icnn_core.errors import ArgumentError, DataError
from icnn_core.files import write_text
from icnn_core.outputs import LIST, check_target, check_writable, describe_call, one_call


def call(folder: Path, names: str, identity: dict | None = None, command: str = "draw", **options) -> None:
    """A command that writes one file a letter, `<letter>.txt`, with the letters as text."""
    with one_call(folder, command, identity or {}, **options):
        for name in names:
            write_text(folder / f"{name}.txt", names, DataError)


def files(folder: Path) -> dict[str, str]:
    return {path.stem: path.read_text() for path in folder.rglob("*.txt")}


def test_the_same_call_replaces_its_files_and_removes_those_it_no_longer_writes(tmp_path):
    folder = tmp_path / "new" / "folder"
    call(folder, "abc")
    (folder / "mine.txt").write_text("mine")
    call(folder, "bd")
    assert files(folder) == {"b": "bd", "d": "bd", "mine": "mine"}


def test_another_call_is_refused_by_what_differs_and_changes_nothing(tmp_path):
    call(tmp_path, "abc", {"network": "1a", "view": ["heat"]})
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for identity, command, words in (
        ({"network": "2b", "view": ["heat"]}, "draw", "network='1a'"),
        ({"network": "1a", "view": ["rose"]}, "draw", "view=heat"),
        ({"network": "1a", "view": ["heat"]}, "look", "files of draw"),
    ):
        with pytest.raises(ArgumentError) as told:
            call(tmp_path, "x", identity, command)
        assert words in str(told.value)
        assert "--overwrite" in told.value.fix
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_overwrite_leaves_the_new_files_and_those_of_the_user(tmp_path):
    call(tmp_path, "abc", {"network": "1a"})
    (tmp_path / "mine.txt").write_text("mine")
    call(tmp_path, "cd", {"network": "2b"}, overwrite=True)
    assert files(tmp_path) == {"c": "cd", "d": "cd", "mine": "mine"}
    call(tmp_path, "c", {"network": "2b"})
    assert files(tmp_path) == {"c": "c", "mine": "mine"}


def test_a_file_that_no_call_wrote_is_not_written_over(tmp_path):
    (tmp_path / "b.txt").write_text("mine")
    with pytest.raises(ArgumentError, match=r"no call wrote.*--overwrite"):
        call(tmp_path, "ab")
    assert files(tmp_path)["b"] == "mine"
    call(tmp_path, "ab", overwrite=True)
    assert files(tmp_path) == {"a": "ab", "b": "ab"}


def test_a_call_that_ends_early_leaves_no_folder_or_the_earlier_files(tmp_path):
    for folder in (tmp_path / "made", tmp_path):
        with pytest.raises(ZeroDivisionError), one_call(folder, "draw", {}):
            raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    call(tmp_path, "ab", {"network": "1a"})
    with (
        pytest.raises(ZeroDivisionError),
        one_call(tmp_path, "draw", {"network": "2b"}, overwrite=True),
    ):
        raise ZeroDivisionError
    call(tmp_path, "a", {"network": "1a"})
    assert files(tmp_path) == {"a": "a"}


def test_a_call_that_fails_takes_back_what_it_wrote(tmp_path):
    with suppress(ZeroDivisionError), one_call(tmp_path / "made", "draw", {"channel": 9}):
        write_text(tmp_path / "made" / "a.txt", "a", DataError)
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_call_wrote_is_known(tmp_path):
    with suppress(KeyboardInterrupt), one_call(tmp_path, "draw", {"network": "1a"}):
        write_text(tmp_path / "a.txt", "a", DataError)
        raise KeyboardInterrupt
    with pytest.raises(ArgumentError, match="network"):
        call(tmp_path, "b", {"network": "2b"})
    call(tmp_path, "b", {"network": "2b"}, overwrite=True)
    assert files(tmp_path) == {"b": "b"}


def test_what_is_gone_on_with_stays_until_it_is_replaced(tmp_path):
    call(tmp_path, "ab", goes_on=True)
    call(tmp_path, "bc", goes_on=True)
    assert files(tmp_path) == {"a": "ab", "b": "bc", "c": "bc"}
    with one_call(tmp_path, "draw", {}, goes_on=True, overwrite=True):
        assert files(tmp_path) == {}


def test_files_in_folders_within_belong_to_the_call_too(tmp_path):
    with one_call(tmp_path, "demo", {}):
        call(tmp_path / "inner", "ab", command="draw")
    with one_call(tmp_path, "demo", {}):
        pass
    assert files(tmp_path) == {}


def test_a_list_removes_nothing_outside_of_its_folder(tmp_path):
    (tmp_path / "kept.txt").write_text("kept")
    (tmp_path / "within").mkdir()
    (tmp_path / "within" / "link").symlink_to(tmp_path)
    names = ["../kept.txt", str(tmp_path / "kept.txt"), "link/kept.txt", "..", "", ".", LIST]
    lines = ['{"command": "draw"}', *(f'"{name}"' for name in names)]
    (tmp_path / "within" / LIST).write_text("\n".join(lines))
    call(tmp_path / "within", "a", overwrite=True)
    assert files(tmp_path) == {"kept": "kept", "a": "a"}


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"command": "draw"}\n{', "\xff"])
def test_a_damaged_list_is_one_line(tmp_path, text):
    (tmp_path / LIST).write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match=LIST):
        call(tmp_path, "a")


def test_a_target_is_free_or_replaced_on_request(tmp_path):
    path = tmp_path / "deep" / "page.html"
    check_target(path)
    assert not path.parent.exists()
    path.parent.mkdir()
    path.write_text("mine")
    with pytest.raises(ArgumentError, match=r"--export.*--overwrite"):
        check_target(path, option="--export")
    check_target(path, overwrite=True)
    for other in (tmp_path, Path("/dev/null")):
        with pytest.raises(DataError, match="a folder, pipe or device"):
            check_target(other, overwrite=True)
    with pytest.raises(DataError, match="a file where a folder should be"):
        check_target(path / "page.html")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_told_before_anything_is_made(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(DataError, match="no permission"):
        check_writable(tmp_path / "a" / "b")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a disk on which nothing can be made")
def test_a_disk_that_takes_no_files_is_told_before_anything_is_made():
    with pytest.raises(DataError, match=r"^/proc/x/y: needs a folder that can be written"):
        check_writable(Path("/proc/x/y"))


def test_a_call_is_known_by_what_its_files_hold(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_text("1")
    second.write_text("1")
    options = {"checkpoint": [first], "seed": 3, "layer": None, "view": ("heat",), "out": tmp_path}
    known = describe_call(options)
    assert known == describe_call(options | {"checkpoint": [second], "out": first, "device": "cpu"})
    assert set(known) == {"checkpoint", "seed", "layer", "view"}
    second.write_text("2")
    assert known != describe_call(options | {"checkpoint": [second]})
    assert describe_call({"run": tmp_path}) != known
    if hasattr(os, "mkfifo"):  # which would wait for ever
        os.mkfifo(tmp_path / "pipe")
        assert describe_call({"image": tmp_path / "pipe"}) == {"image": str(tmp_path / "pipe")}
