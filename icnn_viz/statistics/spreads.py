"""Do the slots of a layer have one covariance? Do the outer ones point outwards?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from icnn_viz.records import GaussianFit, PositionCloud
from icnn_viz.statistics.elongation import log_covariance
from icnn_viz.statistics.gaussian import fit_gaussians, may_be_round
from icnn_viz.statistics.once import once
from icnn_viz.statistics.tables import to_table, with_adjusted

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "layer:str depth:int state:str slots:int widest:int narrowest:int spread_ratio outer_to_centre box_m p_box "
    "permuted:int permuted_slots:int covariance_distance p q"
)
_SLOTS = 128  # whose covariances are compared
RADIAL_COLUMNS = (
    "layer:str depth:int slot:int state:str sd_radial sd_tangential radial_to_tangential off_radius"
)


def test_spreads(
    clouds: Iterable[PositionCloud], *, permutations: int = 1000, subsample: int = 500, seed: int = 0
) -> pd.DataFrame:
    """Whether the slots of a layer have one covariance, one row a layer. Columns: COLUMNS.

    `widest`, `narrowest`: slots; `spread_ratio` of their spreads; `outer_to_centre`: median outer spread over
    the centre slot's (NA without a centre slot); `box_m` and its chi² p `p_box`; `covariance_distance`: how
    far, root mean square, the logarithms of the slots' covariances lie from their mean (Frobenius; log-Euclidean,
    Arsigny et al. 2006), less what chance gives; `p`: of that distance by permutation of `permuted` shapes
    and `permuted_slots` slots; `q`: p adjusted over the layers. `state` is "ok" or "too few slots".

    Args:
        clouds: one a layer.
        permutations: of the slots within shapes, the identity among them.
        subsample: shapes that are permuted, at most; of their slots at most 128, drawn by chance, are, as the
            cost grows with the square of the slots.
        seed: of both.
    """
    clouds = sorted(clouds, key=lambda cloud: cloud.depth)
    rows = [_test(cloud, permutations, subsample, seed) for cloud in clouds]
    return to_table(with_adjusted(rows, ["p"]), COLUMNS)


@once
def _test(cloud: PositionCloud, permutations: int, subsample: int, seed: int) -> dict[str, object]:
    """The row of one layer, p not yet adjusted."""
    fit = fit_gaussians(cloud)
    ok = np.flatnonzero(fit.state == "ok")
    row: dict[str, object] = {"layer": cloud.layer, "depth": cloud.depth, "slots": len(ok)}
    if len(ok) < 2:
        return row | {"state": "too few slots"}
    spread = np.linalg.det(fit.covariance[ok]) ** 0.25
    row |= {"state": "ok", "widest": ok[spread.argmax()], "narrowest": ok[spread.argmin()]}
    row["spread_ratio"] = spread.max() / spread.min()
    outer = is_outer(cloud.slots)[ok]
    if outer.any() and not outer.all():
        row["outer_to_centre"] = np.median(spread[outer]) / spread[~outer][0]
    row["box_m"], row["p_box"] = box_m(fit.covariance[ok], fit.count[ok])
    rng = np.random.default_rng(seed)
    some = np.sort(rng.permutation(ok)[:_SLOTS])
    return row | _permute(cloud.displacements[:, some], permutations, subsample, rng)


def radial_spreads(clouds: Iterable[PositionCloud]) -> pd.DataFrame:
    """One row an outer slot: standard deviations (px) along the slot's radius and its tangent, their ratio,
    and `off_radius`, the angle in degrees (0 to 90) between the major axis and the radius, NA where the cloud
    may be round. Columns: RADIAL_COLUMNS.
    """
    clouds = sorted(clouds, key=lambda cloud: cloud.depth)
    return to_table((row for cloud in clouds for row in measure_radial(cloud)), RADIAL_COLUMNS)


@once
def measure_radial(cloud: PositionCloud) -> list[dict[str, object]]:
    """The rows of one layer, as of `radial_spreads`; what a slot has not is left out."""
    fit, rows = fit_gaussians(cloud), []
    _, directions = fit.axes()
    for slot in np.flatnonzero(is_outer(cloud.slots)):
        row: dict[str, object] = {"layer": cloud.layer, "depth": cloud.depth, "slot": slot}
        row["state"] = fit.state[slot]
        if fit.state[slot] == "ok":
            row |= _radial(fit, int(slot), cloud.slots[slot], directions[slot, 0])
        rows.append(row)
    return rows


def is_outer(slots: np.ndarray) -> np.ndarray:
    """(K,) bool: all slots but the one at the kernel's centre, which even kernels have not."""
    return np.hypot(slots[:, 0], slots[:, 1]) > 1e-9


