"""One row a layer: how many points, how far they went, how many left the regular square."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from icnn_viz.records import PositionCloud
from icnn_viz.statistics.gaussian import MIN_POINTS, MOVED, NO_SPREAD
from icnn_viz.statistics.once import once
from icnn_viz.statistics.tables import to_table

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "layer:str depth:int kernel_size:str dilation:str sharing:str state:str channels:int shapes:int "
    "slots:int points:int not_finite:int mean_displacement median_displacement largest_displacement "
    "share_moved share_outside share_outside_jitter"
)

_SLOTS, _LENGTHS, _DIRECTIONS = 500, 100, 72  # of the jitter that a share outside is compared with


@once
def summarise(cloud: PositionCloud) -> dict[str, object]:
    """One layer in a row. Lengths in px; a measure that cannot be taken is None.

    `state`: "ok"; "undeformed" (no point farther than 0.01 px from its slot); "hardly moved" (none farther
    than 0.1 px); "too few points" (under 3 shapes); "not finite" (no finite point). `shapes` are the rows of
    `cloud.points`. `share_moved`: finite points farther than 0.1 px from their slot. `share_outside`: finite
    points more than 0.1 px outside the regular square, the bounding box of the slots (the margin keeps a
    start shift out of the count). `share_outside_jitter`: the share that the same lengths in random directions, at any
    slot, would give: more than that was learnt.
    """
    points = np.asarray(cloud.points, dtype=np.float64)
    shapes, taps = points.shape[:2]
    good = np.isfinite(points).all(-1)
    kept = points[good]
    length = np.hypot(*np.moveaxis(kept - np.broadcast_to(cloud.slots, points.shape)[good], -1, 0))
    low, high = cloud.slots.min(0) - MOVED, cloud.slots.max(0) + MOVED
    outside = ((kept < low) | (kept > high)).any(-1)
    some = kept.size > 0
    return {
        "layer": cloud.layer,
        "depth": cloud.depth,
        "kernel_size": f"{cloud.kernel_size[0]}x{cloud.kernel_size[1]}",
        "dilation": f"{cloud.dilation[0]}x{cloud.dilation[1]}",
        "sharing": cloud.sharing,
        "state": _state(shapes, length),
        "channels": cloud.positions.shape[1],
        "shapes": shapes,
        "slots": taps,
        "points": points.shape[0] * taps,
        "not_finite": int((~good).sum()),
        "mean_displacement": float(length.mean()) if some else None,
        "median_displacement": float(np.median(length)) if some else None,
        "largest_displacement": float(length.max()) if some else None,
        "share_moved": float((length > MOVED).mean()) if some else None,
        "share_outside": float(outside.mean()) if some and cloud.regular else None,
        "share_outside_jitter": _outside_by_chance(cloud.slots, length) if some and cloud.regular else None,
    }


def _outside_by_chance(slots: np.ndarray, lengths: np.ndarray) -> float:
    """The share outside the regular square of displacements of these lengths, their directions and slots drawn."""
    some = slots[:: -(-len(slots) // _SLOTS)]
    lengths = np.quantile(lengths, (np.arange(_LENGTHS) + 0.5) / _LENGTHS)
    angles = 2 * np.pi * (np.arange(_DIRECTIONS) + 0.5) / _DIRECTIONS
    ways = lengths[:, None, None] * np.stack([np.sin(angles), np.cos(angles)], -1)
    low, high = slots.min(0) - MOVED, slots.max(0) + MOVED
    found = [((slot + ways < low) | (slot + ways > high)).any(-1).mean() for slot in some]
    return float(np.mean(found))


@once
def moved_shapes(cloud: PositionCloud) -> PositionCloud:
    """The cloud without the shapes that never moved: none of whose finite points lies farther than 0.01 px from
    its slot. Its shapes are then channels of one kernel. A layer where nothing moved stays as it is."""
    length = np.hypot(*np.moveaxis(np.asarray(cloud.displacements, dtype=np.float64), -1, 0))
    still = (np.isnan(length) | (length <= NO_SPREAD)).all(1) & np.isfinite(length).any(1)
    if still.all() or not still.any():
        return cloud
    weights = cloud.weights.reshape(len(cloud.points), -1)[~still][None]
    return replace(cloud, positions=cloud.points[~still][None], weights=weights)


def known_shapes(cloud: PositionCloud) -> int:
    """How many shapes a slot knows the places of: the median slot's finite points. Shapes whose positions are lost are
    shapes of the layer, but nothing can be said by them."""
    return int(np.median(np.isfinite(cloud.points).all(-1).sum(0)))


def summarise_clouds(clouds: Iterable[PositionCloud]) -> pd.DataFrame:
    """`summarise` for every layer, in order of depth; missing measures are NA."""
    return to_table((summarise(cloud) for cloud in sorted(clouds, key=lambda cloud: cloud.depth)), COLUMNS)


def _state(shapes: int, length: np.ndarray) -> str:
    if length.size == 0:
        return "not finite"
    if length.max() <= MOVED:
        return "undeformed" if length.max() <= NO_SPREAD else "hardly moved"
    return "ok" if shapes >= MIN_POINTS else "too few points"
