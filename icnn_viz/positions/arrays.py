"""Plain arrays -> PositionCloud: positions of any origin, from memory, .npz or .csv."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from icnn_core.errors import ArgumentError, DataError, ShapeError
from icnn_core.files import nearest_files
from icnn_viz.records import PositionCloud

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ("slot", "slot_y", "slot_x", "y", "x")


def to_cloud(
    positions: np.ndarray,
    *,
    kernel_size: tuple[int, int] | None = None,
    dilation: tuple[int, int] = (1, 1),
    slots: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    layer: str = "layer",
    depth: int = 0,
) -> PositionCloud:
    """A cloud of arrays.

    Args:
        positions: (K, 2), one shape for all; (channels, K, 2); or (kernels, channels, K, 2): (y, x) from the kernel's
            centre in input pixels, taps row-major.
        kernel_size: (kH, kW) with kH·kW = K; by default square, if K is a square number.
        dilation: (y, x), the distance of neighbouring slots.
        slots: (K, 2), where the weights lie in the regular kernel; by default by kernel_size and dilation.
        weights: (K,), (channels, K) or (kernels, channels, K), as positions; by default all 1.

    Raises:
        ShapeError: the arrays do not fit together.
        ArgumentError: the kernel is not square, and neither its size nor its slots are given.
    """
    points = np.array(positions, dtype=np.float64)
    if points.ndim not in (2, 3, 4) or points.shape[-1] != 2 or 0 in points.shape:
        raise _refuse(layer, "positions (K, 2), (channels, K, 2) or (kernels, channels, K, 2)", points.shape)
    sharing = ("layer", "channel", "none")[points.ndim - 2]
    points = points.reshape((1,) * (4 - points.ndim) + points.shape)
    taps = points.shape[2]
    size = kernel_size or _square(layer, taps)
    if slots is None:
        if size[0] * size[1] != taps:
            raise _refuse(layer, f"{size[0]}·{size[1]} positions a shape", points.shape)
        places = np.indices(size).reshape(2, -1).T - (np.array(size) - 1) / 2
        slots = places * np.array(dilation, dtype=np.float64)
    elif np.shape(slots) != (taps, 2):
        raise _refuse(layer, f"slots ({taps}, 2)", np.shape(slots))
    given = np.ones(points.shape[:3]) if weights is None else np.array(weights, dtype=np.float64)
    if given.size != points[..., 0].size:
        raise _refuse(layer, f"a weight for each of {points.shape[:3]} positions", given.shape)
    return PositionCloud(
        layer=layer,
        depth=depth,
        kernel_size=size,
        dilation=dilation,
        sharing=sharing,
        slots=np.array(slots, dtype=np.float64),
        positions=points,
        weights=given.reshape(points.shape[:3]),
    )


def read_arrays(path: str | Path) -> list[PositionCloud]:
    """Clouds of a .npz file (one layer; arrays named as the arguments of `to_cloud`) or of a .csv table like the one
    that `icnn-viz kernels` writes: layer, kernel, channel, slot, slot_y, slot_x, y, x, weight_norm; of these layer,
    kernel, channel and weight_norm may be left out.

    Raises:
        DataError: the file is missing, broken, or lacks an array or column. ShapeError: its arrays do not fit together.
    """
    path = Path(path)
    try:
        if path.suffix == ".csv":
            import pandas as pd

            return _from_table(path, pd.read_csv(path, dtype={"layer": str, "kernel": str, "channel": str}))
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        if isinstance(error, (DataError, ShapeError)):
            raise
        fix = nearest_files(path) if isinstance(error, FileNotFoundError) else "Write it again."
        raise DataError(
            str(path), needed="a .npz or .csv file of positions", got=str(error), fix=fix
        ) from error
    if "positions" not in arrays:
        raise DataError(
            str(path),
            needed="an array named positions",
            got=", ".join(arrays) or "none",
            fix="Rename it in numpy.savez.",
        )
    options = {
        name: tuple(int(n) for n in arrays[name]) for name in ("kernel_size", "dilation") if name in arrays
    }
    extra = {name: arrays[name] for name in ("slots", "weights") if name in arrays}
    layer = str(arrays["layer"]) if "layer" in arrays else path.stem
    return [to_cloud(arrays["positions"], layer=layer, **options, **extra)]  # type: ignore[arg-type]


def _from_table(path: Path, table: pd.DataFrame) -> list[PositionCloud]:
    missing = [name for name in _COLUMNS if name not in table.columns]
    if missing or table.empty:
        raise DataError(
            str(path), needed=f"rows, and the columns {', '.join(_COLUMNS)}",
            got=f"no {', '.join(missing)}" if missing else "no rows", fix="Write it as `icnn-viz kernels` does.",
        )  # fmt: skip
    table = table.assign(
        **{name: "all" for name in ("layer", "kernel", "channel") if name not in table.columns}
    )
    groups = table.groupby("layer", sort=False)
    return [_from_rows(path, str(layer), depth, rows) for depth, (layer, rows) in enumerate(groups)]


def _from_rows(path: Path, layer: str, depth: int, rows: pd.DataFrame) -> PositionCloud:
    """One layer's rows, in any order."""
    shape, codes = [], []
    for name in ("kernel", "channel", "slot"):
        values = rows[name].to_numpy()
        names, code = np.unique(
            values if name == "slot" else [_as_number(v) for v in values], return_inverse=True
        )
        shape.append(len(names))
        codes.append(code)
    place = np.ravel_multi_index(codes, shape)
    if len(rows) != math.prod(shape) or len(np.unique(place)) != len(rows):
        raise DataError(
            str(path), needed=f"a row for each of {math.prod(shape)} kernels, channels and slots of {layer}",
            got=f"{len(rows)} rows", fix="Give every slot of every shape once.",
        )  # fmt: skip
    ordered = rows.iloc[np.argsort(place)]
    positions = ordered[["y", "x"]].to_numpy(dtype=float).reshape(*shape, 2)
    slots = ordered[["slot_y", "slot_x"]].to_numpy(dtype=float)[: shape[2]]
    weights = ordered["weight_norm"].to_numpy(dtype=float) if "weight_norm" in ordered else None
    shared = 2 if set(rows["channel"]) == {"all"} else 1 if set(rows["kernel"]) == {"all"} else 0
    size, dilation = _grid_of(slots)
    return to_cloud(
        positions.reshape(positions.shape[shared:]), kernel_size=size, dilation=dilation, slots=slots, weights=weights,
        layer=layer, depth=depth,
    )  # fmt: skip


def _grid_of(slots: np.ndarray) -> tuple[tuple[int, int], tuple[int, int]]:
    """Kernel size and dilation of row-major slots."""
    rows, columns = (np.unique(slots[:, axis]) for axis in (0, 1))
    dy, dx = (round(float(np.diff(v).mean())) if len(v) > 1 else 1 for v in (rows, columns))
    size = (len(rows), len(columns)) if len(rows) * len(columns) == len(slots) else (1, len(slots))
    return size, (max(dy, 1), max(dx, 1))


def _as_number(name: str) -> int:
    return -1 if name == "all" else int(name)


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
