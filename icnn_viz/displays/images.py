"""Images and labels that a user names, read."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from icnn_core.errors import DataError

if TYPE_CHECKING:
    import numpy as np

_log = logging.getLogger(__name__)


def read_image(path: Path, max_size: int, *, labelled: bool = False) -> np.ndarray:
    """An image file as (H, W, 3) uint8, by the reader that training has; what it does with it is logged.

    Args:
        labelled: say also of a turn by EXIF that labels of the same size are taken to follow it.

    Raises:
        DataError: as there.
    """
    from icnn_core.datasets.images import TURNED, read_image, say_of_one

    def say(kind: str, text: str) -> None:
        if labelled and kind == TURNED:
            _log.warning("%s; its labels are taken to lie on it as shown", text)
        say_of_one(kind, text)

    return read_image(path, max_size, say).permute(1, 2, 0).numpy()


def read_labels(path: Path, shape: tuple[int, int], max_size: int) -> np.ndarray:
    """A label file, whose pixel values (or palette indices) are class ids, as (H, W) int64.

    Raises:
        DataError: missing, unreadable, in colour, or not of the image's size (`shape`).
    """
    import numpy as np

    from icnn_core.datasets.images import read_mask

    labels = read_mask(path, max_size)
    if labels.shape != shape:
        raise DataError(
            "--labels",
            needed=f"labels of the image's size, {shape[1]} × {shape[0]}",
            got=f"{path} with {labels.shape[1]} × {labels.shape[0]}",
            fix="Give the labels of this image.",
        )
    return labels.astype(np.int64)
