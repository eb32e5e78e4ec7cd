"""Do positions pile up on the lattice of pixels? With bilinear interpolation the gradient jumps there."""

from __future__ import annotations

import numpy as np

from icnn_viz.records import PositionCloud

NEAR, AROUND = 0.02, 0.15
"""Near a lattice line, and the surroundings that it is compared with (px)."""
FEWEST = 10
"""Coordinates round lattice lines from which on a layer has a measure."""


def measure_pinning(cloud: PositionCloud) -> dict[str, float]:
    """How much oftener coordinates lie near the lattice of pixels than by chance, with a 95 % interval.

    Of the coordinates within 0.15 px of a lattice line that is not their own slot's, the share within 0.02 px, over
    2/15, which any density gives that does not bend there: `pinning`, `pinning_low` and `pinning_high`. The interval
    is over shapes (jackknife of the share, Student's t). Empty where there is no lattice to speak of (slots that are
    no regular positions), with fewer than 10 such coordinates, or without an interval with fewer than five shapes
    that have one.
    """
    from scipy.special import stdtrit

    if not cloud.regular:
        return {}
    moves = np.asarray(cloud.displacements, dtype=np.float64)
    moves = np.where(np.isfinite(moves), moves, 0.0)  # a coordinate at its own slot does not count
    line = np.rint(moves)
    away = np.where(line != 0, np.abs(moves - line), np.inf)
    around = (away <= AROUND).sum((1, 2)).astype(float)
    near = (away <= NEAR).sum((1, 2)).astype(float)
    if around.sum() < FEWEST:
        return {}
    expected = NEAR / AROUND
    share = near.sum() / around.sum()
    row = {"pinning": float(share / expected)}
    known = around > 0
    near, around = near[known], around[known]
    shapes = len(near)
    if shapes >= 5:
        left_out = (near.sum() - near) / (around.sum() - around)
        half = stdtrit(shapes - 1, 0.975) * np.sqrt((shapes - 1) * left_out.var())
        row["pinning_low"] = float(max(share - half, 0.0) / expected)
        row["pinning_high"] = float(min(share + half, 1.0) / expected)
    return row
