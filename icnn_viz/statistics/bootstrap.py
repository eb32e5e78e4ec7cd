"""Intervals for the shapes of slots and layers: shapes (channels) are resampled, all their slots together."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from icnn_core.errors import ArgumentError
from icnn_viz.records import PositionCloud
from icnn_viz.statistics.elongation import (
    ON_A_LINE,
    ROUND,
    form_vectors,
    measure_form,
    median_elongation,
    moment_units,
)
from icnn_viz.statistics.gaussian import finite_displacements, fit_gaussians
from icnn_viz.statistics.tables import to_table

if TYPE_CHECKING:
    import pandas as pd

MEASURES = ("mean_y", "mean_x", "sd_major", "sd_minor", "elongation", "orientation", "area", "spread")
LAYER_MEASURES = ("sd_major", "sd_minor", "elongation", "spread")
_ANGLE, _LONG = MEASURES.index("orientation"), MEASURES.index("elongation")
_BUNDLES = 4096
_SLOTS = 256
_CHUNK = 4_000_000  # resampled counts held at once


def bootstrap_slots(
    cloud: PositionCloud,
    *,
    resamples: int = 2000,
    level: float = 0.95,
    method: str = "bca",
    weighted: bool = False,
    seed: int = 0,
) -> pd.DataFrame:
    """One row a slot and measure: layer, slot, state, measure, estimate, low, high (px, px², degrees).

    An orientation's `low` may be below 0 and its `high` above 180: it is an axis; a cloud that may be round
    has none. The elongation's interval is not the bootstrap's, which cannot reach 1, but that of `Form`; it
    begins at 1 where the cloud may be round. Slots whose state is not "ok" have NA.

    Args:
        cloud: a layer.
        resamples: how many.
        level: of the interval.
        method: "bca" (bias corrected and accelerated, Efron 1987; acceleration from the jackknife) or
            "percentile". The orientation always has percentiles of the difference from the estimate, wrapped
            to ±90°.
        weighted: points count by |w|.
        seed: same seed, same table.

    Raises:
        ArgumentError: another method, or a number out of range.
    """
    _check(method, resamples, level)
    state = fit_gaussians(cloud, weighted=weighted).state
    units = _units(cloud, weighted, seed)
    starts = range(0, units.shape[1], _SLOTS)  # the same shapes are drawn for all: only the memory is less
    parts = [_slots(units[:, start : start + _SLOTS], resamples, level, method, seed) for start in starts]
    estimate, low, high, no_axis = (np.concatenate(part) for part in zip(*parts, strict=True))
    offset = np.zeros_like(estimate)
    offset[:, :2] = cloud.slots
    table = {"estimate": estimate + offset, "low": low + offset, "high": high + offset}
    rows = [
        {"layer": cloud.layer, "slot": slot, "state": word, "measure": measure}
        | (
            {name: values[slot, m] for name, values in table.items()}
            if word == "ok" and not (m == _ANGLE and no_axis[slot])
            else {}
        )
        for slot, word in enumerate(state)
        for m, measure in enumerate(MEASURES)
    ]
    return to_table(rows, "layer:str slot:int state:str measure:str estimate low high")


def _slots(
    units: np.ndarray, resamples: int, level: float, method: str, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of some slots: estimates and the ends of their intervals (K, M), and which may be round (K,)."""
    estimate, drawn = _measures(units.sum(0)), _measures(_drawn(units, resamples, seed))
    drawn[..., _ANGLE] = estimate[:, _ANGLE] + _wrapped(drawn[..., _ANGLE] - estimate[:, _ANGLE])
    low, high = _edges(units, estimate, drawn, method, level)
    form = measure_form(units)
    low[:, _LONG], high[:, _LONG] = form.interval(level)
    return estimate, low, high, form.roundness() > ROUND


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
    begins at 1 where the slots may be round (`median_elongation`). Arguments and errors: as of
    `bootstrap_slots`.
    """
    _check("percentile", resamples, level)
    rows = []
    columns = [MEASURES.index(measure) for measure in LAYER_MEASURES]
    edges = [(1 - level) / 2, (1 + level) / 2]
    for cloud in sorted(clouds, key=lambda cloud: cloud.depth):
        ok = np.flatnonzero(fit_gaussians(cloud, weighted=weighted).state == "ok")
        if len(ok) > _SLOTS:
            ok = np.sort(np.random.default_rng(seed).choice(ok, _SLOTS, replace=False))
        row = {"layer": cloud.layer, "depth": cloud.depth, "slots": len(ok)}
        row["state"] = "ok" if len(ok) else "no slot with a covariance"
        found = np.full((3, len(columns)), None)
        if len(ok):
            units = _units(cloud, weighted, seed)[:, ok]
            drawn = _drawn(units, resamples, seed)
            found[0] = np.median(_measures(units.sum(0))[:, columns], 0)
            found[1:] = np.quantile(np.median(_measures(drawn)[..., columns], 1), edges, axis=0)
            form = measure_form(units)
            noise = form_vectors(drawn) - form.vector
            found[:, LAYER_MEASURES.index("elongation")] = median_elongation(form, noise, level)
        rows += [
            row | {"measure": measure} | dict(zip(("estimate", "low", "high"), found[:, i], strict=True))
            for i, measure in enumerate(LAYER_MEASURES)
        ]
    return to_table(rows, "layer:str depth:int state:str slots:int measure:str estimate low high")


def _check(method: str, resamples: int, level: float) -> None:
    if method not in ("bca", "percentile") or resamples < 1 or not 0 < level < 1:
        raise ArgumentError(
            "a bootstrap of shapes",
            needed='method "bca" or "percentile", resamples >= 1 and 0 < level < 1',
            got=f"method {method!r}, {resamples} resamples, level {level}",
            fix="Give values in range.",
        )


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


def _edges(
    units: np.ndarray, estimate: np.ndarray, drawn: np.ndarray, method: str, level: float
) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper ends (K, M) of the intervals."""
    from scipy.special import ndtr, ndtri

    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    probabilities = np.broadcast_to(tails[:, None, None], (2, *estimate.shape)).copy()
    resamples = len(drawn)
    if method == "bca":
        below = (drawn < estimate).mean(0) + 0.5 * (drawn == estimate).mean(0)
        bias = ndtri(np.clip(below, 1 / (resamples + 1), resamples / (resamples + 1)))
        left_out = _measures(units.sum(0) - units)
        pull = left_out.mean(0) - left_out
        cubes, squares = (pull**3).sum(0), (pull**2).sum(0)
        acceleration = cubes / (6 * np.where(squares > 0, squares, 1.0) ** 1.5)
        shifted = bias + ndtri(tails)[:, None, None]
        probabilities = ndtr(bias + shifted / (1 - np.clip(acceleration * shifted, None, 0.99)))
        probabilities[..., _ANGLE] = tails[:, None]
    ordered = np.sort(drawn, axis=0)
    place = np.rint(probabilities * (resamples - 1)).astype(int)
    low, high = np.take_along_axis(ordered, place, axis=0)
    return low, high


