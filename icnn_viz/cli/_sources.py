"""Where `kernels` gets its clouds from: a checkpoint, two, a run's snapshots, or files of other programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from icnn_viz.records import PositionCloud


@dataclass(frozen=True)
class Sources:
    """What was read.

    Attributes:
        paths: the files.
        clouds: the layers to look at; of snapshots, the last ones.
        other: the layers of a second run, or None.
        steps, snapshots: iterations and clouds of a run's snapshots; empty if there are none.
    """

    paths: tuple[Path, ...]
    clouds: list[PositionCloud]
    other: list[PositionCloud] | None = None
    steps: tuple[int, ...] = ()
    snapshots: tuple[list[PositionCloud], ...] = ()


def read_sources(
    paths: Sequence[Path], patterns: Sequence[str], *, is_run: bool, dcls: str | None, kernel_size: int | None
) -> Sources:
    """Read what the user named; nothing named is the built-in network.

    Args:
        patterns: of layers, see `select_layers`.
        is_run: the paths are snapshots of one run (or a folder of them).
        dcls, kernel_size: the version of DCLS layers and their box.

    Raises:
        ArgumentError: too many paths, no layer in common, or DCLS without its box.
        CheckpointError, DataError, NameNotFoundError: see the readers.
    """
    from icnn_viz.data import builtin_path
    from icnn_viz.positions import read_snapshots, select_layers

    if is_run or (len(paths) == 1 and paths[0].is_dir()):
        steps, snapshots = read_snapshots(paths)
        chosen = [select_layers(clouds, patterns) for clouds in snapshots]
        return Sources(tuple(paths), chosen[-1], None, tuple(steps), tuple(chosen))
    if len(paths) > 2:
        raise _refuse(
            "one checkpoint, or two to compare", f"{len(paths)}", "For snapshots add --view trajectory."
        )
    paths = paths or [builtin_path("shapes-irregular.safetensors")]
    runs = [select_layers(_read(path, dcls, kernel_size), patterns) for path in paths]
    if len(runs) == 1:
        return Sources(tuple(paths), runs[0])
    if not {cloud.layer for cloud in runs[0]} & {cloud.layer for cloud in runs[1]}:
        raise _refuse("two runs with layers of the same names", "none in common", "Compare one architecture.")
    return Sources(tuple(paths), runs[0], runs[1])


def _read(path: Path, dcls: str | None, kernel_size: int | None) -> list[PositionCloud]:
    from icnn_viz.positions import read_clouds, read_dcls

    if dcls is not None:
        if kernel_size is None:
            raise _refuse("--kernel-size with --dcls", "none", "Give the layers' dilated_kernel_size.")
        return read_dcls(path, dcls, kernel_size)
    return read_clouds(path)


def _refuse(needed: str, got: str, fix: str) -> Exception:
    from icnn_core.errors import ArgumentError

    return ArgumentError("kernels", needed=needed, got=got, fix=fix)
