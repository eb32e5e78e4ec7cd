"""Rows over seeds: means, standard deviations, paired differences with intervals; as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol

from icnn_core.text import to_cell

FEWEST = 3
"""Seeds below which no interval is given: with two, Student's factor is 12.7 and says nothing."""


class Measured(Protocol):
    """What one run brought: the row of the table it belongs to, its seed, and its mean IoU in [0, 1]."""

    @property
    def row(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def mean_iou(self) -> float: ...


@dataclass(frozen=True)
class RowSummary:
    """One row over its seeds. All but counts are mean IoU in [0, 1]; None where there are too few seeds.

    Attributes:
        seeds: runs of this row. mean, sd: over them; sd is the sample's (n - 1).
        pairs: seeds that the row and the one it is compared with have in common.
        difference: mean over the pairs, this row minus the other.
        low, high: 95 % interval of the difference, Student's t with pairs - 1 degrees of freedom.
        wins: pairs in which this row is higher.
    """

    row: str
    seeds: int
    mean: float
    sd: float | None
    pairs: int
    difference: float | None
    low: float | None
    high: float | None
    wins: int


def summarise(results: Sequence[Measured], rows: Sequence[str], against: str = "none") -> list[RowSummary]:
    """A summary of every row that has results, in the order of `rows`, each compared with `against` seed by seed.

    Student's interval assumes that the differences of seeds are about normal; a bootstrap of so few would be
    too narrow.
    """
    values = {row: {r.seed: r.mean_iou for r in results if r.row == row} for row in rows}
    return [
        _summarise(row, values[row], values.get(against, {}), row == against) for row in rows if values[row]
    ]


def _summarise(row: str, own: dict[int, float], other: dict[int, float], is_other: bool) -> RowSummary:
    differences = [] if is_other else [own[seed] - other[seed] for seed in own if seed in other]
    low, high = t_interval(differences)
    return RowSummary(
        row=row,
        seeds=len(own),
        mean=statistics.fmean(own.values()),
        sd=statistics.stdev(own.values()) if len(own) > 1 else None,
        pairs=len(differences),
        difference=statistics.fmean(differences) if differences else None,
        low=low,
        high=high,
        wins=sum(difference > 0 for difference in differences),
    )


def t_interval(values: Sequence[float], level: float = 0.95) -> tuple[float | None, float | None]:
    """Student's interval of a mean; (None, None) with fewer than FEWEST values."""
    if len(values) < FEWEST:
        return None, None
    from scipy.special import stdtrit

    half = stdtrit(len(values) - 1, (1 + level) / 2) * statistics.stdev(values) / math.sqrt(len(values))
    mean = statistics.fmean(values)
    return mean - float(half), mean + float(half)


def to_cells(summary: RowSummary) -> tuple[str, ...]:
    """The row as text: name, seeds, mean ± sd in %, difference and interval in points, wins."""
    spread = "" if summary.sd is None else f" ± {100 * summary.sd:.1f}"
    difference = interval = wins = "–"
    if summary.difference is not None:
        difference, wins = _signed(summary.difference), f"{summary.wins} of {summary.pairs}"
    if summary.low is not None and summary.high is not None:
        interval = f"{_signed(summary.low)} to {_signed(summary.high)}"
    return summary.row, str(summary.seeds), f"{100 * summary.mean:.1f}{spread}", difference, interval, wins


def headings(against: str = "none") -> tuple[str, ...]:
    """Of the columns; `against` is what differences are to."""
    first = "irregular from" if against == "none" else "variant"
    return first, "seeds", "mean IoU %", f"− {against}", "95 % interval", "higher in"


def to_notes(summaries: Sequence[RowSummary]) -> list[str]:
    """What a reader of the table must know."""
    notes = ["mean ± standard deviation over seeds; differences are paired by seed, in points of mean IoU."]
    pairs = [s.pairs for s in summaries if s.difference is not None]
    if pairs and min(pairs) < FEWEST:
        notes.append(f"Fewer than {FEWEST} seeds are too few for an interval.")
    if pairs and max(pairs) >= FEWEST:
        notes.append(
            "Intervals are Student's t over seeds: they cover what chance in initial weights and order of images does, "
            "not another choice of data, and are not adjusted for the number of rows."
        )
    return notes


def to_markdown(
    summaries: Sequence[RowSummary], title: str, notes: Sequence[str] = (), against: str = "none"
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
    text = io.StringIO()
    writer = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: to_cell(value) for key, value in asdict(row).items()} for row in rows)
    return text.getvalue()


def _signed(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "−")
