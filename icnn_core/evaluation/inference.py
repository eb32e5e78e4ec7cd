"""From a network and an image to logits per pixel: whole or in windows, at several scales, mirrored on request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from icnn_core.datasets.transforms import resized
from icnn_core.errors import ArgumentError
from icnn_core.evaluation.calling import segment, tell_once
from icnn_core.preparation import Preparation, preparation_of

_WHO = "evaluate"


@dataclass(frozen=True)
class Inference:
    """How an image is segmented. Logits, not probabilities, are averaged wherever there are several for a pixel.

    Attributes:
        window: (height, width) of the windows that the network sees, or None for the whole image. Where the image is
            smaller along an axis, the window is too.
        stride: (height, width) from window to window; None: two thirds of the window. The last window of a row or
            column ends at the image's border.
        scales: the image is resized by each factor in turn, the logits back.
        flip: also segment the image mirrored left to right.
    """

    window: tuple[int, int] | None = None
    stride: tuple[int, int] | None = None
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False

    def __post_init__(self) -> None:
        if self.window is not None and min(self.window) < 1:
            raise _refusal("a window of at least 1 × 1", self.window, "Give HEIGHTxWIDTH, e.g. 713x713.")
        if self.stride is not None and self.window is None:
            raise _refusal(
                "a window to move by the stride", f"stride {self.stride} alone", "Give the window."
            )
        if self.stride is not None and self.window is not None:
            fits = all(1 <= s <= w for s, w in zip(self.stride, self.window, strict=True))
            if not fits:
                needed = f"a stride from 1 to the window's {self.window}, so that nothing is left out"
                raise _refusal(needed, self.stride, "Make it smaller.")
        if not self.scales or not all(0 < scale <= 16 for scale in self.scales):
            raise _refusal("scales in (0, 16]", self.scales, "Give factors such as 0.5,1,1.5.")

    @property
    def steps(self) -> tuple[int, int] | None:
        """The stride that is used, if there is a window."""
        if self.stride is not None or self.window is None:
            return self.stride
        return max(1, round(self.window[0] * 2 / 3)), max(1, round(self.window[1] * 2 / 3))

    def __str__(self) -> str:
        said = "whole images"
        if self.window is not None and self.steps is not None:
            said = "windows of {}×{} every {}×{}".format(*self.window, *self.steps)
        if self.scales != (1.0,):
            said += f", scales {', '.join(f'{scale:g}' for scale in self.scales)}"
        return said + (", mirrored too" if self.flip else "")


def predict_logits(
    model: nn.Module,
    image: Tensor,
    inference: Inference | None = None,
    *,
    size: tuple[int, int] | None = None,
    classes: int | None = None,
    preparation: Preparation | None = None,
) -> Tensor:
    """Logits (C, H, W) of one normalised image (c, h, w), on the image's device.

    Args:
        model: in evaluation mode. Returns logits (1, C, …, …), or what `to_logits` finds them in; of another
            size than their input they are resized to it.
        inference: None for the whole image once.
        size: (H, W) of the logits wanted; None for the image's.
        classes: C, if it must be that.
        preparation: the sizes that the network takes and its logits' name; None = `preparation_of` it.

    Raises:
        ShapeError: the network gives something else, or does not take images of this size.
    """
    inference, preparation = inference or Inference(), preparation or preparation_of(model)
    wanted = size or (image.shape[1], image.shape[2])
    total: Tensor | None = None
    for scale in inference.scales:
        scaled = resized(image[None], (_scaled(image.shape[1], scale), _scaled(image.shape[2], scale)))
        for mirrored in (False, True) if inference.flip else (False,):
            seen = scaled.flip(3) if mirrored else scaled
            logits = _in_windows(model, seen, inference, classes, preparation)
            logits = resized(logits.flip(3) if mirrored else logits, wanted)
            total = logits if total is None else total + logits
    assert total is not None
    return total[0] / (len(inference.scales) * (2 if inference.flip else 1))


def _segment(model: nn.Module, seen: Tensor, classes: int | None, preparation: Preparation) -> Tensor:
    logits, notes = segment(model, seen, preparation, classes=classes, who=_WHO)
    tell_once(model, notes, _WHO)
    return logits


def window_starts(length: int, window: int, stride: int) -> list[int]:
    """Where windows begin along an axis: every `stride`, and one that ends at `length`."""
    last = max(0, length - window)
    return [*range(0, last, stride), last]


def _in_windows(
    model: nn.Module, image: Tensor, inference: Inference, classes: int | None, preparation: Preparation
) -> Tensor:
    """Logits of (1, c, h, w) in that size: where windows overlap, their mean."""
    if inference.window is None or inference.steps is None:
        return _segment(model, image, classes, preparation)
    total: Tensor | None = None
    counts = image.new_zeros(image.shape[2:])
    for place in _windows((image.shape[2], image.shape[3]), inference.window, inference.steps):
        seen = image[:, :, place[0], place[1]]
        logits = _segment(model, seen, classes, preparation)
        if total is None:
            total = logits.new_zeros(1, logits.shape[1], *image.shape[2:])
        total[:, :, place[0], place[1]] += logits
        counts[place] += 1
    assert total is not None
    return total / counts


def _windows(
    size: tuple[int, int], window: tuple[int, int], stride: tuple[int, int]
) -> Iterator[tuple[slice, slice]]:
    rows, columns = (window_starts(*each) for each in zip(size, window, stride, strict=True))
    for top in rows:
        for left in columns:
            yield slice(top, top + window[0]), slice(left, left + window[1])


def _scaled(side: int, scale: float) -> int:
    return max(1, round(side * scale))


def _refusal(needed: str, got: object, fix: str) -> ArgumentError:
    return ArgumentError(_WHO, needed=needed, got=str(got), fix=fix)
