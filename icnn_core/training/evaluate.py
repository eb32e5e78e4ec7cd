"""How well a network segments: the confusion matrix over a data set, and what follows from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from icnn_core.errors import ShapeError
from icnn_core.facts import Facts


@dataclass(frozen=True, repr=False)
class Evaluation(Facts):
    """Counts of pixels, and the usual measures of them.

    Attributes:
        confusion: (classes, classes) int64; rows are labels, columns predictions. Void pixels are not counted.
        classes: names by class id.
    """

    confusion: np.ndarray
    classes: tuple[str, ...]

    @property
    def iou(self) -> dict[str, float]:
        """Intersection over union per class, in [0, 1], without classes that no label and no prediction has."""
        intersection = self.confusion.diagonal()
        union = self.confusion.sum(0) + self.confusion.sum(1) - intersection
        return {
            name: float(i / u) for name, i, u in zip(self.classes, intersection, union, strict=True) if u > 0
        }

    @property
    def mean_iou(self) -> float:
        """The mean of `iou`, in [0, 1]; 0 if nothing was counted."""
        values = list(self.iou.values())
        return float(np.mean(values)) if values else 0.0

    @property
    def pixel_accuracy(self) -> float:
        """Share of labelled pixels predicted right, in [0, 1]."""
        return float(self.confusion.diagonal().sum() / max(self.confusion.sum(), 1))

    def _facts(self) -> dict[str, str]:
        return {
            "mean IoU": f"{self.mean_iou:.1%}",
            "pixel accuracy": f"{self.pixel_accuracy:.1%} of {self.confusion.sum():,} pixels",
            "IoU": ", ".join(f"{name} {value:.1%}" for name, value in self.iou.items()) or "nothing counted",
        }


def confusion_matrix(labels: Tensor, predictions: Tensor, classes: int, ignore_index: int) -> Tensor:
    """(classes, classes) int64 counts; labels equal to `ignore_index` do not count."""
    counted = labels != ignore_index
    pairs = labels[counted] * classes + predictions[counted]
    return torch.bincount(pairs.flatten(), minlength=classes * classes).reshape(classes, classes)


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    samples: Iterable[tuple[Tensor, Tensor]],
    *,
    classes: tuple[str, ...],
    ignore_index: int,
    device: torch.device | str = "cpu",
    on_image: Callable[[], object] | None = None,
) -> Evaluation:
    """Segment whole images and count.

    Args:
        model: put in evaluation mode for the time being, then back.
        samples: pairs of a normalised image (3, H, W) and its labels (H', W'): logits are resized to the labels.
        on_image: called after every image, e.g. to move a progress bar.
    """
    counts = torch.zeros(len(classes), len(classes), dtype=torch.int64)
    was_training = model.training
    model.eval()
    try:
        for image, labels in samples:
            logits = model(image[None].to(device))
            if logits.ndim != 4 or logits.shape[1] != len(classes):
                raise ShapeError(
                    "evaluate",
                    needed=f"logits (1, {len(classes)}, H, W), one for each class of the data",
                    got=str(tuple(logits.shape)),
                    fix="Name the data set that the network was trained on.",
                )
            if logits.shape[-2:] != labels.shape:
                logits = F.interpolate(logits, labels.shape, mode="bilinear", align_corners=False)
            prediction = logits[0].argmax(0).cpu()
            counts += confusion_matrix(labels, prediction, len(classes), ignore_index)
            if on_image is not None:
                on_image()
    finally:
        model.train(was_training)
    return Evaluation(counts.numpy(), tuple(classes))
