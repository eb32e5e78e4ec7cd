"""Predictions as pictures: numbers of classes in a PNG whose palette shows the classes' colours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from icnn_core.errors import ArgumentError, DataError
from icnn_core.files import write_atomically


def write_palette_png(
    path: str | Path, ids: np.ndarray, palette: Sequence[Sequence[int]], numbers: Sequence[int] = ()
) -> Path:
    """Write class ids (H, W), each 0 to 255, as a PNG of one channel with a palette; whole or not at all.

    `PIL.Image.open` gives the numbers back, viewers show the colours. What is beyond the palette is white.

    Args:
        palette: RGB by class id.
        numbers: what to write for each class id, as the data set's own masks have it; empty writes the ids.

    Raises:
        ArgumentError: ids that are no (H, W) array of 0 to 255, or a longer palette.
        DataError: the folder cannot be written.
    """
    from PIL import Image

    if ids.ndim != 2 or ids.min(initial=0) < 0 or ids.max(initial=0) > 255 or len(palette) > 256:
        needed = "class ids (H, W) from 0 to 255 and at most 256 colours"
        got = f"{ids.shape}, {ids.min(initial=0)} to {ids.max(initial=0)}, {len(palette)} colours"
        raise ArgumentError(str(path), needed=needed, got=got, fix="Such files have 8 bits a pixel.")
    table = np.arange(256, dtype=np.uint8)
    table[: len(numbers)] = numbers
    picture = Image.fromarray(table[ids])
    colours = np.full((256, 3), 255, np.uint8)
    colours[table[: len(palette)]] = np.array(palette, np.uint8).reshape(-1, 3)
    picture.putpalette(colours.ravel().tolist())
    return write_atomically(path, lambda temporary: picture.save(temporary, format="PNG"), DataError)
