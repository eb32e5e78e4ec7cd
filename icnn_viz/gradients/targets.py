"""Which scalar of the output is differentiated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from icnn_core.errors import ArgumentError, NameNotFoundError, ShapeError
from icnn_viz.masks import connected_part

Rectangle = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Target:
    """The scalar to differentiate: logits at one pixel or over a region, of one class or a difference of two.

    Attributes:
        pixel: (y, x), 0-based, in pixels of the image as given.
        class_id: the class; None = the one the network predicts at `pixel`.
        against: a second class whose logit is subtracted; None = none.
        region: sum over these pixels instead of `pixel` alone: a mask (H, W), a box (top, left, bottom,
            right; bottom and right exclusive), or "component": the 4-connected pixels around `pixel` that
            share its predicted class.
    """

    pixel: tuple[int, int]
    class_id: int | None = None
    against: int | None = None
    region: np.ndarray | Rectangle | str | None = None


@dataclass(frozen=True, eq=False)
class ResolvedTarget:
    """A `Target` of which nothing is left open.

    Attributes:
        image: which image of the batch.
        pixel: (y, x) in the image.
        at: (y, x) in the image's window (the crop).
        class_id, against: classes.
        mask: (h, w) bool over the window, or None: the pixel alone.
        text: what a reader is told about it.
    """

    image: int
    pixel: tuple[int, int]
    at: tuple[int, int]
    class_id: int
    against: int | None
    mask: torch.Tensor | None
    text: str

    def scalar(self, logits: torch.Tensor) -> torch.Tensor:
        """The scalar itself, from logits (B, C, h, w) over the window."""
        score = logits[self.image, self.class_id]
        if self.against is not None:
            score = score - logits[self.image, self.against]
        return score[self.at] if self.mask is None else score[self.mask.to(score.device)].sum()


def resolve(
    target: Target,
    image: int,
    window: Rectangle,
    prediction: np.ndarray,
    class_count: int,
    who: str = "pixel_gradient",
    shape: tuple[int, int] | None = None,
) -> ResolvedTarget:
    """Fill in the predicted class, the region's mask and the place in the window.

    Args:
        image: index in the batch.
        window: (top, left, height, width) of the part of the image that the network sees.
        prediction: (h, w) class ids over the window.
        class_count: how many classes the network has.
        who: the caller, for errors.
        shape: (height, width) of the image, which a mask must have.

    Raises:
        ArgumentError: the pixel lies outside the window, the region is empty there, or a class is subtracted from
            itself.
        NameNotFoundError: no such class.
        ShapeError: a mask of another size than the image.
    """
    y, x = _whole(target.pixel, who)
    check_pixel((y, x), window, who)
    at = (y - window[0], x - window[1])
    class_id = int(prediction[at]) if target.class_id is None else target.class_id
    for number in (class_id, target.against):
        if number is not None:
            check_class(number, class_count, who)
    mask = None if target.region is None else _mask(target.region, window, prediction, at, shape)
    if class_id == target.against:
        needed = "another class to subtract than the one that is followed"
        got = f"class {class_id} twice" + " (it is predicted at the pixel)" * (target.class_id is None)
        fix = "Name the class that is followed, or another one to subtract: nothing would be left."
        raise ArgumentError(who, needed=needed, got=got, fix=fix)
    text = "" if target.class_id is None else "class given"
    if mask is not None:
        count = int(mask.sum())
        text = f"sum over {count} pixel{'s' * (count > 1)}"
    tensor = None if mask is None else torch.from_numpy(mask)
    return ResolvedTarget(image, (y, x), at, class_id, target.against, tensor, text)


def _whole(pixel: tuple[float, float], who: str) -> tuple[int, int]:
    if len(pixel) != 2 or not all(float(v).is_integer() for v in pixel):
        raise ArgumentError(
            who, needed="a pixel (y, x) of two whole numbers", got=str(tuple(pixel)), fix="Round it first."
        )
    return int(pixel[0]), int(pixel[1])


def check_class(class_id: int, count: int, who: str) -> None:
    """Raises: NameNotFoundError: the class is none of the network's `count`."""
    if not 0 <= class_id < count:
        needed, fix = f"a class id from 0 to {count - 1}", f"The network has {count} classes."
        raise NameNotFoundError(who, needed=needed, got=str(class_id), fix=fix)


def check_pixel(pixel: tuple[int, int], window: Rectangle, who: str) -> None:
    """Raises: ArgumentError: the pixel (y, x) lies outside the window (top, left, height, width)."""
    top, left, height, width = window
    y, x = pixel
    if not (top <= y < top + height and left <= x < left + width):
        needed = f"a pixel with y in {top}…{top + height - 1} and x in {left}…{left + width - 1}"
        got = f"y = {y}, x = {x}"
        raise ArgumentError(who, needed=needed, got=got, fix="Choose a pixel that the network sees.")


def _mask(
    region: np.ndarray | Rectangle | str,
    window: Rectangle,
    prediction: np.ndarray,
    at: tuple[int, int],
    shape: tuple[int, int] | None,
) -> np.ndarray:
    top, left, height, width = window
    if isinstance(region, str):
        if region != "component":
            needed = 'a mask, a box or "component"'
            raise ArgumentError("Target", needed=needed, got=repr(region), fix="Give one of these as region.")
        mask = connected_part(prediction == prediction[at], at)
    elif isinstance(region, tuple):
        mask = np.zeros((height, width), bool)
        if len(region) != 4 or not all(float(edge).is_integer() for edge in region):
            needed = "a box (top, left, bottom, right) of four whole numbers"
            raise ArgumentError("Target", needed=needed, got=str(region), fix="Round them first.")
        up, west, down, east = map(int, region)
        rows, columns = shape or (top + height, left + width)
        if not (0 <= up <= down <= rows and 0 <= west <= east <= columns):
            needed = f"a box (top, left, bottom, right) inside the image of {rows} × {columns}"
            fix = "Give it in (y, x) order, bottom and right exclusive."
            raise ArgumentError("Target", needed=needed, got=str(region), fix=fix)
        mask[max(up - top, 0) : max(down - top, 0), max(west - left, 0) : max(east - left, 0)] = True
    else:
        mask = np.asarray(region, bool)
        if mask.ndim != 2 or mask.shape != (shape or (top + height, left + width)):
            needed, got = "a mask of the image's size", f"{mask.shape} for an image of {shape}"
            raise ShapeError("Target", needed=needed, got=got, fix="Give one bool per pixel of the image.")
        mask = mask[top : top + height, left : left + width]
    if not mask.any():
        needed = "a region with at least one pixel that the network sees"
        fix = "Check its coordinates: (top, left, bottom, right) in (y, x) order."
        raise ArgumentError("Target", needed=needed, got="an empty region", fix=fix)
    return np.ascontiguousarray(mask)
