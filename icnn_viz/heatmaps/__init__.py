"""Gradient -> Heatmap and its measures: numpy alone."""

from icnn_viz.heatmaps.average import AverageMap
from icnn_viz.heatmaps.lines import dark_lines
from icnn_viz.heatmaps.measures import MEASURES, SHARES, measure_heatmap
from icnn_viz.heatmaps.overlap import (
    energy_in_mask,
    energy_per_class,
    pointing_game,
    relevance_rank_accuracy,
    share_beyond,
    sort_values,
)
from icnn_viz.heatmaps.pixels import FACTORS, LabelledPixel, choose_pixels, find_pixels, strata_of
from icnn_viz.heatmaps.reduction import REDUCTIONS, reduction_of, to_heatmap
from icnn_viz.heatmaps.spread import (
    density_region,
    distance_energy,
    elongation,
    entropy,
    fit_gaussian,
    gini,
    half_energy_radius,
    mask_used,
    overlap,
    principal_axes,
    radius_of_gyration,
    smallest_area,
)
from icnn_viz.masks import connected_part

__all__ = [
    "FACTORS",
    "MEASURES",
    "REDUCTIONS",
    "SHARES",
    "AverageMap",
    "LabelledPixel",
    "choose_pixels",
    "connected_part",
    "dark_lines",
    "density_region",
    "distance_energy",
    "elongation",
    "energy_in_mask",
    "energy_per_class",
    "entropy",
    "find_pixels",
    "fit_gaussian",
    "gini",
    "half_energy_radius",
    "mask_used",
    "measure_heatmap",
    "overlap",
    "pointing_game",
    "principal_axes",
    "radius_of_gyration",
    "reduction_of",
    "relevance_rank_accuracy",
    "share_beyond",
    "smallest_area",
    "sort_values",
    "strata_of",
    "to_heatmap",
]
