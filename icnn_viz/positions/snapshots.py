"""A run's snapshots -> the clouds of each, in the order in which they were made."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from icnn_core.errors import CheckpointError
from icnn_viz.positions.arrays import read_arrays
from icnn_viz.positions.checkpoints import TABLES, to_clouds
from icnn_viz.positions.selection import in_order_of
from icnn_viz.records import PositionCloud

_LOG = logging.getLogger(__name__)
_TELLING = 2.0  # seconds between the first and the last file, below which their times say nothing
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")


def read_snapshots(source: str | Path | Sequence[str | Path]) -> tuple[list[int], list[list[PositionCloud]]]:
    """The iterations and the clouds of a run's snapshots, in order of iteration; layers in the network's order, if any
    of the files says it.

    Args:
        source: checkpoints (or .npz, .csv, .parquet), or a folder of them. A snapshot's iteration is what the file
            itself says. Where files say none, it is the number in names that are alike but for numbers: the one that
            rises with the files' time, or the only one that differs. Files that are listed, and of which none of this
            is known, count in the order given: 1, 2, ….

    Raises:
        CheckpointError: fewer than two snapshots; one cannot be read; two of the same iteration; other layers, kernels
            or dilations; the order of a folder's files cannot be known. IcnnError: see `read_clouds`.
    """
    paths = [Path(source)] if isinstance(source, str | Path) else [Path(path) for path in source]
    is_folder = len(paths) == 1 and paths[0].is_dir()
    named = ", ".join(map(str, paths))
    if is_folder:
        folder = paths[0]
        paths = sorted(path for path in folder.iterdir() if _is_snapshot(path))
        if len(paths) < 2:
            raise _refuse_folder(folder, paths)
    if len(paths) < 2:
        raise _refuse(named, "two or more snapshots", f"{len(paths)}")
    said, ordered, runs = zip(*[_read(path) for path in paths], strict=True)
    guide = next((run for run, known in zip(runs, ordered, strict=True) if known), runs[0])
    runs = tuple(in_order_of(run, guide) for run in runs)
    if len({_key(clouds) for clouds in runs}) > 1:
        raise _refuse(named, "snapshots of one network", "other layers, kernels or dilations")
    if None not in said:
        steps = [int(step) for step in said]
    else:
        steps = _steps_of_names(paths)
        if steps is None and is_folder:
            raise CheckpointError(
                named,
                needed="snapshots that say their iteration, or names whose one number rises with the files' time",
                got=", ".join(path.name for path in paths[:4]) + (", …" if len(paths) > 4 else ""),
                fix="List the files in their order instead of the folder.",
            )
        steps = steps or list(range(1, len(paths) + 1))
        _LOG.warning(
            "%s: not every snapshot says its iteration; taken as %s",
            paths[0].parent if is_folder else "snapshots",
            ", ".join(f"{step} ({path.name})" for step, path in sorted(zip(steps, paths, strict=True))[:12]),
        )
    for path, step in zip(paths, steps, strict=True):
        if steps.count(step) > 1:
            raise _refuse(path, "snapshots of different iterations", f"two of iteration {step}")
    order = np.argsort(steps)
    return [steps[number] for number in order], [runs[number] for number in order]


def _read(path: Path) -> tuple[int | None, bool, list[PositionCloud]]:
    """The iteration that a file says, if any; whether it says the layers' order; and its clouds."""
    from icnn_core.checkpoint import read_checkpoint

    if path.suffix.lower() in TABLES:
        return None, True, read_arrays(path, unnamed=path.parent.name)  # not each by its step
    checkpoint = read_checkpoint(path, arrays=True)
    return checkpoint.iteration, checkpoint.ordered, to_clouds(checkpoint)


def _steps_of_names(paths: Sequence[Path]) -> list[int] | None:
    """The whole number that differs in names of one pattern, if names and times leave one order; else None."""
    if len({_NUMBER.sub("0", path.name) for path in paths}) > 1:
        return None
    columns = np.array([[float(n) for n in _NUMBER.findall(path.stem)] for path in paths]).T
    differing = [column for column in columns if len(set(column)) == len(column)]
    times = np.array([path.stat().st_mtime for path in paths])
    if np.ptp(times) >= _TELLING:
        differing = [column for column in differing if (np.diff(times[np.argsort(column)]) >= 0).all()]
    orders = {tuple(np.argsort(column)) for column in differing}
    whole = [column for column in differing if (column == np.round(column)).all()]
    return [int(number) for number in whole[0]] if len(orders) == 1 and whole else None


def _key(clouds: Sequence[PositionCloud]) -> tuple[object, ...]:
    return tuple(
        (
            c.layer,
            c.positions.shape,
            c.kernel_size,
            c.dilation,
            c.sharing,
            c.slots.tobytes() if c.regular else b"",
        )
        for c in clouds
    )


def _is_snapshot(path: Path) -> bool:
    """Hidden files are of a writer that was stopped; a recording's table of displacements holds no positions."""
    return (
        path.name != "displacement.csv"
        and path.suffix.lower() in (".pt", ".pth", ".ckpt", ".safetensors", *TABLES)
        and not path.name.startswith(".")
    )


def _refuse_folder(folder: Path, found: Sequence[Path]) -> CheckpointError:
    """What a folder holds that is neither a network's nor a run's, and what to give instead."""
    from icnn_core.weights.loading import check_no_parts

    check_no_parts(folder)
    held = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())
    got = f"{len(found)}; it holds {', '.join(held[:4]) or 'nothing'}{', …' if len(held) > 4 else ''}"
    fix = f"Name the file: {found[0]}." if found else "Name a file, or the folder that its files lie in."
    needed = "a network's weights (model.safetensors, …), or two or more snapshots"
    return CheckpointError(str(folder), needed=needed, got=got, fix=fix)


def _refuse(path: str | Path, needed: str, got: str) -> CheckpointError:
    return CheckpointError(str(path), needed=needed, got=got, fix="Give the snapshots of one training run.")
