"""CamVid, 11 classes of street scenes, in the layout of the SegNet tutorial.

Reference: Brostow, Fauqueur, Cipolla, "Semantic object classes in video", Pattern Recognition Letters 30, 2009.
"""

from __future__ import annotations

from pathlib import Path

from icnn_core.datasets.labels import read_labels
from icnn_core.datasets.listing import list_pairs, need_folder, read_stems
from icnn_core.datasets.pairs import PairsDataset
from icnn_core.errors import ArgumentError, check_name

SPLITS = ("train", "val", "test")


class CamVidDataset(PairsDataset):
    """`root/train/*.jpg` (or .png) with `root/trainannot/*.png`, likewise val and test; 367, 101 and 233 images.

    Label 11 in the files is void. Where `root/train.txt` is there, its names alone are taken.

    Args:
        root: the folder that holds "train" and "trainannot".
        split: "train", "val" or "test".
        skip_bad: see `PairsDataset`.

    Raises:
        ArgumentError: an unknown split.
        DataError: a folder is missing, or files lack their partner.
    """

    def __init__(self, root: str | Path, split: str, *, skip_bad: bool = False) -> None:
        check_name("camvid", "a known split", split, SPLITS, ArgumentError)
        root = need_folder("camvid", Path(root))
        listed = root / f"{split}.txt"
        stems = read_stems("camvid", listed) if listed.is_file() else None
        pairs = list_pairs("camvid", root / split, root / f"{split}annot", stems)
        super().__init__(pairs, read_labels("camvid"), skip_bad=skip_bad)
