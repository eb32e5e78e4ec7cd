"""What is drawn light and exchanged is what the dark theme draws."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from icnn_viz.displays import KernelDisplay
from icnn_viz.displays.kernels import LAYER_VIEWS, NETWORK_VIEWS
from icnn_viz.figures.comparison import draw_comparison
from icnn_viz.figures.grid import draw_grid
from icnn_viz.figures.themes import exchange_lines, is_exchangeable
from icnn_viz.figures.write import save_lines, to_image, to_twins
from icnn_viz.heatmaps import to_heatmap

Make = Callable[..., Any]
DPI = 60


@pytest.fixture(scope="module")
def display(make_cloud: Make) -> KernelDisplay:
    deep = make_cloud("deep.5", kernel_size=(5, 3), channels=30, depth=2, seed=1)
    return KernelDisplay([make_cloud(), make_cloud("one", channels=1, depth=1), deep])


def check_twins(draw: Callable[[str], Figure]) -> None:
    figure = draw("light")
    assert is_exchangeable(figure)
    light, dark = to_twins(figure, DPI)
    for twin, theme in ((light, "light"), (dark, "dark")):
        np.testing.assert_array_equal(np.asarray(twin), np.asarray(to_image(draw(theme), DPI)))


@pytest.mark.parametrize("view", [*LAYER_VIEWS, *NETWORK_VIEWS])
def test_views_of_kernels_are_drawn_once_for_both_themes(display: KernelDisplay, view: str) -> None:
    for layer in (0, 2) if view in LAYER_VIEWS else (0,):
        check_twins(lambda theme, layer=layer: display.draw(view, layer, theme=theme))


def test_trajectories_too(make_cloud: Make) -> None:
    clouds = [[make_cloud(spread=spread)] for spread in (0.1, 0.3, 0.4)]
    run = KernelDisplay(clouds[-1], steps=[0, 10, 20], snapshots=clouds)
    check_twins(lambda theme: run.draw("trajectory", theme=theme))


def test_maps_in_colours_that_themes_share_too(make_gradient: Make) -> None:
    white = np.full((24, 37, 3), 255, np.uint8)  # a photograph stays as it is
    gradients = [make_gradient(f"network {n}", n, image=white) for n in range(2)]
    heatmaps = [to_heatmap(one) for one in gradients]
    check_twins(lambda theme: draw_grid([gradients] * 2, [heatmaps] * 2, theme=theme))
    check_twins(lambda theme: draw_comparison(gradients[:1], heatmaps[:1], theme=theme))
    assert not is_exchangeable(draw_comparison(gradients, heatmaps))  # a difference has colours of each theme


def test_lines_are_exchanged(display: KernelDisplay) -> None:
    def save(theme: str) -> str:
        buffer = io.BytesIO()
        save_lines(display.draw("strip", theme=theme), buffer)
        return re.sub(r'(id="|#)[mp][0-9a-f]{10}', "", buffer.getvalue().decode())  # hashes of colours, too

    light, dark = save("light"), save("dark")
    assert light != dark
    assert exchange_lines(light) == dark
