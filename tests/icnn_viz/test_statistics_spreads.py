"""Spreads of slots against each other, and along their radius."""

import numpy as np
import pytest
from scipy import stats

from icnn_viz.records import PositionCloud
from icnn_viz.statistics import spreads
from icnn_viz.statistics.spreads import box_m, radial_spreads

SLOTS = np.stack(np.meshgrid([-2.0, 0.0, 2.0], [-3.0, 0.0, 3.0, 6.0], indexing="ij"), -1).reshape(-1, 2)[:6]
CENTRE = 5  # (0, 0) comes sixth
SLOTS[CENTRE] = 0


def cloud_of(displacements, depth=0):
    positions = (SLOTS + displacements)[None]
    return PositionCloud(
        f"l{depth}", depth, (2, 3), (2, 3), "channel", SLOTS, positions, np.ones(positions.shape[:-1])
    )


def draw(count, seed=0):
    """Slots alike, and shapes that move as a whole: slots of a shape are not independent."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, 6, 2)) @ np.array([[1.0, 0.8], [0.0, 0.4]]) + rng.standard_normal(
        (count, 1, 2)
    )


def test_box_m_written_out():
    rng = np.random.default_rng(1)
    groups = [rng.standard_normal((n, 2)) * s for n, s in ((7, 1.0), (12, 2.0), (9, 1.5))]
    found, p = box_m(np.stack([np.cov(g.T) for g in groups]), np.array([7, 12, 9]))
    pooled = sum((len(g) - 1) * np.cov(g.T) for g in groups) / (28 - 3)
    m = 25 * np.log(np.linalg.det(pooled)) - sum(
        (len(g) - 1) * np.log(np.linalg.det(np.cov(g.T))) for g in groups
    )
    c = (1 / 6 + 1 / 11 + 1 / 8 - 1 / 25) * (2 * 4 + 3 * 2 - 1) / (6 * 3 * 2)
    assert found == pytest.approx(m)
    assert p == pytest.approx(stats.chi2(6).sf(m * (1 - c)))


def test_box_m_of_equal_gaussians_has_even_p_values():
    rng = np.random.default_rng(2)
    clouds = rng.standard_normal((400, 30, 4, 2))
    p = [box_m(np.stack([np.cov(g.T) for g in c.swapaxes(0, 1)]), np.full(4, 30))[1] for c in clouds]
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_alike_slots_are_not_told_apart_even_if_not_gaussian_and_not_independent():
    options = {"permutations": 100, "subsample": 80}
    heavy = [np.random.default_rng(s).standard_t(3, size=(80, 6, 2)) + draw(80, s) for s in range(60)]
    table = spreads.test_spreads([cloud_of(points, depth) for depth, points in enumerate(heavy)], **options)
    assert 0.0 <= (table.p <= 0.05).mean() <= 0.12
    assert (table.p_box < 0.05).mean() > 0.5  # why the permutation counts, and Box's chi² does not


def test_one_wider_slot_is_found_and_named():
    points = draw(150)
    points[:, 1] *= 1.6
    points[:, CENTRE] *= 0.5
    row = spreads.test_spreads([cloud_of(points)], permutations=200).iloc[0]
    assert (row.state, row.widest, row.narrowest, row.slots) == ("ok", 1, CENTRE, 6)
    assert row.spread_ratio == pytest.approx(3.2, rel=0.2)
    assert row.outer_to_centre == pytest.approx(2, rel=0.15)
    assert row.p == pytest.approx(1 / 200)
    assert row.q == row.p
    assert row.permuted == 150


def test_spread_is_the_geometric_mean_of_the_principal_deviations():
    points = np.zeros((4, 6, 2))
    points[:, :, 0] = np.array([-1, 1, 0, 0])[:, None]
    points[:, :, 1] = np.array([0, 0, -1, 1])[:, None]
    points[:, 2, 1] *= 16  # one axis 16 times as long: the spread is 4 times as large
    assert spreads.test_spreads([cloud_of(points)], permutations=10).spread_ratio[0] == pytest.approx(4)


def test_radial_spreads_of_strips():
    rng = np.random.default_rng(3)
    along, across = rng.standard_normal((2, 5000, 6, 1)) * np.array([2.0, 0.5])[:, None, None, None]
    radius = SLOTS / np.maximum(np.hypot(*SLOTS.T), 1e-9)[:, None]
    tangent = np.stack([-radius[:, 1], radius[:, 0]], 1)
    strips = radial_spreads([cloud_of(along * radius + across * tangent)])
    assert list(strips.slot) == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(strips.sd_radial, 2.0, rtol=0.05)
    np.testing.assert_allclose(strips.sd_tangential, 0.5, rtol=0.05)
    np.testing.assert_allclose(strips.radial_to_tangential, 4.0, rtol=0.06)
    np.testing.assert_allclose(strips.off_radius, 0, atol=1)
    rings = radial_spreads([cloud_of(along * tangent + across * radius)])
    np.testing.assert_allclose(rings.off_radius, 90, atol=1)
    np.testing.assert_allclose(rings.radial_to_tangential, 0.25, rtol=0.06)


def test_degenerate_layers():
    still = np.zeros((9, 6, 2))
    one = still.copy()
    one[:, 3] = draw(9)[:, 3]
    gone = draw(9)
    gone[:, 2] = np.nan
    gone[1:8, 4, 0] = np.nan
    table = spreads.test_spreads(
        [cloud_of(c, d) for d, c in enumerate([still, one, gone, draw(9)[:1]])], permutations=10
    )
    assert list(table.state) == ["too few slots", "too few slots", "ok", "too few slots"]
    assert list(table.slots) == [0, 1, 4, 0]
    assert table.p.isna().tolist() == [True, True, False, True]
    radial = radial_spreads([cloud_of(gone)])
    assert list(radial.state) == ["ok", "ok", "not finite", "ok", "not finite"]
    assert radial.sd_radial.isna().tolist() == [False, False, True, False, True]
