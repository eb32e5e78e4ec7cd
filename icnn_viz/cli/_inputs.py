"""What a user names on the command line, read: pixels, classes, images, labels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from icnn_core.errors import ArgumentError, CheckpointError, DataError, NameNotFoundError, nearest_names

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
    """An image file as (H, W, 3) uint8, by the reader that training has. Raises: DataError, as there."""
    from icnn_core.datasets.images import read_image

    return read_image(path, max_size).permute(1, 2, 0).numpy()


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
