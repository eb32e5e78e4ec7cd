"""The images that can be looked at, each under a key that is no path; images dropped in live in memory alone."""

from __future__ import annotations

import base64
import binascii
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from icnn_core.errors import DataError, NameNotFoundError

if TYPE_CHECKING:
    from icnn_core.datasets.images import Reader
    from icnn_core.datasets.registry import SegmentationDataset

KINDS = ("JPEG", "PNG", "WEBP", "BMP")
"""Formats (Pillow's names) that may be dropped in; no other decoder is ever tried."""
MOST_BYTES = 12 * 2**20
"""Of a file dropped in."""
_WHO = "your image"
_KEPT = 8  # images dropped in, and images read


@dataclass(frozen=True)
class ShelfImage:
    """An image to look at.

    Attributes:
        key: its name in URLs.
        name: shown to the reader.
        image: (H, W, 3) uint8.
        labels: (H, W) true class ids, or None.
        classes: of the labels; () = those of the networks.
    """

    key: str
    name: str
    image: np.ndarray
    labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """An image that may be read: its name, what reads it with its labels (None if there are none), their classes."""

    name: str
    read: Callable[[], tuple[np.ndarray, np.ndarray | None]]
    classes: tuple[str, ...] = ()


class Shelf:
    """All images of a session: the sources given, under "0", "1", …, and the last few dropped in.

    Args:
        sources: at least one.
        max_size: pixels allowed along the longer side of an image dropped in.
    """

    def __init__(self, sources: Sequence[Source], max_size: int) -> None:
        self._sources = {str(number): source for number, source in enumerate(sources)}
        self._dropped: OrderedDict[str, ShelfImage] = OrderedDict()
        self._read: OrderedDict[str, ShelfImage] = OrderedDict()
        self._lock = threading.Lock()
        self.max_size = max_size

    def names(self) -> dict[str, str]:
        """What the reader sees, by key."""
        with self._lock:
            dropped = {key: held.name for key, held in self._dropped.items()}
        return {key: source.name for key, source in self._sources.items()} | dropped

    def get(self, key: str) -> ShelfImage:
        """The image of a key.

        Raises:
            NameNotFoundError: no such key. DataError: its file has become unreadable.
        """
        with self._lock:
            for kept in (self._dropped, self._read):
                if key in kept:
                    kept.move_to_end(key)
                    return kept[key]
        if key not in self._sources:
            fix = "Choose one, or drop it in again: images dropped in are kept only while the explorer runs."
            raise NameNotFoundError("image", needed="an image of this session", got=repr(key)[:40], fix=fix)
        source = self._sources[key]
        held = ShelfImage(key, source.name, *source.read(), source.classes)
        with self._lock:
            _keep(self._read, held)
        return held

    def drop(self, contents: str, name: str) -> ShelfImage:
        """Take in an image as a browser sends it (see `decode_upload`), and forget the oldest.

        Raises:
            DataError: it is not an image, too large, or of another kind.
        """
        image = decode_upload(contents, self.max_size)
        key = "u" + hashlib.sha256(image.tobytes() + str(image.shape).encode()).hexdigest()[:12]
        held = ShelfImage(key, name[:60] or "your image", image)
        with self._lock:
            _keep(self._dropped, held)
        return held


def make_shelf(
    images: Sequence[Path],
    dataset: SegmentationDataset | None,
    name: str,
    max_size: int,
    reader: Reader | None = None,
) -> Shelf:
    """The images named, read and checked at once; then those of a data set, read as they are wanted; else the
    sample.

    Args:
        name: what the data set's images are called if they have no files.
        reader: the user's own function that reads the images named.

    Raises:
        DataError: an image cannot be used.
    """
    from icnn_core.datasets.shapes import ShapesDataset
    from icnn_viz.data import builtin_path
    from icnn_viz.displays.images import read_image, read_sample_labels

    def hold(path: Path, name: str) -> Source:
        array = read_image(path, max_size, reader)
        return Source(name, lambda: (array, None))

    def read(index: int) -> tuple[np.ndarray, np.ndarray]:
        tensor, mask = dataset[index]  # type: ignore[index]
        return tensor.permute(1, 2, 0).numpy(), mask.numpy()

    pairs = getattr(dataset, "pairs", None)
    sources = [hold(path, path.name) for path in images]
    for index in range(len(dataset) if dataset is not None else 0):
        shown = pairs[index].stem if pairs else f"{name} {index}"
        sources.append(Source(shown, lambda index=index: read(index)))
    if not sources:
        path, classes = builtin_path("sample.png"), ShapesDataset.classes
        sample, labels = read_image(path, max_size), read_sample_labels(path, classes)
        sources = [Source("sample", lambda: (sample, labels), classes)]
    return Shelf(sources, max_size)


def decode_upload(contents: str, max_size: int) -> np.ndarray:
    """A data URL to (H, W, 3) uint8 RGB: bytes, kind and size are checked before a pixel is decoded.

    Args:
        contents: "data:…;base64,…".
        max_size: pixels allowed along the longer side.

    Raises:
        DataError: too many bytes or pixels, not base64, of another kind, or damaged.
    """
    from icnn_core.datasets.images import UnreadableError, open_picture, to_rgb

    data = BytesIO(_to_bytes(contents))
    try:
        with open_picture(data, _WHO, max_size, formats=KINDS) as held:
            return to_rgb(held, _WHO)
    except UnreadableError as error:
        raise _refuse(f"an image file: {', '.join(KINDS)}", "another file, or a damaged one") from error


def _to_bytes(contents: str) -> bytes:
    head, _, text = contents.partition(";base64,")
    if not head.startswith("data:") or not text:
        raise _refuse("a file", "nothing")
    if len(text) > MOST_BYTES * 4 // 3 + 4:
        raise _refuse(f"at most {MOST_BYTES // 2**20} MiB", "more")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _refuse("a file in base64", "something else") from error


def _refuse(needed: str, got: str, fix: str = "Choose another file.") -> DataError:
    return DataError(_WHO, needed=needed, got=got, fix=fix)


def _keep(kept: OrderedDict[str, ShelfImage], held: ShelfImage) -> None:
    kept[held.key] = held
    kept.move_to_end(held.key)
    while len(kept) > _KEPT:
        kept.popitem(last=False)
