"""Figures beside the comparison: the grid of pixels, the overlay, where kernels sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

from icnn_core.errors import ArgumentError
from icnn_viz.figures.grid import draw_grid
from icnn_viz.figures.maps import fit_scale
from icnn_viz.figures.overlay import draw_overlay
from icnn_viz.figures.sampling import draw_sampling
from icnn_viz.heatmaps import to_heatmap
from icnn_viz.pictures import to_grey

Check = Callable[[Figure], None]
Make = Callable[..., Any]


def images_of(figure: Figure) -> list[Any]:
    return [image for ax in figure.axes for image in ax.get_images()]


@pytest.fixture
def make_columns(make_gradient: Make) -> Make:
    def make_columns(
        shapes: list[tuple[int, int]], networks: int = 2, **changes: Any
    ) -> tuple[list[Any], list[Any]]:
        gradients = [
            [make_gradient(f"network number {n}", n, shape=shape, **changes) for n in range(networks)]
            for shape in shapes
        ]
        return gradients, [[to_heatmap(g) for g in column] for column in gradients]

    return make_columns


def test_grid_has_a_column_per_pixel_and_a_row_per_network(make_columns: Make) -> None:
    gradients, heatmaps = make_columns([(30, 40), (30, 40), (50, 30)], networks=3)
    shown = images_of(draw_grid(gradients, heatmaps))
    assert len(shown) == 3 * 4
    for column, (of_gradients, of_heatmaps) in enumerate(zip(gradients, heatmaps, strict=True)):
        photo, *maps = shown[4 * column : 4 * column + 4]
        np.testing.assert_array_equal(photo.get_array(), of_gradients[0].image)
        for image, heatmap in zip(maps, of_heatmaps, strict=True):
            np.testing.assert_array_equal(image.get_array(), heatmap.values)
        top = fit_scale([h.values for h in of_heatmaps]).top  # one scale within a column
        assert {image.norm.vmax for image in maps} == {top}
    places = [image.axes.get_position() for image in shown]
    assert len({round(places[4 * c].x0, 6) for c in range(3)}) == 3
    assert len({round(places[r].y0, 6) for r in range(4)}) == 4


def test_grid_without_photos(make_columns: Make) -> None:
    shown = images_of(draw_grid(*make_columns([(30, 40)] * 2), photo=False))
    assert [image.get_array().ndim for image in shown] == [2] * 4


@pytest.mark.parametrize(
    ("shapes", "networks"),
    [([(90, 120)] * 8, 2), ([(120, 90)], 2), ([(60, 240), (200, 90), (9, 7)], 4), ([(300, 100)] * 5, 3)],
)
def test_grids_are_tidy(
    make_columns: Make, assert_tidy: Check, shapes: list[tuple[int, int]], networks: int
) -> None:
    figure = draw_grid(*make_columns(shapes, networks=networks), theme="dark")
    assert_tidy(figure)
    assert figure.get_figheight() < 297 / 25.4  # a page


def test_grid_refuses_what_it_cannot_show(make_columns: Make) -> None:
    gradients, heatmaps = make_columns([(30, 40)] * 9)
    with pytest.raises(ArgumentError, match="9 pixels"):
        draw_grid(gradients, heatmaps)
    with pytest.raises(ArgumentError, match="networks"):
        draw_grid(gradients[:2], [heatmaps[0], heatmaps[1][:1]])
    mixed, maps = make_columns([(30, 40)], class_id=0)
    with pytest.raises(ArgumentError, match="class"):
        draw_grid([[mixed[0][0], gradients[0][1]]], [[maps[0][0], heatmaps[0][1]]])


def test_overlay_is_as_opaque_as_the_map_is_strong(make_columns: Make, assert_tidy: Check) -> None:
    gradients, heatmaps = make_columns([(40, 60)])
    figure = draw_overlay(gradients[0], heatmaps[0], true_class="tree")
    grey, first, _, second = images_of(figure)
    np.testing.assert_array_equal(grey.get_array(), to_grey(gradients[0][0].image))
    assert first.norm.vmax == second.norm.vmax
    np.testing.assert_allclose(first.get_alpha(), 0.85 * first.norm(heatmaps[0][0].values))
    np.testing.assert_allclose(second.get_alpha(), 0.85 * first.norm(heatmaps[0][1].values))
    assert_tidy(figure)


def test_to_grey_keeps_order_and_loses_contrast() -> None:
    image = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0]]], np.uint8)
    grey = to_grey(image)
    assert grey.dtype == np.uint8
    assert grey[0, :, 0].tolist() == [38, 217, 92, 143]
    assert (grey == grey[..., :1]).all()


def test_sampling_shows_density_over_measured_map(make_columns: Make, assert_tidy: Check) -> None:
    gradients, heatmaps = make_columns([(80, 120)])
    y, x = np.indices((80, 120))
    angle = np.radians(25)
    along, across = (
        np.cos(angle) * (x - 70) + np.sin(angle) * (y - 34),
        np.cos(angle) * (y - 34) - np.sin(angle) * (x - 70),
    )
    density = np.exp(-0.5 * ((along / 11) ** 2 + (across / 5) ** 2))
    density /= density.sum()
    figure = draw_sampling(gradients[0], heatmaps[0], [density, density])
    top, _, measured, _ = images_of(figure)
    np.testing.assert_allclose(top.get_array(), 1e6 * density)
    np.testing.assert_array_equal(measured.get_array(), heatmaps[0][0].values)
    one, two = (patch for patch in measured.axes.patches if isinstance(patch, Ellipse))
    np.testing.assert_allclose(one.center, (70, 34), atol=0.01)
    np.testing.assert_allclose([one.width, one.height], [22, 10], rtol=1e-3)
    np.testing.assert_allclose([two.width, two.height], [44, 20], rtol=1e-3)
    assert one.angle % 180 == pytest.approx(25, abs=0.01)
    texts = [t.get_text() for t in figure.texts]
    assert texts.count("11, 5") == 2
    assert "predicted sd, major and minor axis (pixels)" in texts  # 11 lies along x here, and is no "x"
    assert_tidy(figure)


def test_sampling_refuses_densities_that_do_not_fit(make_columns: Make) -> None:
    gradients, heatmaps = make_columns([(30, 40)])
    for densities in ([np.ones((30, 40))], [np.ones((30, 40)), np.ones((40, 30))]):
        with pytest.raises(ArgumentError, match="a density"):
            draw_sampling(gradients[0], heatmaps[0], densities)


def test_four_networks_stay_tidy(make_columns: Make, assert_tidy: Check) -> None:
    gradients, heatmaps = make_columns([(90, 120)], networks=4)
    assert_tidy(draw_sampling(gradients[0], heatmaps[0], [h.values for h in heatmaps[0]]))
    assert_tidy(draw_overlay(gradients[0], heatmaps[0]))
