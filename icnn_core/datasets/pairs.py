"""The base of all data sets on disk: pairs of an image file and a mask file, checked as they are read."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from icnn_core.datasets.images import (
    DEEP,
    TURNED,
    UnreadableError,
    is_stored_turned,
    read_image,
    read_mask,
    read_size,
)
from icnn_core.datasets.labels import IGNORE_INDEX, LabelSet
from icnn_core.datasets.listing import Pair, listed
from icnn_core.errors import DataError

_log = logging.getLogger(__name__)
OF_ALL = {
    DEEP: "so are all such images of {name}",
    TURNED: "masks of {name} are taken to lie on images as shown; should they lie on the stored pixels, which sizes "
    "cannot tell, turn them likewise (Image.transpose), or remove the entry from the images",
}
"""What is said of a data set, at its first image of a kind."""


class PairsDataset(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Images (C, H, W), mostly RGB uint8, and masks (H, W) int64, of class ids and 255 for void, from pairs of files.

    Attributes:
        name, classes, palette: of the label set.
        ignore_index: 255, the label of void.
        pairs: the files, in the order of the items.

    Args:
        pairs: what is there.
        labels: what the numbers in the masks mean.
        read_numbers: reads a mask file, to (H, W); `read_mask` unless the format is another.
        read_pixels: reads an image file, to (C, H, W); None is `read_image`.
        skip_bad: give an image that cannot be decoded as one that is void everywhere, so that it counts neither in
            a loss nor in a measure, and remember it in `skipped`; False raises the error.
    """

    ignore_index = IGNORE_INDEX

    def __init__(
        self,
        pairs: Sequence[Pair],
        labels: LabelSet,
        *,
        read_numbers: Callable[[Path], np.ndarray] = read_mask,
        read_pixels: Callable[[Path], torch.Tensor] | None = None,
        skip_bad: bool = False,
    ) -> None:
        self.pairs, self.labels, self.skip_bad = tuple(pairs), labels, skip_bad
        self.name, self.classes, self.palette = labels.name, labels.classes, labels.palette
        self._read_numbers, self._read_pixels, self._table = read_numbers, read_pixels, labels.table()
        # in shared memory: worker processes mark, this one reports
        self._bad = torch.zeros(len(self.pairs), dtype=torch.bool).share_memory_()
        self._told = torch.zeros(len(OF_ALL), dtype=torch.bool).share_memory_()

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Image and mask.

        Raises:
            DataError: a file is missing, damaged (unless skipped) or of another kind, the mask has another size than
                the image, or holds a number that is no class.
            IndexError: index out of range.
        """
        pair = self.pairs[index]
        try:
            image, numbers = self._read_image(pair.image), self._read_numbers(pair.mask)
        except UnreadableError as error:
            if not self.skip_bad:
                fix = f"{error.fix.rstrip('.')}, or skip such files (--skip-bad)."
                raise UnreadableError(error.who, needed=error.needed, got=error.got, fix=fix) from error
            self._bad[index] = True
            size = read_size(pair.image) or read_size(pair.mask) or (64, 64)
            return torch.zeros(3, *size, dtype=torch.uint8), torch.full(size, IGNORE_INDEX, dtype=torch.int64)
        if tuple(image.shape[1:]) != numbers.shape:
            raise _other_size(pair, (image.shape[1], image.shape[2]), numbers.shape)
        return image, torch.from_numpy(self._to_labels(numbers, pair.mask))

    def _say(self, kind: str, text: str) -> None:
        """Log it of the first image of a kind, whichever process reads that."""
        number = list(OF_ALL).index(kind)
        if not self._told[number]:
            self._told[number] = True
            _log.warning("%s; %s", text, OF_ALL[kind].format(name=self.name))

    def _read_image(self, path: Path) -> torch.Tensor:
        return read_image(path, say=self._say) if self._read_pixels is None else self._read_pixels(path)

    def _to_labels(self, numbers: np.ndarray, path: Path) -> np.ndarray:
        inside = numbers.min(initial=0) >= 0 and numbers.max(initial=0) < len(self._table)
        labels = self._table[numbers] if inside else np.array([-1])
        if labels.min(initial=0) >= 0:
            return labels.astype(np.int64)
        wrong = [n for n in np.unique(numbers).tolist() if n not in self.labels.ids]
        needed = f"the numbers of {len(self.classes)} classes, or of void"
        got = f"{listed(wrong)} (known: {_ranges(self.labels.ids)})"
        fix = "Mend the mask, or give the label set that it was made for."
        raise DataError(f"mask {path}", needed=needed, got=got, fix=fix)

    @property
    def skipped(self) -> list[Path]:
        """Images left out so far because they or their masks cannot be decoded; seen from every worker process."""
        return [self.pairs[i].image for i in self._bad.nonzero().flatten().tolist()]


def _other_size(pair: Pair, image: tuple[int, int], mask: tuple[int, ...]) -> DataError:
    fix = "Make the mask anew from this image, or resize it without interpolation."
    if mask == image[::-1] and is_stored_turned(pair.image):
        fix = (
            "The image is turned by its EXIF, which the mask does not follow: turn the mask likewise "
            "(Image.transpose), or remove the entry from the image if it lies as wanted."
        )
    needed = f"the size of its image, {image[1]} × {image[0]} (width × height)"
    return DataError(f"mask {pair.mask}", needed=needed, got=f"{mask[1]} × {mask[0]}", fix=fix)


def _ranges(ids: Mapping[int, int]) -> str:
    """Numbers as "0–10, 255"."""
    numbers, parts = sorted(ids), []
    start = numbers[0]
    for number, following in zip(numbers, [*numbers[1:], None], strict=True):
        if following != number + 1:
            parts.append(str(start) if start == number else f"{start}–{number}")
            start = following if following is not None else start
    return ", ".join(parts)
