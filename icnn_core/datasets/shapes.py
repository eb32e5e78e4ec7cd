"""A synthetic segmentation set, drawn on the fly: cords on a cluttered ground, told apart by their shape.

Rods, hooks, forks and rings have the same stroke widths, lengths, colours and textures, so no small window
tells them apart: a piece of a ring looks like a piece of a hook. Short strokes, dots, pebbles and hairs are
distractors, labelled background.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.utils.data import Dataset

from icnn_core.datasets._scene import draw_scene
from icnn_core.errors import ArgumentError, check_name

_SPLITS = {"train": 2000, "val": 200, "test": 400}  # images per split, unless told otherwise


class ShapesDataset(Dataset):
    """Segmentation of cords by their shape. Deterministic by (seed, split, index); needs no files.

    Args:
        split: "train", "val" or "test". Splits never share an image.
        length: number of images; None: 2000, 200 and 400.
        size: (height, width) in pixels, each at least 32; the things scale with it.
        seed: another seed is another data set.

    Raises:
        ArgumentError: an unknown split, or a length or size out of range.
    """

    name = "shapes"
    classes: tuple[str, ...] = ("background", "rod", "hook", "fork", "ring")
    palette: tuple[tuple[int, int, int], ...] = (
        (40, 40, 40),
        (0, 114, 178),
        (230, 159, 0),
        (0, 158, 115),
        (204, 121, 167),
    )
    ignore_index = 255

    def __init__(
        self, split: str, length: int | None = None, size: tuple[int, int] = (120, 160), seed: int = 0
    ) -> None:
        check_name("ShapesDataset", "a known split", split, _SPLITS, ArgumentError)
        if length is not None and length < 0:
            raise ArgumentError(
                "ShapesDataset", needed="length ≥ 0", got=str(length), fix="Give the number of images."
            )
        if min(size) < 32:
            raise ArgumentError(
                "ShapesDataset", needed="height and width of at least 32", got=str(size), fix="Enlarge size."
            )
        self.split, self.size, self.seed = split, (int(size[0]), int(size[1])), seed
        self.length = _SPLITS[split] if length is None else length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The image, (3, H, W) uint8, and its mask, (H, W) int64 with class ids.

        Raises:
            IndexError: index out of range.
        """
        if not -self.length <= index < self.length:
            raise IndexError(f"image {index} of {self.length}")
        key = (self.seed, list(_SPLITS).index(self.split), index % self.length)
        image, mask = draw_scene(np.random.default_rng(key), self.size)
        return torch.from_numpy(image.transpose(2, 0, 1).copy()), torch.from_numpy(mask)
