"""The loss: cross-entropy over the labelled pixels of a whole batch, however the batch is cut into parts."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from icnn_core.datasets.labels import to_class_ids
from icnn_core.datasets.registry import SegmentationDataset
from icnn_core.evaluation.calling import segment, tell_once
from icnn_core.preparation import preparation_of


class Objective(nn.Module):
    """A network and its loss in one module, so that what Accelerate does to a module leaves the network as it is.

    Args:
        model: gives logits (N, C, H', W'), or what `to_logits` finds them in; of another size than the masks they are
            resized to it.
        weights: (C,), of the classes.
    """

    def __init__(self, model: nn.Module, weights: Tensor, ignore_index: int) -> None:
        super().__init__()
        self.model, self.ignore_index, self.preparation = model, ignore_index, preparation_of(model)
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, images: Tensor, masks: Tensor, total: Tensor) -> Tensor:
        """This part's share of the loss of a batch whose labelled pixels weigh `total`; see `segmentation_loss`.

        Of a network of one logit it is the binary cross-entropy of that.
        """
        weights = self.get_buffer("weights")
        count = len(weights)
        logits, notes = segment(self.model, images, self.preparation, classes=count, halved=True, who="train")
        tell_once(self.model, notes, "train")
        return segmentation_loss(logits, masks, weights, self.ignore_index, total)


def segmentation_loss(
    logits: Tensor, masks: Tensor, weights: Tensor, ignore_index: int, total: Tensor | None = None
) -> Tensor:
    """Cross-entropy (N, C, H, W) against (N, H, W), the weighted mean over labelled pixels; 0 if none is labelled.

    Args:
        total: what the sum is divided by, if these are part of a batch: the weight of all of its labelled pixels.
    """
    masks = masks.long()
    counted = _pixel_weights(masks, weights, ignore_index)
    losses = F.cross_entropy(logits, masks, ignore_index=ignore_index, reduction="none")
    total = counted.sum() if total is None else total
    return (losses * counted).sum() / total.clamp(min=1e-9)


def labelled_weight(masks: Tensor, weights: Tensor, ignore_index: int) -> Tensor:
    """The weight of all labelled pixels, a scalar: their number where classes weigh 1."""
    return _pixel_weights(masks, weights, ignore_index).sum()


def class_weights(data: SegmentationDataset, balance: float) -> Tensor:
    """(C,) weights (median count / count) ** balance of the classes' pixels; 1 for classes that never occur.

    That is inverse frequency over all labels together, scaled by the median class (of an even number the rarer of the
    middle two). Median frequency balancing (arXiv 1411.4734) is another: it divides a class's pixels by those of the
    images that hold it, so that a class in few images weighs less than here.
    """
    count = len(data.classes)
    if balance == 0:
        return torch.ones(count)
    pixels = torch.zeros(count, dtype=torch.float64)
    for index in range(len(data)):
        mask = to_class_ids(data[index][1], count, data.ignore_index, "class_weights")
        pixels += torch.bincount(mask[mask != data.ignore_index], minlength=count)
    seen = pixels > 0
    weights = torch.ones(count, dtype=torch.float64)
    weights[seen] = (pixels[seen].median() / pixels[seen]) ** balance
    return weights.float()


def _pixel_weights(masks: Tensor, weights: Tensor, ignore_index: int) -> Tensor:
    labelled = masks != ignore_index
    return weights[masks.long().where(labelled, 0)] * labelled
