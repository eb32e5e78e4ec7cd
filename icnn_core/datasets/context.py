"""PASCAL Context, the 59 most frequent classes and background, on the images of VOC 2010.

Reference: Mottaghi et al., "The role of context for object detection and semantic segmentation in the wild", CVPR 2014.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from icnn_core.datasets.images import read_mask
from icnn_core.datasets.labels import LabelSet, read_label_data, to_label_set
from icnn_core.datasets.listing import Files, files_by_stem, match_pairs, read_stems
from icnn_core.datasets.matlab import read_mat_mask
from icnn_core.datasets.pairs import PairsDataset
from icnn_core.datasets.voc import find_devkit
from icnn_core.errors import ArgumentError, DataError, check_name

SPLITS = ("train", "val")
PNG_ORDERS = ("sorted", "voc_first")
_WHO = "context"
_PNG_FOLDER, _MAT_FOLDER = "SegmentationClassContext", "trainval"


class ContextDataset(PairsDataset):
    """`VOCdevkit/VOC2010` with JPEGImages, and labels as PNG or as the official MATLAB files.

    Labels: `VOC2010/SegmentationClassContext/*.png` of class ids 0 to 59, or `trainval/*.mat` (in `root` or in
    VOC2010) of 459 ids, of which those outside the 59 become background. Splits (4,998 and 5,105 images) follow
    ImageSets/SegmentationContext, or ImageSets/Main, whose lists are the same.

    Args:
        root: the folder that holds VOCdevkit, or one of the two below.
        split: "train" or "val".
        png_order: how class ids in PNG files are ordered: "sorted" (by name), as in `classes`, or "voc_first" (the 20
            classes of VOC, then the others).
        skip_bad: see `PairsDataset`.

    Raises:
        ArgumentError: an unknown split or order.
        DataError: a folder or list is missing, or files lack their partner.
    """

    def __init__(
        self, root: str | Path, split: str, *, png_order: str = "sorted", skip_bad: bool = False
    ) -> None:
        for what, value, known in (("split", split, SPLITS), ("png_order", png_order, PNG_ORDERS)):
            check_name(_WHO, f"a known {what}", value, known, ArgumentError)
        base = find_devkit(_WHO, Path(root), "VOC2010")
        masks = _masks(Path(root), base)
        folder = base / "JPEGImages"
        lists = [base / "ImageSets" / kind / f"{split}.txt" for kind in ("SegmentationContext", "Main")]
        stems = read_stems(_WHO, next((p for p in lists if p.is_file()), lists[0]))
        pairs = match_pairs(_WHO, (folder, files_by_stem(_WHO, folder)), masks, stems)
        labels = _labels_of_png(png_order) if masks[0].name == _PNG_FOLDER else _labels_of_mat()
        super().__init__(pairs, labels, read_numbers=_read_numbers, skip_bad=skip_bad)


def _masks(root: Path, base: Path) -> Files:
    for folder in (base / _PNG_FOLDER, root / _MAT_FOLDER, base / _MAT_FOLDER):
        if folder.is_dir():
            return folder, files_by_stem(_WHO, folder, (".png" if folder.name == _PNG_FOLDER else ".mat",))
    needed = f"{_PNG_FOLDER} or {_MAT_FOLDER} with the labels"
    raise DataError(f"{_WHO} {base}", needed=needed, got="neither", fix="Unpack the labels there.")


def _labels_of_png(order: str) -> LabelSet:
    data = read_label_data(_WHO)
    numbers = [data["voc_first"].index(c) for c in data["classes"]] if order == "voc_first" else range(60)
    return to_label_set(_WHO, data["classes"], data["palette"], numbers, data["void_ids"])


def _labels_of_mat() -> LabelSet:
    data = read_label_data(_WHO)
    labels = to_label_set(_WHO, data["classes"], data["palette"], data["ids_459"], void=())
    return replace(labels, ids=dict.fromkeys(range(460), 0) | dict(labels.ids))


def _read_numbers(path: Path) -> np.ndarray:
    return read_mat_mask(path, "LabelMap") if path.suffix == ".mat" else read_mask(path)
