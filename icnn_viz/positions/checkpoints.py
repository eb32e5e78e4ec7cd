"""Checkpoints -> one PositionCloud per irregular layer; a folder of snapshots -> one list of them each."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from icnn_core.errors import CheckpointError
from icnn_viz.records import PositionCloud

if TYPE_CHECKING:
    from torch import Tensor

    from icnn_core.checkpoint import Checkpoint

_LOG = logging.getLogger(__name__)


def read_clouds(path: str | Path) -> list[PositionCloud]:
    """The clouds of a checkpoint's irregular layers. A layer with positions that are not finite is logged by name.

    Raises:
        CheckpointError: the file cannot be read, or holds no irregular layer.
    """
    from icnn_core.checkpoint import read_checkpoint

    return _to_clouds(read_checkpoint(path))


def read_snapshots(
    source: str | Path | Sequence[str | Path],
) -> tuple[list[int], list[list[PositionCloud]]]:
    """The iterations and the clouds of a run's snapshots, in order of iteration.

    Args:
        source: checkpoints, or a folder of them (.pt, .safetensors). A checkpoint's iteration is what it says itself,
            else the last number in its file name.

    Raises:
        CheckpointError: fewer than two checkpoints; one cannot be read; two of the same iteration; other layers.
    """
    from icnn_core.checkpoint import read_checkpoint

    paths = [source] if isinstance(source, str | Path) else list(source)
    if len(paths) == 1 and Path(paths[0]).is_dir():
        paths = sorted(p for p in Path(paths[0]).iterdir() if _is_snapshot(p))
    found: dict[int, list[PositionCloud]] = {}
    for path in paths:
        checkpoint = read_checkpoint(path)
        iteration = checkpoint.metrics.get("iteration")
        if iteration is None:
            numbers = re.findall(r"\d+", Path(path).stem)
            iteration = int(numbers[-1]) if numbers else len(found)
        if int(iteration) in found:
            raise _refuse(path, "snapshots of different iterations", f"two of iteration {iteration}")
        found[int(iteration)] = _to_clouds(checkpoint)
    if len(found) < 2:
        raise _refuse(str(source), "two or more snapshots", f"{len(found)}")
    if len({tuple((c.layer, c.positions.shape) for c in clouds) for clouds in found.values()}) > 1:
        raise _refuse(str(source), "snapshots of one network", "other layers or sizes")
    return sorted(found), [found[iteration] for iteration in sorted(found)]


def _is_snapshot(path: Path) -> bool:
    """Hidden files are of a writer that was stopped."""
    return path.suffix in (".pt", ".pth", ".safetensors") and not path.name.startswith(".")


def _to_clouds(checkpoint: Checkpoint) -> list[PositionCloud]:
    if not checkpoint.irregular:
        raise CheckpointError(
            str(checkpoint.path),
            needed="at least one irregular layer",
            got="a network with regular convolutions only",
            fix="Give the irregular network of the pair, or train one with `icnn train`.",
        )
    clouds = []
    for depth, layer in enumerate(checkpoint.irregular):
        entry = {key: checkpoint.state[f"{layer.name}.{key}"] for key in ("weight", "positions", "slots")}
        cloud = layer_to_cloud(layer.name, depth, layer.dilation, layer.groups, layer.sharing, **entry)
        _warn_if_not_finite(cloud)
        clouds.append(cloud)
    return clouds


def _refuse(path: str | Path, needed: str, got: str) -> CheckpointError:
    return CheckpointError(str(path), needed=needed, got=got, fix="Give the snapshots of one training run.")


def to_weight_norms(weight: np.ndarray, groups: int, sharing: str) -> np.ndarray:
    """The weights that go with each position, (kernels, channels, K): see `PositionCloud.weights`.

    Args:
        weight: (C_out, C_in/groups, kH, kW) or (C_out, C_in/groups, K).
    """
    kernels, channels = weight.shape[:2]
    flat = weight.reshape(kernels, channels, -1)
    if sharing == "none":
        return flat
    if sharing == "layer":
        return np.linalg.norm(flat, axis=(0, 1))[None, None]
    grouped = flat.reshape(groups, kernels // groups, channels, -1)
    return np.linalg.norm(grouped, axis=1).reshape(1, groups * channels, -1)


def layer_to_cloud(
    name: str,
    depth: int,
    dilation: tuple[int, int],
    groups: int,
    sharing: str,
    weight: Tensor,
    positions: Tensor,
    slots: Tensor,
) -> PositionCloud:
    """The cloud of one `IrregularConv2d`, by its tensors."""
    shapes = to_numpy(positions)
    return PositionCloud(
        layer=name,
        depth=depth,
        kernel_size=(weight.shape[-2], weight.shape[-1]),
        dilation=dilation,
        sharing=sharing,
        slots=to_numpy(slots),
        positions=shapes if shapes.ndim == 4 else shapes[None],
        weights=to_weight_norms(to_numpy(weight), groups, sharing),
    )


def to_numpy(tensor: Tensor) -> np.ndarray:
    """A float64 copy on the CPU."""
    return tensor.detach().double().cpu().numpy().copy()


def _warn_if_not_finite(cloud: PositionCloud) -> None:
    bad = int((~np.isfinite(cloud.points).all(-1)).sum())
    if bad:
        _LOG.warning(
            "%s: %d of %d positions are not finite: the training that made them diverged",
            cloud.layer,
            bad,
            cloud.points[..., 0].size,
        )
