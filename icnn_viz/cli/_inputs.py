"""What a user names on the command line, read: pixels, classes, images, labels."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from icnn_core.errors import ArgumentError, CheckpointError, DataError, NameNotFoundError, nearest_names
from icnn_core.files import nearest_files

if TYPE_CHECKING:
    import numpy as np

    from icnn_core.datasets.registry import SegmentationDataset
    from icnn_viz.gradients import Network


def parse_pixel(text: str) -> tuple[int, int]:
    """ "x,y", x the column and y the row, to (y, x). A usage error if it is anything else."""
    parts = text.replace(" ", "").split(",")
    if len(parts) != 2 or not all(re.fullmatch(r"-?[0-9]{1,9}", part) for part in parts):
        raise typer.BadParameter(f"{text!r} is not x,y: two whole numbers, column and row, counted from 0.")
    return int(parts[1]), int(parts[0])


def check_pixel(pixel: tuple[int, int], image: np.ndarray) -> None:
    """Raises: ArgumentError: the pixel lies outside the image."""
    height, width = image.shape[:2]
    y, x = pixel
    if not (0 <= y < height and 0 <= x < width):
        raise ArgumentError(
            "--pixel",
            needed=f"x in 0…{width - 1} and y in 0…{height - 1}, for the image is {width} wide and {height} high",
            got=f"x = {x}, y = {y}",
            fix="Give x,y: the column, then the row, counted from 0.",
        )


def check_classes(networks: Sequence[Network], dataset: SegmentationDataset, name: str) -> None:
    """Raises: CheckpointError: the data set `name` has other classes than the networks, if their files name any."""
    classes = next((network.classes for network in networks if network.classes), ())
    if classes and tuple(dataset.classes) != classes:
        raise CheckpointError(
            "--data",
            needed=f"the networks' classes: {', '.join(classes)}",
            got=f"those of {name}: {', '.join(dataset.classes)}",
            fix="Name the data set that they were trained on.",
        )


def find_class(text: str, classes: Sequence[str]) -> int:
    """A class's name (case does not matter) or number, to its id.

    Raises:
        NameNotFoundError: no such class.
    """
    if text.isdigit():
        if classes and int(text) >= len(classes):
            raise NameNotFoundError(
                "--class",
                needed=f"a class id from 0 to {len(classes) - 1}",
                got=text,
                fix=f"The network has {len(classes)} classes.",
            )
        return int(text)
    lowered = [name.lower() for name in classes]
    if text.lower() in lowered:
        return lowered.index(text.lower())
    fix = (
        nearest_names(text, classes) if classes else "The checkpoint knows no names: give the class's number."
    )
    raise NameNotFoundError("--class", needed="a class of the network", got=repr(text), fix=fix)


def read_image(path: Path, max_size: int) -> np.ndarray:
    """An image file as (H, W, 3) uint8 RGB, turned the way it is meant to be seen.

    Args:
        max_size: pixels allowed along the longer side; checked before the pixels are read.

    Raises:
        DataError: missing, unreadable, or larger than `max_size`.
    """
    import numpy as np
    from PIL import ImageOps

    return np.array(ImageOps.exif_transpose(_opened(path, "--image", max_size)).convert("RGB"))


def read_labels(path: Path, shape: tuple[int, int], max_size: int) -> np.ndarray:
    """A label file, whose pixel values (or palette indices) are class ids, as (H, W) int64.

    Raises:
        DataError: missing, unreadable, in colour, or not of the image's size (`shape`).
    """
    import numpy as np

    labels = np.array(_opened(path, "--labels", max_size))
    if labels.ndim != 2:
        raise DataError(
            "--labels",
            needed="one number per pixel: a grey or palette image",
            got=f"{path} with {labels.shape[-1]} channels",
            fix="Give the file with class ids, not the coloured one.",
        )
    if labels.shape != shape:
        raise DataError(
            "--labels",
            needed=f"labels of the image's size, {shape[1]} × {shape[0]}",
            got=f"{path} with {labels.shape[1]} × {labels.shape[0]}",
            fix="Give the labels of this image.",
        )
    return labels.astype(np.int64)


def _opened(path: Path, who: str, max_size: int) -> Any:
    """A picture in memory, its size checked before its pixels are read."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(path)
        with picture:
            width, height = picture.size
            if max(width, height) <= max_size:
                picture.load()
                return picture.copy()
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, ValueError, SyntaxError) as error:
        got, fix = (
            f"{type(error).__name__}: {error}".replace(str(path), path.name),
            "Give a PNG or JPEG file.",
        )
        if isinstance(error, FileNotFoundError):
            got, fix = "nothing there", nearest_files(path)
        raise DataError(who, needed="an image that can be read", got=f"{path}: {got}", fix=fix) from error
    raise DataError(
        who,
        needed=f"at most {max_size} pixels along each side",
        got=f"{path} with {width} × {height}",
        fix=f"Scale it down, or raise the limit: --max-size {max(width, height)}.",
    )
