"""Where kernels sample, and what that predicts: composed positions against the measured heatmap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from icnn_core.errors import ArgumentError
from icnn_viz.figures.comparison import check_comparable, write_heading
from icnn_viz.figures.maps import draw_cross, draw_map, fit_scale, name_of, unit_of
from icnn_viz.figures.marks import make_ellipse
from icnn_viz.figures.measure_table import table_height, write_table
from icnn_viz.figures.panels import AXIS_LEFT, LINE, PanelSheet, format_value
from icnn_viz.figures.style import WHITE, Look, get_look, use_theme
from icnn_viz.heatmaps import fit_gaussian, overlap
from icnn_viz.records import Heatmap, PixelGradient

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NOTE = (
    "Above: where the kernels on all ways from the pixel to the image sample, weighted by |w|, whatever the image, cut "
    "at its border. Below: what the pixel depends on in this image. Ellipses: one (solid) and two (dashed) standard "
    "deviations of the Gaussian with the moments of the map above, which the layers' shapes predict."
)


def draw_sampling(
    gradients: Sequence[PixelGradient],
    heatmaps: Sequence[Heatmap],
    densities: Sequence[np.ndarray],
    *,
    true_class: str = "",
    gamma: float = 0.5,
    theme: str = "light",
) -> Figure:
    """Per network, the density of its composed sampling positions over the heatmap that was measured.

    Args:
        gradients, heatmaps, true_class, gamma, theme: as of `draw_comparison`.
        densities: per network (H, W), from `icnn_viz.gradients.sampling_density` at the same pixel.

    Raises:
        ArgumentError: maps that cannot be compared, or densities that do not go with them.
    """
    check_comparable(gradients, heatmaps)
    shape, count = heatmaps[0].values.shape, len(heatmaps)
    if [d.shape for d in densities] != [shape] * count:
        needed = f"a density {shape} for each of {count} networks"
        fix = "Trace the same pixel of the same image in each network."
        raise ArgumentError("draw_sampling", needed=needed, got=str([d.shape for d in densities]), fix=fix)
    rows = _table_rows(heatmaps, densities)
    networks = [h.network for h in heatmaps]
    below = table_height(rows, networks) + 3 * LINE
    scale = fit_scale([h.values for h in heatmaps], gamma=gamma, unit=unit_of(gradients[0].method))
    traced = fit_scale([1e6 * d for d in densities], gamma=gamma, unit="per million, per pixel")
    with use_theme(theme) as look:
        sheet = PanelSheet(2 * count, shape, below, look, columns=count)
        write_heading(sheet, gradients, true_class)
        for heatmap, density in zip(heatmaps, densities, strict=True):
            ax = sheet.add_panel(f"{heatmap.network}: where it samples")
            draw_map(ax, 1e6 * density, traced.norm(), look.sequential)
            draw_cross(ax, heatmap.pixel, look)
        for heatmap, density in zip(heatmaps, densities, strict=True):
            ax = sheet.add_panel(f"{heatmap.network}: measured")
            draw_map(ax, heatmap.values, scale.norm(), look.sequential)
            _draw_gaussian(ax, density, get_look("dark"))
            draw_cross(ax, heatmap.pixel, look)
        sheet.add_colour_bar(traced.norm(), look.sequential, traced, "sampling density")
        sheet.add_colour_bar(scale.norm(), look.sequential, scale, name_of(gradients[0].method))
        write_table(sheet, rows, networks)
        sheet.write_footnote(_NOTE, left=AXIS_LEFT)
    return sheet.figure


def _table_rows(heatmaps: Sequence[Heatmap], densities: Sequence[np.ndarray]) -> list[list[str]]:
    """Names and values: spreads predicted and measured, and how far the two maps agree."""
    rows: dict[str, list[str]] = {}
    for heatmap, density in zip(heatmaps, densities, strict=True):
        for name, values in (("predicted", density), ("measured", heatmap.values)):
            mean, covariance = fit_gaussian(values)
            known = bool(np.isfinite(covariance).all())
            spread = np.sqrt(np.clip(np.linalg.eigvalsh(covariance), 0, None)) if known else mean
            offset = mean - heatmap.pixel
            rows.setdefault(f"{name} centre from the pixel, x, y (pixels)", []).append(
                f"{format_value(round(offset[1], 1))}, {format_value(round(offset[0], 1))}"
            )
            rows.setdefault(f"{name} sd, major and minor axis (pixels)", []).append(
                f"{format_value(spread[1])}, {format_value(spread[0])}"
            )
        rows.setdefault("overlap of the two maps (Bhattacharyya)", []).append(
            format_value(overlap(density, heatmap.values))
        )
    return [[name, *values] for name, values in rows.items()]


def _draw_gaussian(ax: Axes, density: np.ndarray, look: Look) -> None:
    mean, covariance = fit_gaussian(density)
    if not np.isfinite(covariance).all():
        return
    values, vectors = np.linalg.eigh(covariance)
    half_axes = np.sqrt(np.clip(values[::-1], 0, None))
    for sigmas, line in ((1, "-"), (2, (0, (4, 2)))):
        style = {"edgecolor": WHITE, "linewidth": 1.0, "linestyle": line}
        ax.add_patch(make_ellipse(mean, sigmas * half_axes, vectors[:, 1], look, **style))
