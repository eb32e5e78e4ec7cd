"""Images of any channels and numbers, as people see them."""

from __future__ import annotations

import numpy as np


def to_picture(image: np.ndarray) -> np.ndarray:
    """An image of any channels and numbers as people see it, (H, W, 3) uint8: of more than three channels the first
    three, of two the first; other numbers than uint8 from their 2nd to their 98th percentile."""
    image = np.asarray(image)
    image = image[..., None] if image.ndim == 2 else image
    image = image[..., :3] if image.shape[-1] >= 3 else np.repeat(image[..., :1], 3, -1)
    if image.dtype == np.uint8:
        return image
    low, high = np.percentile(image, (2, 98))
    return (255 * np.clip((image - low) / (high - low or 1.0), 0, 1)).round().astype(np.uint8)


def to_grey(image: np.ndarray) -> np.ndarray:
    """Its luma (ITU-R BT.601) in three equal channels (H, W, 3) uint8, at 70 % contrast around mid-grey."""
    luma = to_picture(image).astype(float) @ (0.299, 0.587, 0.114)
    return np.repeat(np.rint(128 + 0.7 * (luma - 128)).astype(np.uint8)[..., None], 3, axis=-1)
