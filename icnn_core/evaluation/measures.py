"""How well a network segments: counts of pixels over a data set, and what follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from icnn_core.datasets.labels import to_class_ids
from icnn_core.errors import NameNotFoundError, nearest_names
from icnn_core.evaluation.boundaries import BoundaryCounts
from icnn_core.evaluation.images import ImageCounts
from icnn_core.facts import Facts


@dataclass(frozen=True, repr=False)
class Evaluation(Facts):
    """Counts of pixels, and the usual measures of them: all shares in [0, 1].

    Attributes:
        confusion: (classes, classes) int64; rows are labels, columns predictions. Void pixels are not counted.
        classes: names by class id.
        boundary: counts along the edges, or None where they were not asked for.
        chosen: the classes over which means are taken; empty for all of them.
        images: the counts of each image, or None where they were not asked for.
    """

    confusion: np.ndarray
    classes: tuple[str, ...]
    boundary: BoundaryCounts | None = None
    chosen: tuple[str, ...] = ()
    images: ImageCounts | None = None

    @property
    def iou(self) -> dict[str, float]:
        """Intersection over union per class, without classes that no label and no prediction has."""
        intersection = self.confusion.diagonal()
        union = self.confusion.sum(0) + self.confusion.sum(1) - intersection
        return _ratios(self.classes, intersection, union)

    @property
    def boundary_iou(self) -> dict[str, float]:
        """Boundary IoU per class, see `count_boundaries`; empty where it was not asked for."""
        if self.boundary is None:
            return {}
        return _ratios(self.classes, self.boundary.intersection, self.boundary.union)

    @property
    def mean_iou(self) -> float:
        """The mean of `iou` over the chosen classes; 0 if nothing was counted."""
        return self._mean(self.iou)

    @property
    def mean_boundary_iou(self) -> float | None:
        """The mean of `boundary_iou` over the chosen classes; None where it was not asked for."""
        return None if self.boundary is None else self._mean(self.boundary_iou)

    @property
    def pixel_accuracy(self) -> float:
        """Share of labelled pixels predicted right, whichever classes are chosen."""
        return float(self.confusion.diagonal().sum() / max(self.confusion.sum(), 1))

    @property
    def averaged(self) -> tuple[str, ...]:
        """The classes in the mean: those chosen that occur in a label or a prediction."""
        occur = self.iou
        return tuple(name for name in self.chosen or self.classes if name in occur)

    @property
    def absent(self) -> tuple[str, ...]:
        """The chosen classes that occur in no label and no prediction, and so are left out of the mean."""
        occur = self.iou
        return tuple(name for name in self.chosen or self.classes if name not in occur)

    def to_plain(self) -> dict[str, Any]:
        """The measures that a run keeps, without the counts."""
        found = {"mean_iou": self.mean_iou, "pixel_accuracy": self.pixel_accuracy, "iou": self.iou}
        return found | ({} if self.boundary is None else {"boundary_iou": self.boundary_iou})

    def _facts(self) -> dict[str, str]:
        facts = {
            "mean IoU": f"{self.mean_iou:.1%}",
            "pixel accuracy": f"{self.pixel_accuracy:.1%} of {self.confusion.sum():,} pixels",
            "IoU": ", ".join(f"{name} {value:.1%}" for name, value in self.iou.items()) or "nothing counted",
        }
        edges = self.mean_boundary_iou
        return facts | ({} if edges is None else {"mean boundary IoU": f"{edges:.1%}"})

    def _mean(self, values: dict[str, float]) -> float:
        taken = [values[name] for name in self.averaged]
        return float(np.mean(taken)) if taken else 0.0


def confusion_matrix(labels: Tensor, predictions: Tensor, classes: int, ignore_index: int) -> Tensor:
    """(classes, classes) int64 counts; labels equal to `ignore_index` do not count.

    Args:
        labels, predictions: of one shape and any integer types. What is predicted in void may be anything.

    Raises:
        DtypeError, ArgumentError: labels, or predictions where they count, that are no class ids.
    """
    labels = to_class_ids(labels, classes, ignore_index, "confusion_matrix")
    counted = labels != ignore_index
    predicted = to_class_ids(predictions[counted], classes, None, "confusion_matrix")
    pairs = labels[counted] * classes + predicted
    return torch.bincount(pairs.flatten(), minlength=classes * classes).reshape(classes, classes)


def choose_classes(wanted: Sequence[str], classes: Sequence[str], who: str = "--classes") -> tuple[str, ...]:
    """Names of classes, in their own order, from names (case does not matter) or ids.

    Raises:
        NameNotFoundError: no such class.
    """
    lowered = [name.lower() for name in classes]
    found: set[int] = set()
    for text in wanted:
        if text.lower() in lowered:
            found.add(lowered.index(text.lower()))
        elif text.isdigit() and int(text) < len(classes):
            found.add(int(text))
        else:
            needed = f"names of classes, or ids from 0 to {len(classes) - 1}"
            raise NameNotFoundError(who, needed=needed, got=repr(text), fix=nearest_names(text, classes))
    return tuple(classes[label] for label in sorted(found))


def _ratios(classes: Sequence[str], intersection: np.ndarray, union: np.ndarray) -> dict[str, float]:
    return {name: float(i / u) for name, i, u in zip(classes, intersection, union, strict=True) if u > 0}
