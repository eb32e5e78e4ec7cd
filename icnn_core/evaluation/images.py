"""Counts of each image by itself: what intervals over images are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from icnn_core.errors import ArgumentError, DataError
from icnn_core.evaluation.boundaries import BoundaryCounts
from icnn_core.files import explain, write_atomically

_RESAMPLES = 2000


@dataclass(frozen=True)
class ImageCounts:
    """Pixels of each image. A data set's are their sums.

    Attributes:
        confusion: (images, classes, classes) int64; rows are labels, columns predictions.
        intersection, union: (images, classes) int64 of the bands along edges, see `count_boundaries`; without images
            where they were not counted.
    """

    confusion: np.ndarray
    intersection: np.ndarray
    union: np.ndarray

    @classmethod
    def of(
        cls, confusions: Sequence[np.ndarray], edges: Sequence[BoundaryCounts], classes: int
    ) -> ImageCounts:
        """Of single images' counts."""
        return cls(
            np.array(confusions, np.int64).reshape(-1, classes, classes),
            np.array([e.intersection for e in edges], np.int64).reshape(-1, classes),
            np.array([e.union for e in edges], np.int64).reshape(-1, classes),
        )

    def shares(self, boundary: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Intersection and union (images, classes), of all pixels or of the bands."""
        if boundary:
            return self.intersection, self.union
        both = self.confusion.diagonal(axis1=1, axis2=2)
        return both, self.confusion.sum(1) + self.confusion.sum(2) - both

    def write(self, path: Path) -> None:
        """As .npz.

        Raises:
            DataError: it cannot be written.
        """

        def save(temporary: str) -> None:
            with open(temporary, "wb") as file:
                np.savez_compressed(
                    file, confusion=self.confusion, intersection=self.intersection, union=self.union
                )

        write_atomically(path, save, DataError)

    @classmethod
    def read(cls, path: Path) -> ImageCounts:
        """What `write` wrote.

        Raises:
            DataError: the file holds none.
        """
        try:
            with np.load(path, allow_pickle=False) as held:
                return cls(held["confusion"], held["intersection"], held["union"])
        except (OSError, ValueError, KeyError, EOFError) as error:
            fix = "Remove it: it is counted anew."
            raise DataError(str(path), needed="counts by image", got=explain(error)[0], fix=fix) from error


def resample_images(
    pairs: Sequence[tuple[ImageCounts, ImageCounts]],
    classes: Sequence[int],
    *,
    boundary: bool = False,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Difference of mean IoU, first minus second, over pairs; its 95 % interval over images: (difference, low, high).

    The same images are drawn with replacement for all networks; of each draw mean IoU is that of its summed counts,
    over the classes that occur in it. The percentile interval of the mean over pairs covers another choice of images,
    not another training.

    Args:
        pairs: counts of two networks on the same images, one a seed.
        classes: ids over which means are taken.
        boundary: of boundary IoU.

    Raises:
        ArgumentError: no pair, or counts of other images.
    """
    numbers = {len(one.shares(boundary)[0]) for pair in pairs for one in pair}
    if len(numbers) != 1 or 0 in numbers:
        got = f"{len(pairs)} pairs of {sorted(numbers)} images"
        fix = "Measure all networks on the same split."
        raise ArgumentError("resample_images", needed="counts of the same images", got=got, fix=fix)
    count = numbers.pop()
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=_RESAMPLES)
    draws = np.vstack([np.ones(count, np.int64), draws])
    chosen = list(classes)
    total = np.zeros(len(draws))
    for first, second in pairs:
        total += _means(first, draws, chosen, boundary) - _means(second, draws, chosen, boundary)
    found = total / len(pairs)
    low, high = np.quantile(found[1:], [0.025, 0.975])
    return float(found[0]), float(low), float(high)


def _means(counts: ImageCounts, draws: np.ndarray, classes: list[int], boundary: bool) -> np.ndarray:
    intersection, union = (draws @ each[:, classes] for each in counts.shares(boundary))
    with np.errstate(invalid="ignore"):
        ratios = np.where(union > 0, intersection / np.maximum(union, 1), np.nan)
    occur = (union > 0).sum(1)
    return np.nansum(ratios, axis=1) / np.maximum(occur, 1)
