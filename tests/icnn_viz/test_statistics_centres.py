"""Hotelling's T² and its ellipse, and the words "close", "far" and "unsure"."""

import numpy as np
import pytest
from scipy import stats

from icnn_viz.records import PositionCloud
from icnn_viz.statistics import centres

SLOTS = np.array([[-4.0, 0.0], [0.0, 0.0], [4.0, 0.0]])


def cloud_of(displacements, depth=0):
    positions = (SLOTS + displacements)[None]
    return PositionCloud(
        f"l{depth}", depth, (3, 1), (4, 6), "channel", SLOTS, positions, np.ones(positions.shape[:-1])
    )


def draw(count, seed=0):
    return np.random.default_rng(seed).standard_normal((count, 3, 2)) @ np.array([[1.0, 0.5], [0.0, 2.0]])


def test_t2_written_out():
    points = draw(25) + np.array([0.4, 0.1])
    row = centres.test_centres([cloud_of(points)]).iloc[1]
    mean, covariance = points[:, 1].mean(0), np.cov(points[:, 1].T)
    t2 = 25 * mean @ np.linalg.inv(covariance) @ mean
    assert row.t2 == pytest.approx(t2)
    assert row.p == pytest.approx(stats.f(2, 23).sf(t2 * 23 / (2 * 24)))
    assert (row.dy, row.dx) == pytest.approx(tuple(mean))
    assert row.spacings == pytest.approx(np.hypot(*mean) / 4)


def test_p_is_at_the_level_where_the_ellipse_passes_through_the_slot():
    points = draw(25)
    points -= points.mean(0)
    values, vectors = np.linalg.eigh(np.cov(points[:, 1].T))
    edge = np.sqrt(2 * 24 / 23 * stats.f(2, 23).ppf(0.9) / 25)
    row = centres.test_centres(
        [cloud_of(points + vectors[:, 0] * edge * np.sqrt(values[0]))], level=0.9
    ).iloc[1]
    assert row.p == pytest.approx(0.1)
    assert row.region_minor == pytest.approx(row.distance)
    assert row.region_major == pytest.approx(edge * np.sqrt(values[1]))
    y, x = vectors[:, 1]
    assert row.region_orientation == pytest.approx(np.degrees(np.arctan2(y, x)) % 180)


def test_the_ellipse_covers_the_slot_as_often_as_it_says():
    table = centres.test_centres([cloud_of(draw(12, seed), seed) for seed in range(400)])
    assert 0.93 < (table.p > 0.05).mean() < 0.97
    assert (table.q > 0.05).mean() > 0.99


def test_words():
    points = draw(400) * 0.5
    points = points - points.mean(0) + np.array([[0.2, 0.0], [1.02, 0.0], [3.0, 0.0]])
    table = centres.test_centres([cloud_of(points)])  # a quarter of the spacing is 1 px
    assert list(table.closeness) == ["close", "unsure", "far"]
    assert list(table.q < 0.001) == [True] * 3
    below = cloud_of(points - np.array([0.04, 0.0]))  # now 0.98 px: within, but its ellipse is not
    assert centres.test_centres([below]).closeness[1] == "unsure"
    assert list(centres.test_centres([cloud_of(points)], close=0.8).closeness) == ["close"] * 3


def test_degenerate_slots():
    points = draw(9)
    points[:, 0] = 0.005
    points[:, 1] = [0.0, 2.0]
    points[:, 2] = np.nan
    table = centres.test_centres([cloud_of(points)])
    assert list(table.state) == ["undeformed", "equal points", "not finite"]
    assert list(table.closeness) == ["close", "far", "unknown"]
    assert table.p.isna().all()
    assert table.q.isna().all()
    assert table.distance.isna().tolist() == [False, False, True]
    assert centres.test_centres([]).empty


def row_of_slots(dilation, moved):
    """A 1×5 kernel with 4 px from slot to slot, all points moved alike."""
    slots = np.stack([np.zeros(5), 4.0 * np.arange(-2, 3)], 1)
    points = draw(900)[:, [0, 1, 2, 0, 1]] * 0.01 + moved
    return PositionCloud(
        "r", 0, (1, 5), dilation, "channel", slots, (slots + points)[None], np.ones((1, 900, 5))
    )


@pytest.mark.parametrize("dilation", [(1, 4), (1, 1), (4, 4)])
def test_spacings_come_from_the_slots_not_from_what_was_written_beside_them(dilation):
    table = centres.test_centres([row_of_slots(dilation, np.array([0.6, 0.0]))])
    np.testing.assert_allclose(table.spacings, 0.15, atol=0.01)
    assert set(table.closeness) == {"close"}


def test_each_axis_counts_in_its_own_spacing():
    slots = np.stack(np.meshgrid([-2.0, 0, 2], [-10.0, 0, 10], indexing="ij"), -1).reshape(-1, 2)
    points = slots + np.array([0.6, 4.0]) + 1e-3 * draw(50)[:, [0, 1, 2] * 3]
    cloud = PositionCloud("a", 0, (3, 3), (2, 10), "channel", slots, points[None], np.ones((1, 50, 9)))
    np.testing.assert_allclose(centres.test_centres([cloud]).spacings, 0.5, atol=1e-3)  # 0.3 and 0.4
