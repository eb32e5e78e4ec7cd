"""PASCAL VOC 2012, 20 classes and background, with the augmented annotations of SBD.

References: Everingham et al., "The PASCAL visual object classes challenge", IJCV 2010. Hariharan et al., "Semantic
contours from inverse detectors", ICCV 2011 (SBD).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from icnn_core.datasets.images import read_mask
from icnn_core.datasets.labels import read_labels
from icnn_core.datasets.listing import Files, files_by_stem, match_pairs, need_folder, read_stems
from icnn_core.datasets.matlab import read_mat_mask
from icnn_core.datasets.pairs import PairsDataset
from icnn_core.errors import ArgumentError, DataError, check_name

SPLITS = ("train", "train_aug", "val", "trainval")
_WHO = "voc"
_SBD_PLACES = ("SBD", "sbd", "benchmark_RELEASE/dataset", "dataset")


class VOCDataset(PairsDataset):
    """The official layout: `VOCdevkit/VOC2012` with JPEGImages, SegmentationClass and ImageSets/Segmentation.

    "train" (1,464 images), "val" (1,449) and "trainval" follow the official lists; their masks come from
    SegmentationClass, or SegmentationClassAug where that is the only one. "train_aug" (10,582) is all that is annotated
    and not in val. Its masks come from SegmentationClassAug (PNG), or else from SBD's `cls/*.mat` with the official
    masks where there are any, which mark void.

    Args:
        root: the folder that holds VOCdevkit, or one of the two below.
        split: "train", "train_aug", "val" or "trainval".
        sbd_root: SBD's folder with "cls", "train.txt" and "val.txt", for "train_aug"; None looks beside VOC2012.
        skip_bad: see `PairsDataset`.

    Raises:
        ArgumentError: an unknown split.
        DataError: a folder or list is missing, or files lack their partner.
    """

    def __init__(
        self, root: str | Path, split: str, *, sbd_root: str | Path | None = None, skip_bad: bool = False
    ) -> None:
        check_name(_WHO, "a known split", split, SPLITS, ArgumentError)
        root = Path(root)
        base = find_devkit(_WHO, root, "VOC2012")
        if split == "train_aug":
            masks, stems = _augmented(base, root, sbd_root)
        else:
            own = base / "SegmentationClass"
            masks = _files(own) or _files(base / "SegmentationClassAug") or (own, files_by_stem(_WHO, own))
            stems = read_stems(_WHO, _list(base, split))
        folder = base / "JPEGImages"
        pairs = match_pairs(_WHO, (folder, files_by_stem(_WHO, folder)), masks, stems)
        super().__init__(pairs, read_labels("voc"), read_numbers=_read_numbers, skip_bad=skip_bad)


def find_devkit(who: str, root: Path, year: str) -> Path:
    """The folder "VOC2012" (or another year) at, in, or one VOCdevkit below `root`.

    Raises:
        DataError: it is in none of these places.
    """
    for place in (root, root / year, root / "VOCdevkit" / year):
        if (place / "JPEGImages").is_dir():
            return place
    return need_folder(who, root / "VOCdevkit" / year / "JPEGImages").parent


def _augmented(base: Path, root: Path, sbd_root: str | Path | None) -> tuple[Files, list[str]]:
    """Masks and names of train_aug."""
    listed = [p for n in ("train_aug", "trainaug") if (p := _list(base, n)).is_file()]
    masks = _files(base / "SegmentationClassAug") if sbd_root is None else None
    if masks is None:
        masks, stems = _sbd(base, root, sbd_root)
    else:
        stems = set(masks[1])
    if listed:
        return masks, read_stems(_WHO, listed[0])
    return masks, sorted(stems - set(read_stems(_WHO, _list(base, "val"))))


def _sbd(base: Path, root: Path, sbd_root: str | Path | None) -> tuple[Files, set[str]]:
    """Masks of SBD, replaced by the official ones where there are any, and the names in their train and val lists."""
    usual = [p / s for p in (root, base, base.parent) for s in _SBD_PLACES]
    places = usual if sbd_root is None else [Path(sbd_root)]
    place = next((p for p in places if (p / "cls").is_dir()), None)
    if place is None:
        needed = "SegmentationClassAug or SBD's folder with cls/*.mat"
        got = f"neither in {base}" if sbd_root is None else f"no cls in {sbd_root}"
        fix = "Unpack one there, or name SBD's folder (sbd_root)."
        raise DataError(f"{_WHO} train_aug", needed=needed, got=got, fix=fix)
    masks = files_by_stem(_WHO, place / "cls", (".mat",))
    official = files_by_stem(_WHO, base / "SegmentationClass", (".png",))
    stems = set(read_stems(_WHO, _list(base, "train")))
    for name in ("train.txt", "val.txt"):
        stems |= set(read_stems(_WHO, place / name))
    return (place / "cls", masks | official), stems


def _files(folder: Path) -> Files | None:
    return (folder, files_by_stem(_WHO, folder, (".png",))) if folder.is_dir() else None


def _list(base: Path, split: str) -> Path:
    return base / "ImageSets" / "Segmentation" / f"{split}.txt"


def _read_numbers(path: Path) -> np.ndarray:
    return read_mat_mask(path, "GTcls", "Segmentation") if path.suffix == ".mat" else read_mask(path)
