"""Plain arrays -> PositionCloud: positions of any origin, from memory or from files."""

from __future__ import annotations

import logging
import math
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from icnn_core.errors import ArgumentError, DataError, ShapeError
from icnn_core.files import need_regular_file
from icnn_viz.records import PositionCloud

_LOG = logging.getLogger(__name__)
FARTHEST = 2.0**24
"""Positions farther than this (px) from the kernel's centre count as not finite: float32 has no fractions there."""
_FAR_CLOSER = 0.5  # of the way to the slots: another assignment that saves as much is told
_NEEDED = "positions in a .npz or .csv file, or .parquet"
_MOST_BYTES = 1 << 28  # that the arrays of a file may hold unpacked, whatever its own size


def to_cloud(
    positions: np.ndarray,
    *,
    kernel_size: tuple[int, int] | None = None,
    dilation: tuple[int, int] | None = None,
    slots: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    order: Sequence[int] | str | None = None,
    layer: str = "layer",
    depth: int = 0,
    regular: bool = True,
) -> PositionCloud:
    """A cloud of arrays.

    Where another assignment of taps to slots would be far closer, a warning says so.

    Args:
        positions: (K, 2), one shape for all; (channels, K, 2); or (kernels, channels, K, 2): (y, x) from the kernel's
            centre in input pixels, taps row-major.
        kernel_size: (kH, kW) with kH·kW = K; by default by the slots, or square, if K is a square number.
        dilation: (y, x), the distance of neighbouring slots; by default by the slots, or 1.
        slots: (K, 2), where the weights lie in the regular kernel; by default by kernel_size and dilation.
        weights: (K,), (channels, K) or (kernels, channels, K), as positions; by default all 1.
        order: which tap (of positions and weights) belongs to each slot, where taps come in another order: K numbers
            from 0; or "nearest", the assignment that moves points least.
        regular: see `PositionCloud`.

    Raises:
        ShapeError: the arrays do not fit together, or hold no real numbers.
        ArgumentError: the kernel is not square, and neither its size nor its slots are given; a size, dilation or
            order that cannot be.
    """
    points = _to_floats(layer, "positions", positions)
    if points.ndim not in (2, 3, 4) or points.shape[-1] != 2 or 0 in points.shape:
        raise _refuse(layer, "positions (K, 2), (channels, K, 2) or (kernels, channels, K, 2)", points.shape)
    given = np.ones(points.shape[:-1]) if weights is None else _to_floats(layer, "weights", weights)
    if given.shape != points.shape[:-1]:
        raise _refuse(layer, f"a weight for each position, {points.shape[:-1]}", given.shape)
    sharing = ("layer", "channel", "none")[points.ndim - 2]
    points = to_finite(points.reshape((1,) * (4 - points.ndim) + points.shape))
    given = given.reshape(points.shape[:3])
    taps = points.shape[2]
    places, size, step = _lay_slots(
        layer,
        taps,
        slots,
        _check_pair(layer, "kernel_size", kernel_size),
        _check_pair(layer, "dilation", dilation),
    )
    if size[0] * size[1] != taps and regular:
        raise _refuse(layer, f"{size[0]}·{size[1]} positions a shape", points.shape)
    chosen = _find_order(layer, points, places, order, regular)
    return PositionCloud(
        layer=layer,
        depth=depth,
        kernel_size=size,
        dilation=step,
        sharing=sharing,
        slots=places,
        positions=points[:, :, chosen],
        weights=given[:, :, chosen],
        regular=regular,
    )


def read_arrays(
    path: str | Path, *, order: Sequence[int] | str | None = None, unnamed: str | None = None
) -> list[PositionCloud]:
    """Clouds of a .npz file (one layer; arrays named as the arguments of `to_cloud`) or of a table (.csv, .parquet)
    like the one that `icnn-viz kernels` writes: layer, kernel, channel, slot, slot_y, slot_x, y, x, weight_norm,
    weight, kernel_size, dilation, regular; only slot, slot_y, slot_x, y and x must be there.

    Args:
        order: see `to_cloud`; an .npz file may hold it, too.
        unnamed: the layer's name where an .npz file says none; by default the file's.

    Raises:
        DataError: the file is missing, broken, or lacks an array or column. ShapeError, ArgumentError: its arrays do
            not fit together.
    """
    path = Path(path)
    need_regular_file(path, str(path), DataError)
    try:
        if path.suffix.lower() in (".csv", ".parquet"):
            from icnn_viz.positions.tables import read_table

            return read_table(path, order)
        arrays = _read_npz(path)
    except (DataError, ShapeError, ArgumentError):
        raise
    except (
        OSError, ValueError, TypeError, EOFError, KeyError, MemoryError, NotImplementedError, RuntimeError, ImportError,
        zipfile.BadZipFile, zlib.error,
    ) as error:  # fmt: skip
        got = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(str(path), needed=_NEEDED, got=got, fix="Write it again.") from error
    if "positions" not in arrays:
        needed, got = "an array named positions", ", ".join(list(arrays)[:8]) or "none"
        raise DataError(str(path), needed=needed, got=got, fix="Rename it in numpy.savez.")
    options: dict[str, Any] = {name: arrays[name] for name in ("slots", "weights") if name in arrays}
    options |= {
        name: arrays[name].tolist() for name in ("kernel_size", "dilation", "order") if name in arrays
    }
    options |= {"regular": bool(arrays["regular"].all())} if "regular" in arrays else {}
    options |= {} if order is None else {"order": order}
    layer = str(arrays["layer"]) if "layer" in arrays else unnamed or path.stem
    return [to_cloud(arrays["positions"], layer=layer, **options)]


def to_finite(points: np.ndarray) -> np.ndarray:
    """Positions as they are, but NaN where a finite one is farther than FARTHEST."""
    return np.where(np.isfinite(points) & (np.abs(points) > FARTHEST), np.nan, points)


