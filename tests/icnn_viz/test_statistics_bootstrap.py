"""Intervals: as scipy's and as resampling written out, and right as often as they say."""

import tracemalloc

import numpy as np
import pytest
from scipy import stats

from icnn_core.errors import ArgumentError
from icnn_viz.records import PositionCloud
from icnn_viz.statistics import bootstrap
from icnn_viz.statistics.bootstrap import LAYER_MEASURES, MEASURES, bootstrap_layers, bootstrap_slots
from icnn_viz.statistics.gaussian import fit_gaussians, to_shapes

SLOTS = np.array([[0.0, -2.0], [0.0, 2.0]])


def cloud_of(displacements, weights=None, depth=0):
    positions = (SLOTS + displacements)[None]
    weights = np.ones(positions.shape[:-1]) if weights is None else weights[None]
    return PositionCloud(f"l{depth}", depth, (1, 2), (1, 4), "channel", SLOTS, positions, weights)


def draw(count, seed=0, factor=((1.0, 0.0), (1.6, 0.6))):
    return np.random.default_rng(seed).standard_normal((count, 2, 2)) @ np.array(factor).T + [0.5, -1]


def wide(table):
    return table.pivot(index="slot", columns="measure", values=["estimate", "low", "high"])


@pytest.mark.parametrize("weighted", [False, True])
def test_estimates_are_the_fit(weighted):
    cloud = cloud_of(draw(37), np.random.default_rng(1).exponential(size=(37, 2)))
    table = bootstrap_slots(cloud, resamples=50, weighted=weighted)
    shapes = to_shapes(fit_gaussians(cloud, weighted=weighted))
    for measure in MEASURES:
        found = table[table.measure == measure].estimate.to_numpy(float)
        np.testing.assert_allclose(found, shapes[measure].to_numpy(float), err_msg=measure)


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_intervals_agree_with_scipys(method):
    cloud = cloud_of(draw(40, factor=((1.0, 0.0), (0.4, 0.8))))

    def area(index):
        return np.pi * np.sqrt(np.linalg.det(np.cov(cloud.points[index.astype(int), 0].T)))

    rng = np.random.default_rng(2)
    expected = stats.bootstrap(
        (np.arange(40),), area, method=method, n_resamples=6000, vectorized=False, rng=rng
    ).confidence_interval
    table = wide(bootstrap_slots(cloud, resamples=20_000, method=method))
    assert table["low"]["area"][0] == pytest.approx(expected.low, rel=0.03)
    assert table["high"]["area"][0] == pytest.approx(expected.high, rel=0.03)


def test_a_bca_interval_covers_the_truth_about_as_often_as_it_says():
    truth = np.sqrt(np.linalg.svd([[1.0, 0.0], [1.6, 0.6]])[1].prod())  # spread
    hits = 0
    for seed in range(120):
        table = bootstrap_slots(cloud_of(draw(100, seed)), resamples=300, seed=seed)
        spread = table[table.measure == "spread"]
        hits += int(((spread.low < truth) & (truth < spread.high)).sum())
    assert 0.9 <= hits / 240 <= 0.99


def test_the_acceleration_is_the_jackknifes():
    """A mean of few skewed values, whose interval leans: by scipy, and by Efron's formula written out."""
    points = np.random.default_rng(3).exponential(size=(15, 2, 2)) ** 2
    row = wide(bootstrap_slots(cloud_of(points), resamples=40_000)).loc[0]
    y = points[:, 0, 0]
    pull = (y - y.mean()) / 14  # of the mean's jackknife
    acceleration = (pull**3).sum() / (6 * (pull**2).sum() ** 1.5)
    assert acceleration > 0.05
    drawn = np.sort(np.random.default_rng(9).choice(y, (40_000, 15)).mean(1))
    bias = stats.norm.ppf((drawn < y.mean()).mean())
    for end, z in (("low", -1.959964), ("high", 1.959964)):
        place = stats.norm.cdf(bias + (bias + z) / (1 - acceleration * (bias + z)))
        assert row[end]["mean_y"] == pytest.approx(np.quantile(drawn, place), rel=0.03)
    expected = stats.bootstrap((y,), np.mean, n_resamples=20_000, rng=np.random.default_rng(4))
    assert row["high"]["mean_y"] == pytest.approx(expected.confidence_interval.high, rel=0.03)


