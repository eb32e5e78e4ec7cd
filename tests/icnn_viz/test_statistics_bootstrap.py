"""Intervals: as scipy's and as resampling written out, and right as often as they say."""

import tracemalloc

import numpy as np
import pytest
from scipy import stats

from icnn_core.errors import ArgumentError
from icnn_viz.records import PositionCloud
from icnn_viz.statistics.bootstrap import LAYER_MEASURES, bootstrap_layers
from icnn_viz.statistics.gaussian import fit_gaussians, to_shapes

SLOTS = np.array([[0.0, -2.0], [0.0, 2.0]])


def cloud_of(displacements, weights=None, depth=0):
    positions = (SLOTS + displacements)[None]
    weights = np.ones(positions.shape[:-1]) if weights is None else weights[None]
    return PositionCloud(f"l{depth}", depth, (1, 2), (1, 4), "channel", SLOTS, positions, weights)


def draw(count, seed=0, factor=((1.0, 0.0), (1.6, 0.6))):
    return np.random.default_rng(seed).standard_normal((count, 2, 2)) @ np.array(factor).T + [0.5, -1]


def rows_of(table):
    """By their measure, of a single layer."""
    return table.set_index("measure")


def one_slot(points):
    return PositionCloud(
        "l", 0, (1, 1), (1, 1), "channel", np.zeros((1, 2)), points[None], np.ones((1, len(points), 1))
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_estimates_are_of_the_fit(weighted):
    cloud = cloud_of(draw(37), np.random.default_rng(1).exponential(size=(37, 2)))
    rows = rows_of(bootstrap_layers([cloud], resamples=50, weighted=weighted))
    shapes = to_shapes(fit_gaussians(cloud, weighted=weighted))
    for measure in ("sd_major", "sd_minor", "spread"):
        assert rows.estimate[measure] == pytest.approx(shapes[measure].median()), measure


def test_intervals_agree_with_scipys():
    cloud = one_slot(draw(40, factor=((1.0, 0.0), (0.4, 0.8)))[:, :1])

    def spread(index):
        return np.linalg.det(np.cov(cloud.points[index.astype(int), 0].T)) ** 0.25

    rng = np.random.default_rng(2)
    expected = stats.bootstrap(
        (np.arange(40),), spread, method="percentile", n_resamples=6000, vectorized=False, rng=rng
    ).confidence_interval
    row = rows_of(bootstrap_layers([cloud], resamples=20_000)).loc["spread"]
    assert row.low == pytest.approx(expected.low, rel=0.02)
    assert row.high == pytest.approx(expected.high, rel=0.02)


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    truth = np.sqrt(np.linalg.svd([[1.0, 0.0], [1.6, 0.6]])[1].prod())  # spread
    hits = 0
    for seed in range(120):
        row = rows_of(bootstrap_layers([cloud_of(draw(100, seed))], resamples=300, seed=seed)).loc["spread"]
        hits += row.low < truth < row.high
    assert 0.86 <= hits / 120 <= 0.99


def test_bundles_keep_the_width(monkeypatch):
    cloud = cloud_of(draw(600))
    plain = rows_of(bootstrap_layers([cloud], resamples=2000))
    monkeypatch.setattr("icnn_viz.statistics.bootstrap._BUNDLES", 200)
    bundled = rows_of(bootstrap_layers([cloud], resamples=2000))
    for measure in LAYER_MEASURES:
        width, other = (rows.high[measure] - rows.low[measure] for rows in (plain, bundled))
        assert other == pytest.approx(width, rel=0.15), measure
        assert other != width


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


def test_degenerate_slots_seeds_and_wrong_numbers():
    points = draw(9)
    points[:, 1] = np.nan
    table = bootstrap_layers([cloud_of(points)], resamples=200)
    assert set(table.slots) == {1}
    assert table.high.notna().all()
    assert table.equals(bootstrap_layers([cloud_of(points)], resamples=200))
    assert not table.equals(bootstrap_layers([cloud_of(points)], resamples=200, seed=1))
    assert bootstrap_layers([cloud_of(points[:1])], resamples=10).low.isna().all()
    for wrong in ({"resamples": 0}, {"level": 1.0}):
        with pytest.raises(ArgumentError, match="in range"):
            bootstrap_layers([cloud_of(points)], **wrong)


def test_of_very_large_kernels_some_slots_are_resampled():
    slots = np.stack(np.indices((41, 40)).reshape(2, -1), 1) - [20.0, 19.5]
    positions = slots + np.random.default_rng(0).standard_normal((1, 9, len(slots), 2))
    cloud = PositionCloud("l", 0, (41, 40), (1, 1), "channel", slots, positions, np.ones((1, 9, len(slots))))
    tracemalloc.start()
    table = bootstrap_layers([cloud], resamples=300)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert set(table.slots) == {256}
    assert peak < 40e6  # all slots at once: 130 MB