def grid_of(slots: np.ndarray) -> tuple[tuple[int, int], tuple[int, int]]:
    """Kernel size and dilation of slots; those of a row, if they are no grid."""
    rows, columns = (np.unique(slots[:, axis].round(6)) for axis in (0, 1))
    dy, dx = (round(float(np.diff(v).mean())) if len(v) > 1 else 1 for v in (rows, columns))
    size = (len(rows), len(columns)) if len(rows) * len(columns) == len(slots) else (1, len(slots))
    return size, (max(dy, 1), max(dx, 1))


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > max(_MOST_BYTES, 16 * path.stat().st_size):
        raise ValueError(f"arrays of {unpacked:,} bytes in a file of {path.stat().st_size:,}")
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    if lost := [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]:
        raise ValueError(f"no arrays: {', '.join(lost[:8])}")
    return arrays


def _to_floats(layer: str, name: str, values: np.ndarray) -> np.ndarray:
    """A float64 copy of real numbers."""
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        raise ShapeError(
            f"to_cloud of {layer}", needed=f"{name} of real numbers", got=str(array.dtype), fix="Convert them first."
        )  # fmt: skip
    return array.astype(np.float64)


def _lay_slots(
    layer: str,
    taps: int,
    slots: np.ndarray | None,
    size: tuple[int, int] | None,
    step: tuple[int, int] | None,
) -> tuple[np.ndarray, tuple[int, int], tuple[int, int]]:
    """The slots with their kernel size and dilation, from what is given of the three."""
    if slots is None:
        size, step = size or _square(layer, taps), step or (1, 1)
        if size[0] * size[1] != taps:
            raise _refuse(layer, f"{size[0]}·{size[1]} positions a shape", (taps, 2))
        return (np.indices(size).reshape(2, -1).T - (np.array(size) - 1) / 2) * step, size, step
    places = _to_floats(layer, "slots", slots)
    if places.shape != (taps, 2) or not np.isfinite(places).all():
        raise _refuse(layer, f"finite slots ({taps}, 2)", places.shape)
    by_slots = grid_of(places)
    return places, size or by_slots[0], step or by_slots[1]


def _check_pair(layer: str, name: str, pair: Any) -> tuple[int, int] | None:
    if pair is None:
        return None
    numbers = np.asarray(pair)
    if numbers.shape != (2,) or numbers.dtype.kind not in "iu" or numbers.min() < 1:
        raise ArgumentError(
            f"to_cloud of {layer}", needed=f"{name} (y, x) of whole numbers from 1", got=repr(pair), fix="Give both."
        )  # fmt: skip
    return int(numbers[0]), int(numbers[1])


def _find_order(
    layer: str, points: np.ndarray, slots: np.ndarray, order: Sequence[int] | str | None, regular: bool
) -> np.ndarray:
    """The tap of each slot: as it comes, as the user says, or the nearest."""
    taps = len(slots)
    if order is not None and not (isinstance(order, str) and order == "nearest"):
        given = np.asarray(order)
        if given.dtype.kind not in "iu" or not np.array_equal(np.sort(given.ravel()), np.arange(taps)):
            raise ArgumentError(
                f"to_cloud of {layer}", needed=f'order "nearest", or each number from 0 to {taps - 1} once',
                got=repr(order), fix="Say for each slot which tap belongs to it.",
            )  # fmt: skip
        return given.ravel()
    as_given = np.arange(taps)
    distance = _mean_distance(points, slots)
    apart = np.linalg.norm(slots[:, None] - slots, axis=-1)[~np.eye(taps, dtype=bool)] if taps > 1 else np.inf
    if order is None and (not regular or distance <= _FAR_CLOSER * np.min(apart)):
        return as_given
    best = _nearest_taps(points, slots)
    if order is not None:
        return best
    closest = _mean_distance(points[:, :, best], slots)
    if closest < _FAR_CLOSER * distance:
        _LOG.warning(
            "%s: points lie %.2f px from their slots on average, and would lie %.2f px from them in another order of "
            "the taps: %s. If rows first is not their order, give order='nearest' (in Python, or as an array of the "
            ".npz file), or the slots.",
            layer,
            distance,
            closest,
            ", ".join(map(str, best[:25])) + (", …" if taps > 25 else ""),
        )
    return as_given


def _nearest_taps(points: np.ndarray, slots: np.ndarray) -> np.ndarray:
    """For each slot the tap whose centre belongs to it, so that the centres move least altogether."""
    from scipy.optimize import linear_sum_assignment

    shapes = points.reshape(-1, *points.shape[2:])
    finite = np.isfinite(shapes).all(-1, keepdims=True)
    centres = np.where(finite, shapes, 0.0).sum(0) / np.maximum(finite.sum(0), 1)
    return linear_sum_assignment(np.linalg.norm(slots[:, None] - centres, axis=-1))[1]


def _mean_distance(points: np.ndarray, slots: np.ndarray) -> float:
    lengths = np.linalg.norm(points - slots, axis=-1)
    finite = lengths[np.isfinite(lengths)]
    return float(finite.mean()) if finite.size else 0.0


def _square(layer: str, taps: int) -> tuple[int, int]:
    side = math.isqrt(taps)
    if side * side != taps:
        raise ArgumentError(
            f"to_cloud of {layer}", needed="the kernel's size", got=f"{taps} positions a shape, which is no square",
            fix="Give kernel_size=(kH, kW).",
        )  # fmt: skip
    return side, side


def _refuse(layer: str, needed: str, shape: tuple[int, ...]) -> ShapeError:
    return ShapeError(f"to_cloud of {layer}", needed=needed, got=f"shape {shape}", fix="Reshape it first.")