def test_an_orientation_near_the_seam_has_a_narrow_interval():
    points = draw(400, factor=((0.3, 0.0), (0.0, 3.0)))  # along x: 0° = 180°
    row = wide(bootstrap_slots(cloud_of(points), resamples=500)).iloc[0]
    low, high = row["low"]["orientation"], row["high"]["orientation"]
    assert high - low < 6
    assert low < row["estimate"]["orientation"] < high
    assert min(abs(row["estimate"]["orientation"]), 180 - row["estimate"]["orientation"]) < 3


def test_bundles_keep_the_width(monkeypatch):
    cloud = cloud_of(draw(600))
    plain = wide(bootstrap_slots(cloud, resamples=2000))
    monkeypatch.setattr("icnn_viz.statistics.bootstrap._BUNDLES", 200)
    bundled = wide(bootstrap_slots(cloud, resamples=2000))
    for measure in ("mean_y", "sd_major", "elongation"):
        width, other = (t["high"][measure] - t["low"][measure] for t in (plain, bundled))
        np.testing.assert_allclose(other.to_numpy(float), width.to_numpy(float), rtol=0.15)


def test_layers_have_the_median_over_their_slots():
    cloud = cloud_of(draw(300) * np.array([1.0, 3.0])[None, :, None], depth=1)
    still = cloud_of(np.zeros((5, 2, 2)), depth=0)
    table = bootstrap_layers([cloud, still], resamples=300)
    assert list(table.layer.unique()) == ["l0", "l1"]
    assert set(table.measure) == set(LAYER_MEASURES)
    assert (table[table.depth == 0].state == "no slot with a covariance").all()
    assert table[table.depth == 0].low.isna().all()
    shapes = to_shapes(fit_gaussians(cloud))
    row = table[(table.depth == 1) & (table.measure == "spread")].iloc[0]
    assert row.estimate == pytest.approx(shapes.spread.median())
    assert row.low < row.estimate < row.high


def test_degenerate_slots_and_seeds():
    points = draw(4)
    points[:, 1] = np.nan
    table = bootstrap_slots(cloud_of(points), resamples=200)
    assert list(table[table.slot == 1].state.unique()) == ["not finite"]
    assert table[table.slot == 1].low.isna().all()
    assert table[table.slot == 0].high.isna().sum() == 1  # four points may be round: no orientation
    assert bootstrap_slots(cloud_of(points[:1]), resamples=10).low.isna().all()
    assert table.equals(bootstrap_slots(cloud_of(points), resamples=200))
    with pytest.raises(ArgumentError, match="bootstrap-t"):
        bootstrap_slots(cloud_of(points), method="bootstrap-t")


def test_slots_of_very_large_kernels_are_resampled_in_parts(monkeypatch):
    slots = np.stack(np.indices((41, 40)).reshape(2, -1), 1) - [20.0, 19.5]
    positions = slots + np.random.default_rng(0).standard_normal((1, 9, len(slots), 2))
    cloud = PositionCloud("l", 0, (41, 40), (1, 1), "channel", slots, positions, np.ones((1, 9, len(slots))))
    tracemalloc.start()
    table = bootstrap_slots(cloud, resamples=300)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6  # all slots at once: 130 MB
    monkeypatch.setattr(bootstrap, "_SLOTS", 1640)
    whole = bootstrap_slots(cloud, resamples=300)
    columns = ["estimate", "low", "high"]
    np.testing.assert_allclose(table[columns].astype(float), whole[columns].astype(float), rtol=1e-9)
