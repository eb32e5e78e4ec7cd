"""The figure of paired differences: what is drawn is what was computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from icnn_core.errors import ArgumentError
from icnn_viz.figures.survey import SHOWN, draw_survey


def make_summary(strata: int = 4, images: int = 30) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    names = [("all", "all")] + [("class", f"class with a long name {n}") for n in range(strata)]
    names += [("outcome", "both right")]
    rows = []
    for measure in SHOWN:
        for group, stratum in names:
            middle, width = rng.normal(), rng.uniform(0.2, 2)
            rows.append(
                {"group": group, "stratum": stratum, "measure": measure, "pixels": 123, "images": images}
                | {"difference": middle, "low": middle - width, "high": middle + width}
            )
    return pd.DataFrame(rows)


def test_points_and_intervals_are_those_of_the_table() -> None:
    summary = make_summary()
    figure = draw_survey(summary, "irregular", "regular", title="camvid test")
    assert len(figure.axes) == len(SHOWN)
    for ax, measure in zip(figure.axes, SHOWN, strict=True):
        rows = summary[summary["measure"] == measure]
        lines = [line for line in ax.lines if len(line.get_xdata()) == 2 and len(set(line.get_ydata())) == 1]
        np.testing.assert_allclose([line.get_xdata() for line in lines], rows[["low", "high"]])
        points = [line for line in ax.lines if len(line.get_xdata()) == 1]
        np.testing.assert_allclose([p.get_xdata()[0] for p in points], rows["difference"])
        certain = (rows["low"] > 0) | (rows["high"] < 0)
        filled = [p.get_markerfacecolor() == p.get_markeredgecolor() for p in points]
        assert filled == certain.tolist()
    assert figure.texts[0].get_text() == "What pixels look at: irregular minus regular"


@pytest.mark.parametrize("strata", [1, 20])
def test_it_is_tidy(assert_tidy: Callable[[Figure], None], strata: int) -> None:
    figure = draw_survey(
        make_summary(strata), "irregular", "irregular, snapped to slots", title="x", theme="dark"
    )
    assert_tidy(figure)


def test_rows_without_an_interval_or_with_few_images_are_left_out() -> None:
    summary = make_summary()
    summary.loc[summary["stratum"] == "both right", "low"] = np.nan
    summary.loc[summary["stratum"] == "class with a long name 1", "images"] = 4
    labels = [t.get_text() for t in draw_survey(summary, "a", "b").axes[0].get_yticklabels()]
    assert len(labels) == 4
    assert labels[0] == "all pixels (123)"
    empty: Any = make_summary(images=4)
    with pytest.raises(ArgumentError, match="more pixels"):
        draw_survey(empty, "a", "b")
