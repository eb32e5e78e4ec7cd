"""One function a claim: judged layers and rules in, a verdict with its number and evidence out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from icnn_viz.records import PositionCloud
from icnn_viz.statistics.bootstrap import bootstrap_slots
from icnn_viz.statistics.centres import test_centres
from icnn_viz.statistics.depth import depth_trends
from icnn_viz.statistics.gaussian import fit_gaussians, to_shapes
from icnn_viz.statistics.normality import test_normality
from icnn_viz.statistics.rules import CANNOT_BE_SAID, DOES_NOT_HOLD, HOLDS, ClaimRules
from icnn_viz.statistics.spreads import is_outer, radial_spreads, test_spreads

if TYPE_CHECKING:
    import pandas as pd


class Finding(NamedTuple):
    """A verdict; the number that decided and its unit (None and "" if there is none); the evidence in
    words."""

    verdict: str
    number: float | None
    unit: str
    evidence: str


def find_gaussian(clouds: Sequence[PositionCloud], rules: ClaimRules) -> Finding:
    """Per slot roughly Gaussian."""
    table = test_normality(
        clouds,
        seed=rules.seed,
        small_skewness=rules.small_skewness,
        small_kurtosis=rules.small_kurtosis,
        small_gap=rules.small_gap,
    )
    share = float((_numbers(table, "roughly_gaussian") == 1).mean())
    tests = ("q_skewness", "q_kurtosis", "q_henze_zirkler", "q_gap")
    rejected = np.any([_numbers(table, test) <= 0.05 for test in tests], axis=0)
    evidence = (
        f"{share:.0%} of {len(table)} slots are roughly Gaussian; medians: skewness {_median(table, 'skewness')}, "
        f"excess kurtosis {_median(table, 'excess_kurtosis')}, gap {_median(table, 'gap')}; on subsamples some "
        f"test rejects in {rejected.mean():.0%}"
    )
    return Finding(
        _band(share, rules.gaussian_holds, rules.gaussian_fails), share, "share of slots", evidence
    )


def find_close(clouds: Sequence[PositionCloud], rules: ClaimRules) -> Finding:
    """Centres close to the regular positions."""
    table = test_centres(clouds, close=rules.close_spacings)
    close, far = (float((table["closeness"] == word).to_numpy().mean()) for word in ("close", "far"))
    verdict = CANNOT_BE_SAID
    if close >= rules.close_holds:
        verdict = HOLDS
    elif far > rules.far_fails:
        verdict = DOES_NOT_HOLD
    spacings = _numbers(table, "spacings")
    worst = table.iloc[int(np.nanargmax(spacings))]
    evidence = (
        f"{close:.0%} of {len(table)} slots have a close centre, {far:.0%} a far one; median "
        f"{_median(table, 'spacings')} grid spacings, farthest {np.nanmax(spacings):.2f} (slot {worst['slot']} "
        f"of {worst['layer']})"
    )
    return Finding(verdict, close, "share of slots", evidence)


def find_spread(clouds: Sequence[PositionCloud], rules: ClaimRules) -> Finding:
    """Variances differ between slots."""
    table = test_spreads(clouds, permutations=rules.permutations, seed=rules.seed)
    unit = "share of layers"
    known = int((table["state"] == "ok").to_numpy().sum())
    if not known:
        return Finding(CANNOT_BE_SAID, None, unit, "no layer has two slots with a covariance")
    differ = (_numbers(table, "spread_ratio") >= rules.spread_ratio) & (
        _numbers(table, "q") <= rules.spread_q
    )
    share = float(differ.sum() / known)
    evidence = (
        f"slots differ in {int(differ.sum())} of {known} layers; the widest slot's spread is "
        f"{_median(table, 'spread_ratio')} times the narrowest's (median)"
    )
    return Finding(_band(share, rules.spread_holds, rules.spread_fails), share, unit, evidence)


def find_trend(clouds: Sequence[PositionCloud], rules: ClaimRules) -> Finding:
    """Deeper layers longer and narrower."""
    import pandas as pd

    shapes = [to_shapes(fit_gaussians(cloud))["elongation"].median() for cloud in clouds]
    elongation = pd.array(shapes, dtype="Float64")
    table = pd.DataFrame({"depth": [cloud.depth for cloud in clouds], "elongation": elongation})
    row = depth_trends(table, ["elongation"]).iloc[0]
    unit = "Kendall's tau"
    if row["state"] == "constant":
        return Finding(CANNOT_BE_SAID, None, unit, "the elongation is the same in all layers")
    if row["state"] != "ok" or row["layers"] < rules.trend_layers:
        return Finding(CANNOT_BE_SAID, None, unit, f"{row['layers']} layers are too few for a trend")
    tau, low, high = (float(row[name]) for name in ("kendall", "kendall_low", "kendall_high"))
    rise, known = float(row["rise"]), _numbers(table, "elongation")
    known = known[np.isfinite(known)]
    verdict = CANNOT_BE_SAID
    if low > 0 and tau >= rules.trend_kendall and rise >= rules.trend_rise:
        verdict = HOLDS
    elif tau <= 0 or high < rules.trend_kendall or (low > 0 and rise < rules.trend_rise):
        verdict = DOES_NOT_HOLD
    evidence = (
        f"elongation over {row['layers']} layers: tau {tau:.2f} ({low:.2f} to {high:.2f}), p {row['p_kendall']:.2g}; "
        f"from {known[0]:.2f} in the first to {known[-1]:.2f} in the last, rise {rise:.2f}"
    )
    return Finding(verdict, tau, unit, evidence)


def find_strips(clouds: Sequence[PositionCloud], rules: ClaimRules) -> Finding:
    """The outer slots of deeper layers are like strips."""
    deeper = clouds[len(clouds) // 2 :]
    above = below = outer = 0
    for cloud in deeper:
        table = bootstrap_slots(cloud, resamples=rules.resamples, seed=rules.seed)
        elongation = (table["measure"] == "elongation").to_numpy()
        low, high = (_numbers(table, end)[elongation][is_outer(cloud.slots)] for end in ("low", "high"))
        outer += len(low)
        above += int((low > rules.strip_elongation).sum())
        below += int((np.isnan(high) | (high < rules.strip_elongation)).sum())
    if not outer:
        return Finding(CANNOT_BE_SAID, None, "share of outer slots", "the kernels have no outer slots")
    strips, none = above / outer, below / outer
    verdict = CANNOT_BE_SAID
    if strips >= rules.strip_holds:
        verdict = HOLDS
    elif none >= rules.strip_fails:
        verdict = DOES_NOT_HOLD
    ratio = _median(radial_spreads(deeper), "radial_to_tangential")
    evidence = (
        f"of {outer} outer slots in {len(deeper)} layers {strips:.0%} are strips and {none:.0%} are none; spread "
        f"along the radius over that across it: {ratio} (median)"
    )
    return Finding(verdict, strips, "share of outer slots", evidence)


def _band(share: float, holds: float, fails: float) -> str:
    if share >= holds:
        return HOLDS
    return DOES_NOT_HOLD if share <= fails else CANNOT_BE_SAID


def _numbers(table: pd.DataFrame, column: str) -> np.ndarray:
    """A column as floats; NA is NaN here, which no comparison counts."""
    return np.asarray(table[column].to_numpy(dtype=float, na_value=np.nan))


def _median(table: pd.DataFrame, column: str) -> str:
    known = _numbers(table, column)
    known = known[np.isfinite(known)]
    return f"{np.median(known):.2f}" if known.size else "unknown"
