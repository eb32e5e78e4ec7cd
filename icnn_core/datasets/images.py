"""Images and masks from files: one reader for training, evaluation and heatmaps; what it cannot give truly it refuses.

Pictures come as viewers show them: turned as their EXIF says. Masks keep the numbers that the file stores.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from icnn_core.errors import DataError, IcnnError
from icnn_core.files import explain, need_regular_file

FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "PPM", "JPEG2000")
"""Pillow's names of what is read; no other decoder is ever tried."""
_SINGLE_CHANNEL = ("L", "P", "1", "I", "I;16", "I;16B", "I;16L", "I;16N")
_TO_8_BITS = "np.uint8(255 * np.clip((values - black) / (white - black), 0, 1))"
_log = logging.getLogger(__name__)

Say = Callable[[str, str], None]
"""Is told what was done with a picture: the kind, DEEP or TURNED, and a sentence that names the file."""
DEEP, TURNED = "16 bits", "turned"


def say_of_one(kind: str, text: str) -> None:
    """Log what is of interest of a picture by itself, without a mask."""
    if kind == DEEP:
        _log.warning("%s", text)


Reader = Callable[[Path], Any]
"""A user's own function from a path to an array (H, W), (H, W, C) or (C, H, W)."""


class UnreadableError(DataError):
    """A file that cannot be decoded: the one fault of an image for which `skip_bad` leaves it out."""


def read_image(path: Path, max_size: int | None = None, say: Say = say_of_one) -> torch.Tensor:
    """A picture as viewers show it, RGB of 8 bits, (3, H, W) uint8: see `to_rgb`.

    Args:
        max_size: pixels allowed along the longer side; checked before they are decoded.
        say: as of `to_rgb`.

    Raises:
        UnreadableError: the file cannot be decoded (damaged, cut off, or no image).
        DataError: no such file, no regular one, too large, or of values that no rule brings to 8 bits.
    """
    with open_picture(path, f"image {path}", max_size) as picture:
        return torch.from_numpy(to_rgb(picture, f"image {path}", say)).permute(2, 0, 1).contiguous()


def read_with(reader: Reader, path: Path) -> torch.Tensor:
    """An image as the user's own function reads it, (C, H, W) of any real numbers.

    Of three axes the shorter one of the first and the last holds the channels.

    Raises:
        UnreadableError: the function fails. DataError: it gives something else.
    """
    need_regular_file(path, f"image {path}", DataError)
    try:
        found = reader(path)
    except Exception as error:  # the user's own function may fail in any way
        raise _unreadable(f"image {path}", f"by --reader: {type(error).__name__}: {error}") from error
    array = found.detach().cpu().numpy() if isinstance(found, torch.Tensor) else np.asarray(found)
    if array.ndim == 2:
        array = array[None]
    elif array.ndim == 3 and array.shape[0] >= array.shape[2]:
        array = array.transpose(2, 0, 1)
    if array.ndim != 3 or 0 in array.shape or array.dtype.kind not in "buif" or not np.isfinite(array).all():
        needed = "finite real numbers (H, W), (H, W, C) or (C, H, W) from --reader"
        got = f"{type(found).__name__} of shape {array.shape} and type {array.dtype}"
        fix = "Let it return one slice, or fill what is missing."
        raise DataError(f"image {path}", needed=needed, got=got, fix=fix)
    kept = array if array.dtype == np.uint8 else array.astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(kept))


def read_mask(path: Path, max_size: int | None = None) -> np.ndarray:
    """The numbers in a mask file, (H, W): stored grey values, or indices into the file's palette.

    Raises:
        UnreadableError: the file cannot be decoded.
        DataError: it has several channels, or is a JPEG, which does not keep numbers.
    """
    with open_picture(path, f"mask {path}", max_size) as picture:
        if picture.mode not in _SINGLE_CHANNEL or picture.format in ("JPEG", "MPO"):
            kind = "a JPEG, which blurs them" if picture.mode in _SINGLE_CHANNEL else f"mode {picture.mode}"
            needed = "one channel of class ids (grey or palette)"
            fix = "Give the colours as palette in classes.json, or make ids of them: icnn import-masks."
            raise DataError(f"mask {path}", needed=needed, got=kind, fix=fix)
        raw = _raw_mode(picture)
        numbers = np.array(_decoded(picture, f"mask {path}"))
    return _stored(numbers, raw)


def is_in_colour(path: Path) -> bool:
    """Whether a picture has several channels, not numbers or indices of a palette.

    Raises:
        UnreadableError, DataError: as `read_mask`.
    """
    with open_picture(path, f"mask {path}") as picture:
        return picture.mode not in _SINGLE_CHANNEL


def open_picture(
    source: Path | BytesIO, who: str, max_size: int | None = None, formats: tuple[str, ...] = FORMATS
) -> Image.Image:
    """A picture of which the header alone is read.

    Args:
        who: names it, for errors.
        max_size: pixels allowed along the longer side.

    Raises:
        UnreadableError, DataError: as `read_image`.
    """
    if not isinstance(source, BytesIO):
        need_regular_file(source, who, DataError)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(source, formats=formats)
    except Exception as error:  # whatever a broken or hostile file provokes in a decoder
        if max_size is not None and isinstance(error, Image.DecompressionBombError):
            raise _too_large(who, max_size, "many more", "") from error
        reason = "no image" if isinstance(error, UnidentifiedImageError) else explain(error)[0]
        raise _unreadable(who, reason) from error
    if max_size is not None and max(picture.size) > max_size:
        picture.close()
        raise _too_large(who, max_size, f"{picture.width} × {picture.height}", f" {max(picture.size)}")
    if _is_stack(picture, who):
        picture.close()
        got = "a stack of pages of one size (channels, slices or times)"
        fix = "Read all of it with --reader tifffile:imread, or save the page that is meant."
        raise DataError(who, needed="one picture", got=got, fix=fix)
    return picture


