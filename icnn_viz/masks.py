"""Masks over the pixels of an image: the one part that a pixel lies in."""

from __future__ import annotations

import numpy as np


def connected_part(mask: np.ndarray, pixel: tuple[int, int]) -> np.ndarray:
    """(H, W) bool: the 4-connected part of `mask` that holds `pixel` (y, x); empty if the pixel is not in it."""
    from scipy import ndimage

    parts = np.zeros(mask.shape, np.int32)
    ndimage.label(mask, output=parts)
    return (parts == parts[pixel]) & (parts > 0)
