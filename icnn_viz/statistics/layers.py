"""One row a layer: the shape of its clouds, where its points reach, what its weights do, how symmetric it
is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from icnn_core.errors import ArgumentError
from icnn_viz.records import PositionCloud
from icnn_viz.statistics.distances import energy_distance
from icnn_viz.statistics.gaussian import fit_gaussians
from icnn_viz.statistics.pinning import measure_corners, measure_pinning, rounding
from icnn_viz.statistics.spreads import is_outer, measure_radial
from icnn_viz.statistics.summary import COLUMNS as SUMMARY_COLUMNS
from icnn_viz.statistics.summary import summarise
from icnn_viz.statistics.tables import to_table

if TYPE_CHECKING:
    import pandas as pd

COLLAPSED = 0.1
"""Two points of one shape that lie closer than this (px) have collapsed."""
DEAD = 1e-3
"""A weight is dead at or below this share of its layer's root mean square."""
SUBSAMPLE = 256
"""Shapes that the mirror scores are taken from, at most."""
SLOTS = 128
"""Slots that they are taken from, at most."""
_FEW = 32  # slots, up to which all their pairs are compared
_SHAPES = ("sd_major", "sd_minor", "elongation", "spread", "elongation_outer", "elongation_centre")
COLUMNS = " ".join(
    [
        SUMMARY_COLUMNS,
        *_SHAPES,
        "outer_to_centre radial_to_tangential share_off_image share_off_image_regular collapsed_pairs:int",
        "share_collapsed dead_weights dead_shapes extent extent_ratio weight_displacement",
        "weight_displacement_low weight_displacement_high mirror_x mirror_y pinning pinning_low pinning_high",
        "corners corners_low corners_high",
    ]
)


def measure_layers(
    clouds: Iterable[PositionCloud], *, feature_size: tuple[int, int] | None = None, seed: int = 0
) -> pd.DataFrame:
    """The summary of every layer and all its other measures. Columns: COLUMNS; definitions in
    docs/statistics.md.

    Args:
        clouds: one a layer.
        feature_size: (H, W) of the feature maps that the layers see; without it `share_off_image` is NA.
        seed: of the subsamples behind the mirror scores.

    Raises:
        ArgumentError: `feature_size` is not positive.
    """
    if feature_size is not None and min(feature_size) < 1:
        needed = "a feature_size (H, W) of at least 1"
        raise ArgumentError("measure_layers", needed=needed, got=f"{feature_size}", fix="Swap or mend it.")
    rows = []
    for cloud in sorted(clouds, key=lambda cloud: cloud.depth):
        row = summarise(cloud) | _shapes(cloud) | _reach(cloud, feature_size) | _weights(cloud)
        row |= measure_pinning(cloud) | measure_corners(cloud)
        if row["state"] != "not finite" and cloud.regular:
            row |= {f"mirror_{name}": mirror_score(cloud, axis, seed) for axis, name in enumerate("yx")}
        rows.append(row)
    return to_table(rows, COLUMNS)


def mirror_score(cloud: PositionCloud, axis: int, seed: int = 0) -> float | None:
    """1 less the mean energy coefficient between each slot's points and its mirror slot's, mirrored.

    Slots of one shape go together: a shape's point is not compared with its own mirror.

    Args:
        cloud: a layer.
        axis: 0 swaps top and bottom, 1 left and right.
        seed: of the subsample of at most 256 shapes, and 128 slots with their mirror slots.

    Returns:
        1 on average for a symmetric law, by chance a little above or below; towards 0 the less symmetric it
        is. None if some slot and its mirror slot have fewer than two shapes where both are finite.
    """
    from scipy.spatial import KDTree

    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(cloud.points))[:SUBSAMPLE]
    moves = np.asarray(cloud.displacements[rows], dtype=np.float64)
    flip = np.where(np.arange(2) == axis, -1.0, 1.0)
    chosen = np.sort(rng.permutation(len(cloud.slots))[:SLOTS])
    twins = np.asarray(KDTree(cloud.slots).query(cloud.slots[chosen] * flip, p=1)[1])
    scores = []
    for slot, twin in zip(chosen, twins, strict=True):
        here, there = moves[:, slot], moves[:, twin] * flip
        good = np.isfinite(here + there).all(1)
        if good.sum() < 2:
            return None
        scores.append(1.0 - energy_distance(here[good], there[good], paired=True)[1])
    return float(np.mean(scores))


def _shapes(cloud: PositionCloud) -> dict[str, object]:
    """Medians over slots that have a covariance; centre and outer slots; radial against tangential."""
    fit = fit_gaussians(cloud)
    ok = fit.state == "ok"
    if not ok.any():
        return {}
    major, minor = np.where(ok[:, None], fit.axes()[0], 1.0).T
    measured = (major, minor, major / minor, np.sqrt(major * minor))
    values = dict(zip(_SHAPES, measured, strict=False))
    row: dict[str, object] = {name: float(np.median(of[ok])) for name, of in values.items()}
    outer = is_outer(cloud.slots)
    outside, inside = ok & outer, ok & ~outer
    if outside.any():
        row["elongation_outer"] = float(np.median(values["elongation"][outside]))
        found: list[Any] = [
            one["radial_to_tangential"] for one in measure_radial(cloud) if one["state"] == "ok"
        ]
        row["radial_to_tangential"] = float(np.median(found))
    if inside.any():
        row["elongation_centre"] = float(values["elongation"][inside][0])
    if outside.any() and inside.any():
        row["outer_to_centre"] = float(np.median(values["spread"][outside]) / values["spread"][inside][0])
    return row


