"""How far each slot's centre lies from its regular place, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from icnn_viz.records import GaussianFit, PositionCloud
from icnn_viz.statistics.gaussian import fit_gaussians, orientation
from icnn_viz.statistics.once import once
from icnn_viz.statistics.tables import to_table, with_adjusted

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "layer:str depth:int slot:int state:str points:int dy dx distance spacings region_major region_minor "
    "region_orientation t2 p q closeness:str"
)


def test_centres(
    clouds: Iterable[PositionCloud], *, level: float = 0.95, close: float = 0.25
) -> pd.DataFrame:
    """Hotelling's T² of each centre against its slot, one row a slot. Columns: COLUMNS.

    dy, dx, distance and the half axes of the confidence ellipse (region_…) in px; `spacings`: the distance
    in grid spacings, each axis in its own (`PositionCloud.spacing`); `q` = p adjusted over all slots given.
    `closeness`: "close" or "far" if the whole ellipse is, else "unsure"; for slots without a covariance by
    the distance alone, and "unknown" without finite points or regular positions.

    Args:
        clouds: one a layer.
        level: of the confidence ellipse of the centre.
        close: a centre this near to its slot, in grid spacings, is close.
    """
    clouds = sorted(clouds, key=lambda cloud: cloud.depth)
    rows = [row for cloud in clouds for row in _rows(cloud, level, close)]
    return to_table(with_adjusted(rows, ["p"]), COLUMNS)


def centre_region(count: int, level: float = 0.95) -> float:
    """Half axes of the confidence ellipse of a mean (Hotelling), in standard deviations of `count` points."""
    from scipy.special import fdtri

    return float(np.sqrt(2 * (count - 1) / (count - 2) * fdtri(2, count - 2, level) / count))


@once
def _rows(cloud: PositionCloud, level: float, close: float) -> list[dict[str, object]]:
    fit = fit_gaussians(cloud)
    spacing = cloud.spacing
    sd, directions = fit.axes()
    moved = fit.mean - cloud.slots
    widest = np.sqrt(np.linalg.eigvalsh(fit.covariance / np.outer(spacing, spacing))[:, -1])  # in spacings
    rows = []
    for slot, state in enumerate(fit.state):
        row: dict[str, object] = {"layer": cloud.layer, "depth": cloud.depth, "slot": slot, "state": state}
        row |= {"points": fit.count[slot], "closeness": "unknown"}
        if fit.count[slot] > 0 and cloud.regular:
            spacings, half = float(np.hypot(*(moved[slot] / spacing))), 0.0
            if state == "ok":
                row |= _hotelling(fit, slot, moved[slot])
                scale = centre_region(int(fit.count[slot]), level)
                half = scale * widest[slot]
                row |= {"region_major": scale * sd[slot, 0], "region_minor": scale * sd[slot, 1]}
                row["region_orientation"] = float(orientation(directions[slot, 0]))
            row |= {"dy": moved[slot, 0], "dx": moved[slot, 1], "distance": float(np.hypot(*moved[slot]))}
            row |= {"spacings": spacings, "closeness": _word(spacings, half, close)}
        rows.append(row)
    return rows


def _word(distance: float, half: float, limit: float) -> str:
    if distance + half <= limit:
        return "close"
    return "far" if distance - half > limit else "unsure"


def _hotelling(fit: GaussianFit, slot: int, moved: np.ndarray) -> dict[str, object]:
    from scipy.special import fdtrc

    count = int(fit.count[slot])
    t2 = float(count * moved @ np.linalg.solve(fit.covariance[slot], moved))
    return {"t2": t2, "p": float(fdtrc(2, count - 2, t2 * (count - 2) / (2 * (count - 1))))}
