"""Images into a network, and its logits back on their pixels: one way for training, evaluation and heatmaps."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from icnn_core.datasets.transforms import resized
from icnn_core.errors import IcnnError, ShapeError
from icnn_core.preparation import Preparation, preparation_of

_log = logging.getLogger(__name__)
KEYS = ("out", "logits", "pred", "sem_seg")
"""Names under which networks return their logits, in a mapping or as an attribute; the first that is there counts."""
_SIZES = re.compile(
    r"sizes? of tensor|tensors? .*match|must match|divisible|multiples? of|input (image )?(shape|size)|expected size|"
    r"expanded size|kernel size can't|padding size should|output size is too small|is invalid for input|mismatch|"
    r"cannot be multiplied|broadcast|rearrange",
    re.IGNORECASE,
)
_FIRST = "the first of"
_told: WeakKeyDictionary[nn.Module, set[str]] = WeakKeyDictionary()
_ALIKE = 0.05  # by how much the sides of logits may differ from an image's: they are rounded
_UNLIKE = 1.5  # by which factor two sides are surely not an image's
_CHANNELS = re.compile(r"to have \d+ channels", re.IGNORECASE)


def segment(
    model: nn.Module,
    images: Tensor,
    preparation: Preparation | None = None,
    *,
    classes: int | None = None,
    binary: bool = False,
    halved: bool = False,
    who: str = "a network",
) -> tuple[Tensor, tuple[str, ...]]:
    """Logits (N, C, h, w) of normalised images (N, c, h, w), in their size, and what that took, in words.

    Images are padded or resized to the network's divisor; logits of another size than its input are resized to that,
    bilinearly.

    Args:
        preparation: None = `preparation_of` the network.
        classes, binary, halved, who: see `to_logits`.

    Raises:
        ShapeError: no logits are there, or the network does not take images of this size.
    """
    preparation = preparation or preparation_of(model)
    height, width = images.shape[2], images.shape[3]
    wanted = preparation.fitted_size(height, width)
    padded = preparation.fit == "pad" and wanted != (height, width)
    seen = pad(images, (0, wanted[1] - width, 0, wanted[0] - height)) if padded else resized(images, wanted)
    try:
        output = model(seen)
    except (RuntimeError, ValueError, AssertionError, IndexError) as error:
        refused = None if isinstance(error, IcnnError) else _refusal(error, seen, who)
        if refused is None:
            raise
        raise refused from error
    logits = to_logits(
        output,
        classes,
        binary=binary,
        halved=halved,
        key=preparation.output,
        batch=len(images),
        size=(seen.shape[2], seen.shape[3]),
        who=who,
    )
    notes = []
    heads = 0 if preparation.output else _heads(output)
    if heads > 1:
        notes.append(f"{_FIRST} {heads} outputs of the network (--output 1 is the second)")
    if wanted != (height, width):
        way = "padded" if padded else "resized"
        notes.append(
            f"images of {height} × {width} {way} to {wanted[0]} × {wanted[1]}, multiples of {preparation.divisor}"
        )
    if tuple(logits.shape[-2:]) != wanted:
        grown = logits.shape[-2] <= wanted[0] and logits.shape[-1] <= wanted[1]
        way = "upsampled" if grown else "resized"
        notes.append(
            "logits of {} × {} {way} bilinearly to {} × {}".format(*logits.shape[-2:], *wanted, way=way)
        )
        logits = resized(logits, wanted)
    logits = logits[..., :height, :width] if padded else resized(logits, (height, width))
    return logits, tuple(notes)


def tell_once(model: nn.Module, notes: Iterable[str], who: str) -> None:
    """Log what calls of a network took, each note once a network: which of several outputs is taken, as a warning."""
    told = _told.setdefault(model, set())
    for note in notes:
        if note not in told:
            told.add(note)
            _log.log(logging.WARNING if note.startswith(_FIRST) else logging.INFO, "%s: %s", who, note)


def _refusal(error: Exception, seen: Tensor, who: str) -> ShapeError | None:
    """A network's own complaint about its input, in one line; None if it is about something else."""
    said = " ".join(str(error).split())
    size = f"{seen.shape[1]} channels of {seen.shape[2]} × {seen.shape[3]}"
    if _CHANNELS.search(said):
        fix = "Say --mean and --std with a number for each channel that it takes, and read such images with --reader."
    elif _SIZES.search(said):
        fix = (
            "Give --divisor 32 (or what it halves by), which pads images, or the --size that it was made for."
        )
    else:
        return None
    needed = f"a network that takes images of {size}"
    return ShapeError(who, needed=needed, got=f"{type(error).__name__}: {said[:200]}", fix=fix)