def _reach(cloud: PositionCloud, feature_size: tuple[int, int] | None) -> dict[str, object]:
    """Points off the image, pairs that have collapsed."""
    points = np.asarray(cloud.points, dtype=np.float64)
    good = np.asarray(np.isfinite(points).all(-1))
    row: dict[str, object] = {}
    if feature_size is not None and good.any():
        row["share_off_image"] = _off_image(points[good], feature_size)
        row["share_off_image_regular"] = _off_image(np.asarray(cloud.slots, dtype=np.float64), feature_size)
    pairs = _count_near(points) if points.shape[1] <= _FEW else _count_near_in_trees(points)
    return row | {"collapsed_pairs": int(pairs.sum()), "share_collapsed": float((pairs > 0).mean())}


def _count_near(points: np.ndarray) -> np.ndarray:
    """(S,), pairs of points (S, K, 2) of one shape closer than COLLAPSED; those that are not finite are near none."""
    first, second = np.triu_indices(points.shape[1], 1)
    step, found = max(1, 1_000_000 // max(len(first), 1)), []
    for start in range(0, len(points), step):
        some = points[start : start + step]
        with np.errstate(invalid="ignore", over="ignore"):
            apart = ((some[:, first] - some[:, second]) ** 2).sum(-1)
        found.append((apart <= np.nextafter(COLLAPSED, 0) ** 2).sum(1))
    return np.concatenate(found)


def _count_near_in_trees(points: np.ndarray) -> np.ndarray:
    """The same for many points, whose pairs would take too much room."""
    from scipy.spatial import KDTree

    trees = [KDTree(shape[np.isfinite(shape).all(1)]) for shape in points]
    return np.array(
        [(tree.count_neighbors(tree, np.nextafter(COLLAPSED, 0)) - tree.n) // 2 for tree in trees]
    )


def _off_image(points: np.ndarray, feature_size: tuple[int, int]) -> float:
    """Share of samples outside [0, H-1] × [0, W-1], over all output pixels at stride 1 and "same" padding."""
    size = np.array(feature_size)
    inside = np.clip(size - np.ceil(np.abs(points)), 0, None) / size  # share of rows, and of columns
    return float(1.0 - inside.prod(-1).mean())


def _weights(cloud: PositionCloud) -> dict[str, object]:
    """Dead weights, the extent that |w| gives, and whether large weights moved farther."""
    weights = np.asarray(cloud.point_weights, dtype=np.float64)
    length = np.hypot(*np.moveaxis(np.asarray(cloud.displacements, dtype=np.float64), -1, 0))
    good = np.isfinite(weights) & np.isfinite(length)
    if not good.any():
        return {}
    scale = np.sqrt((weights[good] ** 2).mean())
    dead = good & (weights <= DEAD * scale)
    row: dict[str, object] = {
        "dead_weights": float(dead.sum() / good.sum()),
        "dead_shapes": float((dead | ~good)[good.any(1)].all(1).mean()),
    }
    if scale > 0:
        row |= _extent(cloud, np.where(good, weights, 0.0))
    return row | _correlation(cloud, weights, length, good)


def _extent(cloud: PositionCloud, weights: np.ndarray) -> dict[str, object]:
    points = np.where((weights > 0)[..., None], cloud.points, 0.0)
    extent, regular = (
        float(np.sqrt((weights * (places**2).sum(-1)).sum() / weights.sum()))
        for places in (points, cloud.slots)
    )
    return {"extent": extent, "extent_ratio": extent / regular if regular > 0 else None}


def _correlation(
    cloud: PositionCloud, weights: np.ndarray, length: np.ndarray, good: np.ndarray
) -> dict[str, object]:
    """Spearman's rho over all points (S, K), with an interval over shapes: points of one shape go together.

    By the jackknife over shapes of Fisher's z, and Student's t. Nothing if either is constant, but for rounding; no
    interval of fewer than five shapes.
    """
    from scipy.special import stdtrit

    if good.sum() < 5 or np.ptp(weights[good]) == 0 or np.ptp(length[good]) <= rounding(cloud)[good].max():
        return {}
    ranks = np.zeros((2, *good.shape))
    for number, values in enumerate((weights, length)):
        ranks[number, good] = _ranks(values[good]) - (good.sum() + 1) / 2
    a, b = ranks
    sums = np.stack([good, a, b, a * a, b * b, a * b]).sum(-1)[:, good.any(1)]  # (6, shapes)
    rho = float(_pearson(sums.sum(1)))
    shapes = sums.shape[1]
    if shapes < 5:
        return {"weight_displacement": rho}
    left_out = np.arctanh(np.clip(_pearson(sums.sum(1)[:, None] - sums), -1 + 1e-12, 1 - 1e-12))
    half = np.sqrt((shapes - 1) * left_out.var()) * stdtrit(shapes - 1, 0.975)
    z = np.arctanh(np.clip(rho, -1 + 1e-12, 1 - 1e-12))
    low, high = np.tanh(z - half), np.tanh(z + half)
    return {"weight_displacement": rho, "weight_displacement_low": low, "weight_displacement_high": high}


def _ranks(values: np.ndarray) -> np.ndarray:
    """From 1; equal values have the mean of theirs."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (count.cumsum() - (count - 1) / 2)[place]


def _pearson(sums: np.ndarray) -> np.ndarray:
    """The correlation from n, a, b, aa, bb, ab (6, ...)."""
    n, a, b, aa, bb, ab = sums
    scale = np.sqrt(np.maximum((n * aa - a * a) * (n * bb - b * b), 0.0))
    return (n * ab - a * b) / np.where(scale > 0, scale, 1.0)
