"""Measures of whole layers, each on a case worked by hand."""

import time
import tracemalloc

import numpy as np
import pytest
import torch

from icnn_core.errors import ArgumentError
from icnn_viz.records import PositionCloud
from icnn_viz.statistics import spreads
from icnn_viz.statistics.layers import COLUMNS, measure_layers, mirror_score

SLOTS = np.stack(np.meshgrid([-2.0, 0.0, 2.0], [-3.0, 0.0, 3.0], indexing="ij"), -1).reshape(-1, 2)


def cloud_of(displacements, weights=None, depth=0, slots=SLOTS, size=(3, 3)):
    positions = (slots + displacements)[None]
    weights = np.ones(positions.shape[:-1]) if weights is None else np.asarray(weights, dtype=float)[None]
    return PositionCloud(f"l{depth}", depth, size, (2, 3), "channel", slots, positions, weights)


def draw(count, seed=0):
    return np.random.default_rng(seed).standard_normal((count, 9, 2))


def measured(*args, feature_size=None, **kwargs):
    return measure_layers([cloud_of(*args, **kwargs)], feature_size=feature_size).iloc[0]


def test_shapes_are_medians_over_slots():
    points = draw(20_000) * np.array([2.0, 1.0])
    points[:, 4] *= np.array([0.25, 0.5])  # the centre: round, half a pixel
    row = measured(points)
    assert row.sd_major == pytest.approx(2, rel=0.02)
    assert row.elongation == pytest.approx(2, rel=0.02)
    assert row.elongation_outer == pytest.approx(2, rel=0.02)
    assert row.elongation_centre == pytest.approx(1, abs=0.03)
    assert row.outer_to_centre == pytest.approx(np.sqrt(2) / 0.5, rel=0.03)


def test_samples_off_the_image_counted_one_by_one():
    moves = np.zeros((2, 9, 2))
    moves[0, 0] = [-1.3, 40.0]
    moves[1, 4] = [0.2, 0.0]
    cloud = cloud_of(moves)

    def share(points):
        off = [
            not (0 <= y + p[0] <= 4 and 0 <= x + p[1] <= 6)
            for p in points
            for y in range(5)
            for x in range(7)
        ]
        return np.mean(off)

    row = measured(moves, feature_size=(5, 7))
    assert row.share_off_image == pytest.approx(share(cloud.points.reshape(-1, 2)))
    assert row.share_off_image_regular == pytest.approx(share(SLOTS))
    assert measured(moves).isna()["share_off_image"]


def test_collapsed_pairs():
    moves = np.zeros((4, 9, 2))
    moves[1, 1] = SLOTS[0] - SLOTS[1] + [0.05, 0.05]  # slot 1 onto slot 0
    moves[2, [1, 2]] = SLOTS[0] - SLOTS[[1, 2]]  # three in one place: three pairs
    moves[3, 1] = SLOTS[0] - SLOTS[1] + [0.1, 0.05]  # just apart
    row = measured(moves)
    assert (row.collapsed_pairs, row.share_collapsed) == (4, 0.5)


def test_dead_weights_and_shapes():
    weights = np.ones((4, 9))
    weights[0] = 1e-5
    weights[1, 3] = 0
    row = measured(draw(4), weights)
    assert row.dead_weights == pytest.approx(10 / 36)
    assert row.dead_shapes == 0.25


def test_extent_counts_by_weight():
    weights = np.zeros((1, 9))
    weights[0, [0, 4]] = [1, 3]  # distances sqrt(13) and 0
    moves = np.zeros((1, 9, 2))
    moves[0, 0] = SLOTS[0]  # twice as far out
    row = measured(moves, weights)
    assert row.extent == pytest.approx(np.sqrt(4 * 13 / 4))
    assert row.extent_ratio == pytest.approx(2)


def test_weights_against_displacement():
    moves = draw(400)
    length = np.hypot(moves[..., 0], moves[..., 1])
    assert measured(moves, np.exp(length)).weight_displacement == pytest.approx(1)
    assert measured(moves, np.exp(-length)).weight_displacement == pytest.approx(-1)
    row = measured(moves, np.random.default_rng(5).exponential(size=(400, 9)))
    assert row.weight_displacement_low < 0 < row.weight_displacement_high
    assert row.weight_displacement_high - row.weight_displacement_low == pytest.approx(
        2 * 1.97 / 60, rel=0.15
    )