def box_m(covariances: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """Box's M (1949) of covariances (K, p, p) from counts (K,) points, and its p from chi²."""
    from scipy.special import chdtrc

    free = np.asarray(counts, dtype=np.float64) - 1
    slots, p = covariances.shape[:2]
    pooled = np.einsum("k,kij->ij", free, covariances) / free.sum()
    logs = np.linalg.slogdet(covariances)[1]
    m = float(free.sum() * np.linalg.slogdet(pooled)[1] - free @ logs)
    shrink = ((1 / free).sum() - 1 / free.sum()) * (2 * p**2 + 3 * p - 1) / (6 * (p + 1) * (slots - 1))
    return m, float(chdtrc(p * (p + 1) * (slots - 1) / 2, max(m * (1 - shrink), 0.0)))


def _permute(
    points: np.ndarray, permutations: int, subsample: int, rng: np.random.Generator
) -> dict[str, object]:
    """The distance of covariances and its p when each shape's slots are shifted cyclically by chance; points
    (S, K, 2)."""
    points = np.asarray(points, dtype=np.float64)
    points = points[np.isfinite(points).all((1, 2))]
    if len(points) > subsample:
        points = points[rng.choice(len(points), subsample, replace=False)]
    if len(points) < 3:
        return {"permuted": 0, "permuted_slots": points.shape[1]}
    y, x = np.moveaxis(points - points.mean(0), -1, 0)
    moments = np.stack([y, x, y * y, y * x, x * x], axis=-1)  # (S, K, 5)
    shapes, slots = y.shape
    shift = rng.integers(slots, size=(permutations, shapes))
    shift[0] = 0  # the slots as they are
    sums = np.zeros((permutations, slots, 5))
    for turn in range(slots):
        turned = (shift == turn).astype(np.float64) @ moments.reshape(shapes, -1)
        sums += np.roll(turned.reshape(sums.shape), turn, axis=1)
    y, x, yy, yx, xx = np.moveaxis(sums / shapes, -1, 0)
    m, u, v = np.moveaxis(log_covariance(yy - y * y, yx - y * x, xx - x * x), -1, 0)
    # Frobenius: each stands twice in its matrix.
    squares = 2 * np.sum([part.var(axis=1) for part in (m, u, v)], axis=0)
    return {
        "permuted": shapes,
        "permuted_slots": slots,
        "covariance_distance": float(np.sqrt(max(squares[0] - squares[1:].mean(), 0.0)))
        if permutations > 1
        else None,
        "p": float(np.mean(squares >= squares[0] - 1e-9 * abs(squares[0]))),
    }


def _radial(fit: GaussianFit, slot: int, place: np.ndarray, major: np.ndarray) -> dict[str, float]:
    radius = place / np.hypot(*place)
    tangent = np.array([-radius[1], radius[0]])
    covariance = fit.covariance[slot]
    radial, tangential = (float(np.sqrt(a @ covariance @ a)) for a in (radius, tangent))
    row = {"sd_radial": radial, "sd_tangential": tangential, "radial_to_tangential": radial / tangential}
    if not may_be_round(fit)[slot]:
        row["off_radius"] = float(np.degrees(np.arccos(min(1.0, abs(float(major @ radius))))))
    return row
