"""Two runs, two epochs: how far apart their clouds are, slot by slot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from icnn_core.errors import ShapeError
from icnn_viz.records import PositionCloud
from icnn_viz.statistics.pairing import NUMBERED, pair_layers, pair_slots
from icnn_viz.statistics.pinning import rounding
from icnn_viz.statistics.tables import to_table, with_adjusted

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "layer_a:str layer_b:str slot:int slot_b:int pairing:str state:str points_a:int points_b:int "
    "shift_y shift_x mean_move energy energy_coefficient p q wasserstein wasserstein_floor"
)
_SPLITS = 5  # random halvings behind wasserstein_floor
_ASSIGNED = 256  # points of each cloud that are assigned to each other, at most: the cost grows with the cube


def compare_runs(
    first: Sequence[PositionCloud],
    second: Sequence[PositionCloud],
    *,
    paired: bool = False,
    permutations: int = 500,
    subsample: int = 300,
    seed: int = 0,
) -> pd.DataFrame:
    """How far the layers of one name are apart, one row a slot. Columns: COLUMNS; lengths in px, definitions in
    docs/statistics.md.

    Slots are paired by their places: `slot_b` is the second's, `pairing` how it was found (see `pair_slots`);
    where there are no regular positions, by number, and positions are compared, not displacements. `shift_y`,
    `shift_x`: the second centre less the first, on all finite points. `mean_move`: mean distance
    between the two positions of a shape (paired only). `q`: p adjusted over the slots of all layers. `state`: "ok",
    "equal" (the same points, but for rounding: distances are 0, p is 1) or "too few points" (under 3 finite ones on a
    side). A layer that only one of the two has is a row without numbers: "only in the first", "only in the second".

    Args:
        first, second: the layers of two networks, or of one at two times.
        paired: shape i of one cloud is shape i of the other (two epochs of one run).
        permutations: behind p, the identity among them.
        subsample: shapes of each cloud, at most.
        seed: of both.

    Raises:
        ShapeError: other slots, or another number of shapes where `paired`.
    """
    pairs, *alone = pair_layers(first, second)
    rows = [row for a, b in pairs for row in _rows(a, b, paired, permutations, subsample, seed)]
    rows = list(with_adjusted(rows, ["p"]))
    for side, word, names in zip("ab", ("first", "second"), alone, strict=True):
        rows += [{f"layer_{side}": name, "state": f"only in the {word}"} for name in names]
    return to_table(rows, COLUMNS)


def _rows(
    first: PositionCloud, second: PositionCloud, paired: bool, permutations: int, subsample: int, seed: int
) -> list[dict[str, object]]:
    if paired and len(first.points) != len(second.points):
        needed, got = "as many shapes on both sides", f"{len(first.points)} and {len(second.points)}"
        fix = "Compare layers of one size; or leave out paired."
        raise ShapeError(f"comparison of {first.layer} and {second.layer}", needed=needed, got=got, fix=fix)
    order, pairing = pair_slots(first, second)
    places = [cloud.displacements if pairing != NUMBERED else cloud.points for cloud in (first, second)]
    rounded = rounding(first), rounding(second)
    rng = np.random.default_rng(seed)
    rows = []
    for slot, slot_b in enumerate(order):
        a, b = (np.asarray(of, dtype=np.float64) for of in (places[0][:, slot], places[1][:, slot_b]))
        row: dict[str, object] = {"layer_a": first.layer, "layer_b": second.layer, "slot": slot}
        row |= {"slot_b": slot_b, "pairing": pairing}
        steps = rounded[0][:, slot], rounded[1][:, slot_b]
        rows.append(row | _compare(a, b, steps, paired, permutations, subsample, rng))
    return rows


def _compare(
    a: np.ndarray,
    b: np.ndarray,
    steps: tuple[np.ndarray, np.ndarray],
    paired: bool,
    permutations: int,
    subsample: int,
    rng: np.random.Generator,
) -> dict[str, object]:
    good_a, good_b = np.isfinite(a).all(1), np.isfinite(b).all(1)
    if paired:
        good_a = good_b = good_a & good_b
    a, b, steps = a[good_a], b[good_b], (steps[0][good_a], steps[1][good_b])
    row: dict[str, object] = {"points_a": len(a), "points_b": len(b)}
    if min(len(a), len(b)):
        row |= dict(zip(("shift_y", "shift_x"), b.mean(0) - a.mean(0), strict=True))
    if min(len(a), len(b)) < 3:
        return row | {"state": "too few points"}
    if paired:
        row["mean_move"] = np.hypot(*(b - a).T).mean()
    if _are_equal(a, b, *steps):
        return row | {"state": "equal", "energy": 0, "energy_coefficient": 0, "p": 1.0, "wasserstein": 0}
    drawn = rng.permutation(max(len(a), len(b)))  # the same shapes of both, where there are as many
    a, b = (of[drawn[drawn < len(of)][:subsample]] for of in (a, b))
    pooled = _distances(np.concatenate([a, b]), np.concatenate([a, b]))
    energy, coefficient = energy_distance(a, b, paired=paired)
    row |= {"state": "ok", "energy": energy, "energy_coefficient": coefficient}
    row["p"] = _permuted_p(pooled, len(a), paired, permutations, rng)
    return row | _wasserstein_and_floor(a, b, rng)


def _are_equal(a: np.ndarray, b: np.ndarray, steps_a: np.ndarray, steps_b: np.ndarray) -> bool:
    """Whether two sets hold the same points, in any order; in theirs, or where all are one, to the steps that files
    keep of each."""
    if np.ptp(np.concatenate([a, b]), axis=0).max() <= max(steps_a.max(), steps_b.max()):
        return True
    if len(a) != len(b):
        return False
    alike = np.hypot(*(a - b).T) <= np.maximum(steps_a, steps_b)
    return bool(alike.all()) or np.array_equal(a[np.lexsort(a.T)], b[np.lexsort(b.T)])


def _permuted_p(
    pooled: np.ndarray, count: int, paired: bool, permutations: int, rng: np.random.Generator
) -> float:
    """Share of permutations whose energy is not below the observed one; pooled (N, N)."""
    total = len(pooled)
    label = np.where(np.arange(total) < count, 1.0 / count, -1.0 / (total - count))
    labels = np.tile(label, (permutations, 1))  # the first stays as it is
    if paired:
        swap = rng.choice([-1.0, 1.0], size=(permutations - 1, count))
        labels[1:] *= np.concatenate([swap, swap], axis=1)
    else:
        labels[1:] = rng.permuted(labels[1:], axis=1)
    energies = -np.einsum("bi,bi->b", labels @ pooled, labels)  # 2E|X-Y| - E|X-X'| - E|Y-Y'|
    return float(np.mean(energies >= energies[0] - 1e-12 * pooled.max()))


def energy_distance(a: np.ndarray, b: np.ndarray, *, paired: bool = False) -> tuple[float, float]:
    """2E|X-Y| - E|X-X'| - E|Y-Y'| of points (n, p) and (m, p) in their unit, and its share of 2E|X-Y|.

    Székely and Rizzo (2013). Means go over pairs of different points, so that samples of one law have an
    energy of 0 on average, sometimes below, however few they are; clouds apart have a share of 1 at most. The
    share is 0 where all points are equal.

    Args:
        a, b: two points or more each.
        paired: point i of one and point i of the other belong together, and are no pair of X and Y.
    """
    between = _distances(a, b)
    cross = 2 * (_mean_of_others(between) if paired else between.mean())
    energy = cross - _mean_of_others(_distances(a, a)) - _mean_of_others(_distances(b, b))
    return float(energy), float(energy / cross) if cross > 0 else 0.0


def wasserstein_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Mean distance that the points (n, p) must move to become b (n, p): exact, by assignment; in their unit.

    Raises:
        ShapeError: another number of points.
    """
    from scipy.optimize import linear_sum_assignment

    if a.shape != b.shape:
        needed, got = "two sets of one shape", f"{a.shape} and {b.shape}"
        raise ShapeError("wasserstein_distance", needed=needed, got=got, fix="Draw a subsample.")
    cost = _distances(a, b)
    return float(cost[linear_sum_assignment(cost)].mean())


def _wasserstein_and_floor(a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> dict[str, object]:
    """Distance, and what random halves of the pooled points show, both for equally many points, 256 at
    most."""
    count = min(len(a), len(b), _ASSIGNED)
    pooled = np.concatenate([a[:count], b[:count]])
    floor = []
    for _ in range(_SPLITS):
        order = rng.permutation(2 * count)
        floor.append(wasserstein_distance(pooled[order[:count]], pooled[order[count:]]))
    return {
        "wasserstein": wasserstein_distance(a[:count], b[:count]),
        "wasserstein_floor": float(np.mean(floor)),
    }


def _mean_of_others(distances: np.ndarray) -> float:
    """The mean of (n, n) distances off the diagonal."""
    count = len(distances)
    return float((distances.sum() - np.trace(distances)) / (count * (count - 1)))


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    from scipy.spatial.distance import cdist

    return cdist(a, b)
