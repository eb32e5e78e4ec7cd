"""Gaussians per slot: known covariances come back, and every degenerate slot gets a word."""

from dataclasses import replace

import numpy as np
import pytest

from icnn_viz.records import PositionCloud
from icnn_viz.statistics.gaussian import fit_gaussians, orientation, to_shapes
from icnn_viz.statistics.summary import summarise, summarise_clouds

SLOTS = np.stack(np.meshgrid([-2.0, 0.0, 2.0], [-1.5, 1.5], indexing="ij"), -1).reshape(-1, 2)  # 3x2, dilated


def cloud_of(displacements: np.ndarray, weights: np.ndarray | None = None, depth: int = 0) -> PositionCloud:
    positions = (SLOTS + displacements)[None]
    weights = np.ones(positions.shape[:-1]) if weights is None else weights[None]
    return PositionCloud(f"layer{depth}", depth, (3, 2), (2, 3), "channel", SLOTS, positions, weights)


def tilted(degrees: float, major: float, minor: float) -> np.ndarray:
    angle = np.radians(degrees)
    along = np.array([np.sin(angle), np.cos(angle)])  # (y, x)
    across = np.array([np.cos(angle), -np.sin(angle)])
    return major**2 * np.outer(along, along) + minor**2 * np.outer(across, across)


def draw(covariance: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).multivariate_normal([0, 0], covariance, size=(count, len(SLOTS)))


def test_a_tilted_covariance_comes_back():
    truth = tilted(30, 2.0, 0.5)
    table = to_shapes(fit_gaussians(cloud_of(draw(truth, 20_000) + np.array([0.3, -0.7]))))
    assert (table.state == "ok").all()
    np.testing.assert_allclose(table.sd_major, 2.0, rtol=0.03)
    np.testing.assert_allclose(table.sd_minor, 0.5, rtol=0.03)
    np.testing.assert_allclose(table.elongation, 4.0, rtol=0.04)
    np.testing.assert_allclose(table.orientation, 30, atol=1.0)
    np.testing.assert_allclose(table.area, np.pi, rtol=0.04)
    np.testing.assert_allclose(table.mean_y, SLOTS[:, 0] + 0.3, atol=0.05)
    np.testing.assert_allclose(table.mean_x, SLOTS[:, 1] - 0.7, atol=0.05)


def test_plain_fit_is_numpys_mean_and_covariance():
    cloud = cloud_of(draw(tilted(100, 3, 1), 17))
    fit = fit_gaussians(cloud)
    for slot in range(len(SLOTS)):
        np.testing.assert_allclose(fit.mean[slot], cloud.points[:, slot].mean(0))
        np.testing.assert_allclose(fit.covariance[slot], np.cov(cloud.points[:, slot].T))


def test_weights_act_as_numpys_reliability_weights():
    weights = np.random.default_rng(1).exponential(size=(23, len(SLOTS)))
    weights[3] = 0
    cloud = cloud_of(draw(tilted(100, 3, 1), 23), weights)
    fit = fit_gaussians(cloud, weighted=True)
    for slot in range(len(SLOTS)):
        points, w = cloud.points[:, slot], weights[:, slot]
        np.testing.assert_allclose(fit.mean[slot], np.average(points, axis=0, weights=w))
        np.testing.assert_allclose(fit.covariance[slot], np.cov(points.T, aweights=w))
    assert (fit.count == 22).all()


@pytest.mark.parametrize(
    ("direction", "angle"),
    [((0, 1), 0), ((1, 0), 90), ((1, 1), 45), ((-1, 1), 135), ((0, -1), 0), ((-1e-30, 1), 0)],
)
def test_orientation_is_an_axis_from_the_row_towards_down(direction, angle):
    assert orientation(np.array(direction, dtype=float)) == pytest.approx(angle)


