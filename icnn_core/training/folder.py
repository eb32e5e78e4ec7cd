"""What a run's folder is called inside, and whether a run may start or go on there: seen before anything is loaded."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from icnn_core.errors import ArgumentError, CheckpointError
from icnn_core.files import explain, nearest_files

LAST, BEST, CONFIG, SNAPSHOTS = "last.pt", "best.pt", "config.toml", "snapshots"


def check_folder(path: Path, *, resume: bool = False, overwrite: bool = False) -> None:
    """Nothing, if a run may start in `path`, or go on there; nothing is written.

    Raises:
        ArgumentError: it shall both go on and be replaced.
        CheckpointError: there is nothing to go on with, a run that is not to be replaced, or no way to write.
    """
    if resume and overwrite:
        raise ArgumentError(
            "train",
            needed="one of --resume and --overwrite",
            got="both: a run cannot go on and be replaced",
            fix="Leave one out.",
        )
    last = path / LAST
    if resume and not last.exists() and not (path / CONFIG).exists():
        raise CheckpointError(
            str(last), needed="a run to go on with", got="nothing there", fix=nearest_files(path)
        )
    if not resume and not overwrite and last.exists():
        raise CheckpointError(
            str(path),
            needed="a folder without a run",
            got="one with a trained network",
            fix="Choose another --out, go on with --resume, or replace it with --overwrite.",
        )
    _check_writable(path)


def cannot_write(path: Path, cause: OSError) -> CheckpointError:
    """The error to raise for a folder that cannot be written."""
    got, fix = explain(cause)
    return CheckpointError(str(path), needed="a folder that can be written, with room", got=got, fix=fix)


def _check_writable(path: Path) -> None:
    nearest = next((each for each in (path, *path.absolute().parents) if each.exists()), Path.cwd())
    if not nearest.is_dir():
        raise cannot_write(path, OSError(errno.ENOTDIR, "not a folder"))
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise cannot_write(path, OSError(errno.EACCES, "no permission"))
