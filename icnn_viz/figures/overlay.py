"""Heatmaps laid over the image, so that both can be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from icnn_viz.figures.comparison import check_comparable, write_heading
from icnn_viz.figures.maps import draw_contours, draw_cross, draw_map, draw_photo, name_of, scale_of
from icnn_viz.figures.panels import PanelSheet
from icnn_viz.figures.style import WHITE, use_theme
from icnn_viz.pictures import to_grey
from icnn_viz.records import Heatmap, PixelGradient

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = "inferno"
_MOST_OPAQUE = 0.85


def draw_overlay(
    gradients: Sequence[PixelGradient],
    heatmaps: Sequence[Heatmap],
    *,
    true_class: str = "",
    gamma: float = 0.5,
    theme: str = "light",
) -> Figure:
    """The image in grey, and over it each network's heatmap, as opaque as it is strong, on one scale.

    Arguments and errors: as of `draw_comparison`.
    """
    check_comparable(gradients, heatmaps)
    shape = heatmaps[0].values.shape
    scale = scale_of(heatmaps, gradients[0].method, gamma)
    grey = to_grey(gradients[0].image)
    with use_theme(theme) as look:
        sheet = PanelSheet(len(heatmaps), shape, 1.0, look)
        colours = look.diverging if scale.signed else _COLOURS
        write_heading(sheet, gradients, true_class)
        for heatmap in heatmaps:
            ax = sheet.add_panel(heatmap.network)
            draw_photo(ax, grey)
            shown = draw_map(ax, heatmap.shown, scale.norm(), colours)
            shown.set_alpha(_MOST_OPAQUE * np.clip(heatmap.values / scale.top, 0, 1) ** gamma)
            draw_contours(ax, heatmap, WHITE, "#000000")
            draw_cross(ax, heatmap.pixel, look)
        sheet.add_colour_bar(scale.norm(), colours, scale, name_of(gradients[0].method, signed=scale.signed))
    return sheet.figure
