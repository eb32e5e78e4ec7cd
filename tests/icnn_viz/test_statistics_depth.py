"""Trends over depth."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from icnn_core.errors import NameNotFoundError
from icnn_viz.statistics.depth import depth_trends


def layers(values, **more):
    return pd.DataFrame({"depth": np.arange(len(values)), "elongation": values, **more})


def trend(values, **kwargs):
    return depth_trends(layers(values), ("elongation",), **kwargs).iloc[0]


def test_kendall_by_hand():
    row = trend([1.0, 1.4, 1.2, 1.8, 1.6, 2.0])  # 15 pairs, 2 of them fall
    assert row.state == "ok"
    assert row.kendall == pytest.approx(11 / 15)
    assert row.spearman == pytest.approx(1 - 6 * 4 / (6 * 35))
    z, half = np.arctanh(11 / 15), 1.959964 * np.sqrt(0.437 / 2)
    assert (row.kendall_low, row.kendall_high) == pytest.approx((np.tanh(z - half), np.tanh(z + half)))
    assert row.slope == pytest.approx(0.2)
    assert row.rise == pytest.approx(1.0)
    assert row.p_kendall == pytest.approx(stats.kendalltau(range(6), [1.0, 1.4, 1.2, 1.8, 1.6, 2.0]).pvalue)


@pytest.mark.parametrize(("count", "ties"), [(5, False), (12, False), (12, True), (40, False), (41, True)])
def test_trends_are_scipys(count, ties):
    rng = np.random.default_rng(count)
    depth, value = rng.permutation(count) / 3, rng.standard_normal(count) + np.arange(count) / 9
    if ties:
        depth, value = np.floor(depth), value.round()
    row = depth_trends(pd.DataFrame({"depth": depth, "v": value}), ("v",)).iloc[0]
    tau = stats.kendalltau(depth, value)
    assert row.kendall == tau.statistic  # to the last digit: tables stay as they were
    assert row.p_kendall == pytest.approx(tau.pvalue, rel=1e-10, abs=0)
    assert row.spearman == pytest.approx(stats.spearmanr(depth, value).statistic)
    assert row.slope == pytest.approx(stats.theilslopes(value, depth).slope)


@pytest.mark.parametrize("last", [(58, 59), (59, 58), (59, 57)])
def test_many_layers_in_order_have_an_exact_p(last):
    value = np.array([*range(57), *({57, 58, 59} - {*last}), *last], dtype=float)
    row = depth_trends(pd.DataFrame({"depth": range(60), "v": -value}), ("v",)).iloc[0]
    assert row.p_kendall == pytest.approx(stats.kendalltau(range(60), -value).pvalue, rel=1e-10, abs=0)


def test_intervals_cover_a_known_tau():
    rng = np.random.default_rng(0)
    rho = 0.7  # Gaussian pairs: tau = 2/pi·asin(rho)
    truth, hits = 2 / np.pi * np.arcsin(rho), 0
    for _ in range(120):
        depth = rng.standard_normal(20)
        value = rho * depth + np.sqrt(1 - rho**2) * rng.standard_normal(20)
        row = depth_trends(pd.DataFrame({"depth": depth, "v": value}), ("v",)).iloc[0]
        hits += row.kendall_low < truth < row.kendall_high
    assert 0.91 <= hits / 120 <= 0.99


def test_a_perfect_trend_has_a_finite_interval():
    up, down = trend([1.0, 1.1, 1.2, 1.5, 1.9]), trend([1.9, 1.5, 1.2, 1.1, 1.0])
    assert up.kendall == pytest.approx(1)
    assert 0 < up.kendall_low < 0.5
    assert up.kendall_high == pytest.approx(1)
    assert (down.kendall, down.kendall_low) == pytest.approx((-1, -1))
    assert down.kendall_high == pytest.approx(-up.kendall_low)


def test_few_constant_and_missing():
    assert trend([1.0, 2.0]).state == "too few layers"
    few = trend([1.0, 2.0, 3.0, 4.0])
    assert few.state == "too few layers"
    assert few.kendall == pytest.approx(1)
    assert pd.isna(few.kendall_low)
    assert trend([1.5] * 7).state == "constant"
    assert trend([1.0, 2.0, np.nan, 3.0, np.nan, np.nan]).state == "too few layers measured"
    table = layers([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).astype({"elongation": "Float64"})
    table.loc[2, "elongation"] = pd.NA
    row = depth_trends(table, ("elongation",)).iloc[0]
    assert (row.layers, row.state) == (5, "ok")
    with pytest.raises(NameNotFoundError, match="elongation"):
        depth_trends(table, ("elongatoin",))
