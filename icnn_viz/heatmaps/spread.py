"""How far and how evenly a heatmap reaches around its pixel.

Energy is the sum of the map's values; distances and axes are measured from the chosen pixel, not from the map's
centre, in pixels. A map that is zero everywhere has no spread: its measures are NaN.
"""

from __future__ import annotations

import numpy as np

from icnn_core.errors import ArgumentError
from icnn_viz.heatmaps.overlap import count_among_largest, sort_values
from icnn_viz.records import Heatmap


def smallest_area(heatmap: Heatmap, share: float, descending: np.ndarray | None = None) -> float:
    """Number of pixels of the smallest region that holds `share` of the energy (`density_region`).

    Unlike counts above a threshold of log values, it does not change when the map is multiplied.

    Args:
        descending: the map's values, sorted (`sort_values`), if known.
    """
    return float(_count(share, sort_values(heatmap) if descending is None else descending))


def density_region(heatmap: Heatmap, share: float) -> np.ndarray:
    """(H, W) bool: the smallest set of pixels that holds `share` of the energy, the highest-density region.

    Source: Hyndman, Computing and graphing highest density regions, The American Statistician 1996.

    Raises:
        ArgumentError: a share that is not in (0, 1].
    """
    # Of equal values the first in reading order:
    order = np.argsort(-heatmap.values, axis=None, kind="stable")
    region = np.zeros(heatmap.values.size, bool)
    count = _count(share, heatmap.values.ravel()[order])
    region[order[: 0 if np.isnan(count) else int(count)]] = True
    return region.reshape(heatmap.values.shape)


def mask_used(
    heatmap: Heatmap, mask: np.ndarray, share: float = 0.9, descending: np.ndarray | None = None
) -> float:
    """How much of an object is used: share of `mask` (H, W) bool in the region that holds `share` of the energy.

    The recall that goes with `energy_in_mask`. NaN for an empty mask.

    Args:
        descending: the map's values, sorted (`sort_values`), if known.
    """
    descending = sort_values(heatmap) if descending is None else descending
    size, count = int(np.count_nonzero(mask)), _count(share, descending)
    known = size and count == count
    return count_among_largest(heatmap, mask, int(count), descending) / size if known else float("nan")


def radius_of_gyration(heatmap: Heatmap) -> float:
    """Root mean square distance of the energy from the pixel, sqrt(Σ v r² / Σ v), in pixels.

    (As of a mass about an axis; Goldstein, Classical mechanics.)
    """
    return float(np.sqrt(np.trace(_second_moment(heatmap))))


def half_energy_radius(heatmap: Heatmap) -> float:
    """Radius in pixels of the smallest disk about the pixel that holds half of the energy; NaN without energy.

    Half of a far, faint tail moves it little, where the radius of gyration weighs it by the square of its distance.
    (The half-light radius of astronomy.)
    """
    y, x = _from_pixel(heatmap)
    squares = (y[:, None] ** 2 + x**2).astype(np.int64)
    within = np.cumsum(np.bincount(squares.ravel(), weights=heatmap.values.ravel()))
    if not within[-1]:
        return float("nan")
    return float(np.sqrt(np.searchsorted(within, 0.5 * within[-1] * (1 - 1e-12))))


def principal_axes(heatmap: Heatmap) -> tuple[np.ndarray, np.ndarray]:
    """Root mean square extents (2,) along the principal axes about the pixel, largest first, and the axes' directions.

    From the eigenvectors of the second moment Σ v d dᵀ / Σ v, d being (y, x) from the pixel (Jolliffe, Principal
    component analysis, without centring on the mean).

    Returns:
        Extents in pixels, and unit vectors (2, 2), one (y, x) a row; each is an axis, so its sign means nothing.
    """
    moment = _second_moment(heatmap)
    if not np.isfinite(moment).all():
        return np.full(2, np.nan), np.full((2, 2), np.nan)
    values, vectors = np.linalg.eigh(moment)
    return np.sqrt(np.clip(values[::-1], 0, None)), vectors[:, ::-1].T


