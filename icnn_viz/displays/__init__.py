"""Compute, hold, plot: what a notebook imports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icnn_core.lazy import lazily

if TYPE_CHECKING:
    from icnn_viz.displays.explorer import HeatmapExplorer as HeatmapExplorer
    from icnn_viz.displays.heatmaps import HEATMAP_VIEWS as HEATMAP_VIEWS
    from icnn_viz.displays.heatmaps import HeatmapDisplay as HeatmapDisplay
    from icnn_viz.displays.kernel_pair import KernelPairDisplay as KernelPairDisplay
    from icnn_viz.displays.kernels import LAYER_VIEWS as LAYER_VIEWS
    from icnn_viz.displays.kernels import NETWORK_VIEWS as NETWORK_VIEWS
    from icnn_viz.displays.kernels import KernelDisplay as KernelDisplay
    from icnn_viz.displays.pixels import Question as Question
    from icnn_viz.displays.pixels import compare_pixels as compare_pixels
    from icnn_viz.displays.survey import SurveyDisplay as SurveyDisplay
    from icnn_viz.displays.taps import TapDisplay as TapDisplay
    from icnn_viz.figures.measure_table import measure_rows as measure_rows

_EXPORTS = {
    "HEATMAP_VIEWS": "icnn_viz.displays.heatmaps",
    "LAYER_VIEWS": "icnn_viz.displays.kernels",
    "NETWORK_VIEWS": "icnn_viz.displays.kernels",
    "HeatmapDisplay": "icnn_viz.displays.heatmaps",
    "HeatmapExplorer": "icnn_viz.displays.explorer",
    "KernelDisplay": "icnn_viz.displays.kernels",
    "KernelPairDisplay": "icnn_viz.displays.kernel_pair",
    "Question": "icnn_viz.displays.pixels",
    "SurveyDisplay": "icnn_viz.displays.survey",
    "TapDisplay": "icnn_viz.displays.taps",
    "compare_pixels": "icnn_viz.displays.pixels",
    "measure_rows": "icnn_viz.figures.measure_table",
}
__all__ = [*_EXPORTS]
__getattr__, __dir__ = lazily(__name__, _EXPORTS)
