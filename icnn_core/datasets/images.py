"""Images and masks from files, checked: what a network cannot use is an error that names the file and the fix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image, UnidentifiedImageError

from icnn_core.errors import DataError
from icnn_core.files import explain

_KINDS = {"L": "a grey image", "LA": "a grey image with alpha", "RGBA": "an image with alpha (RGBA)"}
_KINDS |= {"P": "a palette image", "CMYK": "a CMYK image", "1": "a black and white image"}
_SINGLE_CHANNEL = ("L", "P", "1", "I", "I;16", "I;16B", "I;16L", "I;16N")


class UnreadableError(DataError):
    """A file that cannot be decoded: the one fault of an image for which `skip_bad` leaves it out."""


def read_image(path: Path) -> torch.Tensor:
    """An RGB image of 8 bits, (3, H, W) uint8.

    Raises:
        UnreadableError: the file cannot be decoded (damaged, cut off, or no image).
        DataError: it is not RGB of 8 bits a channel.
    """
    with _open(path) as picture:
        bits = "16-bit" if _is_16_bit(picture) else ""
        if picture.mode != "RGB" or bits:
            kind = _KINDS.get(picture.mode, f"mode {picture.mode}")
            raise DataError(
                f"image {path}",
                needed="RGB of 8 bits a channel",
                got=f"a {bits} image ({picture.mode})" if bits else kind,
                fix="Convert it, e.g. with Pillow: Image.open(…).convert('RGB').",
            )
        return torch.from_numpy(_decode(picture, path)).permute(2, 0, 1).contiguous()


def read_mask(path: Path) -> np.ndarray:
    """The numbers in a mask file, (H, W): grey values, or indices into the file's palette.

    Raises:
        UnreadableError: the file cannot be decoded.
        DataError: it has several channels.
    """
    with _open(path) as picture:
        if picture.mode not in _SINGLE_CHANNEL:
            raise DataError(
                f"mask {path}",
                needed="one channel of class ids (grey or palette)",
                got=f"mode {picture.mode}",
                fix="Replace its colours by class ids.",
            )
        numbers = _decode(picture, path)
    return numbers.astype(np.uint8) if numbers.dtype == bool else numbers


def read_size(path: Path) -> tuple[int, int] | None:
    """(height, width) from an image's header, or None where even that cannot be read."""
    try:
        with Image.open(path) as picture:
            return picture.height, picture.width
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def is_stored_turned(path: Path) -> bool:
    """Whether an image asks its viewers to turn or mirror it (EXIF): cameras do, and annotation tools obey."""
    try:
        with Image.open(path) as picture:
            return picture.getexif().get(ExifTags.Base.Orientation, 1) != 1
    except (OSError, SyntaxError, ValueError):
        return False


def _open(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except FileNotFoundError as error:
        raise DataError(f"file {path}", needed="the file", got="none", fix="Put it there.") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = "no image" if isinstance(error, UnidentifiedImageError) else explain(error)[0]
        raise _unreadable(path, reason) from error


def _decode(picture: Image.Image, path: Path) -> np.ndarray:
    try:
        return np.array(picture)
    except (OSError, SyntaxError, ValueError) as error:
        raise _unreadable(path, explain(error)[0]) from error


def _unreadable(path: Path, reason: str) -> UnreadableError:
    return UnreadableError(
        f"file {path}",
        needed="a whole image file",
        got=f"one that cannot be decoded ({' '.join(reason.split())[:120]})",
        fix="Replace it, or skip such files (--skip-bad).",
    )


def _is_16_bit(picture: Image.Image) -> bool:
    """Pillow opens RGB of 16 bits as RGB of 8; the raw mode, with which it decodes, tells."""
    raw = [tile[3] for tile in getattr(picture, "tile", [])]
    names = [r if isinstance(r, str) else r[0] if isinstance(r, tuple) and r else "" for r in raw]
    return picture.mode.startswith("I") or any(isinstance(n, str) and "16" in n for n in names)
