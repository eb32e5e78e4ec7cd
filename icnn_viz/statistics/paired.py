"""Two networks at the same pixels: paired differences of measures, with intervals that few images do not narrow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from icnn_core.errors import ArgumentError, check_name
from icnn_viz.statistics.tables import to_table

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "model:str against:str group:str stratum:str measure:str pixels:int images:int "
    "first second difference low high share_higher"
)
FEWEST_IMAGES = 5
"""Below this effective number of images there is no interval: no rule holds its level with so few."""


def compare_pairs(
    table: pd.DataFrame,
    first: str,
    second: str,
    measures: Sequence[str],
    groups: Sequence[str] = (),
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean paired differences, first minus second, over all pixels and within each group.

    Intervals are over images, not pixels, as pixels of one image are not independent: those of
    `image_interval`. They are not adjusted for the number of rows.

    Args:
        table: one row per pixel and network: pixel_id, image, model, the measures, the columns of groups.
        first, second: two values of `model`.
        measures: columns of numbers; a pixel where either is not finite does not count for that measure.
        groups: columns to split by; strata come in the order of a column's categories, else by name; a
            missing value belongs to none.
        level: of the intervals.

    Returns:
        One row per group, stratum and measure ("all", "all" for everything together): pixels and images that
        counted, the two means, the mean difference and its interval, and the share of pixels at which first
        is higher. Intervals are NA with fewer than five images (their effective number).

    Raises:
        NameNotFoundError: a model or column that is not there.
        ArgumentError: resamples or level out of range.
    """
    if resamples < 1 or not 0 < level < 1:
        needed, got = "resamples >= 1 and 0 < level < 1", f"{resamples} resamples, level {level}"
        raise ArgumentError("compare_pairs", needed=needed, got=got, fix="Give values in range.")
    _check_names("column", ["pixel_id", "image", "model", *measures, *groups], list(table.columns))
    _check_names("model", [first, second], sorted(set(table["model"])))
    left, right = (table[table["model"] == name].set_index("pixel_id") for name in (first, second))
    both = left.index.intersection(right.index)
    left, right = left.loc[both], right.loc[both]
    rows = []
    for group, stratum, chosen in _strata(left, groups):
        images = left["image"].to_numpy()[chosen]
        for measure in measures:
            a, b = (side[measure].to_numpy(float)[chosen] for side in (left, right))
            rows.append(
                {"model": first, "against": second, "group": group, "stratum": stratum, "measure": measure}
                | _compare(a, b, images, resamples, level, np.random.default_rng(seed))
            )
    return to_table(rows, COLUMNS)


def _strata(table: pd.DataFrame, groups: Sequence[str]) -> list[tuple[str, str, np.ndarray]]:
    strata = [("all", "all", np.ones(len(table), bool))]
    for group in groups:
        column = table[group]
        ordered = (
            column.cat.categories if hasattr(column, "cat") else sorted(set(column.dropna().astype(str)))
        )
        values = column.astype(str).where(column.notna(), None).to_numpy(object)
        strata += [
            (group, str(value), values == str(value)) for value in ordered if (values == str(value)).any()
        ]
    return strata


def _compare(
    first: np.ndarray,
    second: np.ndarray,
    images: np.ndarray,
    resamples: int,
    level: float,
    rng: np.random.Generator,
) -> dict[str, object]:
    finite = np.isfinite(first) & np.isfinite(second)
    first, second, images = first[finite], second[finite], images[finite]
    _, cluster = np.unique(images, return_inverse=True)
    count = int(cluster.max()) + 1 if len(cluster) else 0
    found: dict[str, object] = {"pixels": len(first), "images": count}
    if not count:
        return found
    difference = first - second
    found |= {
        "first": first.mean(),
        "second": second.mean(),
        "difference": difference.mean(),
        "share_higher": (difference > 0).mean(),
    }
    sums, sizes = np.bincount(cluster, weights=difference), np.bincount(cluster)
    if ends := image_interval(sums, sizes, resamples=resamples, level=level, rng=rng):
        found |= dict(zip(("low", "high"), ends, strict=True))
    return found


def image_interval(
    sums: np.ndarray, sizes: np.ndarray, *, resamples: int, level: float, rng: np.random.Generator
) -> tuple[float, float] | None:
    """An interval for the mean of pixels, from each image's sum and number of pixels (both (n,)).

    The wider end on either side of two: Student's t with the jackknife's standard error over images and one
    degree of freedom less than the effective number of images, (Σ sizes)² / Σ sizes²; and the bootstrap of
    whole images, studentised (bootstrap-t, Davison and Hinkley 1997, sections 2.4 and 3.8). The first is too
    short where data are skewed, the second where images differ in size; percentiles are too short wherever
    images are few. How often each covers the truth stands in docs/statistics.md.

    Returns:
        Low and high; None with an effective number of images below five.
    """
    from scipy.special import stdtrit

    count, total = len(sums), sizes.sum()
    effective = total**2 / (sizes.astype(float) ** 2).sum()
    if effective < FEWEST_IMAGES - 1e-9:
        return None
    mean = sums.sum() / total
    left_out = (sums.sum() - sums) / (total - sizes)
    error = np.sqrt((count - 1) / count * ((left_out - left_out.mean()) ** 2).sum())
    student = error * stdtrit(effective - 1, (1 + level) / 2)
    parts = np.stack([sums, sizes, sums**2, sums * sizes, sizes**2], axis=1)
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=resamples).astype(np.float64) @ parts
    s, n, ss, sn, nn = drawn.T
    means = s / n
    errors = np.sqrt(np.maximum(count / (count - 1) * (ss - 2 * means * sn + means**2 * nn), 0)) / n
    known = errors > 1e-9 * error  # a resample of one image alone has no error
    pivots = (means - mean)[known] / errors[known]
    below, above = np.quantile(pivots, [(1 - level) / 2, (1 + level) / 2]) if known.any() else (0.0, 0.0)
    return float(mean - max(student, above * error)), float(mean + max(student, -below * error))


def _check_names(kind: str, wanted: Sequence[str], known: Sequence[str]) -> None:
    for name in wanted:
        check_name("compare_pairs", f"a {kind} of the table", name, known)
