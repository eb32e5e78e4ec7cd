"""Does a measure of the layers rise with depth?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from icnn_core.errors import check_name
from icnn_viz.records import PositionCloud
from icnn_viz.statistics.tables import to_table

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "measure:str state:str layers:int kendall kendall_low kendall_high p_kendall "
    "spearman spearman_low spearman_high slope rise"
)
MIN_LAYERS = 5
LENGTHS = ("sd_major", "sd_minor", "spread")
MEASURES = ("elongation", "elongation_outer", "sd_major", "sd_minor", "spread")


def depth_trends(
    layers: pd.DataFrame, measures: Sequence[str] = MEASURES, *, level: float = 0.95
) -> pd.DataFrame:
    """Whether measures rise with depth, one row a measure. Columns: COLUMNS.

    `slope`: Theil and Sen's, units of the measure a layer; `rise`: slope times the range of depth. `state`:
    "ok", "constant", or under 5 layers with the measure (under 3 nothing is computed) "too few layers", or
    "too few layers measured" if the table has 5 or more, e.g. where layers have too few shapes.

    Args:
        layers: a table of layers, as of `measure_layers`.
        measures: columns of the table.
        level: of the intervals.

    Raises:
        NameNotFoundError: a measure is no column of the table.
    """
    rows = []
    for measure in measures:
        check_name("depth_trends", "measures that are columns of the table", measure, layers.columns)
        kept = layers.dropna(subset=[measure])
        depth, value = kept["depth"].to_numpy(dtype=float), kept[measure].to_numpy(dtype=float)
        row = {"measure": measure, "layers": len(value)} | _trend(depth, value, level)
        if row["state"] == "too few layers" and len(layers) >= MIN_LAYERS:
            row["state"] = "too few layers measured"
        rows.append(row)
    return to_table(rows, COLUMNS)


def in_spacings(layers: pd.DataFrame, clouds: Iterable[PositionCloud]) -> pd.DataFrame:
    """A table of layers with standard deviations and spreads in grid spacings instead of px, so that layers of other
    dilations compare.

    Args:
        layers: as of `measure_layers`, or of `bootstrap_layers` (rows of measures).
        clouds: of all its layers.
    """
    known = {cloud.layer: float(np.sqrt(cloud.spacing.prod())) for cloud in clouds}
    steps = np.array([known[str(layer)] for layer in layers["layer"]])
    if "measure" not in layers.columns:
        return layers.assign(**{name: layers[name] / steps for name in LENGTHS if name in layers.columns})
    steps = np.where(layers["measure"].isin(LENGTHS), steps, 1.0)
    return layers.assign(**{name: layers[name] / steps for name in ("estimate", "low", "high")})


def _trend(depth: np.ndarray, value: np.ndarray, level: float) -> dict[str, object]:
    count = len(value)
    if count < 3:
        return {"state": "too few layers"}
    if np.ptp(value) == 0 or np.ptp(depth) == 0:
        return {"state": "constant"}
    x, y = (of[:, None] - of for of in (depth, value))
    slope = float(np.median(y[x > 0] / x[x > 0]))
    up, rise = np.sign(x), np.sign(y)
    tau, rho = _alike(up, rise), _alike(up.sum(1), rise.sum(1))  # sums of signs: ranks about their mean
    row: dict[str, object] = {"kendall": tau, "p_kendall": _kendall_p(up, rise), "spearman": rho}
    row |= {"slope": slope, "rise": slope * np.ptp(depth)}
    if count < MIN_LAYERS:
        return row | {"state": "too few layers"}
    row["kendall_low"], row["kendall_high"] = _interval(tau, 0.437 / (count - 4), count, level)
    row["spearman_low"], row["spearman_high"] = _interval(rho, 1.06 / (count - 3), count, level)
    return row | {"state": "ok"}


def _alike(a: np.ndarray, b: np.ndarray) -> float:
    # Halves: pairs stand there twice.
    both, one, other = (float((x * y).sum()) / 2 for x, y in ((a, b), (a, a), (b, b)))
    return float(both / np.sqrt(one) / np.sqrt(other))


def _kendall_p(up: np.ndarray, rise: np.ndarray) -> float:
    """Of no trend, from the signs (n, n) of all differences: exact where layers have no ties and are up to 33, or in
    order but for one pair, else by the normal law with the variance of Kendall (1970)."""
    from scipy.special import ndtr

    count = len(up)
    pairs = count * (count - 1)
    excess = float((up * rise).sum() / 2)
    falls = round((pairs / 2 - abs(excess)) / 2)
    if (count <= 33 or falls <= 1) and all(np.count_nonzero(sign) == pairs for sign in (up, rise)):
        shares = np.ones(1)  # of orders with 0, 1, … falling pairs, one more layer at a time
        for layers in range(2, count + 1):
            shares = np.convolve(shares, np.full(layers, 1 / layers))
        return float(min(1.0, 2 * shares[: falls + 1].sum()))
    tied = [(sign == 0).sum(1).astype(float) for sign in (up, rise)]  # of each layer, with itself
    twos, threes = ([((t - 1) * more(t)).sum() for t in tied] for more in (np.ones_like, lambda t: t - 2))
    variance = pairs * (2 * count + 5) - sum(((t - 1) * (2 * t + 5)).sum() for t in tied)
    variance = variance / 18 + twos[0] * twos[1] / (2 * pairs)
    variance += threes[0] * threes[1] / (9 * pairs * (count - 2))
    return float(2 * ndtr(-abs(excess) / np.sqrt(variance)))


def _interval(correlation: float, variance: float, count: int, level: float) -> tuple[float, float]:
    """By Fisher's z, with the variances of Fieller, Hartley and Pearson (1957).

    A correlation of 1 has no z: it counts as one pair of layers short of it.
    """
    from scipy.special import ndtri

    most = 1.0 - 2.0 / (count * (count - 1))
    z = np.arctanh(np.clip(correlation, -most, most))
    half = ndtri((1 + level) / 2) * np.sqrt(variance)
    return min(float(np.tanh(z - half)), correlation), max(float(np.tanh(z + half)), correlation)