def _is_stack(picture: Image.Image, who: str) -> bool:
    """Whether a TIFF has a second page as large as the first; smaller ones are previews of it."""
    if picture.format != "TIFF":
        return False
    size = picture.size
    try:
        picture.seek(1)
        found = picture.size == size
        picture.seek(0)
    except EOFError:
        return False
    except Exception as error:
        raise _unreadable(who, explain(error)[0]) from error
    return found


def to_rgb(picture: Image.Image, who: str, say: Say = say_of_one) -> np.ndarray:
    """(H, W, 3) uint8, turned as its EXIF says.

    Grey, palette, CMYK and the like become RGB as viewers show them; 16 unsigned bits are scaled by their range, 65535
    to 255. What has no such rule is refused: signed and 32-bit integers, floats, transparency.

    Args:
        say: is told of 16 bits, and of a turn that leaves the size as it is, so that a mask's cannot tell whether it
            follows.

    Raises:
        UnreadableError, DataError: as `read_image`.
    """
    raw = _raw_mode(picture)
    is_16_bit = picture.mode.startswith("I;16") or (
        "16" in raw and "16S" not in raw and picture.mode in ("I", "RGB", "RGBA", "L", "LA", "CMYK")
    )
    if picture.mode == "F" or (picture.mode.startswith("I") and not is_16_bit):
        kind = "32-bit floats" if picture.mode == "F" else "signed or 32-bit integers"
        needed = "8 or 16 unsigned bits a channel, whose black and white are known"
        fix = f"Choose which values are black and white, and write 8 bits: {_TO_8_BITS}."
        raise DataError(who, needed=needed, got=f"{kind} (mode {picture.mode})", fix=fix)
    orientation = _orientation(picture)
    upright = _decoded(picture, who)
    if picture.mode.startswith("I"):
        grey = (np.array(upright).astype(np.uint32) * 255 + 32767) // 65535
        upright = Image.fromarray(grey.astype(np.uint8))
    if is_16_bit:
        brightest = np.array(upright).max(initial=0)
        dark = f"; nothing in it is brighter than {brightest} of 255" if brightest < 64 else ""
        say(DEEP, f"{who} has 16 bits a channel: scaled to 8 by their range (65535 is white){dark}")
    if orientation in (2, 3, 4) or (orientation in (5, 6, 7, 8) and upright.width == upright.height):
        say(TURNED, f"{who} is shown turned, as its EXIF says (orientation {orientation})")
    if upright.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in upright.info:
        upright = upright.convert("RGBA")
        if np.asarray(upright.getchannel("A")).min() < 255:
            raise DataError(
                who,
                needed="an opaque image",
                got="one with transparent pixels, whose colours nobody sees",
                fix="Lay it on a ground: Image.alpha_composite(Image.new('RGBA', image.size, 'white'), image). "
                "If the fourth channel is no transparency, read all four with --reader.",
            )
    return np.array(upright.convert("RGB"))


def read_size(path: Path) -> tuple[int, int] | None:
    """(height, width) of an image as viewers show it, or None where its header cannot be read."""
    try:
        with open_picture(path, str(path)) as picture:
            turned = _orientation(picture) in (5, 6, 7, 8)
            return (picture.width, picture.height) if turned else (picture.height, picture.width)
    except IcnnError:
        return None


def is_stored_turned(path: Path) -> bool:
    """Whether an image asks its viewers to turn or mirror it (EXIF), as cameras do."""
    try:
        with open_picture(path, str(path)) as picture:
            return _orientation(picture) != 1
    except IcnnError:
        return False


def _orientation(picture: Image.Image) -> int:
    try:
        return picture.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # a PNG is decoded for it
        return 1


def _decoded(picture: Image.Image, who: str) -> Image.Image:
    try:
        picture.load()
        return ImageOps.exif_transpose(picture)
    except Exception as error:
        raise _unreadable(who, explain(error)[0]) from error


def _too_large(who: str, max_size: int, got: str, wanted: str) -> DataError:
    needed = f"at most {max_size} pixels along each side"
    return DataError(
        who, needed=needed, got=got, fix=f"Scale it down, or raise the limit: --max-size{wanted}."
    )


def _unreadable(who: str, reason: str) -> UnreadableError:
    got = f"one that cannot be decoded ({' '.join(reason.split())[:120]})"
    return UnreadableError(who, needed="a whole image file", got=got, fix="Replace it.")


def _raw_mode(picture: Image.Image) -> str:
    """How the file stores its pixels: Pillow opens RGB of 16 bits as RGB of 8, and stretches grey of 4 bits to 8."""
    for tile in getattr(picture, "tile", []):
        raw = tile[3][0] if isinstance(tile[3], tuple) and tile[3] else tile[3]
        if isinstance(raw, str):
            return raw
    return ""


def _stored(numbers: np.ndarray, raw: str) -> np.ndarray:
    """Numbers as the file has them: not stretched from 2 or 4 bits to 8, nor inverted where 0 is called white."""
    bits = re.fullmatch(r"[1L](?:;([124])?(I)?R?)?", raw)
    numbers = numbers.astype(np.uint8) if numbers.dtype == bool else numbers
    if bits is None or numbers.dtype != np.uint8:
        return numbers
    one_bit = raw.startswith("1")
    if bits[2]:
        numbers = (1 if one_bit else 255) - numbers
    return numbers if one_bit or bits[1] is None else numbers // (255 // (2 ** int(bits[1]) - 1))
