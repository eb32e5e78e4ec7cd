"""All measures of one heatmap at once, by name."""

from __future__ import annotations

import numpy as np

from icnn_viz.heatmaps.overlap import (
    energy_in_mask,
    energy_per_class,
    pointing_game,
    relevance_rank_accuracy,
    share_beyond,
    sort_values,
)
from icnn_viz.heatmaps.spread import (
    elongation,
    entropy,
    gini,
    half_energy_radius,
    mask_used,
    principal_axes,
    radius_of_gyration,
    smallest_area,
)
from icnn_viz.records import Heatmap

SHARES = (0.5, 0.9, 0.99)

MEASURES = {
    "energy": ("energy", ""),
    "peak": ("peak", ""),
    "area_50": ("smallest area with 50 % of the energy", "pixels"),
    "area_90": ("smallest area with 90 % of the energy", "pixels"),
    "area_99": ("smallest area with 99 % of the energy", "pixels"),
    "radius_of_gyration": ("radius of gyration about the pixel", "pixels"),
    "half_energy_radius": ("radius about the pixel that holds half of the energy", "pixels"),
    "extent_major": ("extent along the major axis", "pixels"),
    "extent_minor": ("extent along the minor axis", "pixels"),
    "elongation": ("elongation", ""),
    "orientation": ("orientation of the major axis, x towards y", "degrees"),
    "gini": ("Gini index", ""),
    "entropy": ("entropy", "bits"),
    "energy_in_object": ("energy in the object", "share"),
    "energy_in_class": ("energy in the object's class", "share"),
    "object_used": ("object in the 90 % region", "share"),
    "pointing_game": ("peak in the object", "1 = yes"),
    "rank_accuracy": ("relevance rank accuracy in the object", "share"),
    "beyond_field": ("energy beyond the receptive field", "share"),
}
"""Every measure of `measure_heatmap` but those per class: what it is called, and its unit; every front shows them.

"energy" and "peak" are in the heatmap's own unit, which depends on the method.
"""


def measure_heatmap(
    heatmap: Heatmap,
    *,
    object_mask: np.ndarray | None = None,
    class_mask: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    classes: tuple[str, ...] = (),
    field: np.ndarray | None = None,
) -> dict[str, float]:
    """Measures by name (`MEASURES`), each defined at its own function; masks that are not given leave theirs out.

    Args:
        object_mask: (H, W) bool, the object that holds the pixel: energy_in_object, object_used, pointing_game,
            rank_accuracy.
        class_mask: (H, W) bool, all pixels of its class: energy_in_class.
        labels: (H, W) class ids of the scene, with `classes`: "energy_on <class>" for each class.
        field: (H, W) bool, the theoretical receptive field: beyond_field.
    """
    descending = sort_values(heatmap)
    (major, minor), directions = principal_axes(heatmap)
    found: dict[str, float] = {
        "peak": float(heatmap.values.max()),
        "energy": float(heatmap.values.sum()),
        **{f"area_{share:.0%}".rstrip("%"): smallest_area(heatmap, share, descending) for share in SHARES},
        "radius_of_gyration": radius_of_gyration(heatmap),
        "half_energy_radius": half_energy_radius(heatmap),
        "extent_major": float(major),
        "extent_minor": float(minor),
        "elongation": elongation(heatmap),
        # Of the major axis, from x towards y (down), as an axis: 0 to 180.
        # A point, or what is as wide every way, has none.
        "orientation": float(np.degrees(np.arctan2(*directions[0]))) % 180
        if major - minor > 1e-9 * major
        else float("nan"),
        "gini": gini(heatmap, descending),
        "entropy": entropy(heatmap),
    }
    if object_mask is not None:
        found["energy_in_object"] = energy_in_mask(heatmap, object_mask)
        found["object_used"] = mask_used(heatmap, object_mask, 0.9, descending)
        found["pointing_game"] = pointing_game(heatmap, object_mask)
        found["rank_accuracy"] = relevance_rank_accuracy(heatmap, object_mask, descending)
    if class_mask is not None:
        found["energy_in_class"] = energy_in_mask(heatmap, class_mask)
    if field is not None:
        found["beyond_field"] = share_beyond(heatmap, field)
    if labels is not None:
        shares = energy_per_class(heatmap, labels, len(classes))
        found |= {f"energy_on {name}": float(share) for name, share in zip(classes, shares, strict=True)}
    return found
