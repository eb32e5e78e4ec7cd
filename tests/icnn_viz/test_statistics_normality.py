"""Tests of normality against their definitions written out, published values, and samples of known form."""

import numpy as np
import pytest
from scipy import stats

from icnn_viz.records import PositionCloud
from icnn_viz.statistics import normality
from icnn_viz.statistics.normality import (
    gap_to_chi2,
    henze_zirkler,
    mahalanobis_squared,
    mardia,
)
from icnn_viz.statistics.tables import with_adjusted

SLOTS = np.array([[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]])


def cloud_of(displacements, depth=0):
    positions = (SLOTS + displacements)[None]
    return PositionCloud(
        f"l{depth}", depth, (3, 1), (1, 1), "channel", SLOTS, positions, np.ones(positions.shape[:-1])
    )


def sample(count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.multivariate_normal([3, -1], [[2.0, 1.2], [1.2, 1.0]], size=count) + rng.exponential(
        size=(count, 2)
    )


def naive_whitening(points):
    return np.linalg.inv(np.cov(points.T, bias=True)), points - points.mean(0)


def test_mardia_is_its_definition_over_pairs():
    points = sample(60)
    inverse, centred = naive_whitening(points)
    n, p = points.shape
    pairs = [[a @ inverse @ b for a in centred] for b in centred]
    b1 = sum(m**3 for row in pairs for m in row) / n**2
    b2 = sum(pairs[i][i] ** 2 for i in range(n)) / n
    k = (p + 1) * (n + 1) * (n + 3) / (n * ((n + 1) * (p + 1) - 6))
    found = mardia(points)
    assert found.skewness == pytest.approx(b1)
    assert found.excess_kurtosis == pytest.approx(b2 - 8)
    assert found.p_skewness == pytest.approx(stats.chi2(4).sf(n * k * b1 / 6))
    assert found.p_kurtosis == pytest.approx(2 * stats.norm.sf(abs(b2 - 8) / np.sqrt(64 / n)))


def test_henze_zirkler_is_the_weighted_distance_of_characteristic_functions():
    points = sample(40)
    n = len(points)
    values, vectors = np.linalg.eigh(np.cov(points.T, bias=True))
    white = (points - points.mean(0)) @ vectors / np.sqrt(values)
    beta = (5 * n / 4) ** (1 / 6) / np.sqrt(2)
    grid = np.linspace(-6 * beta, 6 * beta, 161)
    u, v = np.meshgrid(grid, grid, indexing="ij")
    t = np.stack([u.ravel(), v.ravel()], 1)
    gap = np.exp(1j * t @ white.T).mean(1) - np.exp(-(t**2).sum(1) / 2)
    density = np.exp(-(t**2).sum(1) / (2 * beta**2)) / (2 * np.pi * beta**2)
    integral = (np.abs(gap) ** 2 * density).sum() * (grid[1] - grid[0]) ** 2
    assert henze_zirkler(points)[0] == pytest.approx(n * integral, rel=1e-6)


def test_values_published_for_setosa():
    """Korkmaz, Goksuluk and Zararsiz, "MVN: an R package for assessing multivariate normality" (R Journal
    2014)."""
    iris = pytest.importorskip("sklearn.datasets").load_iris()
    setosa = iris.data[iris.target == 0]
    found = mardia(setosa)
    assert found.skewness == pytest.approx(3.079721, abs=1e-6)
    assert found.excess_kurtosis + 24 == pytest.approx(26.53766, abs=1e-5)
    assert found.p_kurtosis == pytest.approx(0.1953229, abs=1e-6)
    assert henze_zirkler(setosa) == pytest.approx((0.9488453, 0.04995356), abs=1e-6)


@pytest.mark.parametrize("power", [0.3, 1.0, 3.0])
def test_gap_is_scipys_kolmogorov_distance(power):
    points = sample(75)
    points = np.sign(points) * np.abs(points) ** power
    inverse = np.linalg.inv(np.cov(points.T))
    squared = np.array([(p - points.mean(0)) @ inverse @ (p - points.mean(0)) for p in points])
    np.testing.assert_allclose(mahalanobis_squared(points), squared)
    assert gap_to_chi2(points) == pytest.approx(stats.kstest(squared, "chi2", args=(2,)).statistic)


def test_p_values_of_gaussian_points_are_spread_evenly():
    rng = np.random.default_rng(5)
    clouds = [cloud_of(rng.standard_normal((150, 3, 2)) @ [[1, 0], [3, 0.2]], depth) for depth in range(60)]
    table = normality.test_normality(clouds, simulations=400)
    for name in ("p_skewness", "p_kurtosis", "p_henze_zirkler", "p_gap"):
        assert 0.01 < (table[name] < 0.05).mean() < 0.1, name
        assert 0.4 < table[name].mean() < 0.6, name
    assert table.roughly_gaussian.mean() > 0.9
    assert (table.q_gap >= table.p_gap).all()


def test_effect_sizes_of_known_forms():
    rng = np.random.default_rng(6)
    forms = np.stack(
        [rng.uniform(size=(40_000, 2)), rng.laplace(size=(40_000, 2)), rng.exponential(size=(40_000, 2))],
        axis=1,
    )
    table = normality.test_normality([cloud_of(forms)], simulations=200)
    assert table.excess_kurtosis[0] == pytest.approx(-2.4, abs=0.05)
    assert table.excess_kurtosis[1] == pytest.approx(6, abs=0.5)
    assert table.skewness[2] == pytest.approx(8, abs=0.6)
    assert not table.roughly_gaussian.any()
    assert (table.tested == 500).all()
    assert (table.q_henze_zirkler < 0.01).all()


def test_a_mild_departure_is_significant_but_roughly_gaussian():
    rng = np.random.default_rng(7)
    mild = rng.standard_t(16, size=(20_000, 3, 2))
    row = normality.test_normality([cloud_of(mild[:3000])], subsample=20_000, simulations=200).iloc[0]
    assert row.roughly_gaussian
    assert row.q_kurtosis < 0.05
    strict = normality.test_normality([cloud_of(mild[:3000])], simulations=50, small_kurtosis=0.1)
    assert not strict.roughly_gaussian.any()


def test_degenerate_slots_have_a_word_and_no_numbers():
    points = np.random.default_rng(0).standard_normal((8, 3, 2))
    points[:, 1] = 0
    points[:, 2] = np.nan
    table = normality.test_normality([cloud_of(points)], simulations=50)
    assert list(table.state) == ["ok", "undeformed", "not finite"]
    assert table.q_gap.isna().tolist() == [False, True, True]
    three = normality.test_normality([cloud_of(points[:3])], simulations=50)
    assert three.p_skewness.notna()[0]
    assert normality.test_normality([]).empty


def test_nearly_all_points_equal_have_effect_sizes_alone():
    points = np.zeros((900, 3, 2))
    points[:4] = np.random.default_rng(0).standard_normal((4, 3, 2))
    table = normality.test_normality([cloud_of(points)], subsample=20, simulations=50)
    assert (table.state == "ok").all()
    assert (table.excess_kurtosis > 50).all()
    assert (table.tested == 0).all()
    assert table.p_gap.isna().all()


def test_same_seed_same_table():
    cloud = cloud_of(np.random.default_rng(0).standard_normal((900, 3, 2)))
    first, second = (normality.test_normality([cloud], simulations=50) for _ in range(2))
    assert first.equals(second)
    assert not first.p_gap.equals(normality.test_normality([cloud], simulations=50, seed=1).p_gap)


def test_adjusted_by_hand():
    # sorted: 0.01·4/1, 0.02·4/2, 0.03·4/3, 0.5 -> 0.04, 0.04, 0.04, 0.5
    rows = with_adjusted([{"p_a": 0.5}, {}, {"p_a": 0.01}, {"p_a": 0.03}, {"p_a": 0.02}], ["p_a", "p"])
    assert [row.get("q_a") for row in rows] == [pytest.approx(0.5), None, *[pytest.approx(0.04)] * 3]
    assert rows[1] == {}
