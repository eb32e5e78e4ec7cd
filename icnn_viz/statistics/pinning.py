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
FEWEST = 10
"""Coordinates round lattice lines, or points with a direction, from which on a layer has a measure."""


@once
def measure_pinning(cloud: PositionCloud) -> dict[str, float]:
    """How much oftener coordinates lie near the lattice of pixels than by chance, with a 95 % interval.

    With bilinear interpolation the gradient jumps there. Of the coordinates within 0.15 px of a lattice line that is
    not their own slot's, the share within 0.02 px, over 2/15, which any density gives that does not bend there:
    `pinning`, `pinning_low` and `pinning_high`. The interval is over shapes (jackknife of the share, Student's t).
    Empty where there is no lattice to speak of (slots that are no regular positions), with fewer than 10 such
    coordinates, or without an interval with fewer than five shapes that have one.
    """
    if not cloud.regular:
        return {}
    moves = _moves(cloud)
    line = np.rint(moves)
    away = np.where(line != 0, np.abs(moves - line), np.inf)
    return _over_chance("pinning", away <= NEAR, away <= AROUND, NEAR / AROUND)


@once
def measure_corners(cloud: PositionCloud) -> dict[str, float]:
    """How much oftener points lie on the diagonals from their slots than if all directions were alike, as above.

    In a short training Adam's steps are about as long along y as along x, whatever the gradient: points gather in four
    corners. Of the points farther than 0.05 px from their slots, the share within 10 degrees of a diagonal, over 2/9:
    `corners`, `corners_low` and `corners_high`. Clouds that are longer along y or x lie below 1 without any optimiser's
    doing, so that a value above 1 says more than one below.
    """
    moves = _moves(cloud)
    far = np.hypot(moves[..., 0], moves[..., 1]) > MOVED
    turned = np.degrees(np.arctan2(moves[..., 0], moves[..., 1])) % 90
    return _over_chance("corners", far & (np.abs(turned - 45) <= DIAGONAL), far, 4 * 2 * DIAGONAL / 360)


def _moves(cloud: PositionCloud) -> np.ndarray:
    moves = np.asarray(cloud.displacements, dtype=np.float64)
    return np.where(np.isfinite(moves), moves, 0.0)  # a coordinate at its own slot does not count


def _over_chance(name: str, hits: np.ndarray, among: np.ndarray, expected: float) -> dict[str, float]:
    """The share of hits over the expected one, and its interval over shapes, the first axis."""
    from scipy.special import stdtrit

    near, around = (each.reshape(len(each), -1).sum(1).astype(float) for each in (hits, among))
    if around.sum() < FEWEST:
        return {}
    share = near.sum() / around.sum()
    row = {name: float(share / expected)}
    known = around > 0
    near, around = near[known], around[known]
    shapes = len(near)
    if shapes >= 5:
        left_out = (near.sum() - near) / (around.sum() - around)
        half = stdtrit(shapes - 1, 0.975) * np.sqrt((shapes - 1) * left_out.var())
        row[f"{name}_low"] = float(max(share - half, 0.0) / expected)
        row[f"{name}_high"] = float(min(share + half, 1.0) / expected)
    return row
