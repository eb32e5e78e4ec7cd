"""Average maps: by hand, whatever order and files, and images of other sizes."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import LogNorm

from icnn_core.errors import ArgumentError
from icnn_viz.figures.average import draw_average
from icnn_viz.heatmaps import AverageMap, distance_energy
from icnn_viz.records import Heatmap


def make_maps(seed: int, shape: tuple[int, int], pixel: tuple[int, int], count: int = 2) -> list[Heatmap]:
    values = np.random.default_rng(seed).uniform(0, 1, (count, *shape))
    return [Heatmap(value, pixel, f"net {number}") for number, value in enumerate(values)]


def test_maps_are_centred_and_averaged_over_the_pixels_that_hold_an_offset() -> None:
    small = Heatmap(np.array([[1.0, 3.0], [0.0, 0.0], [0.0, 4.0]]), (0, 1), "net")
    wide = Heatmap(np.array([[0.0, 1.0, 0.0, 3.0]]), (0, 2), "net")
    average = AverageMap(1)
    average.add(3, [small])
    average.add(8, [wide])
    average.add(9, [Heatmap(np.zeros((2, 2)), (0, 0), "net")])  # nothing to divide by
    assert (average.pixels, average.ids, average.reach) == (2, {3, 8, 9}, 2)
    mean = average.mean()[0]
    expected = np.zeros((5, 5))
    expected[2, 0], expected[2, 1], expected[2, 2], expected[2, 3] = (
        0,
        (1 / 8 + 1 / 4) / 2,
        (3 / 8 + 0) / 2,
        3 / 4,
    )
    expected[4, 2] = 4 / 8
    np.testing.assert_allclose(mean, expected)
    np.testing.assert_allclose(
        average.mean_curves()[0], [(3 / 8 + 0) / 2, (4 / 8 + 1) / 2, 1, 1][: average.curves.shape[1]]
    )


def test_sums_of_parts_are_the_sum_of_all_and_the_curve_that_of_each_map() -> None:
    looks = [
        (n, make_maps(n, shape, pixel))
        for n, (shape, pixel) in enumerate([((9, 13), (2, 11)), ((17, 8), (16, 0)), ((5, 6), (3, 3))])
    ]
    whole, parts = AverageMap(2), [AverageMap(2), AverageMap(2)]
    for n, maps in looks:
        whole.add(n, maps)
        parts[n % 2].add(n, maps)
    parts[0].merge(parts[1])
    np.testing.assert_allclose(parts[0].mean(), whole.mean())
    np.testing.assert_allclose(parts[0].mean_curves(), whole.mean_curves())
    assert parts[0].ids == {0, 1, 2}
    radii = np.arange(whole.curves.shape[1])
    curves = [[distance_energy(h, radii)[1] for h in maps] for _, maps in looks]
    np.testing.assert_allclose(whole.mean_curves(), np.mean(curves, 0))


def test_the_ratio_is_logarithmic_about_one_and_the_first_is_what_is_divided(assert_tidy) -> None:
    y, x = np.indices((61, 75))
    average = AverageMap(2)
    for number, pixel in enumerate([(30, 40), (20, 30)]):
        far = (y - pixel[0]) ** 2 + (x - pixel[1]) ** 2
        maps = [
            Heatmap(np.exp(-far / (2 * width**2)), pixel, name)
            for width, name in ((8.0, "wide"), (5.0, "narrow"))
        ]
        average.add(number, maps)
    figure = draw_average(average, "wide", "narrow", title="two pixels")
    panels = [ax for ax in figure.axes if ax.get_images()]
    second, first, ratio = (ax.get_images()[0] for ax in panels)
    assert [ax.get_title(loc="left") for ax in panels] == ["narrow", "wide", "ratio"]
    middle = first.get_array().shape[0] // 2
    assert second.get_array()[middle, middle] > first.get_array()[middle, middle]
    assert isinstance(ratio.norm, LogNorm)
    assert ratio.norm(1.0) == pytest.approx(0.5)
    assert ratio.get_array()[middle, middle] < 1 < np.nanmax(ratio.get_array())
    assert_tidy(figure)
    with pytest.raises(ArgumentError, match="energy"):
        draw_average(AverageMap(2), "a", "b")
