"""One Gaussian per slot, plain or weighted by |w|; and its shape in words a reader can use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from icnn_viz.records import GaussianFit, PositionCloud
from icnn_viz.statistics.elongation import ON_A_LINE, ROUND, measure_form, moment_units
from icnn_viz.statistics.once import once
from icnn_viz.statistics.tables import to_table

if TYPE_CHECKING:
    import pandas as pd

MIN_POINTS = 3
"""Fewer points than this cannot span a covariance in the plane."""
MOVED = 0.1
"""A point has moved when it lies farther than this from its slot (px); a start shift (eq. 5) stays below."""
NO_SPREAD = 1e-2
"""A slot whose larger standard deviation is below this (px) has no spread, and one whose centre lies no farther from
its place has not moved: a start shift has less."""


@once
def fit_gaussians(cloud: PositionCloud, *, weighted: bool = False) -> GaussianFit:
    """Mean and covariance of every slot's points.

    Points that are not finite are left out. Plain: the sample mean and the unbiased covariance. `weighted`:
    each point counts by |w| (reliability weights, unbiased).

    Returns:
        GaussianFit; `state` is "ok", "undeformed", "equal points" (no spread, but away from the slot), "on a
        line", "too few points" or "not finite". Where it is not "ok" the covariance is zero; the mean is
        that of the finite points, and the slot itself if there are none.
    """
    points, mass = finite_displacements(cloud, weighted)
    count = (mass > 0).sum(0)
    mean, covariance = weighted_moments(points, mass)
    mean = np.where(count[:, None] > 0, mean, 0.0)
    state = _states(cloud, effective_count(mass), mean, covariance)
    mean = mean + cloud.slots
    covariance = np.where((state == "ok")[:, None, None], covariance, 0.0)
    roundness = measure_form(moment_units(points, mass)).roundness()
    return GaussianFit(cloud.layer, count, mean, covariance, state, roundness)


def to_shapes(fit: GaussianFit) -> pd.DataFrame:
    """The fits as a table, one row a slot: layer, slot, state, points, mean_y, mean_x, sd_major, sd_minor,
    elongation, orientation, area, spread, var_y, var_x, cov_yx.

    Lengths in px, variances and the covariance in px². `elongation` = sd_major / sd_minor >= 1.
    `orientation` is the major axis as atan2(dy, dx) in degrees, mod 180, with y downwards: 0 lies along a row
    of the image, 90 along a column, 45 runs to the lower right (the angle matplotlib's Ellipse takes). `area`
    is the 1-sigma ellipse's, pi·sd_major·sd_minor, in px²; `spread` is sqrt(sd_major·sd_minor). Where the
    state is not "ok" the shape columns are missing values (pandas NA), never NaN; so is the orientation of a
    cloud that may be round.
    """
    sd, directions = fit.axes()
    ok = fit.state == "ok"
    major, minor = np.where(ok[:, None], sd, 1.0).T
    measures = {
        "sd_major": major,
        "sd_minor": minor,
        "elongation": major / minor,
        "orientation": [
            None if r else o for r, o in zip(may_be_round(fit), orientation(directions[:, 0]), strict=True)
        ],
        "area": np.pi * major * minor,
        "spread": np.sqrt(major * minor),
        "var_y": fit.covariance[:, 0, 0],
        "var_x": fit.covariance[:, 1, 1],
        "cov_yx": fit.covariance[:, 0, 1],
    }
    rows = [
        {"layer": fit.layer, "slot": k, "state": fit.state[k], "points": fit.count[k]}
        | {"mean_y": fit.mean[k, 0], "mean_x": fit.mean[k, 1]}
        | {name: values[k] if ok[k] else None for name, values in measures.items()}
        for k in range(len(ok))
    ]
    columns = "layer:str slot:int state:str points:int mean_y mean_x"
    return to_table(rows, " ".join([columns, *measures]))


def may_be_round(fit: GaussianFit) -> np.ndarray:
    """(K,) bool: slots whose roundness is not rejected at the 5 % level; they have no orientation."""
    return np.zeros(len(fit.count), bool) if fit.roundness is None else fit.roundness > ROUND


def orientation(direction: np.ndarray) -> np.ndarray:
    """Angle of an axis given by (..., 2) vectors (y, x): atan2(y, x) in degrees, in [0, 180)."""
    angle = np.degrees(np.arctan2(direction[..., 0], direction[..., 1])) % 180.0
    return np.where(angle >= 180.0, 0.0, angle)  # -1e-17 % 180 is 180.0


def finite_displacements(cloud: PositionCloud, weighted: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Displacements (S, K, 2) in float64, 0 where not finite, and the mass (S, K) that each counts with."""
    points = np.array(cloud.displacements, dtype=np.float64)
    good = np.asarray(np.isfinite(points).all(-1))
    mass = np.asarray(good, dtype=np.float64)
    if weighted:
        weights = np.asarray(cloud.point_weights, dtype=np.float64)
        mass = mass * np.where(np.isfinite(weights), weights, 0.0)
    points[~good] = 0.0
    return points, mass


def effective_count(mass: np.ndarray) -> np.ndarray:
    """Kish's effective number of points (K,): the plain count when all masses are equal."""
    squares = (mass**2).sum(0)
    return mass.sum(0) ** 2 / np.where(squares > 0, squares, 1.0)


def weighted_moments(points: np.ndarray, mass: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (K, 2) and unbiased covariance (K, 2, 2) of points (S, K, 2) with reliability weights (S, K)."""
    total = mass.sum(0)
    share = mass / np.where(total > 0, total, 1.0)
    mean = np.einsum("sk,skd->kd", share, points)
    centred = points - mean
    scatter = np.einsum("sk,ski,skj->kij", share, centred, centred)
    unbiased = 1.0 - (share**2).sum(0)  # (n - 1)/n for equal masses
    return mean, scatter / np.where(unbiased > 1e-12, unbiased, 1.0)[:, None, None]


def _states(
    cloud: PositionCloud, effective: np.ndarray, mean: np.ndarray, covariance: np.ndarray
) -> np.ndarray:
    """A word (K,) for each slot; mean and covariance are those of the displacements."""
    sd = np.sqrt(np.clip(np.linalg.eigvalsh(covariance), 0, None))  # ascending
    some_lost = ~np.isfinite(cloud.points).all((0, 2))
    moved = np.hypot(mean[:, 0], mean[:, 1]) > NO_SPREAD
    few = effective < MIN_POINTS - 1e-9
    flat = sd[:, 1] < NO_SPREAD
    line = sd[:, 0] < ON_A_LINE * sd[:, 1]
    cases = [few & some_lost, few, flat & moved, flat, line]
    words = ["not finite", "too few points", "equal points", "undeformed", "on a line"]
    return np.select(cases, words, default="ok")
