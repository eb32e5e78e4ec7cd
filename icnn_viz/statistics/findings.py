"""One function a claim: judged layers and rules in, a verdict with its number and evidence out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from icnn_core.text import counted
from icnn_viz.records import PositionCloud
from icnn_viz.statistics.centres import test_centres
from icnn_viz.statistics.depth import depth_trends
from icnn_viz.statistics.elongation import covariance_of, log_covariance, measure_form, moment_units
from icnn_viz.statistics.gaussian import finite_displacements, fit_gaussians
from icnn_viz.statistics.normality import test_normality
from icnn_viz.statistics.pinning import measure_corners, measure_pinning
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
        two_humps=rules.two_humps,
    )
    share = float((_numbers(table, "roughly_gaussian") == 1).mean())
    tests = ("q_skewness", "q_kurtosis", "q_henze_zirkler", "q_gap")
    rejected = np.any([_numbers(table, test) <= 0.05 for test in tests], axis=0)
    evidence = (
        f"{share:.0%} of {len(table)} slots are roughly Gaussian; medians: skewness {_median(table, 'skewness')}, "
        f"excess kurtosis {_median(table, 'excess_kurtosis')}, gap {_median(table, 'gap')}; on subsamples some "
        f"test rejects in {rejected.mean():.0%}"
    )
    pins = [measure_pinning(cloud) for cloud in clouds]
    if pinned := [pin["pinning"] for pin in pins if pin.get("pinning_low", 0.0) > 1]:
        evidence += (
            f"; in {len(pinned)} of {counted(len(clouds), 'layer')} coordinates lie on the lattice of pixels "
            f"oftener than by chance ({np.median(pinned):.1f} times, median)"
        )
    corners = [measure_corners(cloud) for cloud in clouds]
    if marked := [one["corners"] for one in corners if one.get("corners_low", 0.0) > 1]:
        evidence += (
            f"; in {len(marked)} of {len(clouds)} points lie on the diagonals, where Adam's steps lead "
            f"({np.median(marked):.1f} times chance, median)"
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
    differ = (_numbers(table, "covariance_distance") >= rules.covariance_distance) & (
        _numbers(table, "q") <= rules.spread_q
    )
    share = float(differ.sum() / known)
    evidence = (
        f"slots differ in {int(differ.sum())} of {counted(int(known), 'layer')}; medians: distance of their "
        f"covariances {_median(table, 'covariance_distance')}, widest over narrowest "
        f"spread {_median(table, 'spread_ratio')}"
    )
    return Finding(_band(share, rules.spread_holds, rules.spread_fails), share, unit, evidence)


def find_trend(clouds: Sequence[PositionCloud], rules: ClaimRules) -> Finding:
    """Deeper layers longer and narrower: each judged in grid spacings."""
    import pandas as pd

    axes = np.array([_axes_in_spacings(cloud) for cloud in clouds])
    layers = pd.DataFrame({"depth": [c.depth for c in clouds], "longer": axes[:, 0], "narrower": -axes[:, 1]})
    unit = "Kendall's tau, the smaller"
    verdicts, taus, words = [], [], []
    for row in depth_trends(layers, ["longer", "narrower"]).to_dict("records"):
        if row["state"] == "constant":
            return Finding(CANNOT_BE_SAID, None, unit, "the axes are the same in all layers")
        if row["state"] != "ok" or row["layers"] < rules.trend_layers:
            return Finding(
                CANNOT_BE_SAID, None, unit, f"too few for a trend: {counted(int(row['layers']), 'layer')}"
            )
        tau, low, high, rise = (float(row[n]) for n in ("kendall", "kendall_low", "kendall_high", "rise"))
        verdict = CANNOT_BE_SAID
        if low > 0 and tau >= rules.trend_kendall and rise >= rules.trend_rise:
            verdict = HOLDS
        elif tau <= 0 or high < rules.trend_kendall or (low > 0 and rise < rules.trend_rise):
            verdict = DOES_NOT_HOLD
        verdicts.append(verdict)
        taus.append(tau)
        said = f"{row['measure']}: {verdict}, tau {tau:.2f} ({low:.2f} to {high:.2f}), by {rise:.2f} grid spacings"
        words.append(said)
    verdict = next((word for word in (DOES_NOT_HOLD, CANNOT_BE_SAID) if word in verdicts), HOLDS)
    known = axes[np.isfinite(axes).all(1)]
    (first, thin), (last, slim) = known[0], known[-1]
    layers = counted(len(known), "layer")
    ends = f"axes {first:.2f} by {thin:.2f} in the first of {layers}, {last:.2f} by {slim:.2f} in the last"
    return Finding(verdict, min(taus), unit, "; ".join([*words, ends]))


def _axes_in_spacings(cloud: PositionCloud) -> tuple[float, float]:
    """Median major and minor standard deviation of the slots, in grid spacings, freed of what makes a round cloud
    look long; NaN without a covariance."""
    points, mass = finite_displacements(cloud)
    ok = fit_gaussians(cloud).state == "ok"
    if not ok.any():
        return float("nan"), float("nan")
    units = moment_units(points[:, ok] / cloud.spacing, mass[:, ok])
    count, form = units[..., 0].sum(0), measure_form(units)
    size = log_covariance(*covariance_of(units.sum(0)))[..., 0] + np.log(count / (count - 1))
    middle, apart = np.exp(size / 2), np.sqrt(form.elongation())
    return float(np.median(middle * apart)), float(np.median(middle / apart))


def find_strips(clouds: Sequence[PositionCloud], rules: ClaimRules) -> Finding:
    """The outer slots of deeper layers are like strips that point outwards."""
    deeper = clouds[len(clouds) // 2 :]
    strips, none, outwards, outer, alike = 0, 0, 0, 0, 0
    for cloud in deeper:
        chosen = is_outer(cloud.slots)
        ok = (fit_gaussians(cloud).state == "ok")[chosen]
        low, high = (
            end[chosen] for end in measure_form(moment_units(*finite_displacements(cloud))).interval(0.95)
        )
        long = ok & (low > rules.strip_elongation)
        off = _numbers(radial_spreads([cloud]), "off_radius")
        outer += len(low)
        alike += _along_one_axis(cloud.slots[chosen], rules.strip_angle)
        strips += int(long.sum())
        outwards += int((long & (off <= rules.strip_angle)).sum())
        none += int((~ok | (high < rules.strip_elongation)).sum())
    unit = "share of outer slots"
    if not outer:
        return Finding(CANNOT_BE_SAID, None, unit, "the kernels have no outer slots")
    share, others = outwards / outer, (none + strips - outwards) / outer
    verdict = CANNOT_BE_SAID
    parallel = ""
    if share >= rules.strip_holds and alike / outer >= rules.strip_holds:
        parallel = (
            f"; {alike / outer:.0%} of them lie along one axis, where strips along it point outwards, too"
        )
    elif share >= rules.strip_holds:
        verdict = HOLDS
    elif others >= rules.strip_fails:
        verdict = DOES_NOT_HOLD
    ratio = _median(radial_spreads(deeper), "radial_to_tangential")
    evidence = (
        f"of {counted(outer, 'outer slot')} in {counted(len(deeper), 'layer')} {strips / outer:.0%} are strips, "
        f"{share:.0%} strips that point outwards, {none / outer:.0%} no strips; "
        f"spread along the radius over that across it: {ratio} (median){parallel}"
    )
    return Finding(verdict, share, unit, evidence)


def _along_one_axis(slots: np.ndarray, within: float) -> int:
    """How many of the slots (K, 2) point, to `within` degrees, along the one axis along which most do."""
    angles = np.degrees(np.arctan2(slots[:, 0], slots[:, 1]))
    apart = np.abs((angles - np.arange(180.0)[:, None] + 90) % 180 - 90)
    return int((apart <= within).sum(1).max(initial=0))


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
