"""Layers of DCLS (dilated convolution with learnable spacings, Khalfaoui-Hassani et al. 2023) -> PositionCloud."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from icnn_core.arrays import to_array
from icnn_core.errors import ArgumentError, CheckpointError, check_name
from icnn_viz.positions.arrays import to_finite
from icnn_viz.positions.checkpoints import dcls_names, to_weight_norms
from icnn_viz.records import PositionCloud

if TYPE_CHECKING:
    from torch import Tensor

    from icnn_core.checkpoint import Checkpoint

_log = logging.getLogger(__name__)
VERSIONS = {"v0": "yx", "v1": "xy", "max": "xy", "gauss": "xy"}
"""The order of the axes in `P`, which the files do not say."""
_MISREAD = 0.1  # px between where a point lies and where it is read, above which it is told
_NOTHING = 1e-9  # a sum of shares along an axis below which a layer, dividing by it and 1e-7, reads nothing


def read_dcls(
    source: str | Path | Checkpoint,
    version: str,
    kernel_size: int | tuple[int, int],
    prefix: str | None = None,
) -> list[PositionCloud]:
    """The clouds of a state dict with `Dcls2d` layers: those with a weight (C_out, C_in/groups, K) and a P (2, …); of
    `Dcls2dK1d` layers, with a P (1, …), where an axis of kernel_size is 1.

    Where all kernels have the same positions, or all channels too, they are taken as shared. DCLS has no regular
    positions: a slot is the mean of an element's positions over the layer, so that displacements are deviations from
    it. Points beyond the box, which layers read at its edge or not at all, stay where they are, and are counted in a
    logged warning.

    Args:
        source: a file, or what was read of it.
        version: "v0", "v1", "max" or "gauss", as the layers were made with; it decides the order of the axes.
        kernel_size: `dilated_kernel_size` of the layers, (y, x) or one number.
        prefix: of names in the file, see `read_checkpoint`.

    Raises:
        NameNotFoundError: another version. ArgumentError: a size that cannot be. CheckpointError: the file cannot be
            read or holds no such layer.
    """
    from icnn_core.checkpoint import Checkpoint, read_checkpoint

    size = (kernel_size, kernel_size) if isinstance(kernel_size, int) else tuple(kernel_size)
    if len(size) != 2 or min(size) < 1:
        raise ArgumentError(
            "read_dcls", needed="a size (y, x) of at least 1", got=repr(kernel_size), fix="Give both."
        )
    _check_version(version)
    read = source if isinstance(source, Checkpoint) else read_checkpoint(source, prefix, arrays=True)
    state = read.state
    axes = 1 if 1 in size else 2
    starts = {name: f"{name}." if name else "" for name in dcls_names(state)}
    chosen = [(name, start) for name, start in starts.items() if len(state[f"{start}P"]) == axes]
    clouds = [
        dcls_to_cloud(
            *(name or "layer", depth, version, (size[0], size[1])),
            *(state[f"{start}weight"], state[f"{start}P"], state.get(f"{start}SIG")),
        )
        for depth, (name, start) in enumerate(chosen)
    ]
    if not clouds:
        needed = "a layer with a weight (C_out, C_in/groups, K) and a P (2, C_out, C_in/groups, K)"
        fix = "Give a state dict that holds Dcls2d layers, or leave out --dcls."
        raise CheckpointError(str(read.path), needed=needed, got="none", fix=fix)
    return clouds


def dcls_to_cloud(
    name: str,
    depth: int,
    version: str,
    size: tuple[int, int],
    weight: Tensor,
    places: Tensor,
    widths: Tensor | None = None,
) -> PositionCloud:
    """The cloud of one layer, by its tensors.

    Args:
        widths: `SIG` of the versions max and gauss; None = its smallest.
        size: the box (y, x); an axis of 1 has no positions in `places`, (1, …), of a `Dcls2dK1d`.

    Raises:
        NameNotFoundError: a version that is not known.
    """
    _check_version(version)
    positions = to_finite(_from_middle(to_array(places), version, size))
    _warn_of_misread(
        name, version, size, positions, None if widths is None else _by_axis(to_array(widths), version, size)
    )
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
        weights=to_weight_norms(to_array(weight), 1, sharing),
        regular=False,
    )


def _warn_of_misread(
    name: str, version: str, size: tuple[int, int], positions: np.ndarray, widths: np.ndarray | None
) -> None:
    """A layer has no pixels beyond its box: what lies there is read at the edge, or nowhere."""
    middle = (np.array(size) - 1) / 2
    index = positions + middle
    read = np.stack([_read_at(index[..., axis], size[axis], version, widths, axis) for axis in (0, 1)], -1)
    apart = np.abs(read - index).max(-1)
    lost, moved = int(np.isinf(apart).sum()), int((np.isfinite(apart) & (apart > _MISREAD)).sum())
    if lost or moved:
        _log.warning(
            "%s: of %s points %s lie beyond the layer's box of %d × %d, where it reads nothing, and %s so near to its "
            "edge, or beyond it, that they are read elsewhere%s",
            *(name, f"{apart.size:,}", f"{lost:,}", *size, f"{moved:,}"),
            f", by up to {apart[np.isfinite(apart)].max():.2g} px" if moved else "",
        )


def _read_at(index: np.ndarray, size: int, version: str, widths: np.ndarray | None, axis: int) -> np.ndarray:
    """Where a layer reads a point at `index` of its box along an axis; infinite where it reads nothing."""
    distance = np.abs(np.arange(size) - index[..., None])
    width = 0.0 if widths is None else np.abs(widths[..., axis])[..., None]
    if version == "gauss":
        share = np.exp(-((distance / (width + 0.27)) ** 2) / 2)
    else:
        share = np.maximum((1 + width if version == "max" else 1) - distance, 0)
    total = share.sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        read = (share * np.arange(size)).sum(-1) / total
    return np.where(total > _NOTHING, read, np.where(np.isnan(index), np.nan, np.inf))


def _check_version(version: str) -> None:
    check_name("read_dcls", "a version of DCLS", version, VERSIONS)


def _from_middle(places: np.ndarray, version: str, size: tuple[int, int]) -> np.ndarray:
    """P (2, C_out, C_in/groups, K) or (1, …) as (C_out, C_in/groups, K, 2), (y, x) from the middle of the box.

    An element lies at index P + size // 2 of the box. v1, max and gauss hold x before y and yet add the halves in the
    order (y, x): the half of the other axis.
    """
    axes = [0 if size[1] == 1 else 1] if len(places) == 1 else [0, 1]
    halves = (np.array(size) // 2)[axes].reshape(-1, *[1] * (places.ndim - 1))
    return _by_axis(places + halves, version, size) - (np.array(size) - 1) / 2


def _by_axis(values: np.ndarray, version: str, size: tuple[int, int]) -> np.ndarray:
    """What a layer holds of its points along both axes, or one, (2 or 1, …), as (…, 2), (y, x); 0 along the other."""
    if len(values) == 1:
        found = np.zeros((*values.shape[1:], 2))
        found[..., 0 if size[1] == 1 else 1] = values[0]
        return found
    return np.moveaxis(values, 0, -1)[..., :: -1 if VERSIONS[version] == "xy" else 1]
