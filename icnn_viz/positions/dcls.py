"""Layers of DCLS (dilated convolution with learnable spacings, Khalfaoui-Hassani et al. 2023) -> PositionCloud."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from icnn_core.errors import ArgumentError, CheckpointError, NameNotFoundError, nearest_names
from icnn_viz.positions.arrays import to_finite
from icnn_viz.positions.checkpoints import dcls_names, to_numpy, to_weight_norms
from icnn_viz.records import PositionCloud

if TYPE_CHECKING:
    from torch import Tensor

VERSIONS = {"v0": "yx", "v1": "xy", "max": "xy", "gauss": "xy"}
"""The order of the axes in `P`, which the files do not say."""


def read_dcls(path: str | Path, version: str, kernel_size: int | tuple[int, int]) -> list[PositionCloud]:
    """The clouds of a state dict with `Dcls2d` layers: those with a weight (C_out, C_in/groups, K) and a P (2, …); of
    `Dcls2dK1d` layers, with a P (1, …), where an axis of kernel_size is 1.

    Where all kernels have the same positions, or all channels too, they are taken as shared. DCLS has no regular
    positions: a slot is the mean of an element's positions over the layer, so that displacements are deviations from
    it.

    Args:
        version: "v0", "v1", "max" or "gauss", as the layers were made with; it decides the order of the axes.
        kernel_size: `dilated_kernel_size` of the layers, (y, x) or one number.

    Raises:
        NameNotFoundError: another version. ArgumentError: a size that cannot be. CheckpointError: the file cannot be
            read or holds no such layer.
    """
    from icnn_core.checkpoint import read_checkpoint

    size = (kernel_size, kernel_size) if isinstance(kernel_size, int) else tuple(kernel_size)
    if len(size) != 2 or min(size) < 1:
        raise ArgumentError(
            "read_dcls", needed="a size (y, x) of at least 1", got=repr(kernel_size), fix="Give both."
        )
    _check_version(version)
    state = read_checkpoint(path).state
    axes = 1 if 1 in size else 2
    tensors = {n: [state[f"{n}.{key}" if n else key] for key in ("weight", "P")] for n in dcls_names(state)}
    chosen = [(name, pair) for name, pair in tensors.items() if len(pair[1]) == axes]
    clouds = [
        dcls_to_cloud(name or "layer", depth, version, (size[0], size[1]), weight, places)
        for depth, (name, (weight, places)) in enumerate(chosen)
    ]
    if not clouds:
        raise CheckpointError(
            str(path),
            needed="a layer with a weight (C_out, C_in/groups, K) and a P (2, C_out, C_in/groups, K)",
            got="none",
            fix="Give a state dict that holds Dcls2d layers, or leave out --dcls.",
        )
    return clouds


def dcls_to_cloud(
    name: str,
    depth: int,
    version: str,
    size: tuple[int, int],
    weight: Tensor,
    places: Tensor,
) -> PositionCloud:
    """The cloud of one layer, by its tensors.

    Args:
        size: the box (y, x); an axis of 1 has no positions in `places`, (1, …), of a `Dcls2dK1d`.

    Raises:
        NameNotFoundError: a version that is not known.
    """
    _check_version(version)
    positions = to_finite(_from_middle(to_numpy(places), version, size))
    sharing = "none"
    if np.array_equal(positions, np.broadcast_to(positions[:1], positions.shape), equal_nan=True):
        positions, sharing = positions[:1], "channel"
        if np.array_equal(positions, np.broadcast_to(positions[:, :1], positions.shape), equal_nan=True):
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
        regular=False,
    )


def _check_version(version: str) -> None:
    if version not in VERSIONS:
        raise NameNotFoundError(
            "read_dcls", needed="a version of DCLS", got=repr(version), fix=nearest_names(version, VERSIONS)
        )


def _from_middle(places: np.ndarray, version: str, size: tuple[int, int]) -> np.ndarray:
    """P (2, C_out, C_in/groups, K) or (1, …) as (C_out, C_in/groups, K, 2), (y, x) from the middle of the box.

    An element lies at index P + size // 2 of the box. v1, max and gauss hold x before y and yet add the halves in the
    order (y, x): the half of the other axis.
    """
    halves = np.array(size) // 2
    if len(places) == 1:
        axis = 0 if size[1] == 1 else 1
        index = np.zeros((*places.shape[1:], 2))
        index[..., axis] = places[0] + halves[axis]
    else:
        index = np.moveaxis(places, 0, -1) + halves
        index = index[..., ::-1] if VERSIONS[version] == "xy" else index
    return index - (np.array(size) - 1) / 2
