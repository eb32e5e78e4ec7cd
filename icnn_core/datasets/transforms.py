"""Image and mask to what a network takes: scaled, mirrored and cropped together, normalised as ImageNet's nets expect.

Nothing here draws from global random state. What happens to image `index` in epoch `epoch` follows from
(seed, epoch, index) alone, whichever worker or process does it, so a resumed run sees what the first one saw.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import Dataset
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from icnn_core.errors import ArgumentError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Sample = tuple[torch.Tensor, torch.Tensor]
Resize = float | tuple[int, int] | None


class Transform(Protocol):
    """Image (3, H, W) uint8 and mask (H, W) int64 to a normalised image (3, h, w) float32 and its mask (h, w) int64."""

    def __call__(self, image: torch.Tensor, mask: torch.Tensor, generator: torch.Generator) -> Sample: ...


def normalise(image: torch.Tensor) -> torch.Tensor:
    """RGB (…, 3, H, W) uint8 to float32 with ImageNet's mean 0 and standard deviation 1."""
    return F.normalize(F.to_dtype(image, torch.float32, scale=True), list(IMAGENET_MEAN), list(IMAGENET_STD))


def sample_generator(seed: int, epoch: int, index: int) -> torch.Generator:
    """The random numbers of one image in one epoch, independent of those of any other."""
    state = np.random.SeedSequence((seed, epoch, index)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))


class TrainTransform:
    """Random scale, mirror and crop; beyond the image lies the mean colour, labelled void.

    Args:
        crop: (height, width) of the result, or None for the whole (scaled) image.
        scale: range of the random scale.
        mirror: whether every second image, on average, is mirrored left to right.
        resize: done first: a factor, or (height, width); None keeps the size.
        ignore_index: the label of void.

    Raises:
        ArgumentError: a size or scale out of range.
    """

    def __init__(
        self,
        crop: tuple[int, int] | None,
        *,
        scale: tuple[float, float] = (0.5, 1.5),
        mirror: bool = True,
        resize: Resize = None,
        ignore_index: int = 255,
    ) -> None:
        if crop is not None and min(crop) < 1:
            raise _bad("a crop of at least 1 × 1", crop)
        if not 0 < scale[0] <= scale[1]:
            raise _bad("a scale (low, high) with 0 < low ≤ high", scale)
        self.crop, self.scale, self.mirror = crop, scale, mirror
        self.resize, self.ignore_index = _checked_resize(resize), ignore_index

    def __call__(self, image: torch.Tensor, mask: torch.Tensor, generator: torch.Generator) -> Sample:
        scale, mirror, y, x = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
        factor = self.scale[0] + scale * (self.scale[1] - self.scale[0])
        height, width = _target_size(mask.shape, self.resize)
        image, mask = _resized(image, mask, (max(1, round(height * factor)), max(1, round(width * factor))))
        if self.mirror and mirror < 0.5:
            image, mask = F.horizontal_flip(image), F.horizontal_flip(mask)
        if self.crop is None:
            return normalise(image), mask
        return self._cropped(image, mask, (y, x), self.crop)

    def _cropped(
        self, image: torch.Tensor, mask: torch.Tensor, place: tuple[float, float], crop: tuple[int, int]
    ) -> Sample:
        """`place` in [0, 1)²: where the crop lies in the image, or the image in the crop, axis by axis."""
        spare = [size - wanted for size, wanted in zip(mask.shape, crop, strict=True)]
        top, left = (int(p * (abs(s) + 1)) for p, s in zip(place, spare, strict=True))
        window = [min(size, wanted) for size, wanted in zip(mask.shape, crop, strict=True)]
        image, mask = (F.crop(t, top * (spare[0] > 0), left * (spare[1] > 0), *window) for t in (image, mask))
        image = normalise(image)
        if min(spare) < 0:
            above, before = top * (spare[0] < 0), left * (spare[1] < 0)
            margins = [before, above, crop[1] - window[1] - before, crop[0] - window[0] - above]
            image, mask = F.pad(image, margins, fill=0), F.pad(mask[None], margins, fill=self.ignore_index)[0]
        return image, mask


class EvalTransform:
    """Normalisation, and a resize on request.

    Args:
        resize: a factor, or (height, width); None keeps the size.
        resize_mask: False keeps the mask in its own size, for scoring upsampled predictions against it.

    Raises:
        ArgumentError: a size out of range.
    """

    def __init__(self, resize: Resize = None, *, resize_mask: bool = True) -> None:
        self.resize, self.resize_mask = _checked_resize(resize), resize_mask

    def __call__(
        self, image: torch.Tensor, mask: torch.Tensor, generator: torch.Generator | None = None
    ) -> Sample:
        resized, resized_mask = _resized(image, mask, _target_size(mask.shape, self.resize))
        return normalise(resized), resized_mask if self.resize_mask else mask


class TransformedDataset(Dataset):
    """A data set seen through a transform, with random numbers by (seed, epoch, index).

    An item is asked for by `index` (epoch 0) or by `(epoch, index)`. A sampler that yields such pairs needs no word to
    worker processes when an epoch begins. Attributes of the data set (classes, palette, …) are its own too.
    """

    def __init__(self, dataset: Any, transform: Transform, seed: int = 0) -> None:
        self.dataset, self.transform, self.seed = dataset, transform, seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        """The normalised image (3, h, w) float32 and its mask (h, w) int64."""
        epoch, index = key if isinstance(key, tuple) else (0, key)
        image, mask = self.dataset[index]
        return self.transform(image, mask, sample_generator(self.seed, epoch, index))

    def __getattr__(self, name: str) -> Any:
        if name == "dataset" or name.startswith("__"):  # while unpickling there is no data set to ask
            raise AttributeError(name)
        return getattr(self.dataset, name)


def _resized(image: torch.Tensor, mask: torch.Tensor, size: tuple[int, int]) -> Sample:
    """Bilinear with antialiasing, and the nearest label: "exact", for the older "nearest" shifts by half a pixel."""
    if tuple(mask.shape) == size:
        return image, mask
    image = F.resize(image, list(size), InterpolationMode.BILINEAR, antialias=True)
    return image, F.resize(mask[None], list(size), InterpolationMode.NEAREST_EXACT)[0]


def _target_size(size: tuple[int, ...], resize: Resize) -> tuple[int, int]:
    if resize is None:
        return size[0], size[1]
    if isinstance(resize, tuple):
        return resize
    return max(1, round(size[0] * resize)), max(1, round(size[1] * resize))


def _checked_resize(resize: Resize) -> Resize:
    if resize is not None and (min(resize) < 1 if isinstance(resize, tuple) else not 0 < resize <= 16):
        raise _bad("resize as a factor in (0, 16] or as (height, width)", resize)
    return resize


def _bad(needed: str, got: object) -> ArgumentError:
    return ArgumentError("transform", needed=needed, got=str(got), fix="Sizes are (height, width) in pixels.")
