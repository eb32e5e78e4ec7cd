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
    "icnn_viz.displays.heatmaps": "HEATMAP_VIEWS HeatmapDisplay",
    "icnn_viz.displays.kernels": "LAYER_VIEWS NETWORK_VIEWS KernelDisplay",
    "icnn_viz.displays.explorer": "HeatmapExplorer",
    "icnn_viz.displays.kernel_pair": "KernelPairDisplay",
    "icnn_viz.displays.pixels": "Question compare_pixels",
    "icnn_viz.displays.survey": "SurveyDisplay",
    "icnn_viz.displays.taps": "TapDisplay",
    "icnn_viz.figures.measure_table": "measure_rows",
}
__getattr__, __dir__ = lazily(__name__, _EXPORTS)
__all__ = __dir__()
