"""A gradient's colour channels reduced to one map."""

from __future__ import annotations

import numpy as np

from icnn_core.errors import ArgumentError, check_name
from icnn_viz.records import Heatmap, PixelGradient

REDUCTIONS = ("max", "l2", "sum", "signed")
_SIGNED_METHODS = ("gradient*input", "integrated")


def reduction_of(method: str) -> str:
    """How maps of an attribution method are reduced unless it is said: "signed" where a sign says whether a
    pixel speaks for the target or against it; else "max"."""
    return "signed" if method in _SIGNED_METHODS else "max"


def to_heatmap(gradient: PixelGradient, reduction: str = "", smoothing: float = 0.0) -> Heatmap:
    """Reduce a gradient over colour. Nothing is normalised: maps of the same target may be compared.

    Args:
        reduction: over the three colours, "max": largest absolute value (Simonyan et al. 2014); "l2": Euclidean norm;
            "sum": sum of absolute values; "signed": magnitude of the sum, whose sign is kept in the map's `signed`;
            "" = that of the method (`reduction_of`).
        smoothing: standard deviation in pixels of a Gaussian blur afterwards; 0 = none. The blur mirrors the map at
            the border and so keeps its sum; the record's `notes` say that it was applied.

    Returns:
        A map (H, W) of non-negative float64 values, in the gradient's unit.

    Raises:
        NameNotFoundError: another reduction.
        ArgumentError: a negative or non-finite smoothing, or a gradient that is not finite.
    """
    reduction = reduction or reduction_of(gradient.method)
    check_name("to_heatmap", "a known reduction", reduction, REDUCTIONS)
    if not 0 <= smoothing < float("inf"):
        needed = "smoothing of 0 pixels or more"
        raise ArgumentError("to_heatmap", needed=needed, got=str(smoothing), fix="0 leaves the map as it is.")
    size = np.abs(gradient.gradient.astype(np.float64))
    if not np.isfinite(size).all():
        raise ArgumentError(
            "to_heatmap",
            needed="a finite gradient",
            got=f"{int((~np.isfinite(size)).sum())} values that are not finite in the gradient of {gradient.network}",
            fix="Look for infinite weights or positions in the network, or use float32 instead of a half precision.",
        )
    match reduction:
        case "max":
            values = size.max(0)
        case "l2":
            values = np.sqrt((size**2).sum(0))
        case "sum":
            values = size.sum(0)
        case _:
            values = gradient.gradient.astype(np.float64).sum(0)
    notes = gradient.notes
    is_signed = reduction == "signed"
    if smoothing:
        from scipy.ndimage import gaussian_filter

        values = gaussian_filter(values, smoothing, mode="reflect")
        values = values if is_signed else np.maximum(values, 0)
        notes = (*notes, f"smoothed, σ = {smoothing:g} pixels")
    signed, values = (values, np.abs(values)) if is_signed else (None, values)
    return Heatmap(
        values, gradient.pixel, gradient.network, reduction, smoothing, notes, signed, gradient.scale
    )
