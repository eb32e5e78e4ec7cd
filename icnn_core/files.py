"""Writing files whole or not at all; reading a user's text; what to try where a file is missing."""

from __future__ import annotations

import difflib
import errno
import os
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from icnn_core.errors import IcnnError

_MOST_TEXT = 64 << 20
_MARKS = ((b"\xff\xfe\x00\x00", "UTF-32"), (b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"))
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def write_atomically(path: str | Path, write: Callable[[str], Any], error: type[IcnnError]) -> Path:
    """Let `write` fill a temporary file beside `path`, then rename it: a reader sees the old file or the new one.

    Folders are made; permissions follow the umask.

    Raises:
        error: the folder cannot be written, or the disk is full, or a folder, pipe or device is there; `path` is as it
            was.
    """
    path = Path(path)
    if os.path.exists(path) and not os.path.isfile(path):  # a rename would put a file in /dev/null's place
        got, fix = "a folder, pipe or device", "Choose another name."
        raise error(str(path), needed="a file, or a free name", got=got, fix=fix)
    temporary = path.with_name(f".{uuid.uuid4().hex[:8]}.{path.name}")  # the suffix stays: writers go by it
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(str(temporary))
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        announce(path)
        os.replace(temporary, path)
    except (OSError, RuntimeError) as cause:
        if isinstance(cause, RuntimeError) and not any(word in str(cause) for word in _TORCH_SAYS):
            raise
        if isinstance(cause, RuntimeError):
            cause = OSError(errno.ENOSPC, str(cause))
        raise cannot_write(path, cause, error) from cause
    finally:
        if os.path.lexists(temporary):
            temporary.unlink()
    return path


def cannot_write(path: Path, cause: OSError, error: type[IcnnError]) -> IcnnError:
    """The error to raise for a place that cannot be written."""
    got, fix = explain(cause)
    return error(str(path), needed="a folder that can be written, with room", got=got, fix=fix)


_LISTENERS: list[Callable[[Path], None]] = []


@contextmanager
def announced(listener: Callable[[Path], None]) -> Iterator[None]:
    """Inside of it `listener` is told of every file that is about to be written; an error of its stops that."""
    _LISTENERS.append(listener)
    try:
        yield
    finally:
        _LISTENERS.remove(listener)


def announce(path: Path) -> None:
    """Tell whoever listens that a file is about to be written."""
    for listener in _LISTENERS:
        listener(path)


_TORCH_SAYS = ("PytorchStreamWriter", "inline_container")  # as RuntimeError, where a disk is full
_REASONS = {
    errno.ENOENT: ("nothing there", "Check the path."),
    errno.EACCES: ("no permission", "Choose a place that you may use, or change its permissions."),
    errno.EPERM: ("no permission", "Choose a place that you may use, or change its permissions."),
    errno.EROFS: ("a disk that can only be read", "Choose another place."),
    errno.ENOSPC: ("a full disk", "Free some room or choose another place."),
    errno.EDQUOT: ("a quota that is used up", "Free some room or choose another place."),
    errno.EFBIG: ("a file too large for this disk", "Choose another place."),
    errno.EISDIR: ("a folder", "Name a file."),
    errno.ENOTDIR: ("a file where a folder should be", "Choose another path."),
    errno.EEXIST: ("a file where a folder should be", "Choose another path, or move it away."),
    errno.ENOTEMPTY: ("a folder with something in it", "Choose another path, or move it away."),
    errno.ENAMETOOLONG: ("a name that is too long for this disk", "Choose a shorter one."),
    errno.EINVAL: ("a name that this disk does not take", "Choose another one."),
    errno.ELOOP: ("links that lead round in a circle", "Choose another path."),
    errno.EMFILE: ("too many open files", "Close some, or raise the limit (ulimit -n)."),
    errno.ENFILE: ("too many open files", "Close some programs."),
    errno.EIO: ("a disk that fails", "Check the disk, or choose another place."),
    errno.ESTALE: ("a network disk that was lost", "Try again, or choose another place."),
    errno.EBUSY: ("a file that is in use", "Close the program that holds it."),
    errno.EADDRINUSE: ("a port that is in use", "Choose another port."),
    errno.EADDRNOTAVAIL: ("an address that is not this machine's", "Choose another host."),
}


def explain(error: Exception) -> tuple[str, str]:
    """What an error of the operating system means, and what to do about it: the last two parts of an `IcnnError`.

    Of any other error its own words, on one line.
    """
    if isinstance(error, OSError) and error.errno in _REASONS:
        return _REASONS[error.errno]
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(words.split())[:300], "Choose another place."


def write_text(path: str | Path, text: str, error: type[IcnnError]) -> Path:
    """`text` as UTF-8, as `write_atomically` does."""
    return write_atomically(path, lambda temporary: Path(temporary).write_text(text, encoding="utf-8"), error)


def need_regular_file(path: str | Path, who: str, error: type[IcnnError]) -> Path:
    """The path, if a regular file is there: a pipe would wait for ever, and a device never end.

    Raises:
        error: nothing is there, or something else.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as cause:  # ValueError: a null byte in the name
        got, fix = explain(cause)
        fix = nearest_files(path) if isinstance(cause, FileNotFoundError) else fix
        raise error(who, needed="a file that can be read", got=got, fix=fix) from cause
    if not stat.S_ISREG(mode):
        kind = next((kind for test, kind in _KINDS if test(mode)), "something else")
        raise error(who, needed="a regular file", got=kind, fix="Copy what it gives into a file.")
    return path


def read_text(path: str | Path, who: str, error: type[IcnnError]) -> str:
    """A user's text file: UTF-8, with or without the mark that some editors put before it.

    Raises:
        error: no regular file is there, it is larger than any list, or in another encoding, which is named.
    """
    path = need_regular_file(path, who, error)
    try:
        if path.stat().st_size > _MOST_TEXT:
            needed = f"a text of at most {_MOST_TEXT >> 20} MiB"
            raise error(who, needed=needed, got=f"{path.stat().st_size >> 20} MiB", fix="Name another file.")
        raw = path.read_bytes()
    except OSError as cause:
        got, fix = explain(cause)
        raise error(who, needed="a file that can be read", got=got, fix=fix) from cause
    try:
        text = raw.decode("utf-8-sig")
        if "\0" not in text:
            return text
        broken = raw.index(0)
    except UnicodeDecodeError as cause:
        broken = cause.start
    found = next((name for mark, name in _MARKS if raw.startswith(mark)), None)
    guess = "UTF-16 or binary data" if 0 in raw[:1000] else "another encoding, as cp1252 or Latin-1"
    line = raw.count(b"\n", 0, broken) + 1
    raise error(
        who,
        needed="text in UTF-8",
        got=f"{found or guess} (byte {raw[broken]:#04x} in line {line})",
        fix="Save it as UTF-8 in your editor.",
    )


def nearest_files(path: str | Path) -> str:
    """What to try instead of a path where nothing is: its neighbours with the nearest names, as an error's last part.

    Where a folder on the way is missing, its neighbours.
    """
    path = Path(path)
    while not path.parent.is_dir() and path.parent != path:
        path = path.parent
    try:
        names = sorted(each.name for each in path.parent.iterdir())
    except OSError:
        names = []
    close = difflib.get_close_matches(path.name, names, n=3, cutoff=0.6)
    if close:
        return "Did you mean " + " or ".join(str(path.parent / name) for name in close) + "?"
    return f"Nothing in {path.parent.resolve()} has such a name." if names else "Check the path."
