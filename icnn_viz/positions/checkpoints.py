"""Checkpoints -> one PositionCloud per irregular layer."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from icnn_core.arrays import to_array
from icnn_core.errors import CheckpointError
from icnn_viz.positions.arrays import read_arrays, to_finite
from icnn_viz.records import PositionCloud

if TYPE_CHECKING:
    from torch import Tensor

    from icnn_core.checkpoint import Checkpoint

_LOG = logging.getLogger(__name__)
TABLES = (".npz", ".csv", ".parquet")


def read_clouds(source: str | Path | Checkpoint, prefix: str | None = None) -> list[PositionCloud]:
    """The clouds of a checkpoint's irregular layers, or of arrays in a file (see `read_arrays`).

    A prefix is of names in a plain state dict, see `read_checkpoint`. Positions that are not finite, and an order of
    layers that the file does not say, are logged.

    Raises:
        CheckpointError: the file cannot be read, or holds no irregular layer. IcnnError: see `read_arrays`.
    """
    return read_ordered(source, prefix)[0]


def read_ordered(
    source: str | Path | Checkpoint, prefix: str | None = None
) -> tuple[list[PositionCloud], bool]:
    """As `read_clouds`; and whether the file says in which order the network's layers come."""
    if isinstance(source, str | Path) and Path(source).suffix.lower() in TABLES:
        return read_arrays(source), True
    from icnn_core.checkpoint import Checkpoint, read_checkpoint

    checkpoint = source if isinstance(source, Checkpoint) else read_checkpoint(source, prefix, arrays=True)
    if not checkpoint.ordered and len(checkpoint.irregular) > 1:
        _LOG.warning(
            "%s does not say in which order its layers come: they are taken in the order of the numbers in their "
            "names, and so is depth. A checkpoint of this package, or of torch.save, holds the network's order.",
            checkpoint.path,
        )
    if twins := _same_networks(checkpoint.state):
        _LOG.warning(
            "%s holds the same network under %s: the layers of all are shown. --prefix %s reads one.",
            *(checkpoint.path, ", ".join(twins), twins[0]),
        )
    return to_clouds(checkpoint), checkpoint.ordered


def _same_networks(state: Mapping[str, Tensor]) -> list[str]:
    """Prefixes under which a file holds the same names and sizes, and nothing else: a student and its teacher."""
    found: dict[str, set[tuple[str, tuple[int, ...]]]] = {}
    for key, tensor in state.items():
        first, dot, rest = key.partition(".")
        found.setdefault(first + dot, set()).add((rest, tuple(tensor.shape)))
    first, *others = found.values() or [set()]
    same = others and all(other == first for other in others) and any("." in name for name, _ in first)
    return list(found) if same and not any(name[:-1].isdecimal() for name in found) else []


def to_clouds(checkpoint: Checkpoint) -> list[PositionCloud]:
    """The clouds of a checkpoint that was read."""
    if not checkpoint.irregular:
        raise _refuse_regular(checkpoint)
    clouds = []
    for depth, layer in enumerate(checkpoint.irregular):
        given = {key: checkpoint.tensor(f"{layer.name}.{key}") for key in ("weight", "positions", "slots")}
        entry: dict[str, Any] = given
        cloud = layer_to_cloud(layer.name, depth, layer.dilation, layer.groups, layer.sharing, **entry)
        _warn_if_not_finite(cloud)
        clouds.append(cloud)
    return clouds


def _refuse_regular(checkpoint: Checkpoint) -> CheckpointError:
    """What the file holds instead, and what to give."""
    from icnn_core.checkpoint.contents import check_whole
    from icnn_core.weights.names import describe_names

    if dcls := dcls_names(checkpoint.state):
        needed = "what a file does not say of DCLS's layers: their version, and their dilated_kernel_size"
        got = f"{len(dcls)} of them, {', '.join(dcls[:3])}{', …' if len(dcls) > 3 else ''}"
        fix = "Give --dcls v1 --kernel-size 7, with theirs; in Python use read_dcls."
        return CheckpointError(str(checkpoint.path), needed=needed, got=got, fix=fix)
    check_whole(checkpoint)
    got = f"a network with regular convolutions only: {describe_names(checkpoint.state)}"
    fix = "Give the irregular network of the pair, or train one with `icnn train`."
    return CheckpointError(str(checkpoint.path), needed="at least one irregular layer", got=got, fix=fix)


def dcls_names(state: Mapping[str, Tensor]) -> list[str]:
    """Layers of DCLS in a state dict: those with a weight (C_out, C_in/groups, K) and a P (1 or 2, …)."""
    names = [key.rpartition(".")[0] for key in state if key.rpartition(".")[2] == "P"]
    weights = {name: state.get(f"{name}.weight" if name else "weight") for name in names}
    places = {name: state[f"{name}.P" if name else "P"] for name in names}
    return [
        name
        for name, weight in weights.items()
        if weight is not None
        and weight.ndim == 3
        and places[name].shape in ((1, *weight.shape), (2, *weight.shape))
    ]


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
    shapes = to_finite(to_array(positions))
    return PositionCloud(
        layer=name,
        depth=depth,
        kernel_size=(weight.shape[-2], weight.shape[-1]),
        dilation=dilation,
        sharing=sharing,
        slots=to_array(slots),
        positions=shapes if shapes.ndim == 4 else shapes[None],
        weights=to_weight_norms(to_array(weight), groups, sharing),
    )


def _warn_if_not_finite(cloud: PositionCloud) -> None:
    bad = int((~np.isfinite(cloud.points).all(-1)).sum())
    if bad:
        _LOG.warning(
            "%s: %d of %d positions are not finite: the training that made them diverged",
            cloud.layer,
            bad,
            cloud.points[..., 0].size,
        )
