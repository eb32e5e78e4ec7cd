"""What a reader is told first: the findings in three sentences, and claims that share one answer told once."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from icnn_viz.figures.comparison_words import describe_finding
from icnn_viz.report.card import mean_iou
from icnn_viz.report.findings import Findings

if TYPE_CHECKING:
    import pandas as pd

    from icnn_viz.records import PixelComparison

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
    told = [_tell_shapes(findings.tables["layers"]), *(_tell_pixel(look) for look in findings.looks[:1])]
    scores = {label: mean_iou(one) for label, one in findings.checkpoints.items()}
    known = [f"{label} {score:.1%}" for label, score in scores.items() if score is not None]
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


def most_moved(layers: pd.DataFrame) -> int:
    """The number of the layer whose positions lie farthest from their slots; 0 if no distance is known."""
    distances = layers["mean_displacement"].to_numpy(dtype=float, na_value=-1.0)
    return int(distances.argmax())


def _tell_shapes(layers: pd.DataFrame) -> str:
    points = layers["points"].to_numpy(dtype=float)
    moved = layers["mean_displacement"].to_numpy(dtype=float, na_value=0.0)
    mean = float(moved @ points) / max(float(points.sum()), 1.0)
    one = len(layers) == 1
    where = f"layer {layers['layer'].iloc[0]}" if one else f"{len(layers)} layers"
    text = (
        f"The {points.sum():,.0f} weights of {where} lie {mean:.2f} pixels on average from where they started"
    )
    if one:
        return f"{text}."
    number = most_moved(layers)
    return f"{text}, farthest in {layers['layer'].iloc[number]} ({moved[number]:.2f} pixels)."


def _tell_pixel(look: PixelComparison) -> str:
    y, x = look.pixel
    place = f"At x = {x}, y = {y}" + f" in {look.source}" * bool(look.source)
    return f"{place}, {describe_finding(look.heatmaps, look.measures, look.true_class)}"
