"""Boundary IoU: how well the edges of what was segmented lie, and with them thin things.

Reference: Cheng et al., "Boundary IoU: improving object-centric image segmentation evaluation", CVPR 2021,
arXiv 2103.16562.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from icnn_core.datasets.labels import to_class_ids
from icnn_core.errors import ArgumentError

DILATION_RATIO = 0.02
"""Width of the band as a share of the image's diagonal: the reference's default."""
_NOTHING = -1  # a pixel that is of no class: void, beyond the image, or not in the band


@dataclass(frozen=True)
class BoundaryCounts:
    """Pixels of the bands along the edges, summed over images. Both are (classes,) int64.

    Attributes:
        intersection: in the band of the label and in that of the prediction.
        union: in one of the two.
    """

    intersection: np.ndarray
    union: np.ndarray

    def __add__(self, other: BoundaryCounts) -> BoundaryCounts:
        return BoundaryCounts(self.intersection + other.intersection, self.union + other.union)


def no_boundaries(classes: int) -> BoundaryCounts:
    """Counts of no image."""
    return BoundaryCounts(np.zeros(classes, np.int64), np.zeros(classes, np.int64))


def count_boundaries(
    labels: np.ndarray,
    predictions: np.ndarray,
    classes: int,
    ignore_index: int,
    ratio: float = DILATION_RATIO,
) -> BoundaryCounts:
    """Bands of one image, for all of its classes.

    The band of a class: its pixels whose square of 2d + 1 pixels a side reaches a pixel of another class, void or the
    image's border; d is `ratio` of the diagonal, rounded, at least 1. Void pixels are of no class in label and
    prediction alike, so that what is predicted there cannot count.

    Args:
        labels, predictions: (H, W) class ids of any integer types. What is predicted in void may be anything.

    Raises:
        DtypeError, ArgumentError: labels, or predictions where they count, that are no class ids.
        ArgumentError: a ratio outside (0, 1].
    """
    if not 0 < ratio <= 1:
        raise ArgumentError(
            "boundary IoU", needed="a dilation ratio in (0, 1]", got=str(ratio), fix=f"Try {DILATION_RATIO}."
        )
    width = max(1, round(ratio * math.hypot(*labels.shape)))
    void = labels == ignore_index
    bands = []
    for image in (labels, predictions):
        ids = np.full(image.shape, _NOTHING, np.int64)
        ids[~void] = to_class_ids(image[~void], classes, None, "boundary IoU").numpy()
        bands.append(_band(ids, width))
    both = bands[0][(bands[0] == bands[1]) & (bands[0] != _NOTHING)]
    intersection, *sizes = (
        np.bincount(each[each != _NOTHING], minlength=classes).astype(np.int64) for each in (both, *bands)
    )
    return BoundaryCounts(intersection, sizes[0] + sizes[1] - intersection)


def _band(ids: np.ndarray, width: int) -> np.ndarray:
    """`ids` in the band, elsewhere `_NOTHING`: where a square holds one id alone, its least and largest agree."""
    from scipy.ndimage import maximum_filter, minimum_filter

    least, largest = (
        each(ids, 2 * width + 1, mode="constant", cval=_NOTHING) for each in (minimum_filter, maximum_filter)
    )
    return np.where(least == largest, _NOTHING, ids)
