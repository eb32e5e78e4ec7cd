"""Writing files whole or not at all."""

from __future__ import annotations

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
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
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