def test_points_of_a_shape_go_together_in_the_interval_of_weights_against_displacement():
    """Displacements and weights that shapes have in common: taken as independent, a quarter would be "found"."""
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(150):
        moves = draw(60, rng.integers(1 << 30)) * rng.lognormal(0, 1, (60, 1, 1))
        weights = rng.lognormal(0, 1, (60, 1)) * rng.lognormal(0, 0.5, (60, 9))
        row = measured(moves, weights)
        found += not row.weight_displacement_low <= 0 <= row.weight_displacement_high
    assert found / 150 <= 0.1
    assert np.isnan(measured(moves[:4], weights[:4]).fillna(np.nan).weight_displacement_low)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_what_rounding_does_to_equal_displacements_is_no_correlation(dtype):
    moved = torch.as_tensor(SLOTS + np.full((60, 9, 2), [0.3, -0.2]), dtype=dtype).double().numpy() - SLOTS
    heavy = np.exp(np.hypot(*np.moveaxis(moved, -1, 0)))  # the more a slot is rounded up, the heavier
    assert np.ptp(heavy) > 0
    assert measured(moved, heavy).isna().weight_displacement


def test_very_large_kernels_take_bounded_time_and_memory():
    slots = np.stack(np.indices((41, 40)).reshape(2, -1), 1) - [20.0, 19.5]
    moves = np.random.default_rng(0).standard_normal((20, len(slots), 2))
    cloud = cloud_of(moves, slots=slots, size=(41, 40))
    tracemalloc.start()
    begin = time.process_time()
    row = measure_layers([cloud]).iloc[0]
    spread = spreads.test_spreads([cloud], permutations=100).iloc[0]
    seconds, (_, peak) = time.process_time() - begin, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (spread.permuted_slots, spread.slots) == (128, 1640)
    assert seconds < 15  # with all pairs of slots: minutes
    assert peak < 100e6
    points = cloud.points[3]
    gaps = np.linalg.norm(points[:, None] - points, axis=-1)
    assert row.collapsed_pairs > (np.sum(gaps < 0.1) - 1640) // 2 > 0


def test_mirror_scores():
    right = draw(150)
    right[:, [2, 5, 8], 1] += 4  # the right column bulges: top and bottom alike, left and right not
    cloud = cloud_of(right)
    assert mirror_score(cloud, 0) > 0.97
    assert mirror_score(cloud, 1) < 0.8
    both = right.copy()
    both[:, [0, 3, 6], 1] -= 4
    assert mirror_score(cloud_of(both), 1) > 0.97
    mirrored = right[:90].reshape(-1, 3, 3, 2)[:, :, ::-1].reshape(-1, 9, 2) * np.array([1, -1])
    assert mirror_score(cloud_of(np.concatenate([right[:90], mirrored])), 1) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("shapes", [8, 56])
def test_a_symmetric_law_scores_1_on_average_though_slots_of_a_shape_go_together(shapes):
    rng = np.random.default_rng(0)
    scores = []
    for _ in range(30):
        moves = rng.standard_normal((shapes, 9, 2)) + rng.standard_normal((shapes, 1, 2))
        scores += [mirror_score(cloud_of(moves), axis) for axis in (0, 1)]
    assert np.mean(scores) == pytest.approx(1, abs=0.006)


def test_degenerate_layers_have_words_and_no_nan():
    still, lost = np.zeros((4, 9, 2)), np.full((4, 9, 2), np.nan)
    one_gone = draw(4)
    one_gone[:, 3] = np.nan
    slots = np.zeros((1, 2))
    table = measure_layers(
        [
            cloud_of(still, depth=0),
            cloud_of(lost, depth=1),
            cloud_of(one_gone, np.zeros((4, 9)), depth=2),
            cloud_of(draw(1), depth=3),
            cloud_of(draw(5)[:, :1], depth=4, slots=slots, size=(1, 1)),
        ],
        feature_size=(9, 9),
    )
    assert list(table.state) == ["undeformed", "not finite", "ok", "too few points", "ok"]
    assert list(table.columns) == [c.partition(":")[0] for c in COLUMNS.split()]
    assert not np.isnan(table.select_dtypes("number").to_numpy(dtype=float, na_value=0)).any()
    assert table.extent.isna().tolist() == [False, True, True, False, False]
    assert table.mirror_x.isna().tolist() == [False, True, True, True, False]
    assert measure_layers([]).empty
    with pytest.raises(ArgumentError, match="feature_size"):
        measure_layers([cloud_of(still)], feature_size=(0, 4))
