"""Heatmaps and their measures on maps with known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from icnn_core.errors import ArgumentError, NameNotFoundError, ShapeError
from icnn_viz import heatmaps as hm
from icnn_viz.records import Heatmap, PixelGradient

HEIGHT, WIDTH = 23, 31
PIXEL = (9, 14)


def make_map(values: np.ndarray, pixel: tuple[int, int] = PIXEL) -> Heatmap:
    return Heatmap(np.asarray(values, float), pixel, "net")


def make_gradient(gradient: np.ndarray, notes: tuple[str, ...] = ()) -> PixelGradient:
    height, width = gradient.shape[1:]
    image, prediction = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), int)
    return PixelGradient("net", image, (1, 2), gradient, 0, ("a",), prediction, 1.0, notes=notes)


def point(y: int, x: int) -> Heatmap:
    values = np.zeros((HEIGHT, WIDTH))
    values[y, x] = 3.0
    return make_map(values)


@pytest.fixture
def random_map() -> Heatmap:
    return make_map(np.random.default_rng(4).exponential(size=(HEIGHT, WIDTH)) ** 3)


@pytest.mark.parametrize(("reduction", "expected"), [("max", 4.0), ("l2", math.sqrt(26)), ("sum", 8.0)])
def test_reductions_by_hand(reduction: str, expected: float) -> None:
    gradient = np.zeros((3, 4, 5), np.float32)
    gradient[:, 2, 3] = (3, -4, 1)
    heatmap = hm.to_heatmap(make_gradient(gradient, notes=("said",)), reduction)
    assert heatmap.values[2, 3] == pytest.approx(expected)
    assert heatmap.values.sum() == heatmap.values[2, 3]
    assert (heatmap.pixel, heatmap.network, heatmap.reduction, heatmap.notes) == (
        (1, 2),
        "net",
        reduction,
        ("said",),
    )


def test_smoothing_only_on_request_keeps_the_sum_and_is_said() -> None:
    gradient = np.zeros((3, HEIGHT, WIDTH), np.float32)
    gradient[1, 2, 3] = -5
    smooth = hm.to_heatmap(make_gradient(gradient), smoothing=2)
    assert smooth.values.sum() == pytest.approx(5)
    assert smooth.values[2, 3] < 1
    assert np.unravel_index(smooth.values.argmax(), smooth.values.shape)[1] == 3
    assert smooth.notes == ("smoothed, σ = 2 pixels",)
    assert not hm.to_heatmap(make_gradient(gradient)).notes


def test_reduction_refuses() -> None:
    gradient = np.zeros((3, 4, 5), np.float32)
    with pytest.raises(NameNotFoundError, match="Did you mean max"):
        hm.to_heatmap(make_gradient(gradient), "maxx")
    with pytest.raises(ArgumentError, match="smoothing"):
        hm.to_heatmap(make_gradient(gradient), smoothing=-1)
    gradient[0, 0, 0] = np.inf
    with pytest.raises(ArgumentError, match="1 values that are not finite in the gradient of net"):
        hm.to_heatmap(make_gradient(gradient))


def test_energy_in_mask_and_beyond_the_field() -> None:
    values = np.ones((HEIGHT, WIDTH))
    values[5:9, 10:13] = 3  # 12 pixels
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[5:9, 10:16] = True  # these 12 and 12 of value 1
    heatmap = make_map(values)
    expected = (36 + 12) / (HEIGHT * WIDTH + 24)
    assert hm.energy_in_mask(heatmap, mask) == pytest.approx(expected)
    assert hm.share_beyond(heatmap, mask) == pytest.approx(1 - expected)
    assert hm.share_beyond(point(6, 11), mask) == 0
    assert hm.share_beyond(point(4, 11), mask) == 1


def test_pointing_game_and_its_tolerance() -> None:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[10:14, 5:9] = True
    assert hm.pointing_game(point(10, 8), mask)
    assert not hm.pointing_game(point(9, 8), mask)
    assert hm.pointing_game(point(7, 12), mask, tolerance=5)  # 3 up, 4 to the right of the corner (10, 8)
    assert not hm.pointing_game(point(7, 12), mask, tolerance=4.9)
    assert not hm.pointing_game(point(7, 12), np.zeros_like(mask), tolerance=100)


def test_relevance_rank_accuracy_counts_the_mask_among_the_largest() -> None:
    values = np.random.default_rng(1).permutation(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(float)
    mask = values >= HEIGHT * WIDTH - 40  # exactly the 40 largest
    heatmap = make_map(values)
    assert hm.relevance_rank_accuracy(heatmap, mask) == 1
    partly = mask & (
        values < HEIGHT * WIDTH - 10
    )  # 30 pixels, of which ranks 11 to 30 are among the 30 largest
    assert hm.relevance_rank_accuracy(heatmap, partly) == pytest.approx(20 / 30)
    assert math.isnan(hm.relevance_rank_accuracy(heatmap, np.zeros_like(mask)))


def test_equal_values_count_in_proportion() -> None:
    values = np.zeros((4, 6))
    values[0, :2] = 3
    values[1, :4] = 1  # 4 equal values for the last 2 places of 4
    mask = np.zeros((4, 6), bool)
    mask[0, 0] = mask[1, 0] = mask[1, 1] = mask[3, 3] = True
    assert hm.relevance_rank_accuracy(make_map(values), mask) == pytest.approx((1 + 2 * 2 / 4) / 4)


def test_energy_per_class_leaves_void_out() -> None:
    labels = np.zeros((HEIGHT, WIDTH), np.int64)
    labels[:, 10:] = 2
    labels[20:] = 255
    shares = hm.energy_per_class(make_map(np.ones((HEIGHT, WIDTH))), labels, 4)
    np.testing.assert_allclose(shares, np.array([20 * 10, 0, 20 * 21, 0]) / (HEIGHT * WIDTH))
    with pytest.raises(ArgumentError, match="integer class ids"):
        hm.energy_per_class(make_map(np.ones((HEIGHT, WIDTH))), labels / 2, 4)


def test_smallest_area_by_hand() -> None:
    values = np.zeros((HEIGHT, WIDTH))
    values[3, 4:8] = (8, 4, 2, 2)
    heatmap = make_map(values)
    assert [hm.smallest_area(heatmap, share) for share in (0.4, 0.5, 0.51, 0.75, 0.9, 1)] == [
        1,
        1,
        2,
        2,
        4,
        4,
    ]
    region = hm.density_region(heatmap, 0.75)
    assert sorted(zip(*np.nonzero(region), strict=True)) == [(3, 4), (3, 5)]


def test_smallest_area_of_a_flat_map_is_its_share_and_scale_does_not_matter(random_map: Heatmap) -> None:
    flat = make_map(np.full((HEIGHT, WIDTH), 0.1))
    assert hm.smallest_area(flat, 0.5) == math.ceil(HEIGHT * WIDTH * 0.5)
    assert hm.smallest_area(flat, 1) == HEIGHT * WIDTH
    assert hm.smallest_area(make_map(np.full((4, 5), 0.1)), 0.5) == 10  # its sum is not 20 · 0.1 exactly
    for share in hm.SHARES:
        scaled = make_map(1e-12 * random_map.values)
        assert hm.smallest_area(scaled, share) == hm.smallest_area(random_map, share)
        region = hm.density_region(random_map, share)
        held = random_map.values[region].sum() / random_map.values.sum()
        assert share <= held < share + random_map.values[region].min() / random_map.values.sum() + 1e-9
        assert random_map.values[region].min() >= random_map.values[~region].max()
    with pytest.raises(ArgumentError, match="share"):
        hm.smallest_area(random_map, 90)


def test_mask_used_is_the_share_of_the_object_in_the_region() -> None:
    values = np.zeros((HEIGHT, WIDTH))
    values[3, 4:8] = (8, 4, 2, 2)
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[3:5, 5:10] = True
    assert hm.mask_used(make_map(values), mask, 0.75) == pytest.approx(1 / 10)
    assert hm.mask_used(make_map(values), mask, 1) == pytest.approx(3 / 10)
    assert math.isnan(hm.mask_used(make_map(values), np.zeros_like(mask)))
    assert math.isnan(hm.mask_used(make_map(0 * values), mask))


def test_radius_and_axes_about_the_pixel_not_the_centre() -> None:
    heatmap = point(PIXEL[0] + 3, PIXEL[1] - 4)
    assert hm.radius_of_gyration(heatmap) == pytest.approx(5)
    extents, directions = hm.principal_axes(heatmap)
    np.testing.assert_allclose(extents, [5, 0], atol=1e-6)
    np.testing.assert_allclose(np.abs(directions[0]), [0.6, 0.8])
    assert directions[0, 0] * directions[0, 1] < 0
    assert hm.elongation(heatmap) == math.inf
    assert math.isnan(hm.elongation(point(*PIXEL)))


def test_axes_of_a_gaussian_map() -> None:
    angle, major, minor = np.radians(30), 4.0, 1.6
    y, x = np.indices((61, 83)) - np.array([30, 41])[:, None, None]
    along, across = np.cos(angle) * x + np.sin(angle) * y, -np.sin(angle) * x + np.cos(angle) * y
    heatmap = make_map(np.exp(-0.5 * ((along / major) ** 2 + (across / minor) ** 2)), (30, 41))
    extents, directions = hm.principal_axes(heatmap)
    np.testing.assert_allclose(extents, [major, minor], rtol=1e-4)
    assert hm.elongation(heatmap) == pytest.approx(2.5, rel=1e-4)
    assert hm.radius_of_gyration(heatmap) == pytest.approx(math.hypot(major, minor), rel=1e-4)
    np.testing.assert_allclose(np.abs(directions[0]), [math.sin(angle), math.cos(angle)], atol=1e-4)
    assert hm.measure_heatmap(heatmap)["orientation"] == pytest.approx(30, abs=0.01)
    area = hm.smallest_area(heatmap, 0.9)
    assert area == pytest.approx(2 * math.pi * major * minor * math.log(10), rel=0.02)


def test_gini_equals_the_mean_difference(random_map: Heatmap) -> None:
    """Against its other definition: mean absolute difference over twice the mean."""
    v = random_map.values.ravel()
    expected = np.abs(v[:, None] - v).mean() / (2 * v.mean())
    assert hm.gini(random_map) == pytest.approx(expected)
    assert hm.gini(point(2, 2)) == pytest.approx(1 - 1 / (HEIGHT * WIDTH))
    assert hm.gini(make_map(np.ones((HEIGHT, WIDTH)))) == pytest.approx(0)


def test_entropy_in_bits() -> None:
    assert hm.entropy(point(1, 1)) == 0
    assert hm.entropy(make_map(np.ones((8, 16)))) == pytest.approx(7)
    values = np.zeros((4, 5))
    values[0, :3] = (2, 1, 1)
    assert hm.entropy(make_map(values)) == pytest.approx(1.5)


def test_distance_energy_curve() -> None:
    values = np.zeros((HEIGHT, WIDTH))
    for (dy, dx), value in {(0, 0): 1, (3, 4): 2, (0, -5): 3, (-6, 0): 4}.items():
        values[PIXEL[0] + dy, PIXEL[1] + dx] = value
    radii, shares = hm.distance_energy(make_map(values))
    np.testing.assert_array_equal(radii, np.arange(len(radii)))
    np.testing.assert_allclose(shares[[0, 4, 5, 6, -1]], [0.1, 0.1, 0.6, 1, 1])
    assert radii[-1] >= math.hypot(HEIGHT - 1 - PIXEL[0], WIDTH - 1 - PIXEL[1])
    _, some = hm.distance_energy(make_map(values), np.array([4.99, 5.5]))
    np.testing.assert_allclose(some, [0.1, 0.6])


def test_fit_gaussian_and_overlap() -> None:
    y, x = np.indices((61, 83))
    values = np.exp(-0.5 * (((y - 25) / 4) ** 2 + ((x - 50) / 7) ** 2))
    mean, covariance = hm.fit_gaussian(7 * values)
    np.testing.assert_allclose(mean, [25, 50], atol=1e-4)
    np.testing.assert_allclose(covariance, [[16, 0], [0, 49]], rtol=1e-3, atol=1e-3)
    assert hm.overlap(values, 3 * values) == pytest.approx(1)
    moved = np.exp(-0.5 * (((y - 25 - 4) / 4) ** 2 + ((x - 50) / 7) ** 2))
    assert hm.overlap(values, moved) == pytest.approx(
        math.exp(-1 / 8), abs=1e-4
    )  # d²/(8 σ²) of two Gaussians
    assert math.isnan(hm.overlap(values, 0 * values))
    assert np.isnan(hm.fit_gaussian(0 * values)[0]).all()


def test_half_of_the_energy_lies_within_its_radius() -> None:
    values = np.zeros((HEIGHT, WIDTH))
    y, x = PIXEL
    values[y, x], values[y + 3, x - 4], values[y - 1, x] = 3, 3, 2  # at 0, 5 and 1: 3, 5 and 8 of 8
    assert hm.half_energy_radius(make_map(values)) == 1
    values[y - 1, x] = 0
    assert hm.half_energy_radius(make_map(values)) == 0  # 3 of 6 are half
    values[y, x] = 2.9
    assert hm.half_energy_radius(make_map(values)) == 5
    assert math.isnan(hm.half_energy_radius(make_map(0 * values)))
    radii, shares = hm.distance_energy(make_map(np.random.default_rng(3).random((HEIGHT, WIDTH))))
    radius = hm.half_energy_radius(make_map(np.random.default_rng(3).random((HEIGHT, WIDTH))))
    first = radii[np.searchsorted(shares, 0.5)]
    assert first - 1 < radius <= first


def test_connected_part() -> None:
    mask = np.array([[1, 1, 0, 1], [0, 0, 0, 1], [1, 0, 1, 1]], bool)
    part = hm.connected_part(mask, (2, 3))
    np.testing.assert_array_equal(part, [[0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 1, 1]])
    assert not hm.connected_part(mask, (1, 1)).any()


def test_a_map_without_energy_has_no_shares() -> None:
    empty = make_map(np.zeros((HEIGHT, WIDTH)))
    mask = np.ones((HEIGHT, WIDTH), bool)
    labels = np.zeros((HEIGHT, WIDTH), int)
    found = hm.measure_heatmap(
        empty, object_mask=mask, class_mask=mask, labels=labels, classes=("a",), field=mask
    )
    assert found["energy"] == found["peak"] == 0
    for name in (
        "area_50",
        "radius_of_gyration",
        "elongation",
        "gini",
        "entropy",
        "energy_in_object",
        "energy_on a",
    ):
        assert math.isnan(found[name]), name
    assert not hm.density_region(empty, 0.5).any()
    assert np.isnan(hm.distance_energy(empty)[1]).all()


def test_measure_heatmap_is_the_single_functions(random_map: Heatmap) -> None:
    rng = np.random.default_rng(2)
    mask, labels = rng.random((HEIGHT, WIDTH)) < 0.3, rng.integers(0, 3, (HEIGHT, WIDTH))
    found = hm.measure_heatmap(
        random_map, object_mask=mask, class_mask=~mask, labels=labels, classes=("a", "b", "c"), field=mask
    )
    assert found["area_90"] == hm.smallest_area(random_map, 0.9)
    assert found["gini"] == hm.gini(random_map)
    assert found["rank_accuracy"] == hm.relevance_rank_accuracy(random_map, mask)
    assert found["energy_in_object"] == hm.energy_in_mask(random_map, mask)
    assert found["energy_in_class"] == hm.energy_in_mask(random_map, ~mask)
    assert found["beyond_field"] == hm.share_beyond(random_map, mask)
    assert found["energy_on b"] == hm.energy_per_class(random_map, labels, 3)[1]
    assert set(hm.MEASURES) == {name for name in found if not name.startswith("energy_on")}
    assert set(hm.measure_heatmap(random_map)) < set(hm.MEASURES)


def test_masks_of_another_size_are_refused(random_map: Heatmap) -> None:
    with pytest.raises(ShapeError, match=r"\(23, 31\); got \(31, 23\)"):
        hm.energy_in_mask(random_map, np.ones((WIDTH, HEIGHT), bool))
