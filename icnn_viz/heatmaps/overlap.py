"""How much of a heatmap falls on something: an object, a class, the receptive field.

Energy is the sum of the map's values. A map that is zero everywhere has no shares: they are NaN.
"""

from __future__ import annotations

import numpy as np

from icnn_core.errors import ArgumentError, ShapeError
from icnn_viz.records import Heatmap


def energy_in_mask(heatmap: Heatmap, mask: np.ndarray) -> float:
    """Share of the energy inside `mask`, 0 to 1: Σ_mask v / Σ v.

    The "energy-based pointing game" (Wang et al., Score-CAM, CVPR workshops 2020), also "relevance mass accuracy"
    (Arras et al., Information Fusion 2022).

    Args:
        mask: (H, W) bool, e.g. the object that holds the pixel, or all pixels of its class.

    Raises:
        ShapeError: another size than the map.
    """
    return _share(heatmap.values[_checked(mask, heatmap).astype(bool)].sum(), heatmap)


def share_beyond(heatmap: Heatmap, field: np.ndarray) -> float:
    """Share of the energy outside `field` (H, W) bool, the theoretical receptive field: 0, or something is wrong.

    (Of an unsmoothed map: a blur carries energy across the border.)
    """
    return _share(heatmap.values[~_checked(field, heatmap).astype(bool)].sum(), heatmap)


def pointing_game(heatmap: Heatmap, mask: np.ndarray, tolerance: float = 0.0) -> float:
    """1 if the map's maximum lies in `mask` or at most `tolerance` pixels from it, else 0; of equal maxima the first.

    NaN for a map that is zero everywhere.

    Source: Zhang et al., Top-down neural attention by excitation backprop, IJCV 2018, who allow 15 pixels.
    """
    mask = _checked(mask, heatmap).astype(bool)
    if not heatmap.values.any():
        return float("nan")
    y, x = np.unravel_index(int(heatmap.values.argmax()), heatmap.values.shape)
    if not tolerance:
        return float(mask[y, x])
    rows, columns = np.nonzero(mask)
    return float(((rows - y) ** 2 + (columns - x) ** 2 <= tolerance**2).any())


def relevance_rank_accuracy(
    heatmap: Heatmap, mask: np.ndarray, descending: np.ndarray | None = None
) -> float:
    """Share of the K largest values that lie in `mask`, K being the mask's size; NaN for an empty mask or map.

    Of values equal to the K-th as many count as have room, in the mask and outside it in proportion. Source: Arras et
    al., CLEVR-XAI, Information Fusion 2022.

    Args:
        descending: the map's values, sorted (`sort_values`), if known.
    """
    size = int(np.count_nonzero(mask))
    descending = sort_values(heatmap) if descending is None else descending
    known = size and descending[0]
    return count_among_largest(heatmap, mask, size, descending) / size if known else float("nan")


def count_among_largest(heatmap: Heatmap, mask: np.ndarray, count: int, descending: np.ndarray) -> float:
    """How many of the `count` largest values lie in `mask`; equal values at the end count in proportion."""
    mask = _checked(mask, heatmap).astype(bool)
    last = descending[count - 1]
    inside = heatmap.values[mask]
    above = int(np.searchsorted(-descending, -last))  # values larger than the last
    equal = int(np.searchsorted(-descending, -last, side="right")) - above
    return float((inside > last).sum() + (inside == last).sum() * (count - above) / equal)


def energy_per_class(heatmap: Heatmap, labels: np.ndarray, class_count: int) -> np.ndarray:
    """Share of the energy on each class of the scene, (class_count,): what the pixel looks at, and what distracts it.

    Args:
        labels: (H, W) integer class ids; others than 0 … class_count - 1 (void) count for no class, so that the shares
            add up to 1 minus void's.

    Raises:
        ShapeError: labels of another size than the map.
        ArgumentError: labels that are not integers.
    """
    labels = _checked(labels, heatmap)
    if labels.dtype.kind not in "iu":
        fix = "Cast the labels to int."
        raise ArgumentError("energy_per_class", needed="integer class ids", got=str(labels.dtype), fix=fix)
    known = (labels >= 0) & (labels < class_count)
    total = heatmap.values.sum()
    sums = np.bincount(labels[known], weights=heatmap.values[known], minlength=class_count)
    return sums / total if total else np.full(class_count, np.nan)


def sort_values(heatmap: Heatmap) -> np.ndarray:
    """(H·W,): the map's values, largest first."""
    return np.sort(heatmap.values, axis=None)[::-1]


def _share(part: float, heatmap: Heatmap) -> float:
    total = heatmap.values.sum()
    return float(part / total) if total else float("nan")


def _checked(mask: np.ndarray, heatmap: Heatmap) -> np.ndarray:
    mask = np.asarray(mask)
    if mask.shape != heatmap.values.shape:
        needed = f"a mask of the map's size, {heatmap.values.shape}"
        fix = "Masks and labels are on the pixels of the image."
        raise ShapeError("heatmap measure", needed=needed, got=f"{mask.shape}", fix=fix)
    return mask
