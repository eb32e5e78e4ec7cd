"""Where kernels come from: a checkpoint, two, a run's snapshots, or files of other programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icnn_core.errors import ArgumentError, IcnnError
from icnn_viz.displays.kernel_pair import KernelPairDisplay
from icnn_viz.displays.kernels import KernelDisplay
from icnn_viz.positions import (
    clouds_from_model,
    in_order_of,
    read_clouds,
    read_dcls,
    read_ordered,
    read_snapshots,
    select_layers,
)
from icnn_viz.positions.checkpoints import TABLES
from icnn_viz.records import PositionCloud

if TYPE_CHECKING:
    from torch import nn

    from icnn_core.checkpoint import Checkpoint, IrregularLayer


@dataclass(frozen=True)
class DclsLayers:
    """What a file of DCLS layers does not say: their version, and their `dilated_kernel_size`, (y, x) or one number."""

    version: str
    kernel_size: int | tuple[int, int]

    def read(self, source: Path | Checkpoint, prefix: str | None = None) -> list[PositionCloud]:
        """As `read_dcls`."""
        return read_dcls(source, self.version, self.kernel_size, prefix)


def read_display(
    paths: Sequence[Path],
    patterns: Sequence[str] = (),
    *,
    is_run: bool = False,
    dcls: DclsLayers | None = None,
    prefix: str | None = None,
) -> KernelDisplay | KernelPairDisplay:
    """The display of what lies in files: of two, their comparison; nothing named is the built-in network.

    Args:
        patterns: of layers, see `select_layers`.
        is_run: the paths are snapshots of one run, a folder of them, or the checkpoint that they lie beside.
        dcls: the files hold such layers.
        prefix: of names in plain state dicts, see `read_checkpoint`.

    Raises:
        ArgumentError: too many paths, or no layer in common.
        CheckpointError, DataError, NameNotFoundError: see the readers.
    """
    from icnn_core.weights.folders import find_weights
    from icnn_viz.data import builtin_path

    paths = paths or [builtin_path("shapes-irregular.safetensors")]
    if is_run and len(paths) == 1 and paths[0].is_file():
        beside = paths[0].parent / "snapshots"  # as training keeps them
        paths = [beside] if beside.is_dir() else paths
    if is_run or (len(paths) == 1 and paths[0].is_dir() and find_weights(paths[0]) is None):
        return KernelDisplay.from_snapshots(paths, patterns)
    if len(paths) > 2:
        fix = "For snapshots add --view trajectory."
        raise ArgumentError(
            "kernels", needed="one checkpoint, or two to compare", got=f"{len(paths)}", fix=fix
        )
    # And whether they come in the network's order:
    found = [(dcls.read(path, prefix), True) if dcls else read_ordered(path, prefix) for path in paths]
    guide = next((clouds for clouds, known in found if known), found[0][0])
    first, *other = (
        KernelDisplay(select_layers(in_order_of(clouds, guide), patterns)) for clouds, _ in found
    )
    return KernelPairDisplay(first, other[0], [str(path) for path in paths]) if other else first


def holds_positions_alone(path: Path) -> bool:
    """Whether a path leads to positions without a network: a table, an archive of arrays, a folder of snapshots."""
    from icnn_core.weights.folders import find_weights

    return path.suffix.lower() in TABLES or (path.is_dir() and find_weights(path) is None)


def read_positions(path: Path, patterns: Sequence[str] = ()) -> tuple[Checkpoint, KernelDisplay]:
    """What such a path holds, as a checkpoint of irregular layers alone; and the kernels, of a folder the run.

    Args:
        patterns: of layers to show, see `select_layers`.

    Raises:
        IcnnError: as of `read_clouds` and `read_snapshots`.
    """
    import torch

    from icnn_core.checkpoint import Checkpoint

    read = KernelDisplay.from_snapshots if path.is_dir() else KernelDisplay.from_checkpoint
    display = read(path, patterns)
    clouds = display.clouds
    state = {f"{cloud.layer}.positions": torch.from_numpy(cloud.positions) for cloud in clouds}
    return Checkpoint(path, state, _describe(clouds)), display


def read_network(
    checkpoint: Checkpoint, patterns: Sequence[str], dcls: DclsLayers | None = None
) -> tuple[Checkpoint, KernelDisplay]:
    """The kernels of a checkpoint that was read; and the checkpoint, which knows of its DCLS layers.

    Args:
        patterns, dcls: as of `read_display`.

    Raises:
        IcnnError: as of `read_clouds`, `read_dcls` and `select_layers`.
    """
    if dcls is None:
        return checkpoint, KernelDisplay.from_checkpoint(checkpoint, patterns)
    clouds = dcls.read(checkpoint)
    return replace(checkpoint, irregular=_describe(clouds)), KernelDisplay(select_layers(clouds, patterns))


def _describe(clouds: Sequence[PositionCloud]) -> tuple[IrregularLayer, ...]:
    from icnn_core.checkpoint import IrregularLayer

    return tuple(IrregularLayer(c.layer, c.kernel_size, c.dilation, c.sharing) for c in clouds)


def read_shapes(
    checkpoint: Path,
    snapshots: Path | None = None,
    network: nn.Module | None = None,
    dcls: DclsLayers | None = None,
    prefix: str | None = None,
) -> tuple[list[PositionCloud], Callable[[], Any] | None]:
    """The clouds of a checkpoint's irregular layers, if it has any, and what reads its training's snapshots, or None.

    Args:
        snapshots: their folder, read at once; None = the one beside the checkpoint, read when it is wanted.
        network: what the checkpoint was built into; None reads its layers from the file.
        dcls, prefix: as of `read_display`.

    Raises:
        CheckpointError: the checkpoint cannot be read, or the folder named holds no snapshots.
    """
    from icnn_core.checkpoint import read_checkpoint

    if holds_positions_alone(checkpoint):
        whole = read_snapshots(checkpoint) if checkpoint.is_dir() else None
        clouds = whole[1][-1] if whole is not None else read_clouds(checkpoint)
        return clouds, None if whole is None else lambda: whole
    if dcls is not None:
        clouds = dcls.read(checkpoint, prefix)
    elif network is not None:
        clouds = clouds_from_model(network)
    else:
        clouds = read_clouds(checkpoint) if read_checkpoint(checkpoint).irregular else []
    if snapshots is not None:
        run = read_snapshots(snapshots)
        return clouds, lambda: run
    beside = checkpoint.parent / "snapshots"
    return clouds, (lambda: read_snapshots(beside)) if beside.is_dir() else None


def find_run(checkpoint: Path, clouds: Sequence[PositionCloud]) -> tuple[KernelDisplay | None, str]:
    """The snapshots beside a checkpoint, if they are of its layers; or what is wrong with them, in words."""
    folder = checkpoint.parent / "snapshots"
    if not folder.is_dir():
        return None, ""
    try:
        steps, snapshots = read_snapshots(folder)
    except IcnnError as error:
        why = str(error).replace(f"{folder}/", "")
        return None, f"The snapshots beside the checkpoint cannot be used: {why}"
    shapes = {cloud.layer: cloud.positions.shape for cloud in clouds}
    chosen = [
        [cloud for cloud in one if shapes.get(cloud.layer) == cloud.positions.shape] for one in snapshots
    ]
    if len(chosen[0]) != len(clouds):
        return None, "The snapshots beside the checkpoint are of another network and were left out."
    return KernelDisplay(chosen[-1], steps=steps, snapshots=chosen), ""
