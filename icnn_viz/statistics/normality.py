"""Are a slot's points Gaussian? Effect sizes on all points, then p-values on a subsample of fixed size."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from math import comb
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from icnn_viz.records import PositionCloud
from icnn_viz.statistics.gaussian import ON_A_LINE, fit_gaussians
from icnn_viz.statistics.once import once
from icnn_viz.statistics.tables import to_table, with_adjusted

if TYPE_CHECKING:
    import pandas as pd

_TESTS = ("skewness", "kurtosis", "henze_zirkler", "gap")
COLUMNS = (
    "layer:str depth:int slot:int state:str points:int skewness excess_kurtosis least_kurtosis "
    "gap roughly_gaussian:bool tested:int henze_zirkler p_skewness p_kurtosis p_henze_zirkler p_gap q_skewness "
    "q_kurtosis q_henze_zirkler q_gap"
)


class Mardia(NamedTuple):
    """Mardia's measures (1970): skewness b1 (0 for a Gaussian) and kurtosis b2 less p(p + 2) (0 for a
    Gaussian)."""

    skewness: float
    excess_kurtosis: float
    p_skewness: float
    p_kurtosis: float


def test_normality(
    clouds: Iterable[PositionCloud],
    *,
    subsample: int = 500,
    simulations: int = 2000,
    seed: int = 0,
    small_skewness: float = 0.5,
    small_kurtosis: float = 2.0,
    small_gap: float = 0.1,
    two_humps: float = -0.75,
) -> pd.DataFrame:
    """How far each slot's points are from a Gaussian, one row a slot. Columns: COLUMNS.

    Slots whose state is not "ok" have no measures, only the word. p-values are adjusted over all slots (`q_…`).

    Args:
        clouds: one a layer.
        subsample: points a p-value is taken from, at most; effect sizes are taken from all.
        simulations: Gaussian samples behind the Monte Carlo p of `gap`.
        seed: of the subsamples and the simulations.
        small_skewness, small_kurtosis, small_gap: a slot is roughly Gaussian if none of its effect sizes is
            larger,
        two_humps: and if its least kurtosis along a line is not smaller.
    """
    clouds = sorted(clouds, key=lambda cloud: cloud.depth)
    rows = [row for cloud in clouds for row in _test(cloud, subsample, simulations, seed)]
    for row in rows:
        if row["state"] == "ok":
            row["roughly_gaussian"] = (
                row["skewness"] <= small_skewness
                and abs(row["excess_kurtosis"]) <= small_kurtosis
                and row["gap"] <= small_gap
                and row["least_kurtosis"] >= two_humps
            )
    return to_table(with_adjusted(rows, [f"p_{test}" for test in _TESTS]), COLUMNS)


@once
def _test(cloud: PositionCloud, subsample: int, simulations: int, seed: int) -> list[dict[str, Any]]:
    """The rows of one layer, neither judged nor adjusted."""
    fit, rng, rows = fit_gaussians(cloud), np.random.default_rng(seed), []
    for slot, state in enumerate(fit.state):
        row: dict[str, Any] = {"layer": cloud.layer, "depth": cloud.depth, "slot": slot, "state": state}
        row["points"] = fit.count[slot]
        if state == "ok":
            points = np.asarray(cloud.displacements[:, slot], dtype=np.float64)
            points = points[np.isfinite(points).all(1)]
            whole = mardia(points)
            row |= {"skewness": whole.skewness, "excess_kurtosis": whole.excess_kurtosis}
            row |= {"gap": gap_to_chi2(points), "least_kurtosis": least_kurtosis(points)}
            if len(points) > subsample:
                points = points[rng.choice(len(points), subsample, replace=False)]
            row |= _p_values(points, simulations, seed)
        rows.append(row)
    return rows


def _p_values(points: np.ndarray, simulations: int, seed: int) -> dict[str, object]:
    spread = np.linalg.eigvalsh(np.cov(points.T))
    if spread[0] <= ON_A_LINE**2 * spread[1]:  # nearly all points are equal, and the others were not drawn
        return {"tested": 0}
    part, (statistic, p) = mardia(points), henze_zirkler(points)
    beyond = np.count_nonzero(_null_gaps(len(points), simulations, seed) >= gap_to_chi2(points))
    return {
        "tested": len(points),
        "henze_zirkler": statistic,
        "p_skewness": part.p_skewness,
        "p_kurtosis": part.p_kurtosis,
        "p_henze_zirkler": p,
        "p_gap": (1 + beyond) / (1 + simulations),
    }


def mahalanobis_squared(points: np.ndarray) -> np.ndarray:
    """(n,) squared distances of points (n, p) from their mean in their own unbiased covariance, for QQ
    plots."""
    white = _whitened(points)
    return (white**2).sum(1) * (len(points) - 1) / len(points)


def mardia(points: np.ndarray) -> Mardia:
    """Mardia's skewness and kurtosis of points (n, p), p-values from chi² (small-sample factor) and the
    normal.

    b1 = mean over pairs of (z_i·z_j)³ and b2 = mean of |z_i|⁴, z whitened with the covariance of divisor n.
    """
    from scipy.special import chdtrc, ndtr

    white = _whitened(points)
    count, p = white.shape
    third = np.einsum("na,nb,nc->abc", white, white, white, optimize=True) / count
    skewness = float((third**2).sum())  # the mean over pairs, without the pairs
    kurtosis = float(((white**2).sum(1) ** 2).mean()) - p * (p + 2)
    small = (p + 1) * (count + 1) * (count + 3) / (count * ((count + 1) * (p + 1) - 6))
    z = kurtosis / np.sqrt(8 * p * (p + 2) / count)
    p_skewness = chdtrc(p * (p + 1) * (p + 2) / 6, count * skewness * small / 6)
    return Mardia(skewness, kurtosis, float(p_skewness), float(2 * ndtr(-abs(z))))


def least_kurtosis(points: np.ndarray) -> float:
    """The smallest excess kurtosis of points (n, 2) projected on a line, over all directions in steps of 2°: a
    Gaussian has 0, two equal ones s standard deviations apart −2 (s/2)⁴ / (1 + (s/2)²)² along the line through them.
    """
    angles = np.radians(np.arange(0, 180, 2))
    y, x = _whitened(points).T
    moments = np.array([(y**power * x ** (4 - power)).mean() for power in range(5)])
    along = np.stack(
        [comb(4, power) * np.sin(angles) ** power * np.cos(angles) ** (4 - power) for power in range(5)]
    )
    return float((moments @ along).min() - 3)


def henze_zirkler(points: np.ndarray) -> tuple[float, float]:
    """Henze and Zirkler's statistic (1990) of points (n, p), and its p from the log-normal approximation."""
    from scipy.special import ndtr

    white = _whitened(points)
    count, p = white.shape
    b2 = 0.5 * ((2 * p + 1) * count / 4) ** (2 / (p + 4))  # beta²
    norms = (white**2).sum(1)
    pairs = norms[:, None] + norms - 2 * white @ white.T
    statistic = (
        np.exp(-b2 / 2 * pairs).sum() / count
        - 2 * (1 + b2) ** (-p / 2) * np.exp(-b2 / (2 * (1 + b2)) * norms).sum()
        + count * (1 + 2 * b2) ** (-p / 2)
    )
    a, w = 1 + 2 * b2, (1 + b2) * (1 + 3 * b2)
    mean = 1 - a ** (-p / 2) * (1 + p * b2 / a + p * (p + 2) * b2**2 / (2 * a**2))
    variance = (
        2 * (1 + 4 * b2) ** (-p / 2)
        + 2 * a ** (-p) * (1 + 2 * p * b2**2 / a**2 + 3 * p * (p + 2) * b2**4 / (4 * a**4))
        - 4 * w ** (-p / 2) * (1 + 3 * p * b2**2 / (2 * w) + p * (p + 2) * b2**4 / (2 * w**2))
    )
    log_variance = np.log1p(variance / mean**2)
    scale = mean / np.exp(log_variance / 2)
    p_value = ndtr(-np.log(statistic / scale) / np.sqrt(log_variance)) if statistic > 0 else 1.0
    return float(statistic), float(p_value)


