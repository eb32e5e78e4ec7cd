"""Over a data set: segment each image, count its pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor, nn

from icnn_core.evaluation.boundaries import BoundaryCounts, count_boundaries, no_boundaries
from icnn_core.evaluation.images import ImageCounts
from icnn_core.evaluation.inference import Inference, predict_logits
from icnn_core.evaluation.measures import Evaluation, confusion_matrix
from icnn_core.preparation import preparation_of


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    samples: Iterable[tuple[Tensor, Tensor]],
    *,
    classes: tuple[str, ...],
    ignore_index: int,
    device: torch.device | str = "cpu",
    inference: Inference | None = None,
    boundary: float | None = None,
    chosen: tuple[str, ...] = (),
    by_image: bool = False,
    on_image: Callable[[], object] | None = None,
    on_prediction: Callable[[int, np.ndarray], object] | None = None,
) -> Evaluation:
    """Segment images and count.

    Args:
        model: put in evaluation mode for the time being, then back. See `predict_logits` for what it may return.
        samples: pairs of a normalised image (c, H, W) and its labels (H', W'): logits are resized to the labels.
        inference: None for whole images once.
        boundary: also count along the edges, in bands of this share of the diagonal; see `count_boundaries`.
        chosen: the classes over which means are taken; empty for all.
        by_image: also keep the counts of each image.
        on_image: called after every image, e.g. to move a progress bar.
        on_prediction: called with the number of the image and its class ids (H', W') int64.

    Raises:
        ShapeError: the network gives no logits, or for another number of classes.
    """
    preparation = preparation_of(model)
    counts = torch.zeros(len(classes), len(classes), dtype=torch.int64)
    edges = None if boundary is None else no_boundaries(len(classes))
    kept: tuple[list[np.ndarray], list[BoundaryCounts]] = ([], [])
    was_training = model.training
    model.eval()
    try:
        for index, (image, labels) in enumerate(samples):
            size = (labels.shape[0], labels.shape[1])
            logits = predict_logits(
                model, image.to(device), inference, size=size, classes=len(classes), preparation=preparation
            )
            prediction = logits.argmax(0).cpu()
            here = confusion_matrix(labels, prediction, len(classes), ignore_index)
            counts += here
            if by_image:
                kept[0].append(here.numpy())
            if edges is not None and boundary is not None:
                arrays = labels.numpy(), prediction.numpy()
                band = count_boundaries(*arrays, len(classes), ignore_index, boundary)
                edges += band
                kept[1].append(band)
            if on_prediction is not None:
                on_prediction(index, prediction.numpy())
            if on_image is not None:
                on_image()
    finally:
        model.train(was_training)
    images = ImageCounts.of(*kept, len(classes)) if by_image else None
    return Evaluation(counts.numpy(), tuple(classes), edges, chosen, images)
