"""Variants over seeds: means, standard deviations, paired differences with intervals; as Markdown, CSV and JSON."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Protocol

from icnn_core.text import to_csv as rows_to_csv

if TYPE_CHECKING:
    from icnn_core.evaluation.images import ImageCounts

NONE, CONTINUED = "none", "continued"
"""An ablation's regular rows: without irregular layers, and that network trained on for as long as the others."""
FEWEST_IMAGES = 20
"""Images below which no interval over them is given."""
FEWEST = 3
"""Seeds below which no interval is given: with two, Student's factor is 12.7 and says nothing."""


class Measured(Protocol):
    """What one run brought: the variant it is of, its seed, and its mean IoU in [0, 1]."""

    @property
    def variant(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def mean_iou(self) -> float: ...


class HasClasses(Protocol):
    """What one run brought: IoU of the classes that occur, by name."""

    @property
    def iou(self) -> Mapping[str, float]: ...


@dataclass(frozen=True)
class VariantSummary:
    """One variant over its seeds. All but counts are mean IoU in [0, 1]; None where there are too few seeds.

    Attributes:
        seeds: runs of it. mean, sd: over them; sd is the sample's (n - 1).
        pairs: seeds that it and the one it is compared with have in common.
        difference: mean over the pairs, this variant minus the other.
        low, high: 95 % interval of the difference, Student's t with pairs - 1 degrees of freedom.
        wins: pairs in which it is higher.
        image_low, image_high: 95 % interval of the difference over images, see `resample_images`.
        boundary, boundary_low, boundary_high: the difference of mean boundary IoU, and its interval over images.
    """

    variant: str
    seeds: int
    mean: float
    sd: float | None
    pairs: int
    difference: float | None
    low: float | None
    high: float | None
    wins: int
    image_low: float | None = None
    image_high: float | None = None
    boundary: float | None = None
    boundary_low: float | None = None
    boundary_high: float | None = None


def summarise(
    results: Sequence[Measured], variants: Sequence[str], against: str = NONE
) -> list[VariantSummary]:
    """A summary of every variant that has results, in their order, each compared with `against` seed by seed.

    Student's interval assumes that the differences of seeds are about normal; a bootstrap of so few would be
    too narrow.
    """
    values = {name: {r.seed: r.mean_iou for r in results if r.variant == name} for name in variants}
    return [
        _summarise(name, values[name], values.get(against, {}), name == against)
        for name in variants
        if values[name]
    ]


def _summarise(name: str, own: dict[int, float], other: dict[int, float], is_other: bool) -> VariantSummary:
    differences = [] if is_other else [own[seed] - other[seed] for seed in own if seed in other]
    low, high = t_interval(differences)
    return VariantSummary(
        variant=name,
        seeds=len(own),
        mean=statistics.fmean(own.values()),
        sd=statistics.stdev(own.values()) if len(own) > 1 else None,
        pairs=len(differences),
        difference=statistics.fmean(differences) if differences else None,
        low=low,
        high=high,
        wins=sum(difference > 0 for difference in differences),
    )


def with_images(
    summaries: Sequence[VariantSummary],
    counts: Mapping[tuple[str, int], ImageCounts],
    classes: Sequence[int],
    against: str = NONE,
) -> list[VariantSummary]:
    """The summaries with what is said over images, where the counts of FEWEST_IMAGES or more are there.

    Args:
        counts: by variant and seed.
        classes: ids over which means are taken.
    """
    from icnn_core.evaluation.images import resample_images

    found = []
    for summary in summaries:
        pairs = [
            (own, counts[against, seed])
            for (name, seed), own in counts.items()
            if name == summary.variant and (against, seed) in counts
        ]
        if summary.variant != against and pairs and len(pairs[0][0].confusion) >= FEWEST_IMAGES:
            _, low, high = resample_images(pairs, classes)
            summary = replace(summary, image_low=low, image_high=high)
            if len(pairs[0][0].union):
                edge, low, high = resample_images(pairs, classes, boundary=True)
                summary = replace(summary, boundary=edge, boundary_low=low, boundary_high=high)
        found.append(summary)
    return found


def t_interval(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Student's 95 % interval of a mean; (None, None) with fewer than FEWEST values."""
    if len(values) < FEWEST:
        return None, None
    from scipy.special import stdtrit

    half = stdtrit(len(values) - 1, 0.975) * statistics.stdev(values) / math.sqrt(len(values))
    mean = statistics.fmean(values)
    return mean - float(half), mean + float(half)


def to_cells(summary: VariantSummary) -> tuple[str, ...]:
    """A line of the table: name, seeds, mean ± sd in %, difference and intervals in points, wins, boundary IoU."""
    spread = "" if summary.sd is None else f" ± {100 * summary.sd:.1f}"
    difference = wins = "–"
    if summary.difference is not None:
        difference, wins = _signed(summary.difference), f"{summary.wins} of {summary.pairs}"
    boundary = "–" if summary.boundary is None else _signed(summary.boundary)
    if summary.boundary_low is not None:
        boundary += f" ({_between(summary.boundary_low, summary.boundary_high)})"
    return (
        summary.variant,
        str(summary.seeds),
        f"{100 * summary.mean:.1f}{spread}",
        difference,
        _between(summary.low, summary.high),
        _between(summary.image_low, summary.image_high),
        wins,
        boundary,
    )


def headings(against: str = NONE) -> tuple[str, ...]:
    """Of the columns; `against` is what differences are to."""
    first = "irregular from" if against == NONE else "variant"
    return (
        *(first, "seeds", "mean IoU %", f"− {against}", "95 % over seeds", "95 % over images", "higher in"),
        "boundary IoU (over images)",
    )


def to_notes(summaries: Sequence[VariantSummary]) -> list[str]:
    """What a reader of the table must know."""
    notes = ["mean ± standard deviation over seeds; differences are paired by seed, in points of mean IoU."]
    pairs = [s.pairs for s in summaries if s.difference is not None]
    if pairs and min(pairs) < FEWEST:
        notes.append(f"Fewer than {FEWEST} seeds are too few for an interval.")
    if pairs and max(pairs) >= FEWEST:
        notes.append(
            "Intervals over seeds are Student's t: they cover what chance in initial weights and order of images does, "
            "not another choice of data, and are not adjusted for the number of variants."
        )
    if any(s.image_low is not None for s in summaries):
        notes.append(
            "Intervals over images (2,000 resamples, the same images for both) cover another choice of the images "
            "measured, not another training; boundary IoU is that of the bands along edges."
        )
    return notes


def tell_classes(results: Sequence[HasClasses], classes: Sequence[str] = ()) -> list[str]:
    """A note where means are not over the same classes: one that no image has is in those of runs that predict it.

    Args:
        results: measured on the same images.
        classes: over which means are taken; none: over all.
    """
    held = [{name for name in result.iou if not classes or name in classes} for result in results]
    odd = sorted(set().union(*held).difference(set.intersection(*held))) if held else []
    if not odd:
        return []
    named = ", ".join(odd[:5]) + ", …" * (len(odd) > 5)
    runs = sum(not one.isdisjoint(odd) for one in held)
    note = f"no image has {named}, which count as 0 in {runs} of {len(held)} runs, those that predict them somewhere"
    return [
        f"Means are not over the same classes: {note}. With --classes NAME,… they are over the same ones."
    ]


def to_markdown(
    summaries: Sequence[VariantSummary], title: str, notes: Sequence[str] = (), against: str = NONE
) -> str:
    """The table with its title, what a reader must know, and `notes` of this one."""
    names = headings(against)
    rows = [names, ("---", *("---:" for _ in names[1:])), *map(to_cells, summaries)]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n\n".join([f"**{title}**", "\n".join(lines), "\n".join([*to_notes(summaries), *notes])]) + "\n"


def to_csv(rows: Sequence[Any]) -> str:
    """Dataclasses of one kind as CSV, a column a field; nested values are left out, None is empty."""
    names = (
        [f.name for f in fields(rows[0]) if not isinstance(getattr(rows[0], f.name), dict)] if rows else []
    )
    return rows_to_csv([{name: getattr(row, name) for name in names} for row in rows])


def _between(low: float | None, high: float | None) -> str:
    return "–" if low is None or high is None else f"{_signed(low)} to {_signed(high)}"


def _signed(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "−")