def gap_to_chi2(points: np.ndarray) -> float:
    """Largest distance between the distribution functions of Mahalanobis² of points (n, 2) and of chi², 2
    d.o.f."""
    return float(_gaps(mahalanobis_squared(points)[None])[0])


def _gaps(squared: np.ndarray) -> np.ndarray:
    """Kolmogorov's distance (m,) to chi² with 2 degrees of freedom, of m samples (m, n)."""
    count = squared.shape[1]
    expected = -np.expm1(-np.sort(squared, axis=1) / 2)
    steps = np.arange(count + 1) / count
    return np.maximum((steps[1:] - expected).max(1), (expected - steps[:-1]).max(1))


@lru_cache(maxsize=64)
def _null_gaps(count: int, simulations: int, seed: int) -> np.ndarray:
    """Gaps (simulations,) of Gaussian samples with fitted parameters; whatever the covariance, they are the
    same."""
    rng = np.random.default_rng(seed)
    gaps = []
    step = max(1, 2_000_000 // count)
    for done in range(0, simulations, step):
        y, x = rng.standard_normal((2, min(step, simulations - done), count))
        y, x = (a - a.mean(1, keepdims=True) for a in (y, x))
        yy, yx, xx = (np.mean(a * b, axis=1, keepdims=True) for a, b in ((y, y), (y, x), (x, x)))
        squared = (xx * y**2 - 2 * yx * y * x + yy * x**2) / (yy * xx - yx**2)
        gaps.append(_gaps(squared * (count - 1) / count))
    return np.concatenate(gaps)


def _whitened(points: np.ndarray) -> np.ndarray:
    """Points (n, p) less their mean, with unit covariance (divisor n)."""
    centred = points - points.mean(0)
    factor = np.linalg.cholesky(centred.T @ centred / len(points))
    return np.linalg.solve(factor, centred.T).T