def fit_gaussian(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (2,) and covariance (2, 2), (y, x) in pixels, of the Gaussian with the moments of a map (H, W).

    Of a density traced through a network (`icnn_viz.gradients.sampling_density`) these are the sums of its layers'
    means and covariances, scaled by the strides before them: the Gaussian that the layers' shapes predict for the
    effective receptive field (Luo et al., Understanding the effective receptive field, 2016, for regular kernels).
    NaN if the map is zero.
    """
    total = values.sum()
    if not total:
        return np.full(2, np.nan), np.full((2, 2), np.nan)
    y, x = (np.arange(n, dtype=float) for n in values.shape)
    mean = np.array([values.sum(1) @ y, values.sum(0) @ x]) / total
    moment = _second_moment(Heatmap(values, (0, 0), ""))
    return mean, moment - np.outer(mean, mean)


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Bhattacharyya's coefficient Σ √(p q) of two maps, each divided by its sum: 1 if they are alike, 0 if apart."""
    total = first.sum() * second.sum()
    return float(np.sqrt(first * second).sum() / np.sqrt(total)) if total else float("nan")


def elongation(heatmap: Heatmap) -> float:
    """Ratio of the two extents of `principal_axes`: 1 is round, infinite a line through the pixel; NaN for a point."""
    (major, minor), _ = principal_axes(heatmap)
    if not major > 0:
        return float("nan")
    return float(major / minor) if minor > 1e-9 * major else float("inf")


def gini(heatmap: Heatmap, descending: np.ndarray | None = None) -> float:
    """Gini index of the values: 0 if all pixels share alike, 1 - 1/(H·W) if one pixel holds everything.

    Source: Hurley & Rickard, Comparing measures of sparsity, IEEE Trans. Information Theory 2009, section II.

    Args:
        descending: the map's values, sorted (`sort_values`), if known.
    """
    total, size = heatmap.values.sum(), heatmap.values.size
    if not total:
        return float("nan")
    descending = sort_values(heatmap) if descending is None else descending
    ranks = np.arange(size) + 0.5  # of the k-th largest; (n - k + 1/2) of the rising order, turned round
    return float(1 - 2 * (descending @ ranks) / (total * size))


def entropy(heatmap: Heatmap) -> float:
    """Shannon entropy of the energy's distribution over pixels, in bits: 0 for one pixel, log2(H·W) if all are alike.

    2 to its power is an effective number of pixels. Source: Shannon 1948.
    """
    total = heatmap.values.sum()
    if not total:
        return float("nan")
    p = heatmap.values[heatmap.values > 0] / total
    return float(-(p @ np.log2(p)) + 0.0)


def distance_energy(heatmap: Heatmap, radii: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The distance-energy curve: share of the energy at most so far from the pixel.

    Args:
        radii: in pixels, rising; by default 0, 1, … up to the farthest corner.

    Returns:
        Radii (n,), and cumulative shares (n,), 0 to 1. (Luo et al. 2016 look at the same fall-off of an effective
        receptive field from its centre.)
    """
    y, x = _from_pixel(heatmap)
    distance = np.hypot(y[:, None], x)
    if radii is None:
        radii = np.arange(int(np.ceil(distance.max())) + 1.0)
    radii = np.asarray(radii, float)
    ring = np.searchsorted(radii, distance.ravel())  # the first radius that reaches the pixel
    energy = np.bincount(ring, weights=heatmap.values.ravel(), minlength=len(radii) + 1)[: len(radii)]
    total = heatmap.values.sum()
    return radii, np.cumsum(energy) / total if total else np.full(len(radii), np.nan)


def _count(share: float, descending: np.ndarray) -> float:
    if not 0 < share <= 1:
        raise ArgumentError(
            "smallest_area", needed="a share above 0 and up to 1", got=str(share), fix="0.9 means 90 %."
        )
    cumulative = np.cumsum(descending)
    if not cumulative[-1]:
        return float("nan")
    # Rounding must not ask for one pixel more than the share does.
    return int(np.searchsorted(cumulative, share * cumulative[-1] * (1 - 1e-12))) + 1


def _from_pixel(heatmap: Heatmap) -> tuple[np.ndarray, np.ndarray]:
    return tuple(np.arange(n) - float(at) for n, at in zip(heatmap.values.shape, heatmap.pixel, strict=True))


def _second_moment(heatmap: Heatmap) -> np.ndarray:
    total = heatmap.values.sum()
    if not total:
        return np.full((2, 2), np.nan)
    y, x = _from_pixel(heatmap)
    rows, columns = heatmap.values.sum(1), heatmap.values.sum(0)
    mixed = y @ heatmap.values @ x
    return np.array([[rows @ y**2, mixed], [mixed, columns @ x**2]]) / total
