"""Images and labels that a user names, read."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icnn_core.errors import ArgumentError, DataError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    ImageLike = np.ndarray | Image.Image | str | Path

    from icnn_core.datasets.images import Reader

_log = logging.getLogger(__name__)


def read_image(
    path: Path, max_size: int | None, reader: str | Reader | None = None, *, labelled: bool = False
) -> np.ndarray:
    """An image file as (H, W, 3) uint8, by the reader that training has; what it does with it is logged.

    Args:
        reader: a function of the user's own, or "package.module:function", which reads it: (H, W, C) of any real
            numbers.
        labelled: say also of a turn by EXIF that labels of the same size are taken to follow it.

    Raises:
        DataError: as there.
    """
    from icnn_core.datasets.images import TURNED, read_image, read_with, say_of_one

    def say(kind: str, text: str) -> None:
        if labelled and kind == TURNED:
            _log.warning("%s; its labels are taken to lie on it as shown", text)
        say_of_one(kind, text)

    own = load_reader(reader) if isinstance(reader, str) else reader
    found = read_image(path, max_size, say) if own is None else read_with(own, path)
    return found.permute(1, 2, 0).numpy()


def load_reader(name: str | None) -> Any:
    """The user's own function that reads images, which is imported; None without a name.

    Raises:
        NameNotFoundError, ArgumentError: there is no such function.
    """
    from icnn_core.models.factory import load_factory

    return load_factory(name, "--reader") if name else None


def to_pixels(image: Any) -> np.ndarray:
    """An image: an array as it is, a PIL image or a file as (H, W, 3) uint8.

    Raises:
        ArgumentError: anything else. DataError: as `read_image`.
    """
    import numpy as np
    from PIL import Image

    from icnn_core.datasets.images import to_rgb

    if isinstance(image, str | Path):
        return read_image(Path(image), None)
    if isinstance(image, Image.Image):
        return to_rgb(image, "image")
    if not isinstance(image, np.ndarray):
        kind = f"{type(image).__name__} {tuple(getattr(image, 'shape', ()))} {getattr(image, 'dtype', '')}"
        needed = "an array, as (H, W, 3) uint8, a PIL image, or the path of one"
        fix = "Of a tensor (3, H, W) in [0, 1]: (255 * t).byte().permute(1, 2, 0).numpy()."
        raise ArgumentError("image", needed=needed, got=" ".join(kind.split()), fix=fix)
    return image


def read_labels(path: Path, shape: tuple[int, int], max_size: int) -> np.ndarray:
    """A label file, whose pixel values (or palette indices) are class ids, as (H, W) int64.

    Raises:
        DataError: missing, unreadable, in colour, or not of the image's size (`shape`).
    """
    import numpy as np

    from icnn_core.datasets.images import read_mask

    labels = read_mask(path, max_size)
    if labels.shape != shape:
        needed = f"labels of the image's size, {shape[1]} × {shape[0]}"
        got = f"{path} with {labels.shape[1]} × {labels.shape[0]}"
        raise DataError("--labels", needed=needed, got=got, fix="Give the labels of this image.")
    return labels.astype(np.int64)


def read_sample_labels(path: Path, classes: Sequence[str]) -> np.ndarray | None:
    """True class ids of the sample image that the package ships, if `path` is that and `classes` are its classes."""
    import numpy as np
    from PIL import Image

    from icnn_core.datasets.shapes import ShapesDataset
    from icnn_viz.data import builtin_path

    if path != builtin_path("sample.png") or tuple(classes) != ShapesDataset.classes:
        return None
    with Image.open(builtin_path("sample-labels.png")) as labels:
        return np.array(labels, np.int64)
