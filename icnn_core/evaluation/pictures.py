"""Predictions as pictures: class ids in a PNG whose palette shows the classes' colours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from icnn_core.errors import ArgumentError, DataError
from icnn_core.files import write_atomically


def write_palette_png(path: str | Path, ids: np.ndarray, palette: Sequence[Sequence[int]]) -> Path:
    """Write class ids (H, W), each 0 to 255, as a PNG of one channel with a palette; whole or not at all.

    `PIL.Image.open` gives the ids back, viewers show the colours. Ids beyond the palette are white.

    Raises:
        ArgumentError: ids that are no (H, W) array of 0 to 255, or a longer palette.
        DataError: the folder cannot be written.
    """
    from PIL import Image

    if ids.ndim != 2 or ids.min(initial=0) < 0 or ids.max(initial=0) > 255 or len(palette) > 256:
        raise ArgumentError(
            str(path),
            needed="class ids (H, W) from 0 to 255 and at most 256 colours",
            got=f"{ids.shape}, {ids.min(initial=0)} to {ids.max(initial=0)}, {len(palette)} colours",
            fix="Such files have 8 bits a pixel.",
        )
    picture = Image.fromarray(ids.astype(np.uint8))
    colours = [tuple(colour) for colour in palette] + [(255, 255, 255)] * (256 - len(palette))
    picture.putpalette([int(value) for colour in colours for value in colour])
    return write_atomically(path, lambda temporary: picture.save(temporary, format="PNG"), DataError)