def test_every_degenerate_slot_gets_a_word():
    points = draw(np.eye(2), 9)
    points[:, 0] *= 1e-3  # no more than a start shift
    points[:, 1] = 3.0
    points[:, 2] = np.nan
    points[:, 3, 0] = 0.0
    points[2:, 4] = np.inf
    table = to_shapes(fit_gaussians(cloud_of(points)))
    assert list(table.state) == ["undeformed", "equal points", "not finite", "on a line", "not finite", "ok"]
    assert table.sd_major.isna().sum() == 5
    assert not np.isnan(table.select_dtypes("number").to_numpy(dtype=float, na_value=0)).any()
    alone = fit_gaussians(cloud_of(points[:1, :]), weighted=True)
    assert set(alone.state) == {"too few points", "not finite"}
    assert not alone.covariance.any()


def test_dead_weights_leave_too_few_points():
    points = draw(np.eye(2), 9)
    assert (fit_gaussians(cloud_of(points, np.zeros((9, 6))), weighted=True).state == "too few points").all()


def test_summary_counts_by_hand():
    moves = np.zeros((4, 6, 2))
    moves[0, 0] = [-3.0, 4.0]  # 5 px, from a corner out of the square
    moves[1, 2] = [0.0, 1.0]  # 1 px, inside
    moves[2, 5] = [np.nan, 0.0]
    row = summarise(cloud_of(moves))
    assert row["state"] == "ok"
    assert (row["channels"], row["shapes"], row["points"], row["not_finite"]) == (4, 4, 24, 1)
    assert row["mean_displacement"] == pytest.approx(6 / 23)
    assert row["largest_displacement"] == pytest.approx(5)
    assert row["share_moved"] == pytest.approx(2 / 23)
    assert row["share_outside"] == pytest.approx(1 / 23)


def test_what_moved_a_tenth_of_a_pixel_is_not_undeformed():
    moved = np.full((40, 6, 2), 0.05) + 0.004 * draw(np.eye(2), 40)  # 0.07 px, all alike
    assert summarise(cloud_of(moved))["state"] == "hardly moved"
    assert set(fit_gaussians(cloud_of(moved)).state) == {"equal points"}
    start = np.random.default_rng(0).uniform(-1e-3, 1e-3, (40, 6, 2))
    assert summarise(cloud_of(start))["state"] == "undeformed"
    assert set(fit_gaussians(cloud_of(start)).state) == {"undeformed"}


def test_summary_of_layers_in_order_with_words():
    still, lost = 1e-3 * draw(np.eye(2), 4), np.full((4, 6, 2), np.nan)
    table = summarise_clouds(
        [cloud_of(lost, depth=2), cloud_of(still, depth=1), cloud_of(still[:1] + 3, depth=0)]
    )
    assert list(table.layer) == ["layer0", "layer1", "layer2"]
    assert list(table.state) == ["too few points", "undeformed", "not finite"]
    assert table.mean_displacement.isna().tolist() == [False, False, True]
    assert list(table.share_outside[:2]) == [5 / 6, 0.0]  # (-2, -1.5) + 3 is inside
    assert summarise_clouds([]).empty


def test_a_share_outside_is_compared_with_what_jitter_of_the_same_size_leaves(make_cloud) -> None:
    cloud = make_cloud(channels=400, dilation=(2, 3))
    rng = np.random.default_rng(3)
    angle, length = rng.uniform(0, 2 * np.pi, (1, 400, 9)), rng.exponential(0.8, (1, 400, 9))
    jitter = length[..., None] * np.stack([np.sin(angle), np.cos(angle)], -1)
    row = summarise(replace(cloud, positions=cloud.slots + jitter))
    assert row["share_outside"] == pytest.approx(row["share_outside_jitter"], abs=0.02)
    ways = cloud.slots / np.linalg.norm(cloud.slots, axis=1, keepdims=True).clip(1)
    grown = summarise(replace(cloud, positions=cloud.slots + length[..., None] * ways))
    assert grown["share_outside"] > 1.4 * grown["share_outside_jitter"]
    alone = make_cloud(kernel_size=(1, 1), dilation=(1, 1), spread=0.0)
    assert summarise(replace(alone, positions=alone.positions + 5))["share_outside_jitter"] == 1.0
