"""Compute, hold, plot: what a notebook imports."""

from icnn_viz.displays.explorer import HeatmapExplorer
from icnn_viz.displays.heatmaps import HEATMAP_VIEWS, HeatmapDisplay
from icnn_viz.displays.kernel_pair import KernelPairDisplay
from icnn_viz.displays.kernels import LAYER_VIEWS, NETWORK_VIEWS, KernelDisplay
from icnn_viz.displays.pixels import Question, compare_pixels
from icnn_viz.displays.survey import SurveyDisplay
from icnn_viz.figures.measure_table import measure_rows

__all__ = [
    "HEATMAP_VIEWS",
    "LAYER_VIEWS",
    "NETWORK_VIEWS",
    "HeatmapDisplay",
    "HeatmapExplorer",
    "KernelDisplay",
    "KernelPairDisplay",
    "Question",
    "SurveyDisplay",
    "compare_pixels",
    "measure_rows",
]
