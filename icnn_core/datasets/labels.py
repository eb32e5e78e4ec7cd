"""Label sets: names, colours, and which number in a mask file means which class. From the package's data files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import numpy as np
import torch
from torch import Tensor

from icnn_core.errors import ArgumentError, DtypeError

IGNORE_INDEX = 255
Colour = tuple[int, int, int]

# After Okabe and Ito:
_SAFE = ("#282828", "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")


@dataclass(frozen=True)
class LabelSet:
    """The classes of a data set.

    Attributes:
        name: of the data set.
        classes: names by class id.
        palette: RGB by class id.
        ids: class id, or 255 for void, by the number that stands in a mask file. Other numbers are errors.
        colours: that number by its colour in masks that are drawn in colours; empty where none is given.
    """

    name: str
    classes: tuple[str, ...]
    palette: tuple[Colour, ...]
    ids: Mapping[int, int]
    colours: Mapping[Colour, int] = field(default_factory=dict)

    @property
    def numbers(self) -> tuple[int, ...]:
        """The number in mask files by class id; empty where several mean one class, or one has more than 8 bits."""
        by_class = sorted((label, number) for number, label in self.ids.items() if label != IGNORE_INDEX)
        labels = [label for label, _ in by_class]
        each_has_one = labels == list(range(len(self.classes)))
        return tuple(number for _, number in by_class) if each_has_one and max(self.ids) < 256 else ()

    def table(self) -> np.ndarray:
        """(largest number + 1,) int16: `ids` as an array, -1 where a number means nothing."""
        table = np.full(max(self.ids) + 1, -1, np.int16)
        for number, label in self.ids.items():
            table[number] = label
        return table


def to_class_ids(labels: Tensor | np.ndarray, classes: int, ignore_index: int | None, who: str) -> Tensor:
    """Labels of any integer type as int64, in which their products with numbers of classes have room.

    Args:
        ignore_index: the label of void; None if there is none.
        who: asks, for errors.

    Raises:
        DtypeError: they are no integers.
        ArgumentError: one of them is neither a class nor void.
    """
    labels = torch.as_tensor(labels)
    if labels.is_floating_point() or labels.is_complex():
        raise DtypeError(
            who, needed="integer class ids", got=str(labels.dtype), fix="Cast the labels to int."
        )
    ids = labels.long()
    outside = (ids < 0) | (ids >= classes)
    wrong = ids[outside if ignore_index is None else outside & (ids != ignore_index)]
    if len(wrong):
        raise ArgumentError(
            who,
            needed=f"class ids from 0 to {classes - 1}"
            + ("" if ignore_index is None else f", or {ignore_index} for void"),
            got=f"{', '.join(map(str, wrong.unique()[:3].tolist()))}",
            fix="Give the labels of these classes; what means no class is void.",
        )
    return ids


def read_label_data(name: str) -> dict[str, Any]:
    """The package's data file on a label set: "classes", "palette", "void_ids", and the data set's own keys."""
    return json.loads(
        resources.files("icnn_core.datasets").joinpath(f"{name}.json").read_text(encoding="utf-8")
    )


def read_labels(name: str) -> LabelSet:
    """A label set of the package whose mask files hold class ids, or the file's "ids" for them."""
    data = read_label_data(name)
    numbers = data.get("ids", range(len(data["classes"])))
    return to_label_set(name, data["classes"], data["palette"], numbers, data["void_ids"])


def to_label_set(
    name: str,
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
    numbers: Iterable[int],
    void: Iterable[int] = (IGNORE_INDEX,),
) -> LabelSet:
    """A label set from `numbers`, those of the classes in mask files in order, and those that mean void."""
    ids = {number: label for label, number in enumerate(numbers)} | dict.fromkeys(void, IGNORE_INDEX)
    colours = tuple((int(r), int(g), int(b)) for r, g, b in palette)
    return LabelSet(name, tuple(classes), colours, ids)


def default_palette(count: int) -> tuple[Colour, ...]:
    """Colours for classes that have none: up to eight that colour-blind readers tell apart, else PASCAL VOC's."""
    if count <= len(_SAFE):
        return tuple((int(c[1:3], 16), int(c[3:5], 16), int(c[5:7], 16)) for c in _SAFE[:count])
    return tuple(_voc_colour(label) for label in range(count))


def _voc_colour(label: int) -> Colour:
    """The bits of the label, three at a time, fill red, green and blue from the highest bit down."""
    red, green, blue = (sum((label >> (3 * i + c) & 1) << (7 - i) for i in range(3)) for c in range(3))
    return red, green, blue
