"""What a checkpoint is measured on: images as its network wants them, labels as they are on disk."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from icnn_core.checkpoint import Checkpoint
from icnn_core.datasets.folder import find_class_file
from icnn_core.datasets.images import read_size
from icnn_core.datasets.registry import SegmentationDataset, open_dataset
from icnn_core.datasets.splits import say_once
from icnn_core.datasets.transforms import EvalTransform
from icnn_core.errors import CheckpointError
from icnn_core.preparation import Preparation

Size = tuple[int, int]
_log = logging.getLogger(__name__)


class Measured(Sequence[tuple[Tensor, Tensor]]):
    """Pairs of a normalised image and its labels (H, W) in their own size.

    Attributes:
        data: the data set.
        length: how many of its images are taken, the first ones.
    """

    def __init__(
        self, data: SegmentationDataset, transform: EvalTransform, length: int | None = None
    ) -> None:
        self.data, self.transform = data, transform
        self.length = len(data) if length is None else min(length, len(data))

    def prepare_for(self, preparation: Preparation) -> None:
        """From now on images as a network wants them; in the size that it was made for, if none was chosen."""
        self.transform = EvalTransform(self.transform.size, preparation=preparation)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        if not 0 <= index < self.length:
            raise IndexError(index)
        image, labels = self.data[index]
        return self.transform(image, labels)[0], labels

    @property
    def skipped(self) -> list[Path]:
        """Images left out because they cannot be decoded (`skip_bad`), so far."""
        return list(getattr(self.data, "skipped", []))

    def is_skipped(self, index: int) -> bool:
        """Whether this image is one of those."""
        pairs = getattr(self.data, "pairs", None)
        return bool(pairs) and pairs[index].image in self.skipped

    @property
    def measured(self) -> int:
        """How many images are measured: all taken but those."""
        return self.length - sum(map(self.is_skipped, range(self.length))) if self.skipped else self.length

    def stem(self, index: int) -> str:
        """The name of an image without its suffix; its number where images are drawn."""
        pairs = getattr(self.data, "pairs", None)
        return pairs[index].stem if pairs else f"{index:06d}"


def open_measured(
    checkpoint: Checkpoint,
    data: str | None,
    root: str | Path | None,
    split: str,
    images: int | None = None,
    *,
    size: Size | None = None,
    **options: Any,
) -> Measured:
    """The data set to measure a checkpoint on, by default resized as in its training.

    Args:
        data: its name; None for the one that the checkpoint names. A folder that names no classes has those that the
            checkpoint's training named.
        size: (height, width) that the network sees; None for what it was trained with, or the images' own.
        options: of the data set, e.g. `skip_bad`.

    Raises:
        CheckpointError: it names no data set and none is given, or was made for other classes.
        IcnnError: the data set cannot be opened.
    """
    who, trained_on = str(checkpoint.path), checkpoint.dataset
    name = data or trained_on.get("name")
    if name is None:
        raise CheckpointError(
            who, needed="the name of a data set", got="none in the file", fix="Name one: --data camvid."
        )
    if size is None and trained_on.get("size"):
        size = (int(trained_on["size"][0]), int(trained_on["size"][1]))
    if name == "folder" and root is not None and find_class_file(Path(root)) is None:
        config = trained_on.get("config")
        options["classes"] = config.get("classes") if isinstance(config, Mapping) else None
    opened = open_dataset(name, root, split, size=size if name == "shapes" else None, **options)
    check_classes(who, checkpoint.classes, opened.classes, name)
    warn_of_another_shape(opened, size)
    return Measured(opened, EvalTransform(size=size), images)


def warn_of_another_shape(data: SegmentationDataset, size: Size | None) -> None:
    """Log that images are stretched, if the first one is by more than a tenth."""
    pairs = getattr(data, "pairs", None)
    own = read_size(pairs[0].image) if pairs and size else None
    if own is not None and size is not None and not 0.9 < own[1] * size[0] / (own[0] * size[1]) < 1 / 0.9:
        say_once(
            f"{data.name}: images of {own[1]} × {own[0]} (width × height) are stretched to {size[1]} × {size[0]}, "
            "another shape"
        )


def check_classes(who: str, known: Sequence[str], classes: Sequence[str], name: str) -> None:
    """Another number of classes, or another order of the same, is wrong; other names may be another spelling.

    Args:
        who: whose classes are `known`: a file or a network. If it names none, nothing is checked.
        classes, name: those of a data set, and what it is called.

    Raises:
        CheckpointError: a network for other classes.
    """
    known, found = tuple(known), tuple(classes)
    if not known or known == found:
        return
    if len(known) != len(found) or sorted(known) == sorted(found):
        needed = f"a network for the {len(found)} classes of {name}"
        got = f"one for {len(known)}" + (" in another order" if len(known) == len(found) else "")
        fix = "Name the data set it was trained on."
        raise CheckpointError(who, needed=needed, got=got, fix=fix)
    pairs = [f"{k} as {f}" for k, f in zip(known, found, strict=True) if k != f]
    _log.warning("classes of %s are called otherwise: %s", who, ", ".join(pairs))