def to_logits(
    output: object,
    classes: int | None = None,
    *,
    binary: bool = False,
    halved: bool = False,
    key: str | None = None,
    batch: int | None = None,
    size: tuple[int, int] | None = None,
    who: str = "a network's output",
) -> Tensor:
    """The logits (N, C, H, W) in an output: a tensor, the first of a tuple or list, or one under a name.

    Names are `KEYS`, in a mapping (torchvision's "out") or as an attribute (transformers' `.logits`). A single logit
    where two classes are wanted is the foreground's: the background's is its negation, put before it. Logits whose
    last axis is the classes' are refused, by what is known of classes and size.

    Args:
        classes: C, if it must be that.
        binary: two classes are wanted where there is one logit, and any number where there are more.
        halved: of one logit, both are halved, so that their softmax is its sigmoid.
        key: the name, if it is none of these; of a tuple or list its number, from 0, or from -1 at its end; a way of
            several ("decode.1") is joined by dots.
        batch: N, if it must be that.
        size: (height, width) of the images that the network saw.
        who: asks, for errors.

    Raises:
        ShapeError: they are not there.
    """
    found = _find(output, key)
    maps = isinstance(found, Tensor) and found.ndim == 4 and batch in (None, len(found))
    if isinstance(found, Tensor) and maps and not _has_classes_last(found, classes, size):
        if found.shape[1] == 1 and (binary or classes == 2):
            found = torch.cat([-found, found], 1) / (2 if halved else 1)
        if classes in (None, found.shape[1]):
            return found
    named = f'under "{key}"' if key else f"in a tuple, or under one of {', '.join(KEYS)}"
    raise ShapeError(
        who,
        needed=f"logits per pixel ({batch or 'N'}, {classes or 'C'}, H, W), one for each class, by themselves, {named}",
        got=_describe(output if found is None else found),
        fix=_what_to_do(found, classes, size),
    )


def _has_classes_last(found: Tensor, classes: int | None, size: tuple[int, int] | None) -> bool:
    """Whether it can only be (N, H, W, C), by its number of classes or because an image's sides lie before its last."""
    _, rows, columns, last = found.shape
    if classes is not None and rows not in (classes, 1) and last == classes:
        return True
    if size is None or 0 in found.shape or 0 in size or (classes is not None and rows == classes):
        return False
    # 1: the images' sides
    first, other = (a * size[1] / (b * size[0]) for a, b in ((rows, columns), (columns, last)))
    return abs(first - 1) < _ALIKE and not 1 / _UNLIKE < other < _UNLIKE


def _what_to_do(found: object, classes: int | None, size: tuple[int, int] | None) -> str:
    if isinstance(found, Tensor) and found.ndim == 4:
        if _has_classes_last(found, classes, size):
            return (
                "They look like (N, H, W, C): wrap the network so that it returns logits.permute(0, 3, 1, 2)."
            )
        return "Build a network that has one for each class, or name the data set that it was trained on."
    if isinstance(found, Tensor) and found.ndim == 3:
        return "If these are one logit a pixel, wrap the network so that it returns logits[:, None]."
    return (
        "Say under which name or number they are (--output KEY, in Python output=), or wrap the network so that its "
        "forward returns them."
    )


def _find(output: object, key: str | None) -> object:
    if isinstance(output, Tensor):
        return output
    if key:
        return _first(_at(output, key))
    for name in KEYS:
        if isinstance(output, Mapping) and name in output:
            return _first(output[name])
        if isinstance(getattr(output, name, None), Tensor):
            return getattr(output, name)
    return _first(output) if isinstance(output, tuple | list) else None


def _at(value: Any, key: str) -> object:
    """What lies at a name, a number or a way of them; None if nothing does."""
    if isinstance(value, Mapping) and key in value:
        return value[key]
    if isinstance(value, tuple | list) and re.fullmatch(r"-?[0-9]{1,4}", key):
        return value[int(key)] if -len(value) <= int(key) < len(value) else None
    if not isinstance(value, Mapping | Tensor) and hasattr(value, key):
        return getattr(value, key)
    first, _, rest = key.partition(".")
    return _at(_at(value, first), rest) if rest else None


def _heads(output: object) -> int:
    """How many outputs of a tuple or list might be the logits, by their shape."""
    if not isinstance(output, tuple | list) or any(
        isinstance(getattr(output, n, None), Tensor) for n in KEYS
    ):
        return 0
    shapes = [each.shape[:2] for each in output if isinstance(each, Tensor) and each.ndim == 4]
    return shapes.count(shapes[0]) if shapes else 0


def _first(value: Any) -> object:
    """Of several tensors (deep supervision, auxiliary heads) the first, as libraries order them."""
    while isinstance(value, tuple | list) and value:
        value = value[0]
    return value if not isinstance(value, Mapping) else _find(value, None)


def _describe(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, Mapping):
        return f"{type(value).__name__} with {', '.join(map(str, list(value)[:6])) or 'nothing'}"
    return type(value).__name__
