"""What the third axis of a cloud in space may be."""

from __future__ import annotations

import numpy as np

from icnn_core.errors import check_name
from icnn_viz.figures.marks import finite_points
from icnn_viz.records import SHARING, PositionCloud

MANY_SHAPES = 256
"""Above so many, points in space hide one another, and their density is shown unless something else is asked for."""
THIRD_AXES = ("channel", "weight", "density")
"""The index of a point's shape, the weight that lies there, or how many points lie around, as a surface."""


def to_levels(cloud: PositionCloud, third_axis: str) -> tuple[np.ndarray, str]:
    """(shapes, K) levels of the points and the axis' name, for "channel" and "weight".

    Raises:
        NameNotFoundError: another third axis.
    """
    check_third_axis(third_axis)
    if third_axis == "weight":
        return cloud.point_weights, "|weight|" if cloud.sharing == "none" else "norm of the weights"
    index = np.broadcast_to(np.arange(len(cloud.points))[:, None], cloud.points.shape[:2])
    return index, SHARING[cloud.sharing].axis


def choose_third_axis(third_axis: str, cloud: PositionCloud) -> str:
    """The third axis asked for; of "auto", density for many shapes and else the weight.

    Raises:
        NameNotFoundError: another third axis.
    """
    if third_axis == "auto":
        return "density" if len(cloud.points) > MANY_SHAPES else "weight"
    check_third_axis(third_axis)
    return third_axis


def to_density(
    cloud: PositionCloud, half_width: float, cells: int = 64, *, magnify: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Places (cells,) along either axis and the density (cells, cells), rows y: points per px² and shape.

    A Gaussian kernel density of all slots' points; along either axis Scott's bandwidth of the median slot's standard
    deviation there, at least 0.7 cells. Of a cloud whose displacements are `magnify` times longer than they are it is
    that of the true ones.
    """
    from scipy.ndimage import gaussian_filter

    edges = np.linspace(-half_width, half_width, cells + 1)
    points = finite_points(cloud)
    counts, _, _ = np.histogram2d(points[:, 0], points[:, 1], bins=(edges, edges))
    cell = edges[1] - edges[0]
    moves = cloud.displacements
    finite = np.asarray(np.isfinite(moves).all(-1))
    spreads = [
        moves[finite[:, slot], slot].std(0) for slot in range(moves.shape[1]) if finite[:, slot].sum() > 1
    ]
    widths = np.median(spreads, axis=0) * len(moves) ** (-1 / 6) if spreads else np.zeros(2)
    smooth = gaussian_filter(counts, np.maximum(widths / cell, 0.7), mode="constant")
    return (edges[:-1] + edges[1:]) / 2, smooth * magnify**2 / (cell**2 * len(moves))


def check_third_axis(third_axis: str) -> None:
    """Refuse an unknown third axis.

    Raises:
        NameNotFoundError: not one of THIRD_AXES.
    """
    check_name("third_axis", "a third axis", third_axis, THIRD_AXES)
