"""Image and mask to what a network takes: scaled, mirrored and cropped together, normalised as ImageNet's nets expect.

Nothing here draws from global random state: what happens to an image follows from the seed given with it, so a
resumed run, another worker or another process does the same.
"""

from __future__ import annotations

import torch
from torch.nn.functional import interpolate, pad

from icnn_core.errors import ArgumentError
from icnn_core.preparation import Preparation

Sample = tuple[torch.Tensor, torch.Tensor]
_IMAGENET = Preparation()
Size = float | tuple[int, int] | None


def resized(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """(…, C, H, W) floats in another size, bilinearly; antialiased where they shrink.

    The one way of images into networks and of logits back, in training, evaluation and heatmaps.
    """
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    smaller = size[0] < images.shape[-2] or size[1] < images.shape[-1]
    batch = images if images.ndim == 4 else images[None]
    out = interpolate(batch, list(size), mode="bilinear", align_corners=False, antialias=smaller)
    return out if images.ndim == 4 else out[0]


def normalise(image: torch.Tensor) -> torch.Tensor:
    """RGB (…, 3, H, W) uint8 to float32 with ImageNet's mean 0 and standard deviation 1."""
    return _IMAGENET.normalise(image)


class TrainTransform:
    """Random scale, mirror and crop; beyond the image lies the mean colour, labelled void.

    Args:
        size: the size before the random scale: (height, width), or a factor; None takes what the network was made for,
            or with a crop the image's.
        crop: (height, width) of the result, or None for the whole scaled image.
        scale: range of the random scale.
        mirror: whether every second image, on average, is mirrored left to right.
        ignore_index: the label of void.
        preparation: how the network wants values; by default as ImageNet's networks do.

    Raises:
        ArgumentError: a size or scale out of range.
    """

    def __init__(
        self,
        *,
        size: Size = None,
        crop: tuple[int, int] | None = None,
        scale: tuple[float, float] = (0.5, 1.5),
        mirror: bool = True,
        ignore_index: int = 255,
        preparation: Preparation = _IMAGENET,
    ) -> None:
        if crop is not None and min(crop) < 1:
            raise _bad("a crop of at least 1 × 1", crop)
        if not 0 < scale[0] <= scale[1]:
            raise _bad("a scale (low, high) with 0 < low ≤ high", scale)
        self.size, self.crop = _checked(size), crop
        self.scale, self.mirror, self.ignore_index = scale, mirror, ignore_index
        self.preparation = preparation

    def __call__(self, image: torch.Tensor, mask: torch.Tensor, seed: int) -> Sample:
        """Image (C, H, W) and mask (H, W) int64 to a normalised image (c, h, w) float32 and its mask (h, w)."""
        generator = torch.Generator().manual_seed(seed)
        scale, mirror, y, x = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
        factor = self.scale[0] + scale * (self.scale[1] - self.scale[0])
        made_for = self.preparation if self.crop is None else None
        height, width = _target_size(mask.shape, self.size, made_for)
        image, mask = _brought_to(
            image, mask, (max(1, round(height * factor)), max(1, round(width * factor))), self.preparation
        )
        if self.mirror and mirror < 0.5:
            image, mask = image.flip(-1), mask.flip(-1)
        if self.crop is None:
            return image, mask
        return self._cropped(image, mask, (y, x), self.crop)

    def _cropped(
        self, image: torch.Tensor, mask: torch.Tensor, place: tuple[float, float], crop: tuple[int, int]
    ) -> Sample:
        """`place` in [0, 1)²: where the crop lies in the image, or the image in the crop, axis by axis."""
        spare = [size - wanted for size, wanted in zip(mask.shape, crop, strict=True)]
        top, left = (int(p * (abs(s) + 1)) for p, s in zip(place, spare, strict=True))
        window = [min(size, wanted) for size, wanted in zip(mask.shape, crop, strict=True)]
        y, x = top * (spare[0] > 0), left * (spare[1] > 0)
        image, mask = (t[..., y : y + window[0], x : x + window[1]] for t in (image, mask))
        if min(spare) < 0:
            above, before = top * (spare[0] < 0), left * (spare[1] < 0)
            margins = [before, crop[1] - window[1] - before, above, crop[0] - window[0] - above]
            image, mask = pad(image, margins), pad(mask, margins, value=self.ignore_index)
        return image, mask


class EvalTransform:
    """Normalisation, and a resize on request.

    Args:
        size: (height, width), or a factor; None takes what the network was made for, or keeps the image's.
        resize_mask: False keeps the mask in its own size, for measuring upsampled predictions against it.
        preparation: how the network wants values; by default as ImageNet's networks do.

    Raises:
        ArgumentError: a size out of range.
    """

    def __init__(
        self, size: Size = None, *, resize_mask: bool = False, preparation: Preparation = _IMAGENET
    ) -> None:
        self.size, self.resize_mask, self.preparation = _checked(size), resize_mask, preparation

    def __call__(self, image: torch.Tensor, mask: torch.Tensor) -> Sample:
        """Image (C, H, W) and mask (H, W) int64 to a normalised image (c, h, w) float32 and the mask."""
        size = _target_size(mask.shape, self.size, self.preparation)
        image, resized_mask = _brought_to(image, mask, size, self.preparation)
        return image, resized_mask if self.resize_mask else mask


def _brought_to(
    image: torch.Tensor, mask: torch.Tensor, size: tuple[int, int], preparation: Preparation
) -> Sample:
    """Normalised and resized, and the nearest label: "exact", for the older "nearest" shifts by half a pixel."""
    image = resized(preparation.normalise(image), size)
    if tuple(mask.shape) == size:
        return image, mask
    nearest = interpolate(mask[None, None].double(), list(size), mode="nearest-exact")
    return image, nearest[0, 0].to(mask.dtype)


def _target_size(own: tuple[int, ...], size: Size, preparation: Preparation | None) -> tuple[int, int]:
    if size is None:
        return (preparation and preparation.made_for(own[0], own[1])) or (own[0], own[1])
    if isinstance(size, tuple):
        return size
    return max(1, round(own[0] * size)), max(1, round(own[1] * size))


def _checked(size: Size) -> Size:
    if size is not None and (min(size) < 1 if isinstance(size, tuple) else not 0 < size <= 16):
        raise _bad("a size (height, width), or a factor in (0, 16]", size)
    return size


def _bad(needed: str, got: object) -> ArgumentError:
    return ArgumentError("transform", needed=needed, got=str(got), fix="Sizes are (height, width) in pixels.")
