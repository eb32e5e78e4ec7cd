"""Folders of masks in colours to folders of masks of class ids, which `FolderDataset` reads."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from icnn_core.datasets.colours import Colour, read_colour_mask, read_colours, read_palette_table
from icnn_core.datasets.folder import read_class_file
from icnn_core.datasets.labels import IGNORE_INDEX, LabelSet, to_label_set
from icnn_core.errors import DataError
from icnn_core.files import write_atomically, write_text
from icnn_core.outputs import check_target

_WHO = "import-masks"


def count_colours(paths: Iterable[Path]) -> list[tuple[Colour, float]]:
    """The colours of masks, the most frequent first, and their shares of all opaque pixels."""
    counts: Counter[Colour] = Counter()
    for path in paths:
        rgb, seen = read_colours(path)
        found, numbers = np.unique(rgb[seen], axis=0, return_counts=True)
        counts.update({tuple(c): int(n) for c, n in zip(found.tolist(), numbers, strict=True)})
    total = max(sum(counts.values()), 1)
    return [(colour, count / total) for colour, count in counts.most_common()]


def read_palette(path: Path) -> tuple[list[str], list[Colour]]:
    """Names and colours of the classes, by `classes.json` or a table.

    Raises:
        DataError: it is neither, gives no colours, or two classes one colour.
    """
    if path.suffix.lower() == ".json":
        labels = read_class_file(path)
        names, colours = list(labels.classes), list(labels.palette)
        if not labels.colours:
            raise _refuse(path, "names alone", 'Add "palette": [[r, g, b], …].')
    else:
        names, colours = read_palette_table(path)
    if len(set(colours)) < len(colours) or len(set(names)) < len(names) or len(names) > IGNORE_INDEX:
        raise _refuse(path, "a name or colour twice, or too many", "Give every class one of its own.")
    return names, colours


def convert_masks(
    files: Mapping[str, Path],
    palette: Path,
    void: Sequence[Colour],
    out: Path,
    track: Callable[[Sequence[str]], Iterable[str]] = iter,
    *,
    overwrite: bool = False,
) -> tuple[LabelSet, list[Path]]:
    """Write `out`/<stem>.png for each mask; all are read before the first is written.

    Raises:
        DataError: a colour that the palette lacks, or a mask that cannot be read. ArgumentError: a file is there.
    """
    names, colours = read_palette(palette)
    if twice := set(colours) & set(void):
        raise _refuse(palette, f"{next(iter(twice))} as a class and as void", "Choose one.")
    numbers = {colour: label for label, colour in enumerate(colours)} | dict.fromkeys(void, IGNORE_INDEX)
    for stem in files:
        check_target(out / f"{stem}.png", overwrite=overwrite)
    for path in files.values():
        read_colour_mask(path, numbers, IGNORE_INDEX)
    written = []
    shown = np.zeros((256, 3), np.uint8)
    shown[: len(colours)], shown[IGNORE_INDEX] = colours, (255, 255, 255)
    for stem in track(list(files)):
        picture = Image.fromarray(read_colour_mask(files[stem], numbers, IGNORE_INDEX))
        picture.putpalette(shown.ravel().tolist())
        path = out / f"{stem}.png"
        written.append(write_atomically(path, lambda name, p=picture: p.save(name, format="PNG"), DataError))
    return to_label_set(_WHO, names, colours, range(len(names))), written


def write_class_file(path: Path, labels: LabelSet, *, overwrite: bool = False) -> Path:
    """Names and palette as `classes.json`; one that is there and says the same stays.

    Raises:
        ArgumentError: another one is there.
    """
    text = json.dumps({"classes": labels.classes, "palette": labels.palette}, ensure_ascii=False) + "\n"
    if not (path.is_file() and path.read_text(encoding="utf-8") == text):
        check_target(path, overwrite=overwrite)
        write_text(path, text, DataError)
    return path


def _refuse(path: Path, got: str, fix: str) -> DataError:
    return DataError(f"palette {path}", needed="a name and a colour for each class", got=got, fix=fix)
