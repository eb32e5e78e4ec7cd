"""Does a measure of the layers rise with depth?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from icnn_core.errors import NameNotFoundError, nearest_names
from icnn_viz.statistics.tables import to_table

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "measure:str state:str layers:int kendall kendall_low kendall_high p_kendall "
    "spearman spearman_low spearman_high slope rise"
)
MIN_LAYERS = 5


@dataclass(frozen=True)
class DepthTrend:
    """How to look for a trend. Calling it with a table of layers (as of `measure_layers`) gives one row a
    measure.

    Attributes:
        measures: columns of the table.
        level: of the intervals.
    """

    measures: Sequence[str] = ("elongation", "elongation_outer", "sd_major", "sd_minor", "spread")
    level: float = 0.95

    def __call__(self, layers: pd.DataFrame) -> pd.DataFrame:
        """Columns: COLUMNS. `slope`: Theil and Sen's, units of the measure a layer; `rise`: slope times the
        range of depth. `state`: "ok", "too few layers" (under 5 with the measure; under 3 nothing is
        measured) or "constant".

        Raises:
            NameNotFoundError: a measure is no column of the table.
        """
        rows = []
        for measure in self.measures:
            if measure not in layers.columns:
                raise NameNotFoundError(
                    "DepthTrend",
                    needed="measures that are columns of the table",
                    got=repr(measure),
                    fix=nearest_names(measure, layers.columns),
                )
            kept = layers.dropna(subset=[measure])
            depth, value = kept["depth"].to_numpy(dtype=float), kept[measure].to_numpy(dtype=float)
            rows.append({"measure": measure, "layers": len(value)} | self._trend(depth, value))
        return to_table(rows, COLUMNS)

    def _trend(self, depth: np.ndarray, value: np.ndarray) -> dict[str, object]:
        from scipy.stats import kendalltau, spearmanr, theilslopes

        if len(value) < 3:
            return {"state": "too few layers"}
        if np.ptp(value) == 0 or np.ptp(depth) == 0:
            return {"state": "constant"}
        tau, p = np.array(kendalltau(depth, value))
        rho = float(np.array(spearmanr(depth, value))[0])
        slope = theilslopes(value, depth)[0]
        row: dict[str, object] = {"kendall": tau, "p_kendall": p, "spearman": rho}
        row |= {"slope": slope, "rise": slope * np.ptp(depth)}
        if len(value) < MIN_LAYERS:
            return row | {"state": "too few layers"}
        row["kendall_low"], row["kendall_high"] = self._interval(tau, 0.437 / (len(value) - 4), len(value))
        row["spearman_low"], row["spearman_high"] = self._interval(rho, 1.06 / (len(value) - 3), len(value))
        return row | {"state": "ok"}

    def _interval(self, correlation: float, variance: float, count: int) -> tuple[float, float]:
        """By Fisher's z, with the variances of Fieller, Hartley and Pearson (1957).

        A correlation of 1 has no z: it counts as one pair of layers short of it.
        """
        from scipy.special import ndtri

        most = 1.0 - 2.0 / (count * (count - 1))
        z = np.arctanh(np.clip(correlation, -most, most))
        half = ndtri((1 + self.level) / 2) * np.sqrt(variance)
        return min(float(np.tanh(z - half)), correlation), max(float(np.tanh(z + half)), correlation)
