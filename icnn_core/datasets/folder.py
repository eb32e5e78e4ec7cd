"""A user's own images and masks: two folders and a file of class names."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from icnn_core.datasets.colours import read_colour_mask
from icnn_core.datasets.images import Reader, UnreadableError, is_in_colour, read_mask, read_with
from icnn_core.datasets.labels import IGNORE_INDEX, LabelSet, default_palette, to_label_set
from icnn_core.datasets.listing import IMAGE_SUFFIXES, Pair, need_folder
from icnn_core.datasets.pairs import PairsDataset
from icnn_core.datasets.splits import split_pairs
from icnn_core.errors import DataError
from icnn_core.files import read_text

_WHO = "folder"
_PROBED = 8  # masks looked at when a data set is opened


class FolderDataset(PairsDataset):
    """`root/images/*` with `root/masks/*.png` of the same stems, and `root/classes.txt` or `classes.json`.

    A mask has one channel of class ids 0, 1, … (grey, or indices into a palette), and 255 for void. `classes.txt` names
    the classes from 0 on, one a line. `classes.json` is a list of names, or an object with "classes" and, on request,
    "palette" (RGB per class), "ids" (the number in the masks per class), "void_ids" and "void_colours". With a palette
    masks may be drawn in its colours, RGB or RGBA (transparent is void).

    Splits: `images/<split>` and `masks/<split>` where such folders are, else the names in `root/<split>.txt` where that
    is. A "val" that is not given is every fifth image of "train", by name, and "train" has the others; a "train" that
    is not given is what no other split has. "all" takes all of `images`. What was made up, and an image that is byte
    for byte in two splits, is logged.

    Args:
        root: the folder of the above.
        split: "train", "val", "all", or one for which there are folders or a list.
        classes: another file of class names, or the names themselves from id 0 on; None takes the file in `root`.
        skip_bad: see `PairsDataset`.
        reader: the user's own function from a path to an array, for all files of `images`, of whatever suffix, and for
            masks whose suffix is no picture's; see `read_with`.

    Raises:
        DataError: a folder or the class names are missing, files lack their partner, there is no such split, or the
            masks hold 0 and 255 alone, so that all of an object would be void.
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        *,
        classes: str | Path | Sequence[str] | None = None,
        skip_bad: bool = False,
        reader: Reader | None = None,
    ) -> None:
        root = need_folder(_WHO, Path(root))
        pairs = split_pairs(root, split, any_suffix=reader is not None)
        labels = _find_labels(root, classes)
        read_pixels = None if reader is None else lambda path: read_with(reader, path)

        def read_numbers(path: Path) -> np.ndarray:
            return _read_numbers(path, labels, reader)

        _check_scale(pairs, labels, read_numbers)
        super().__init__(pairs, labels, skip_bad=skip_bad, read_numbers=read_numbers, read_pixels=read_pixels)


def _read_numbers(path: Path, labels: LabelSet, reader: Reader | None) -> np.ndarray:
    """A mask: a picture by its numbers or its colours, any other file by the user's function."""
    if reader is None or path.suffix.lower() in IMAGE_SUFFIXES:
        if not (labels.colours and is_in_colour(path)):
            return read_mask(path)
        void = next((number for number, label in labels.ids.items() if label == IGNORE_INDEX), None)
        return read_colour_mask(path, labels.colours, void)
    numbers = read_with(reader, path).numpy()
    if len(numbers) != 1 or (numbers != np.round(numbers)).any():
        needed, got = "whole numbers (H, W) from --reader", f"{len(numbers)} channels of {numbers.dtype}"
        raise DataError(f"mask {path}", needed=needed, got=got, fix="Let it return one slice of class ids.")
    return numbers[0].astype(np.int64)


def find_class_file(root: Path) -> Path | None:
    """The class names in a folder, if they are there."""
    return next((p for p in (root / "classes.json", root / "classes.txt") if p.is_file()), None)


