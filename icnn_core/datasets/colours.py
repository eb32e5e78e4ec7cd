"""Masks in colours, as drawing tools write them -> the numbers of classes that the colours stand for."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from icnn_core.datasets.images import open_picture, to_rgb
from icnn_core.errors import DataError
from icnn_core.files import read_text

Colour = tuple[int, int, int]
_SHOWN = 4  # colours in an error


def read_colour_mask(path: Path, colours: Mapping[Colour, int], void: int | None = None) -> np.ndarray:
    """The numbers that a mask's colours stand for, (H, W) uint8.

    Args:
        colours: number by colour.
        void: number of pixels that are wholly transparent; None where there may be none.

    Raises:
        DataError: a colour that stands for nothing, and which; a JPEG, which blurs them; half transparent pixels.
    """
    rgb, seen = read_colours(path)
    codes = _to_codes(rgb)
    known = np.array([_to_codes(np.array(colour)) for colour in colours], dtype=np.int64)
    order = np.argsort(known)
    place = np.searchsorted(known[order], codes).clip(max=len(known) - 1)
    is_known = known[order][place] == codes
    numbers = np.array(list(colours.values()), dtype=np.uint8)[order][place]
    if void is not None:
        numbers, is_known = np.where(seen, numbers, void).astype(np.uint8), is_known | ~seen
    if not is_known.all():
        strange, counts = np.unique(rgb[~is_known], axis=0, return_counts=True)
        listed = ", ".join(str(tuple(map(int, strange[i]))) for i in np.argsort(-counts)[:_SHOWN])
        more = f" and {len(strange) - _SHOWN} more" if len(strange) > _SHOWN else ""
        got = f"{listed}{more}, in {int((~is_known).sum())} of {codes.size} pixels"
        fix = "Add them to the palette, or to void_colours; edges that were smoothed must be drawn without."
        raise DataError(f"mask {path}", needed="colours of the palette", got=got, fix=fix)
    return numbers


def read_colours(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A mask's colours (H, W, 3) uint8, and which of its pixels are opaque (H, W) bool.

    Raises:
        DataError: it cannot be read, is a JPEG, or has half transparent pixels.
    """
    with open_picture(path, f"mask {path}") as picture:
        if picture.format in ("JPEG", "MPO"):
            raise _refuse(path, "a JPEG, which blurs colours", "Draw it again as a PNG.")
        if "A" not in picture.getbands() and "transparency" not in picture.info:
            rgb = to_rgb(picture, f"mask {path}", lambda kind, text: None)
            return rgb, np.ones(rgb.shape[:2], dtype=bool)
        rgba = np.array(picture.convert("RGBA"))
    if not np.isin(rgba[..., 3], (0, 255)).all():
        raise _refuse(path, "half transparent pixels", "Draw it without transparency.")
    return rgba[..., :3], rgba[..., 3] == 255


def read_palette_table(path: Path) -> tuple[list[str], list[Colour]]:
    """Names and colours of a table: a row a class, name,r,g,b (or r g b name), with or without a heading.

    Raises:
        DataError: it is no such table.
    """
    text = read_text(path, f"palette {path}", DataError)
    separator = "," if "," in text else "\t" if "\t" in text else " "
    names, colours = [], []
    for number, row in enumerate(csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True)):
        cells = [cell.strip() for cell in row if cell.strip()]
        for values, words in ((cells[-3:], cells[:-3]), (cells[:3], cells[3:])):
            if len(values) == 3 and words and all(v.isdecimal() and int(v) < 256 for v in values):
                names.append(" ".join(words))
                colours.append((int(values[0]), int(values[1]), int(values[2])))
                break
        else:
            if cells and number:
                got = f"line {number + 1}: {' '.join(cells)[:60]}"
                raise DataError(f"palette {path}", needed="rows of name,r,g,b", got=got, fix="Mend that row.")
    if not names:
        raise DataError(
            f"palette {path}", needed="rows of name,r,g,b", got="none", fix="E.g. road,128,64,128."
        )
    return names, colours


def _to_codes(rgb: np.ndarray) -> np.ndarray:
    red, green, blue = (rgb[..., channel].astype(np.int64) for channel in range(3))
    return (red << 16) | (green << 8) | blue


def _refuse(path: Path, got: str, fix: str) -> DataError:
    return DataError(f"mask {path}", needed="plain colours, one a class", got=got, fix=fix)
