"""Compute, hold, plot: what a notebook imports."""

from icnn_viz.displays.explorer import HeatmapExplorer
from icnn_viz.displays.heatmaps import HEATMAP_VIEWS, HeatmapDisplay
from icnn_viz.displays.kernels import LAYER_VIEWS, NETWORK_VIEWS, KernelDisplay

__all__ = [
    "HEATMAP_VIEWS",
    "LAYER_VIEWS",
    "NETWORK_VIEWS",
    "HeatmapDisplay",
    "HeatmapExplorer",
    "KernelDisplay",
]
