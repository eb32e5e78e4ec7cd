"""What the paper says of learnt positions (figure 4), judged on a network's clouds by rules fixed
beforehand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from icnn_core.text import counted
from icnn_viz.records import PositionCloud
from icnn_viz.statistics.findings import (
    Finding,
    find_close,
    find_gaussian,
    find_spread,
    find_strips,
    find_trend,
)
from icnn_viz.statistics.rules import CANNOT_BE_SAID, ClaimRules
from icnn_viz.statistics.summary import known_shapes, moved_shapes, summarise
from icnn_viz.statistics.tables import to_table

if TYPE_CHECKING:
    import pandas as pd

_NEED_SLOTS = (find_close, find_strips)  # claims about regular positions, which DCLS has none of
COLUMNS = "claim:str verdict:str number unit:str evidence:str rule:str layers:int"


def judge_claims(clouds: Iterable[PositionCloud], rules: ClaimRules | None = None) -> pd.DataFrame:
    """One row for each claim of the paper, in its order. Columns: COLUMNS.

    Shapes that never moved are left out first (`moved_shapes`), and the evidence says how many.

    `verdict` is "holds", "does not hold" or "cannot be said here"; `number`, in `unit`, is what decided (NA
    if there was none); `evidence` says it in words; `rule` is the rule applied; `layers` is how many layers
    were judged.

    Args:
        clouds: one a layer, of one network.
        rules: other thresholds than those of docs/statistics.md.
    """
    rules = rules or ClaimRules()
    whole = sorted(clouds, key=lambda cloud: cloud.depth)
    given = [moved_shapes(cloud) for cloud in whole]
    shapes = {cloud.layer: len(cloud.points) for cloud in whole}
    judged = [cloud for cloud in given if _is_judged(cloud, rules)]
    claims = (
        ("Per slot, positions are roughly Gaussian", find_gaussian, rules.gaussian),
        ("Centres lie close to the regular positions", find_close, rules.close),
        ("Variances differ between slots", find_spread, rules.spread),
        ("Deeper layers' clouds are longer and narrower", find_trend, rules.trend),
        ("The outer slots' clouds are like strips that point outwards", find_strips, rules.strip),
    )
    rows = []
    for claim, find, rule in claims:
        about = [cloud for cloud in judged if cloud.regular] if find in _NEED_SLOTS else judged
        finding = find(about, rules) if about else _nothing_judged(given, rules)
        if judged and not about:
            finding = Finding(CANNOT_BE_SAID, None, "", "the layers have no regular positions")
        total = sum(shapes[cloud.layer] for cloud in about)
        if still := total - sum(len(cloud.points) for cloud in about):
            words = f"{finding.evidence}; {still / total:.1%} of the shapes never moved and are left out"
            finding = finding._replace(evidence=words)
        if lost := _tell_lost(about):
            words = f"{finding.evidence}; {lost}"
            finding = finding._replace(evidence=words)
        rows.append({"claim": claim, **finding._asdict(), "rule": rule, "layers": len(about)})
    return to_table(rows, COLUMNS)


def _is_judged(cloud: PositionCloud, rules: ClaimRules) -> bool:
    row = summarise(cloud)
    moved = row["share_moved"]
    enough = known_shapes(cloud) >= rules.shapes and isinstance(moved, float) and moved >= rules.moved
    return row["state"] == "ok" and enough


def _tell_lost(clouds: Sequence[PositionCloud]) -> str:
    rows = [summarise(cloud) for cloud in clouds]
    lost, points = (sum(int(str(row[name])) for row in rows) for name in ("not_finite", "points"))
    return f"{lost:,} of {points:,} positions are not finite and are left out" if lost else ""


def _nothing_judged(clouds: Sequence[PositionCloud], rules: ClaimRules) -> Finding:
    rows = [(cloud, summarise(cloud)) for cloud in clouds]
    states = [str(row["state"]) for _, row in rows if row["state"] != "ok"]
    words = [f"{states.count(state)} {state}" for state in dict.fromkeys(states)]
    if fitted := [(known_shapes(cloud), row["share_moved"]) for cloud, row in rows if row["state"] == "ok"]:
        shapes, moved = (max(values) for values in zip(*fitted, strict=True))
        apart = ", not in the same layer" if shapes >= rules.shapes and moved >= rules.moved else ""
        words.insert(0, f"{len(fitted)} with up to {shapes} shapes and up to {moved:.0%} moved{apart}")
    there = ", ".join(words) or "none given"
    moved = [float(m) for _, row in rows if isinstance(m := row["share_moved"], float)]
    told, fix = "", "look at layers of more channels"
    if diverged := sum(row["not_finite"] != 0 for _, row in rows):
        told = f"{counted(diverged, 'layer')} of this network lost positions, which are not finite: "
        fix = "train it anew, at a lower lr or position_lr"
    elif moved and max(moved) < rules.moved:
        told = (
            f"this network hardly moved (at most {max(moved):.0%} of a layer's points by more than 0.1 px): "
        )
        fix = "train longer, or with a higher position_lr"
    return Finding(
        CANNOT_BE_SAID, None, "", f"{told}no layer has {rules.judged} (layers: {there}); to say it, {fix}"
    )
