"""What training leaves on positions besides shapes: the lattice of pixels, and the corners of Adam's sign steps."""

from __future__ import annotations

import numpy as np

from icnn_viz.records import PositionCloud
from icnn_viz.statistics.once import once

NEAR, AROUND = 0.02, 0.15
"""Near a lattice line, and the surroundings that it is compared with (px)."""
DIAGONAL = 10.0
"""Degrees to either side of a diagonal that count as on it."""
MOVED = 0.05
"""px from its slot beyond which a point has a direction."""
COARSE = (8, 11)
"""Bits that bfloat16 and float16 keep of a number: positions that use just so many were rounded to them."""
STEPS = 4.0
"""Steps of rounding below which a point has no direction that is known to 10 degrees."""
FEWEST = 10
"""Coordinates round lattice lines, or points with a direction, from which on a layer has a measure."""


@once
def measure_pinning(cloud: PositionCloud) -> dict[str, float]:
    """How much oftener coordinates lie near the lattice of pixels than by chance, with a 95 % interval.

    With bilinear interpolation the gradient jumps there. Of the coordinates within 0.15 px of a lattice line that is
    not their own slot's, the share within 0.02 px, over 2/15, which any density gives that does not bend there:
    `pinning`, `pinning_low` and `pinning_high`. Positions that were kept in 16 bits lie on whole steps, lattice lines
    among them: there it is over the steps within 0.02 px by those within 0.15 px. The interval is over shapes
    (jackknife of the share, Student's t; of none or all by the binomial law). Empty where there is no lattice to speak
    of (slots that are no regular positions), with fewer than 10 such coordinates, or without an interval with fewer
    than five shapes that have one.
    """
    if not cloud.regular:
        return {}
    moves = _moves(cloud)
    line = np.rint(moves)
    step = rounding_steps(cloud)
    away = np.where(line != 0, np.abs(moves - line), np.inf)
    near, around = (1 + 2 * np.floor(width / np.where(step > 0, step, 1.0)) for width in (NEAR, AROUND))
    chance = np.where(step > 0, near / around, NEAR / AROUND)
    return _over_chance("pinning", away <= NEAR, away <= AROUND, chance)


@once
def measure_corners(cloud: PositionCloud) -> dict[str, float]:
    """How much oftener points lie on the diagonals from their slots than if all directions were alike, as above.

    In a short training Adam's steps are about as long along y as along x, whatever the gradient: points gather in four
    corners. Of the points farther than 0.05 px from their slots (and than four steps, where they were rounded), the
    share within 10 degrees of a diagonal, over 2/9: `corners`, `corners_low` and `corners_high`. Clouds that are longer
    along y or x lie below 1 without any optimiser's doing, so that a value above 1 says more than one below.
    """
    moves = _moves(cloud)
    far = np.hypot(moves[..., 0], moves[..., 1]) > np.maximum(MOVED, STEPS * rounding_steps(cloud).max(-1))
    turned = np.degrees(np.arctan2(moves[..., 0], moves[..., 1])) % 90
    return _over_chance("corners", far & (np.abs(turned - 45) <= DIAGONAL), far, 4 * 2 * DIAGONAL / 360)


def rounding_steps(cloud: PositionCloud) -> np.ndarray:
    """(S, K, 2), from one number that bfloat16 or float16 has to the next at each position, where all of the cloud are
    such numbers and use all of their bits; else 0. Wherever the file came from, and whatever reads it as."""
    points = np.asarray(cloud.points, dtype=np.float64)
    mantissa, exponent = np.frexp(np.where(np.isfinite(points), points, 0.0))
    for bits in COARSE:
        whole = np.ldexp(mantissa, bits)
        if (whole == np.rint(whole)).all():
            used = (np.abs(whole) % 2 == 1).any()  # whole pixels are such numbers, too, and were not rounded
            return np.ldexp(1.0, exponent - bits) if used else np.zeros(points.shape)
    return np.zeros(points.shape)


def rounding(cloud: PositionCloud) -> np.ndarray:
    """(S, K), by how much (px) two positions differ at most that were one before a file kept them."""
    size = np.abs(np.where(np.isfinite(cloud.points), cloud.points, 0.0))
    steps = np.maximum(size * float(np.finfo(np.float32).eps), rounding_steps(cloud))
    return np.asarray(np.hypot(steps[..., 0], steps[..., 1]))


def _moves(cloud: PositionCloud) -> np.ndarray:
    moves = np.asarray(cloud.displacements, dtype=np.float64)
    return np.where(np.isfinite(moves), moves, 0.0)  # a coordinate at its own slot does not count


def _over_chance(
    name: str, hits: np.ndarray, among: np.ndarray, chance: np.ndarray | float
) -> dict[str, float]:
    """The share of hits over the expected one, and its interval over shapes, the first axis."""
    from scipy.special import stdtrit

    expected = np.where(among, chance, 0.0)
    near, around, known = (
        each.reshape(len(each), -1).sum(1).astype(float) for each in (hits, expected, among)
    )
    if known.sum() < FEWEST:
        return {}
    row = {name: float(near.sum() / around.sum())}
    most = float(known.sum() / around.sum())
    near, around = near[known > 0], around[known > 0]
    shapes = len(near)
    if shapes >= 5:
        left_out = (near.sum() - near) / (around.sum() - around)
        half = stdtrit(shapes - 1, 0.975) * np.sqrt((shapes - 1) * left_out.var())
        low, high = max(row[name] - half, 0.0), min(row[name] + half, most)
        if near.sum() in (0.0, known.sum()):  # shapes are all alike: none of them hits, or none misses
            least = most * 0.025 ** (1 / shapes)
            low, high = (least, most) if near.sum() else (0.0, most - least)
        row |= {f"{name}_low": float(low), f"{name}_high": float(high)}
    return row
