"""Layers of DCLS (dilated convolution with learnable spacings, Khalfaoui-Hassani et al. 2023) -> PositionCloud."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from icnn_core.errors import CheckpointError, NameNotFoundError, nearest_names
from icnn_viz.positions.checkpoints import to_numpy, to_weight_norms
from icnn_viz.records import PositionCloud

if TYPE_CHECKING:
    from torch import Tensor

VERSIONS = {"v0": "yx", "v1": "xy", "max": "xy", "gauss": "xy"}
"""The order of the axes in `P`, which the files do not say."""


def read_dcls(path: str | Path, version: str, kernel_size: int | tuple[int, int]) -> list[PositionCloud]:
    """The clouds of a state dict with `Dcls2d` layers: those with a weight (C_out, C_in/groups, K) and a P (2, …).

    P is in pixels from the index kernel_size // 2 of the box. Where all kernels have the same positions, or all
    channels too, they are taken as shared. DCLS has no regular positions: a slot is the mean of an element's
    positions over the layer, so that displacements are deviations from it.

    Args:
        version: "v0", "v1", "max" or "gauss", as the layers were made with; it decides the order of the axes.
        kernel_size: `dilated_kernel_size` of the layers, (y, x) or one number.

    Raises:
        NameNotFoundError: another version. CheckpointError: the file cannot be read or holds no such layer.
    """
    from icnn_core.checkpoint import read_checkpoint

    if version not in VERSIONS:
        raise NameNotFoundError(
            "read_dcls", needed="a version of DCLS", got=repr(version), fix=nearest_names(version, VERSIONS)
        )
    state = read_checkpoint(path).state
    size = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
    clouds: list[PositionCloud] = []
    for key, tensor in state.items():
        name, _, last = key.rpartition(".")
        weight = state.get(f"{name}.weight" if name else "weight")
        if last == "P" and weight is not None and weight.ndim == 3 and tensor.shape == (2, *weight.shape):
            clouds.append(_to_cloud(name or "layer", len(clouds), version, size, weight, tensor))
    if not clouds:
        raise CheckpointError(
            str(path),
            needed="a layer with a weight (C_out, C_in/groups, K) and a P (2, C_out, C_in/groups, K)",
            got="none",
            fix="Give a state dict that holds Dcls2d layers, or leave out --dcls.",
        )
    return clouds


def _to_cloud(
    name: str, depth: int, version: str, size: tuple[int, int], weight: Tensor, places: Tensor
) -> PositionCloud:
    positions = np.moveaxis(to_numpy(places), 0, -1)  # (C_out, C_in/groups, K, 2)
    if VERSIONS[version] == "xy":
        positions = positions[..., ::-1]
    box = np.array(size)
    positions = positions + box // 2 - (box - 1) / 2  # from the box's middle, half a pixel off in even boxes
    sharing = "none"
    if (positions == positions[:1]).all():
        positions, sharing = positions[:1], "channel"
        if (positions == positions[:, :1]).all():
            positions, sharing = positions[:, :1], "layer"
    points = positions.reshape(-1, *positions.shape[2:])
    finite = np.isfinite(points)
    slots = np.where(finite, points, 0.0).sum(0) / np.maximum(finite.sum(0), 1)
    return PositionCloud(
        layer=name,
        depth=depth,
        kernel_size=size,
        dilation=(1, 1),
        sharing=sharing,
        slots=slots,
        positions=positions.copy(),
        weights=to_weight_norms(to_numpy(weight), 1, sharing),
    )
