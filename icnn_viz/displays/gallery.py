"""Some pixels worth a look, of a labelled data set or of one image: chosen, and compared."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from icnn_viz.displays.datasets import open_for
from icnn_viz.displays.images import read_image, read_sample_labels
from icnn_viz.displays.pixels import choose_targets, compare_pixels, make_targets
from icnn_viz.heatmaps import LabelledPixel, choose_pixels, find_pixels
from icnn_viz.records import PixelComparison

if TYPE_CHECKING:
    from icnn_viz.gradients import Network

_MOST_IMAGES = 24  # of a data set, among which pixels are chosen
_LONGEST = 2048


def look_at_data(
    networks: Sequence[Network],
    name: str,
    root: Path | None,
    split: str,
    count: int,
    *,
    target: str = "true",
    seed: int = 0,
    reader: str | None = None,
) -> list[PixelComparison]:
    """Pixels of objects in some images of a data set, as many of every class as can be.

    Args:
        target: whose logit, see `SurveyDisplay`.
        reader: the user's own function that reads images, by name.

    Raises:
        CheckpointError: the data set has other classes. DataError: it cannot be read.
    """
    dataset = open_for(networks, name, root, split, reader)
    images = np.random.default_rng(seed).permutation(len(dataset))[:_MOST_IMAGES]
    candidates: list[LabelledPixel] = []
    for index in sorted(images.tolist()):
        candidates += find_pixels(index, dataset[index][1].numpy(), dataset.ignore_index, seed)
    records = []
    chosen = choose_pixels(candidates, count, seed=seed)
    for index, group in groupby(chosen, key=lambda pixel: pixel.image):
        tensor, mask = dataset[index]
        image, labels = tensor.permute(1, 2, 0).numpy(), mask.numpy()
        targets = choose_targets([pixel.pixel for pixel in group], labels, target)
        source = f"{name} {split} {index}"
        records += compare_pixels(networks, image, targets, labels=labels, seed=seed, source=source)
    return records


def look_at_image(
    networks: Sequence[Network],
    path: Path,
    places: Sequence[tuple[int, int]] = (),
    count: int = 4,
    *,
    seed: int = 0,
    reader: str | None = None,
) -> list[PixelComparison]:
    """Pixels (y, x) of an image; by default some of the things that the first network sees there.

    Raises:
        DataError: the image cannot be read. ArgumentError: a pixel outside it.
    """
    image = read_image(path, _LONGEST, reader)
    make_targets(places, image)
    pixels = list(places) or _choose_seen(networks[0], image, count, seed)
    options = {"labels": read_sample_labels(path, networks[0].classes), "seed": seed, "source": path.name}
    return compare_pixels(networks, image, make_targets(pixels, image), **options)


def _choose_seen(network: Network, image: np.ndarray, count: int, seed: int) -> list[tuple[int, int]]:
    """Pixels of the things that the network sees in the image; its middle if all are too small."""
    middle = (image.shape[0] // 2, image.shape[1] // 2)
    seen = network.look(image, make_targets([middle], image), "gradient", seed)[0].prediction
    candidates = find_pixels(0, seen, -1, seed)
    chosen = choose_pixels(candidates, count, seed=seed) if candidates else []
    return [pixel.pixel for pixel in chosen] or [middle]
