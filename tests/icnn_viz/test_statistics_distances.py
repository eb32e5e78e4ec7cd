"""Distances between clouds: against loops, closed forms and brute force; p-values that are right under no
difference."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch
from scipy import stats

from icnn_core.errors import ShapeError
from icnn_viz.records import PositionCloud
from icnn_viz.statistics.distances import compare_runs, energy_distance, wasserstein_distance

SLOTS = np.array([[0.0, -1.0], [0.0, 0.0], [0.0, 1.0]])


def cloud_of(displacements, spacing=1):
    positions = (SLOTS * spacing + displacements)[None]
    return PositionCloud(
        "l", 0, (1, 3), (1, spacing), "channel", SLOTS * spacing, positions, np.ones(positions.shape[:-1])
    )


def draw(count, seed=0):
    return np.random.default_rng(seed).standard_normal((count, 3, 2))


def test_energy_distance_against_loops():
    a, b = draw(7)[:, 0], draw(5, 1)[:, 0] + 1

    def mean(u, v, others=True):
        gaps = [
            np.linalg.norm(x - y) for i, x in enumerate(u) for j, y in enumerate(v) if i != j or not others
        ]
        return sum(gaps) / len(gaps)

    energy, coefficient = energy_distance(a, b)
    cross = mean(a, b, others=False)
    assert energy == pytest.approx(2 * cross - mean(a, a) - mean(b, b))
    assert coefficient == pytest.approx(energy / (2 * cross))
    of_pairs = energy_distance(a[:5], b, paired=True)[0]
    assert of_pairs == pytest.approx(2 * mean(a[:5], b) - mean(a[:5], a[:5]) - mean(b, b))


def test_energy_distance_on_a_line_is_scipys_less_its_bias():
    a, b = draw(30)[:, 0, :1], draw(40, 1)[:, 0, :1] * 2
    within = [np.abs(points - points.T).sum() / (n * (n - 1) * n) for points, n in ((a, 30), (b, 40))]
    assert energy_distance(a, b)[0] == pytest.approx(
        stats.energy_distance(a[:, 0], b[:, 0]) ** 2 - sum(within)
    )


@pytest.mark.parametrize("paired", [False, True])
def test_samples_of_one_law_have_no_energy_on_average_however_few(paired):
    rng = np.random.default_rng(0)
    pairs = rng.standard_normal((800, 8, 2, 2)) + rng.standard_normal((800, 8, 1, 2)) * paired
    found = [energy_distance(a, b, paired=paired)[1] for a, b in pairs.swapaxes(1, 2)]
    assert np.mean(found) == pytest.approx(0, abs=0.01)


def test_wasserstein_against_all_assignments():
    a, b = draw(6)[:, 0], draw(6, 1)[:, 0] * 3
    best = min(np.linalg.norm(a - b[list(order)], axis=1).mean() for order in permutations(range(6)))
    assert wasserstein_distance(a, b) == pytest.approx(best)
    assert wasserstein_distance(a, a[::-1] + np.array([3.0, 4.0])) == pytest.approx(5)
    with pytest.raises(ShapeError, match="subsample"):
        wasserstein_distance(a, b[:5])


def test_p_is_even_without_a_difference():
    for paired in (False, True):
        options = {"paired": paired, "permutations": 100}
        p = np.concatenate(
            [
                compare_runs([cloud_of(draw(30, s))], [cloud_of(draw(30, 500 + s))], **options).p
                for s in range(60)
            ]
        )
        assert 0.01 < (p <= 0.05).mean() < 0.1, paired
        assert 0.4 < p.mean() < 0.6, paired


def test_a_shift_is_measured_slot_by_slot_and_whatever_the_spacing():
    shift = np.array([[0.0, 0.0], [1.5, 0.0], [0.0, -3.0]])
    table = compare_runs(
        [cloud_of(draw(400), spacing=2)], [cloud_of(draw(900, 1) + shift, spacing=5)], permutations=200
    )
    assert list(table.state) == ["ok"] * 3
    np.testing.assert_allclose(table[["shift_y", "shift_x"]].to_numpy(float), shift, atol=0.2)
    np.testing.assert_allclose(table.wasserstein[1:], [1.5, 3.0], atol=0.15)
    assert table.wasserstein[0] < 1.5 * table.wasserstein_floor[0]
    assert table.wasserstein_floor[1] < 0.4
    assert table.p[0] > 0.05
    assert list(table.p[1:]) == [1 / 200] * 2
    assert table.energy_coefficient.is_monotonic_increasing
    assert table.mean_move.isna().all()


def test_pairing_sees_what_labels_cannot():
    start = draw(200) * 5
    moved = start + np.array([0.3, 0.0]) + 0.1 * draw(200, 3)
    blind = compare_runs([cloud_of(start)], [cloud_of(moved)], permutations=200)
    paired = compare_runs([cloud_of(start)], [cloud_of(moved)], permutations=200, paired=True)
    assert (blind.p > 0.05).all()
    assert (paired.p < 0.05).all()
    np.testing.assert_allclose(paired.mean_move, 0.32, atol=0.03)
    np.testing.assert_allclose(paired.shift_y, 0.3, atol=0.03)


def test_degenerate_pairs():
    points = draw(9)
    points[:, 0] = 0
    points[2:, 1] = np.nan
    table = compare_runs([cloud_of(points)], [cloud_of(points)])
    assert list(table.state) == ["equal", "too few points", "equal"]
    assert table.p.isna().tolist() == [False, True, False]
    assert list(table.p.dropna()) == [1.0, 1.0]
    assert list(table.energy.dropna()) == [0.0, 0.0]
    other = PositionCloud(
        "m", 0, (1, 2), (1, 1), "channel", SLOTS[:2], SLOTS[None, None, :2], np.ones((1, 1, 2))
    )
    with pytest.raises(ShapeError, match="slots on both sides; got 3 and 2"):
        compare_runs([cloud_of(points)], [other])
    with pytest.raises(ShapeError, match="leave out paired"):
        compare_runs([cloud_of(points)], [cloud_of(points[:4])], paired=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_file_of_16_bits_is_not_apart_from_that_of_32(dtype):
    moved = np.full((60, 3, 2), [0.3, -0.2])  # all shapes alike, as where a layer moved as a whole
    for moves in (moved, 0.01 * draw(60)):
        exact = cloud_of(moves, spacing=12)
        kept = torch.as_tensor(exact.positions, dtype=dtype).double().numpy()
        assert not np.array_equal(kept, exact.positions)
        table = compare_runs([exact], [replace(exact, positions=kept)], permutations=99)
        assert set(table.state) == {"equal"}
        assert (table.p == 1).all()
    moved[0, 0] = 1e6  # the steps of a far point are its own
    table = compare_runs([cloud_of(moved, 12)], [cloud_of(moved + 0.01, 12)], permutations=99)
    assert set(table.state) == {"ok"}
