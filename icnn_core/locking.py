"""One process at a time in a folder."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from icnn_core.errors import IcnnError

_log = logging.getLogger(__name__)
_NAME = ".lock"
_HELD: set[Path] = set()  # by this process, whose second lock the system would grant


@contextmanager
def locked_folder(folder: Path, error: type[IcnnError]) -> Iterator[None]:
    """Inside of it no other process has `folder`; it is made if it is not there.

    The system's own lock on a file in it, which ends with its process however that ends: there are no stale ones. It
    reaches over NFS where the server grants locks; where no locks are granted, that is said, and nothing is locked.

    Raises:
        error: another process has it, or a thread of this one.
        OSError: it cannot be written.
    """
    path = folder.resolve() / _NAME
    if path in _HELD:
        raise _in_use(folder, "this process", error)
    folder.mkdir(parents=True, exist_ok=True)
    file = _acquire(folder, path, error)
    _HELD.add(path)
    try:
        yield
    finally:
        _HELD.discard(path)
        with contextlib.suppress(OSError):  # the lock is what counts; a file that is left means nothing
            if sys.platform == "win32":  # which removes no open file
                file.close()
            path.unlink()
        file.close()


def _acquire(folder: Path, path: Path, error: type[IcnnError]) -> IO[str]:
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            _lock(file)
        except OSError as cause:
            if cause.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
                _log.warning(
                    "%s lies on a disk without locks: see that one process alone is at work there", folder
                )
                return file
            owner = _read_owner(file)
            file.close()
            raise _in_use(folder, owner, error) from cause
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            break
        file.close()  # its last owner removed it in between
    file.truncate(0)
    json.dump({"process": os.getpid(), "machine": socket.gethostname()}, file)
    file.flush()
    return file


def _lock(file: IO[str]) -> None:
    if sys.platform == "win32":
        import msvcrt

        file.seek(1 << 20)  # a byte that nobody writes: what is locked cannot be read by others
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not flock: its locks pass to worker processes


def _read_owner(file: IO[str]) -> str:
    try:
        file.seek(0)
        owner = json.load(file)
        return f"process {int(owner['process'])} on {owner['machine']}"
    except (OSError, ValueError, TypeError, KeyError):
        return "another process"


def _in_use(folder: Path, owner: str, error: type[IcnnError]) -> IcnnError:
    needed, got = "a folder that no other run is at work in", f"one in which {owner} is"
    return error(str(folder), needed=needed, got=got, fix="Wait for it, end it, or choose another --out.")
