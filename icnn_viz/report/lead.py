"""What a reader is told first: the findings in three sentences, and claims that share one answer told once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from icnn_viz.figures.comparison_words import describe_finding
from icnn_viz.report.card import mean_iou
from icnn_viz.report.findings import Findings

if TYPE_CHECKING:
    import pandas as pd

    from icnn_viz.records import PixelComparison, PositionCloud
_ENDS = {
    "holds": ("holds", "hold"),
    "does not hold": ("does not hold", "do not hold"),
    "cannot be said here": ("cannot be judged", "cannot be judged"),
}
"""Verdicts, and how they are told of one claim and of several."""


@dataclass(frozen=True)
class Verdict:
    """Claims of one verdict and one evidence."""

    claims: tuple[str, ...]
    verdict: str
    evidence: str


def summarise(findings: Findings) -> list[str]:
    """The findings: how far the shapes went, what the networks look at, what they are worth and what holds of the
    paper's claims."""
    told = [_tell_shapes(findings.display.clouds), *map(_tell_pixel, findings.comparisons[:1])]
    scores = {name: mean_iou(one) for name, one in findings.checkpoints.items()}
    known = [f"{name} {score:.1%}" for name, score in scores.items() if score is not None]
    verdicts = findings.tables["claims"]["verdict"].tolist()
    counts = {end: verdicts.count(end) for end in _ENDS}
    rest = len(verdicts) - sum(counts.values())
    named = [f"{count} {_ENDS[end][count > 1]}" for end, count in counts.items() if count]
    named += [f"{rest} otherwise"] * bool(rest)
    judged = f"f the paper's {len(verdicts)} claims on such shapes: {', '.join(named)}."
    scored = f"Mean IoU, as the files tell it: {', '.join(known)}; o" if known else "O"
    return [*told, scored + judged]


def group_verdicts(claims: pd.DataFrame) -> list[Verdict]:
    """In order; neighbours whose verdict and evidence are the same are one."""
    rows = [(row["claim"], (row["verdict"], row["evidence"])) for row in claims.to_dict("records")]
    return [
        Verdict(tuple(str(claim) for claim, _ in same), str(verdict), str(evidence))
        for (verdict, evidence), same in groupby(rows, key=lambda row: row[1])
    ]


def _tell_shapes(clouds: Sequence[PositionCloud]) -> str:
    """How far weights lie from their slots; where there are none, from the kernel's centre."""
    regular = [cloud for cloud in clouds if cloud.regular]
    measured, start = (regular, "where they started") if regular else (clouds, "the centre of their kernel")
    found = [np.hypot(*np.moveaxis(one.displacements if regular else one.points, -1, 0)) for one in measured]
    lengths = [each[np.isfinite(each)] for each in found]
    far = np.array([each.mean() if each.size else -1.0 for each in lengths])
    count, whole = sum(each.size for each in found), sum(each.size for each in lengths)
    where = f"layer {measured[0].layer}" if len(measured) == 1 else f"{len(measured)} layers"
    text = ""
    if whole:
        mean = sum(float(each.sum()) for each in lengths) / whole
        text = f"The {whole:,} weights of {where} lie {mean:.2f} pixels on average from {start}"
        if len(measured) > 1:
            text += f", farthest in {measured[int(far.argmax())].layer} ({far.max():.2f} pixels)"
        text += "."
    if whole < count:
        text += (
            f" {count - whole:,} of {count:,} positions are not finite: the training that made them diverged."
        )
    return text.strip()


def _tell_pixel(record: PixelComparison) -> str:
    y, x = record.pixel
    place = f"At x = {x}, y = {y}" + f" in {record.source}" * bool(record.source)
    return f"{place}, {describe_finding(record.heatmaps, record.measures, record.true_class)}"
