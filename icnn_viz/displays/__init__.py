"""Compute, hold, plot: what a notebook imports."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from icnn_viz.displays.explorer import HeatmapExplorer
    from icnn_viz.displays.heatmaps import HEATMAP_VIEWS, HeatmapDisplay
    from icnn_viz.displays.kernel_pair import KernelPairDisplay
    from icnn_viz.displays.kernels import LAYER_VIEWS, NETWORK_VIEWS, KernelDisplay
    from icnn_viz.displays.pixels import Question, compare_pixels
    from icnn_viz.displays.survey import SurveyDisplay
    from icnn_viz.displays.taps import TapDisplay
    from icnn_viz.figures.measure_table import measure_rows

_MODULES = {
    "HEATMAP_VIEWS": "displays.heatmaps",
    "LAYER_VIEWS": "displays.kernels",
    "NETWORK_VIEWS": "displays.kernels",
    "HeatmapDisplay": "displays.heatmaps",
    "HeatmapExplorer": "displays.explorer",
    "KernelDisplay": "displays.kernels",
    "KernelPairDisplay": "displays.kernel_pair",
    "Question": "displays.pixels",
    "SurveyDisplay": "displays.survey",
    "TapDisplay": "displays.taps",
    "compare_pixels": "displays.pixels",
    "measure_rows": "figures.measure_table",
}
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
    "TapDisplay",
    "compare_pixels",
    "measure_rows",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f"icnn_viz.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
