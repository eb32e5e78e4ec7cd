"""Intervals for the medians of layers: shapes (channels) are resampled, all their slots together."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from icnn_core.errors import ArgumentError
from icnn_viz.records import PositionCloud
from icnn_viz.statistics.elongation import (
    ON_A_LINE,
    form_vectors,
    measure_form,
    median_elongation,
    moment_units,
)
from icnn_viz.statistics.gaussian import finite_displacements, fit_gaussians
from icnn_viz.statistics.tables import to_table

if TYPE_CHECKING:
    import pandas as pd

LAYER_MEASURES = ("sd_major", "sd_minor", "elongation", "spread")
_BUNDLES = 4096
_SLOTS = 256
_CHUNK = 4_000_000  # resampled counts held at once


def bootstrap_layers(
    clouds: Iterable[PositionCloud],
    *,
    resamples: int = 2000,
    level: float = 0.95,
    weighted: bool = False,
    seed: int = 0,
) -> pd.DataFrame:
    """One row a layer and measure: layer, depth, state, slots, measure, estimate, low, high.

    Measures are medians over the layer's slots that have a covariance (over 256 of them, drawn by chance,
    where there are more); intervals are percentiles. The elongation is freed of its bias, and its interval
    begins at 1 where the slots may be round (`median_elongation`). Layers without such a slot have NA.

    Args:
        clouds: layers.
        resamples: how many.
        level: of the interval.
        weighted: points count by |w|.
        seed: same seed, same table.

    Raises:
        ArgumentError: a number out of range.
    """
    if resamples < 1 or not 0 < level < 1:
        needed, got = "resamples >= 1 and 0 < level < 1", f"{resamples} resamples, level {level}"
        raise ArgumentError("a bootstrap of shapes", needed=needed, got=got, fix="Give values in range.")
    rows = []
    edges = [(1 - level) / 2, (1 + level) / 2]
    for cloud in sorted(clouds, key=lambda cloud: cloud.depth):
        ok = np.flatnonzero(fit_gaussians(cloud, weighted=weighted).state == "ok")
        if len(ok) > _SLOTS:
            ok = np.sort(np.random.default_rng(seed).choice(ok, _SLOTS, replace=False))
        row = {"layer": cloud.layer, "depth": cloud.depth, "slots": len(ok)}
        row["state"] = "ok" if len(ok) else "no slot with a covariance"
        found = np.full((3, len(LAYER_MEASURES)), None)
        if len(ok):
            units = _units(cloud, weighted, seed)[:, ok]
            drawn = _drawn(units, resamples, seed)
            found[0] = np.median(_measures(units.sum(0)), 0)
            found[1:] = np.quantile(np.median(_measures(drawn), 1), edges, axis=0)
            form = measure_form(units)
            noise = form_vectors(drawn) - form.vector
            found[:, LAYER_MEASURES.index("elongation")] = median_elongation(form, noise, level)
        rows += [
            row | {"measure": measure} | dict(zip(("estimate", "low", "high"), found[:, i], strict=True))
            for i, measure in enumerate(LAYER_MEASURES)
        ]
    return to_table(rows, "layer:str depth:int state:str slots:int measure:str estimate low high")


def _drawn(units: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Sums (resamples, K, 7) of resampled units (U, K, 7)."""
    count, flat = len(units), units.reshape(len(units), -1)
    times, step = _draw(count, resamples, seed), max(1, _CHUNK // count)
    sums = [times[done : done + step].astype(np.float64) @ flat for done in range(0, resamples, step)]
    return np.concatenate(sums).reshape(resamples, *units.shape[1:])


@lru_cache(maxsize=2)  # layers that follow each other often have as many channels
def _draw(count: int, resamples: int, seed: int) -> np.ndarray:
    """(resamples, count): how often each of `count` units is drawn."""
    rng, even, step = np.random.default_rng(seed), np.full(count, 1 / count), max(1, _CHUNK // count)
    kind = np.min_scalar_type(count)
    parts = [
        rng.multinomial(count, even, size=min(step, resamples - done)).astype(kind)
        for done in range(0, resamples, step)
    ]
    return np.concatenate(parts)


def _units(cloud: PositionCloud, weighted: bool, seed: int) -> np.ndarray:
    """What is resampled: `moment_units` (U, K, 7); above 4,096 shapes, shapes are bundled at random."""
    units = moment_units(*finite_displacements(cloud, weighted))
    if len(units) <= _BUNDLES:
        return units
    order = np.random.default_rng(seed).permutation(len(units))
    starts = np.linspace(0, len(units), _BUNDLES, endpoint=False).astype(int)
    return np.add.reduceat(units[order], starts, axis=0)


def _measures(sums: np.ndarray) -> np.ndarray:
    """LAYER_MEASURES of slots (..., 4) from sums (..., 7)."""
    total = np.where(sums[..., 0] > 0, sums[..., 0], 1.0)
    unbiased = 1.0 - sums[..., 1] / total**2
    mean_y, mean_x, yy, yx, xx = np.moveaxis(sums[..., 2:] / total[..., None], -1, 0)
    scale = 1.0 / np.where(unbiased > 1e-12, unbiased, 1.0)
    yy, yx, xx = scale * (yy - mean_y**2), scale * (yx - mean_y * mean_x), scale * (xx - mean_x**2)
    half, apart = (yy + xx) / 2, np.hypot((yy - xx) / 2, yx)
    major = np.sqrt(np.maximum(half + apart, np.finfo(float).tiny))
    minor = np.maximum(np.sqrt(np.maximum(half - apart, 0.0)), ON_A_LINE * major)
    return np.stack([major, minor, major / minor, np.sqrt(major * minor)], axis=-1)
