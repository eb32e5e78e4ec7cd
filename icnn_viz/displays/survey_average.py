"""The sums behind a survey's average map, on disk: one file a process, from which a stopped survey goes on."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from icnn_core.errors import DataError
from icnn_viz.figures.write import write_atomically
from icnn_viz.heatmaps import AverageMap
from icnn_viz.records import Heatmap

_SECONDS = 20.0  # between two writes; what a kill takes is looked at again


class AverageFile:
    """One process's own sums, as they are on disk and since.

    Args:
        path: made with its folder; read if it is there.
        networks: how many.
    """

    def __init__(self, path: Path, networks: int) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.average = read_average([path], networks)
        self._written = time.monotonic()

    def add(self, number: int, heatmaps: Sequence[Heatmap]) -> None:
        """Add a pixel's maps, and now and then write."""
        self.average.add(number, heatmaps)
        if time.monotonic() - self._written > _SECONDS:
            self.write()

    def close(self) -> None:
        """Write what was added last."""
        self.write()

    def write(self) -> None:
        """Write all sums; what stood there is replaced as a whole."""
        held = self.average
        arrays: dict[str, Any] = {"sums": held.sums, "counts": held.counts, "curves": held.curves}
        arrays |= {"pixels": np.array(held.pixels), "ids": np.array(sorted(held.ids), dtype=np.int64)}
        write_atomically(self.path, lambda temporary: np.savez(temporary, **arrays))
        self._written = time.monotonic()


def read_average(paths: Iterable[Path], networks: int) -> AverageMap:
    """The sum of several processes' files; none of them need be there.

    Raises:
        DataError: a file that holds something else.
    """
    whole = AverageMap(networks)
    for path in paths:
        if not path.exists():
            continue
        try:
            with np.load(path) as held:
                arrays = {name: held[name] for name in ("sums", "counts", "curves")}
                ids, pixels = set(held["ids"].tolist()), int(held["pixels"])
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            fix = "Delete it: what it held is looked at again."
            raise DataError(
                str(path), needed="sums of a survey's maps", got=type(error).__name__, fix=fix
            ) from error
        whole.merge(AverageMap(networks, ids, pixels, **arrays))
    return whole


def write_maps(average: AverageMap, networks: Sequence[str], path: Path) -> Path:
    """The average as npz: `maps` (networks, 2·reach + 1, 2·reach + 1) float32, the mean share of the energy by offset
    (y, x) from the pixel; `counts`, of how many pixels; `radius` and `curves`, mean shares within it; `networks`;
    `pixels`."""
    curves = average.mean_curves()
    arrays: dict[str, Any] = {
        "maps": average.mean().astype(np.float32),
        "counts": average.counts.astype(np.int64),
    }
    arrays |= {"radius": np.arange(curves.shape[1]), "curves": curves}
    arrays |= {"networks": np.array(networks), "pixels": np.array(average.pixels)}
    return write_atomically(path, lambda temporary: np.savez_compressed(temporary, **arrays))
