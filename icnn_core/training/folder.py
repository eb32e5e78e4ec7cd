"""What a run's folder is called inside, and whether a run may start or go on there: seen before anything is loaded."""

from __future__ import annotations

from pathlib import Path

from icnn_core.errors import ArgumentError, CheckpointError
from icnn_core.files import nearest_files
from icnn_core.outputs import LIST, check_writable

LAST, BEST, CONFIG, SNAPSHOTS = "last.pt", "best.pt", "config.toml", "snapshots"


def check_folder(path: Path, *, resume: bool = False, overwrite: bool = False) -> None:
    """Nothing, if a run may start in `path`, or go on there; nothing is written.

    Raises:
        ArgumentError: it shall both go on and be replaced.
        CheckpointError: there is nothing to go on with, a run that is not to be replaced, or no way to write.
    """
    if resume and overwrite:
        got = "both: a run cannot go on and be replaced"
        raise ArgumentError("train", needed="one of --resume and --overwrite", got=got, fix="Leave one out.")
    last = path / LAST
    if resume and not last.exists() and not (path / CONFIG).exists():
        raise CheckpointError(
            str(last), needed="a run to go on with", got="nothing there", fix=nearest_files(path)
        )
    if not resume and not overwrite and last.exists():
        needed = "a folder without a run"
        fix = "Choose another --out, go on with --resume, or replace it with --overwrite."
        raise CheckpointError(str(path), needed=needed, got="one with a trained network", fix=fix)
    if not last.exists() and (path / LIST).exists():
        got = "one with another command's files"
        raise CheckpointError(str(path), needed="a folder of its own", got=got, fix="Choose another --out.")
    check_writable(path, error=CheckpointError)
