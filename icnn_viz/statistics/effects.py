"""What the paper says of trainings and of what pixels depend on, judged by rules fixed beforehand, where data are at
hand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from icnn_core.text import counted
from icnn_core.training.ablation_table import CONTINUED, NONE, t_interval
from icnn_viz.records import PositionCloud
from icnn_viz.statistics.claims import COLUMNS
from icnn_viz.statistics.findings import Finding
from icnn_viz.statistics.rules import CANNOT_BE_SAID, DOES_NOT_HOLD, HOLDS
from icnn_viz.statistics.spreads import test_spreads
from icnn_viz.statistics.summary import known_shapes, moved_shapes, summarise
from icnn_viz.statistics.tables import to_table

if TYPE_CHECKING:
    import pandas as pd

POINT = 0.01  # a difference of mean IoU that matters
WIDER = 0.02  # and of a receptive field's radius, as a share
SPREAD_RATIO = 1.5
RULES = {
    "The gain grows with irregular layers, then saturates halfway": (
        "four variants or more beside the regular one, in the order of their irregular layers, three seeds or more. "
        "Holds if the middle variant is above the first by 1 point or more, its 95% interval above 0, and the last "
        "differs from the middle one by half of that or less; does not if the interval's upper end is below 1 point"
    ),
    "Positions attend to both global and detailed information": (
        "layers with 100 shapes that moved or more. Holds if in 75% of them the widest slot's spread is 1.5 times the "
        "narrowest's or more and the covariances differ (q <= 0.05); does not if in 25% or fewer"
    ),
    "A larger receptive field with as many weights": (
        "the heatmap's radius, learnt against the same network with positions snapped to their slots, over images. "
        "Holds if the 95% interval lies above 0 and the difference is 2% or more; does not if its upper end is below 2%"
    ),
    "Two regular kernels for one irregular pattern": (
        "a variant `two-regular` beside an irregular one, three seeds or more. Holds if the 95% interval of their "
        "difference lies within 1 point of 0; does not if it lies beyond"
    ),
    "No aggravated overfitting": (
        "mean IoU on training images (`train_iou`) beside that on others, three seeds or more. Holds if the 95% "
        "interval of the change of their gap lies below 1 point; does not if above"
    ),
}


def judge_effects(
    clouds: Iterable[PositionCloud] = (),
    *,
    ablation: pd.DataFrame | None = None,
    survey: pd.DataFrame | None = None,
    against: str = "none",
    permutations: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """One row for each claim of RULES; "cannot be said here" where data lack. Columns as of `judge_claims`.

    Args:
        clouds: one a layer, of one network.
        ablation: a run a row: variant (in the order of irregular layers), seed, mean_iou in [0, 1], and
            train_iou if it was measured.
        survey: paired differences as of `compare_pairs`, one of whose networks is snapped to its slots.
        against: the ablation's regular variant. If it is "none", the others but "continued" are irregular, from ever
            earlier layers on in the order given, and the shape of the gain is judged. Among other variants those are
            irregular that learn positions ("irregular" first, "irregular-…", "sharing-…").
        permutations, seed: of `test_spreads`.
    """
    given = [moved_shapes(cloud) for cloud in clouds]
    judged = [cloud for cloud in given if known_shapes(cloud) >= 100 and summarise(cloud)["state"] == "ok"]
    scores = None if ablation is None else ablation.pivot_table("mean_iou", "seed", "variant", sort=False)
    findings = (
        _saturates(scores, against)
        if against == NONE
        else _unsaid("the variants are not rows of an ablation"),
        _global_and_detailed(judged, permutations, seed),
        _larger_field(survey),
        _two_for_one(scores, against),
        _overfits(ablation, against),
    )
    rows = [
        {"claim": claim, **finding._asdict(), "rule": rule, "layers": len(judged)}
        for (claim, rule), finding in zip(RULES.items(), findings, strict=True)
    ]
    return to_table(rows, COLUMNS)


def _unsaid(why: str) -> Finding:
    return Finding(CANNOT_BE_SAID, None, "", why)


def _paired(scores: pd.DataFrame, first: str, second: str) -> tuple[float, float, float] | None:
    """Mean difference over seeds with its interval; None of fewer than three."""
    values = (scores[first] - scores[second]).dropna().tolist()
    low, high = t_interval(values)
    return None if low is None or high is None else (float(np.mean(values)), low, high)


def _saturates(scores: pd.DataFrame | None, against: str) -> Finding:
    variants = [] if scores is None else _irregular(scores.columns, against)
    if scores is None or len(variants) < 4:
        return _unsaid(f"an ablation of four irregular variants or more is needed, {len(variants)} given")
    middle = variants[(len(variants) - 1) // 2]
    rise, after = _paired(scores, middle, variants[0]), _paired(scores, variants[-1], middle)
    if rise is None or after is None:
        return _unsaid("three seeds or more are needed")
    verdict = CANNOT_BE_SAID
    if rise[1] > 0 and rise[0] >= POINT:
        verdict = HOLDS if abs(after[0]) <= rise[0] / 2 else DOES_NOT_HOLD
    elif rise[2] < POINT:
        verdict = DOES_NOT_HOLD
    words = f"from {variants[0]} to {middle} {_points(rise)}, from there to {variants[-1]} {_points(after)}"
    return Finding(verdict, rise[0], "mean IoU", words)


def _global_and_detailed(judged: list[PositionCloud], permutations: int, seed: int) -> Finding:
    table = test_spreads(judged, permutations=permutations, seed=seed).dropna(subset=["p"])
    if table.empty:
        return _unsaid("no layer has 100 shapes that moved and two slots with a covariance")
    wide = ((table["spread_ratio"] >= SPREAD_RATIO) & (table["q"] <= 0.05)).to_numpy(bool)
    share = float(wide.mean())
    verdict = HOLDS if share >= 0.75 else DOES_NOT_HOLD if share <= 0.25 else CANNOT_BE_SAID
    words = f"{int(wide.sum())} of {counted(len(table), 'layer')}; median ratio {table['spread_ratio'].median():.2f}"
    return Finding(verdict, share, "share of layers", words)


def _larger_field(survey: pd.DataFrame | None) -> Finding:
    if survey is None:
        return _unsaid("a survey with snapped positions (--controls) is needed")
    rows = survey.loc[(survey["measure"] == "radius_of_gyration") & (survey["group"] == "all")]
    rows = rows.loc[rows["against"].astype(str).str.contains("snapped")].dropna(subset=["low", "high"])
    if rows.empty:
        return _unsaid("the survey has no interval against snapped positions")
    row = rows.iloc[0]
    low, high, share = (float(row[name] / row["second"]) for name in ("low", "high", "difference"))
    verdict = CANNOT_BE_SAID
    if low > 0 and share >= WIDER:
        verdict = HOLDS
    elif high < WIDER:
        verdict = DOES_NOT_HOLD
    words = f"{share:+.1%} ({low:+.1%} to {high:+.1%}) over {row['images']} images"
    return Finding(verdict, share, "of the radius", words)


def _two_for_one(scores: pd.DataFrame | None, against: str) -> Finding:
    if scores is None or "two-regular" not in scores.columns:
        return _unsaid("no variant with two regular kernels for an irregular one was trained")
    others = _irregular(scores.columns, against)
    found = _paired(scores, others[0], "two-regular") if others else None
    if found is None:
        return _unsaid("an irregular variant and three seeds or more are needed")
    mean, low, high = found
    inside, beyond = low > -POINT and high < POINT, low > POINT or high < -POINT
    verdict = HOLDS if inside else DOES_NOT_HOLD if beyond else CANNOT_BE_SAID
    return Finding(verdict, mean, "mean IoU", f"{others[0]} less two-regular {_points(found)}")


def _overfits(ablation: pd.DataFrame | None, against: str) -> Finding:
    if ablation is None or "train_iou" not in ablation.dropna(axis="columns", how="all").columns:
        return _unsaid("mean IoU on training images was not measured")
    gaps = ablation.assign(gap=ablation["train_iou"] - ablation["mean_iou"])
    gaps = gaps.pivot_table("gap", "seed", "variant", sort=False)
    others = _irregular(gaps.columns, against)
    if against == NONE:
        others = others[::-1]  # most layers
    found = _paired(gaps, others[0], against) if others and against in gaps.columns else None
    if found is None:
        return _unsaid("a regular and an irregular variant and three seeds or more are needed")
    verdict = HOLDS if found[2] < POINT else DOES_NOT_HOLD if found[1] > POINT else CANNOT_BE_SAID
    return Finding(
        verdict, found[0], "mean IoU", f"gap of {others[0]} less that of {against} {_points(found)}"
    )


def _irregular(variants: Iterable[str], against: str) -> list[str]:
    """Those that learnt positions: of an ablation's rows all but the regular ones, else by their names."""
    if against == NONE:
        return [name for name in variants if name not in (NONE, CONTINUED, "two-regular")]
    learnt = [name for name in variants if name.startswith(("irregular", "sharing-")) and name != against]
    return sorted(learnt, key=lambda name: name != "irregular")


def _points(found: tuple[float, float, float]) -> str:
    mean, low, high = (100 * value for value in found)
    return f"{mean:+.1f} points ({low:+.1f} to {high:+.1f})".replace("-", "−")
