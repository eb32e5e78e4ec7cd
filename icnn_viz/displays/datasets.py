"""Data sets as the networks know them that are looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icnn_core.datasets.folder import find_class_file
from icnn_core.datasets.registry import SegmentationDataset, open_dataset
from icnn_core.evaluation.samples import check_classes
from icnn_viz.displays.images import load_reader

if TYPE_CHECKING:
    from icnn_viz.gradients import Network


def open_for(
    networks: Sequence[Network], name: str, root: Path | None, split: str, reader: str | None = None
) -> SegmentationDataset:
    """A data set as the networks know it; a folder that names no classes has theirs.

    Raises:
        CheckpointError: the data set has other classes. IcnnError: it cannot be opened.
    """
    options: dict[str, Any] = {"reader": load_reader(reader)}
    if name == "folder" and root is not None and find_class_file(root) is None:
        options["classes"] = next((network.classes for network in networks if network.classes), None)
    dataset = open_dataset(name, root, split, **options)
    check_networks(networks, dataset)
    return dataset


def check_networks(networks: Sequence[Network], dataset: SegmentationDataset) -> None:
    """Raises: CheckpointError: a network that names its classes is for others than the data set's."""
    for network in networks:
        check_classes(network.name, network.classes, dataset.classes, dataset.name)