def _find_labels(root: Path, classes: str | Path | Sequence[str] | None) -> LabelSet:
    if classes is None or isinstance(classes, str | Path):
        return read_class_file(_need_class_file(root) if classes is None else Path(classes))
    return to_label_set(_WHO, classes, default_palette(len(classes)), range(len(classes)), [IGNORE_INDEX])


def _need_class_file(root: Path) -> Path:
    if (found := find_class_file(root)) is not None:
        return found
    fix = "Write the names of the classes, from id 0 on, one a line, into classes.txt there."
    raise DataError(f"{_WHO} {root}", needed="classes.txt or classes.json", got="neither", fix=fix)


def read_class_file(path: Path) -> LabelSet:
    """The label set of a `classes.txt` or `classes.json`; see `FolderDataset`.

    Raises:
        DataError: no such file, not JSON, no names, or lists of different lengths.
    """
    text = read_text(path, f"{_WHO} {path}", DataError)
    try:
        lines = [name for line in text.splitlines() if (name := line.strip())]
        given = json.loads(text) if path.suffix == ".json" else lines
        data: dict[str, Any] = {"classes": given} if isinstance(given, list) else dict(given)
        names = [str(name) for name in data["classes"]]
        palette = data.get("palette") or default_palette(len(names))
        numbers = [int(n) for n in data.get("ids") or range(len(names))]
        void = [int(n) for n in data.get("void_ids") or [IGNORE_INDEX]]
        labels = to_label_set(_WHO, names, palette, numbers, void)
        void_colours = [_to_colour(colour) for colour in data.get("void_colours", [])]
        if data.get("palette") and len(labels.palette) == len(numbers):
            colours = dict(zip(labels.palette, numbers, strict=True)) | dict.fromkeys(void_colours, void[0])
            if len(colours) < len(numbers) + len(set(void_colours)):
                raise ValueError("two classes, or a class and void, of one colour")
            labels = replace(labels, colours=colours)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise _bad_classes(path, f"a file that cannot be used ({error})") from error
    if not names or len(labels.palette) != len(names) or len(numbers) != len(names) or min(labels.ids) < 0:
        raise _bad_classes(path, f"{len(names)} names, {len(labels.palette)} colours, {len(numbers)} ids")
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise _bad_classes(path, f"{twice!r} twice")
    if len(set(numbers) | set(void)) < len(numbers) + len(set(void)) or len(names) > IGNORE_INDEX:
        raise _bad_classes(
            path, f"{len(names)} classes whose ids are not all different, or more than {IGNORE_INDEX}"
        )
    return labels


def _to_colour(value: Any) -> tuple[int, int, int]:
    red, green, blue = (int(part) for part in value)
    return red, green, blue


def _bad_classes(path: Path, got: str) -> DataError:
    needed = 'names one a line, or JSON: {"classes": [name, …], "palette": [[r, g, b], …]}'
    fix = "Give every class one name, one colour and one id of its own."
    return DataError(f"classes {path}", needed=needed, got=got, fix=fix)


def _check_scale(pairs: list[Pair], labels: LabelSet, read: Callable[[Path], np.ndarray]) -> None:
    """Masks drawn in black and white, 0 and 255, would make every object void, and training learn nothing."""
    found: set[int] = set()
    for pair in pairs[:: max(1, len(pairs) // _PROBED)]:
        try:
            found |= set(np.unique(read(pair.mask)).tolist())
        except UnreadableError:
            continue
    if (
        found == {0, IGNORE_INDEX}
        and labels.ids.get(IGNORE_INDEX) == IGNORE_INDEX
        and len(labels.classes) > 1
    ):
        needed, got = "class ids 0, 1, … in the masks", "0 and 255 alone, and 255 means void"
        fix = 'Write 1 for 255 in the masks, or "ids": [0, 255] and "void_ids": [254] into classes.json.'
        raise DataError(f"{_WHO} {pairs[0].mask.parent}", needed=needed, got=got, fix=fix)