def _units(cloud: PositionCloud, weighted: bool, seed: int) -> np.ndarray:
    """What is resampled: `moment_units` (U, K, 7); above 4,096 shapes, shapes are bundled at random."""
    units = moment_units(*finite_displacements(cloud, weighted))
    if len(units) <= _BUNDLES:
        return units
    order = np.random.default_rng(seed).permutation(len(units))
    starts = np.linspace(0, len(units), _BUNDLES, endpoint=False).astype(int)
    return np.add.reduceat(units[order], starts, axis=0)


def _measures(sums: np.ndarray) -> np.ndarray:
    """MEASURES (..., M) from sums (..., 7); mean_y and mean_x are displacements."""
    total = np.where(sums[..., 0] > 0, sums[..., 0], 1.0)
    unbiased = 1.0 - sums[..., 1] / total**2
    mean_y, mean_x, yy, yx, xx = np.moveaxis(sums[..., 2:] / total[..., None], -1, 0)
    scale = 1.0 / np.where(unbiased > 1e-12, unbiased, 1.0)
    yy, yx, xx = scale * (yy - mean_y**2), scale * (yx - mean_y * mean_x), scale * (xx - mean_x**2)
    half, apart = (yy + xx) / 2, np.hypot((yy - xx) / 2, yx)
    major = np.sqrt(np.maximum(half + apart, np.finfo(float).tiny))
    minor = np.maximum(np.sqrt(np.maximum(half - apart, 0.0)), ON_A_LINE * major)
    angle = np.degrees(0.5 * np.arctan2(2 * yx, xx - yy)) % 180.0
    area = np.pi * major * minor
    return np.stack(
        [mean_y, mean_x, major, minor, major / minor, angle, area, np.sqrt(major * minor)], axis=-1
    )


def _wrapped(difference: np.ndarray) -> np.ndarray:
    """Differences of axes in degrees, in [-90, 90)."""
    return (difference + 90.0) % 180.0 - 90.0
