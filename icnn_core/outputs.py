"""What a command leaves where the user said: never over another file, never mixed with another call's files.

A folder holds the files of one call, listed in it. The same call again replaces them; another one is refused by what
differs, unless it shall take their place.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from icnn_core.errors import ArgumentError, DataError, IcnnError
from icnn_core.files import announced, cannot_write, read_text
from icnn_core.identity import check_identity, digest_file

LIST = ".icnn-files"
_FIX = "Choose another {option}, or replace {what} with --overwrite."


def check_target(path: Path, *, overwrite: bool = False, option: str = "--out") -> None:
    """Nothing, if a file may be written at `path`; nothing is written.

    Raises:
        ArgumentError: a file is there that is not to be replaced.
        DataError: what is there is no file, or the folder cannot be written.
    """
    if os.path.isfile(path) and not overwrite:
        fix = _FIX.format(option=option, what="it")
        raise ArgumentError(str(path), needed="a free name", got="a file that is there", fix=fix)
    if os.path.lexists(path) and not os.path.isfile(path):
        needed = "a file, or a free name"
        raise DataError(str(path), needed=needed, got="a folder, pipe or device", fix="Choose another name.")
    check_writable(path.absolute().parent, path)


def check_writable(folder: Path, path: Path | None = None, error: type[IcnnError] = DataError) -> None:
    """Nothing, if `folder` can be written or made; nothing stays written.

    Raises:
        error: it cannot; it names `path`.
    """
    nearest = next(each for each in (folder, *folder.absolute().parents) if os.path.lexists(each))
    code = 0 if os.access(nearest, os.W_OK | os.X_OK) else errno.EACCES
    code = code if nearest.is_dir() else errno.ENOTDIR
    if code:
        raise cannot_write(path or folder, OSError(code, ""), error)
    try:  # root may write everywhere, but not into every disk
        tempfile.TemporaryFile(dir=nearest).close()
    except OSError as cause:
        raise cannot_write(path or folder, cause, error) from cause


def describe_input(path: Path | None) -> Any:
    """A file or a folder that a call reads, as its identity tells it: by content, wherever it lies."""
    if path is None or not path.exists():
        return None
    if path.is_dir():
        files = sorted(each for each in path.rglob("*") if each.is_file())
        content = [[each.relative_to(path).as_posix(), each.stat().st_size] for each in files]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
    return digest_file(path) if path.is_file() else str(path)  # a pipe gives what it has once


def describe_call(options: Mapping[str, Any], *left_out: str) -> dict[str, Any]:
    """A command's options as its identity: files by content; without where it writes, and on what it computes."""
    skipped = {"out", "overwrite", "json", "as_json", "device", *left_out}

    def plain(value: Any) -> Any:
        if isinstance(value, Path):
            return describe_input(value)
        if isinstance(value, list | tuple):
            return [plain(each) for each in value]
        return value if isinstance(value, int | float | None) else str(value)

    return {name: plain(value) for name, value in options.items() if name not in skipped}


@contextmanager
def one_call(
    folder: Path,
    command: str,
    identity: Mapping[str, Any],
    *,
    overwrite: bool = False,
    goes_on: bool = False,
    option: str = "--out",
) -> Iterator[bool]:
    """Inside of it `folder` is this call's: what is written there is listed, and stands alone when it ends well.

    Gives whether an earlier call's files are there, to be replaced.

    What an earlier call wrote is replaced if it was the same, or if `overwrite` says so; what it wrote and this one
    does not is removed. Files that no call wrote are left alone. A call that fails leaves nothing, one that is
    interrupted what it has written.

    Args:
        command, identity: which call it is (`icnn_core.identity`).
        goes_on: the files of the same call are gone on with; they are removed first with `overwrite` alone.

    Raises:
        ArgumentError: another call's files are there, or one would be written over a file that none wrote.
        DataError: the folder cannot be written.
    """
    path, made = folder / LIST, not folder.exists()
    check_writable(folder)
    identity = {"command": command, **identity}
    earlier = _read(path) if path.exists() else None
    if earlier is not None and not overwrite:
        _compare(folder, earlier[0], identity, option)
    before = earlier[1] if earlier else []
    if overwrite and goes_on:
        _remove(folder, before)
        before = []
    written: list[str] = []
    top = folder.absolute()

    def note(target: Path) -> None:
        place = target.absolute()
        if not place.is_relative_to(top) or place.name == LIST:
            return
        name = place.relative_to(top).as_posix()
        if name in written:
            return
        if place.exists() and name not in before and not (overwrite or goes_on):
            fix = _FIX.format(option=option, what="it")
            raise ArgumentError(
                str(target), needed="a free name", got="a file that no call wrote here", fix=fix
            )
        written.append(name)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(name) + "\n")

    try:
        folder.mkdir(parents=True, exist_ok=True)
        if goes_on and earlier is not None and not overwrite:
            written = list(before)  # other processes may be at work on the same call
        else:
            _write(path, identity, before)
    except OSError as cause:
        raise cannot_write(folder, cause, DataError) from cause
    try:
        with announced(note):
            yield earlier is not None
    except BaseException as error:
        if isinstance(error, Exception) and not goes_on:
            _remove(folder, [name for name in written if name not in before])
            written = [name for name in written if name in before]
        if not written and earlier is not None:
            _write(path, *earlier)
        elif not written:
            path.unlink(missing_ok=True)
            with suppress(OSError):
                if made:
                    folder.rmdir()
        raise
    if not goes_on:
        _remove(folder, [name for name in before if name not in written])
        _write(path, identity, written)


def _compare(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any], option: str) -> None:
    fix = _FIX.format(option=option, what="them")
    if before.get("command") != now["command"]:
        raise ArgumentError(
            str(folder), needed="a folder of its own", got=f"the files of {before.get('command')}", fix=fix
        )
    check_identity(folder, before, now, ArgumentError, fix=f"Repeat that call, {fix[0].lower()}{fix[1:]}")


def _read(path: Path) -> tuple[dict[str, Any], list[str]]:
    lines = read_text(path, str(path), DataError).splitlines()
    try:
        identity, *names = map(json.loads, lines)
        return dict(identity), [str(name) for name in names]
    except (ValueError, TypeError) as cause:
        needed, fix = "the list of a folder's files", "Remove it, and the files of earlier calls beside it."
        raise DataError(str(path), needed=needed, got="something else", fix=fix) from cause


def _write(path: Path, identity: Mapping[str, Any], names: list[str]) -> None:
    lines = [json.dumps(identity, default=str), *map(json.dumps, names)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _remove(folder: Path, names: list[str]) -> None:
    """Remove an earlier call's files: whatever a list says, none outside of its folder."""
    top = folder.resolve()
    for name in names:
        place = folder / name
        if place.parent.resolve().is_relative_to(top) and place.name not in ("", "..", LIST):
            with suppress(OSError):
                place.unlink()
