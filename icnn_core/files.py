"""Writing files whole or not at all; what to try where one is missing."""

from __future__ import annotations

import difflib
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from icnn_core.errors import IcnnError


def write_atomically(path: str | Path, write: Callable[[str], Any], error: type[IcnnError]) -> Path:
    """Let `write` fill a temporary file beside `path`, then rename it: a reader sees the old file or the new one.

    Folders are made; permissions follow the umask.

    Raises:
        error: the folder cannot be written, or the disk is full; `path` is as it was.
    """
    path = Path(path)
    temporary = path.with_name(f".{uuid.uuid4().hex[:8]}.{path.name}")  # the suffix stays: writers go by it
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(str(temporary))
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as cause:  # torch's writer raises RuntimeError on a full disk
        reason = " ".join(str(cause).split())[:200]
        raise error(
            str(path),
            needed="a folder that can be written, with room",
            got=reason,
            fix="Free some room or choose another.",
        ) from cause
    finally:
        if temporary.exists():
            temporary.unlink()
    return path


def write_text(path: str | Path, text: str, error: type[IcnnError]) -> Path:
    """`text` as UTF-8, as `write_atomically` does."""
    return write_atomically(path, lambda temporary: Path(temporary).write_text(text, encoding="utf-8"), error)


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
