"""Looking at irregular convolutions: learnt positions as data, statistics on them, gradients of a pixel, figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icnn_core import __version__ as __version__
from icnn_core.lazy import lazily

if TYPE_CHECKING:
    from icnn_viz.displays import HeatmapDisplay as HeatmapDisplay
    from icnn_viz.displays import HeatmapExplorer as HeatmapExplorer
    from icnn_viz.displays import KernelDisplay as KernelDisplay
    from icnn_viz.displays import SurveyDisplay as SurveyDisplay
    from icnn_viz.displays import TapDisplay as TapDisplay
    from icnn_viz.figures.cloud_pages import draw_cloud_interactive as draw_cloud_interactive
    from icnn_viz.figures.clouds import draw_cloud as draw_cloud
    from icnn_viz.figures.clouds_3d import draw_cloud_3d as draw_cloud_3d
    from icnn_viz.figures.comparison import draw_comparison as draw_comparison
    from icnn_viz.figures.write import write_figure as write_figure
    from icnn_viz.gradients import pixel_gradient as pixel_gradient
    from icnn_viz.heatmaps import measure_heatmap as measure_heatmap
    from icnn_viz.heatmaps import to_heatmap as to_heatmap
    from icnn_viz.positions import clouds_from_model as clouds_from_model
    from icnn_viz.positions import read_clouds as read_clouds
    from icnn_viz.positions import select_layers as select_layers
    from icnn_viz.recording import PositionRecorder as PositionRecorder
    from icnn_viz.records import GaussianFit as GaussianFit
    from icnn_viz.records import Heatmap as Heatmap
    from icnn_viz.records import PixelComparison as PixelComparison
    from icnn_viz.records import PixelGradient as PixelGradient
    from icnn_viz.records import PositionCloud as PositionCloud
    from icnn_viz.statistics.claims import judge_claims as judge_claims
    from icnn_viz.statistics.gaussian import fit_gaussians as fit_gaussians
    from icnn_viz.statistics.summary import summarise_clouds as summarise_clouds

_EXPORTS = {
    "icnn_viz.records": "GaussianFit Heatmap PixelComparison PixelGradient PositionCloud",
    "icnn_viz.displays": "HeatmapDisplay HeatmapExplorer KernelDisplay SurveyDisplay TapDisplay",
    "icnn_viz.recording": "PositionRecorder",
    "icnn_viz.positions": "clouds_from_model read_clouds select_layers",
    "icnn_viz.figures.clouds": "draw_cloud",
    "icnn_viz.figures.clouds_3d": "draw_cloud_3d",
    "icnn_viz.figures.cloud_pages": "draw_cloud_interactive",
    "icnn_viz.figures.comparison": "draw_comparison",
    "icnn_viz.statistics.gaussian": "fit_gaussians",
    "icnn_viz.statistics.claims": "judge_claims",
    "icnn_viz.heatmaps": "measure_heatmap to_heatmap",
    "icnn_viz.gradients": "pixel_gradient",
    "icnn_viz.statistics.summary": "summarise_clouds",
    "icnn_viz.figures.write": "write_figure",
}
__getattr__, __dir__ = lazily(__name__, _EXPORTS, "__version__")
__all__ = __dir__()
