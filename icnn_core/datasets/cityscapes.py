"""Cityscapes, 19 classes of street scenes.

Reference: Cordts et al., "The Cityscapes dataset for semantic urban scene understanding", CVPR 2016.
"""

from __future__ import annotations

from pathlib import Path

from icnn_core.datasets.labels import IGNORE_INDEX, LabelSet, read_labels
from icnn_core.datasets.listing import match_pairs, need_folder
from icnn_core.datasets.pairs import PairsDataset
from icnn_core.errors import ArgumentError, check_name

SPLITS = ("train", "val", "test")
_WHO = "cityscapes"
_IMAGE = "_leftImg8bit.png"


class CityscapesDataset(PairsDataset):
    """`root/leftImg8bit/<split>/<city>` with `root/gtFine/<split>/<city>`; 2,975, 500 and 1,525 images.

    Masks are the official `*_gtFine_labelIds.png`, whose ids become the 19 trainIds and void, or `*_labelTrainIds.png`
    where there are no others. All of "test" is void: its labels were never published.

    Args:
        root: the folder that holds leftImg8bit and gtFine.
        split: "train", "val" or "test".
        skip_bad: see `PairsDataset`.

    Raises:
        ArgumentError: an unknown split.
        DataError: a folder is missing, or files lack their partner.
    """

    def __init__(self, root: str | Path, split: str, *, skip_bad: bool = False) -> None:
        check_name(_WHO, "a known split", split, SPLITS, ArgumentError)
        images = need_folder(_WHO, Path(root) / "leftImg8bit" / split)
        masks = need_folder(_WHO, Path(root) / "gtFine" / split)
        labels, ending = read_labels(_WHO), "_gtFine_labelIds.png"
        if next(masks.glob(f"*/*{ending}"), None) is None:
            ending = "_gtFine_labelTrainIds.png"
            ids = {number: number for number in range(len(labels.classes))} | {IGNORE_INDEX: IGNORE_INDEX}
            labels = LabelSet(labels.name, labels.classes, labels.palette, ids)
        pairs = match_pairs(_WHO, (images, _by_stem(images, _IMAGE)), (masks, _by_stem(masks, ending)))
        super().__init__(pairs, labels, skip_bad=skip_bad)


def _by_stem(folder: Path, ending: str) -> dict[str, Path]:
    """Files of all cities, by "frankfurt_000000_000294"."""
    return {path.name.removesuffix(ending): path for path in sorted(folder.glob(f"*/*{ending}"))}
