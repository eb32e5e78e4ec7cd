"""Which files belong together: folders, lists of names, and images matched with masks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from unicodedata import normalize

from icnn_core.errors import DataError
from icnn_core.files import read_text

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
ARRAY_SUFFIXES = (".npy", ".npz", ".nii", ".gz", ".mha", ".nrrd", ".dcm", ".h5")
"""Of files that a user's own reader may read; in lists of names they are left out as pictures' are."""
_SHOWN = 3  # names in an error

Files = tuple[Path, Mapping[str, Path]]


@dataclass(frozen=True)
class Pair:
    """One image and its mask.

    Attributes:
        stem: what the two file names share.
        image, mask: the files.
    """

    stem: str
    image: Path
    mask: Path


def list_pairs(
    who: str,
    images: Path,
    masks: Path,
    stems: Iterable[str] | None = None,
    suffixes: tuple[str, ...] | None = IMAGE_SUFFIXES,
) -> list[Pair]:
    """`match_pairs` of all image files in two folders; of all files, where `suffixes` is None."""
    files = [(folder, files_by_stem(who, folder, suffixes)) for folder in (images, masks)]
    return match_pairs(who, files[0], files[1], stems)


def match_pairs(who: str, images: Files, masks: Files, stems: Iterable[str] | None = None) -> list[Pair]:
    """Images and masks of the same stem, sorted, or in the order of `stems`.

    Args:
        who: the data set, for errors.
        images, masks: folder, for errors, and files by stem.
        stems: which to take; None takes all, of which none may be without its partner.

    Raises:
        DataError: there are none, or a file has no partner.
    """
    wanted = sorted(images[1].keys() | masks[1].keys()) if stems is None else list(stems)
    if not wanted:
        got = "none in this folder"
        raise DataError(f"{who} {images[0]}", needed="images", got=got, fix="Put them there (.jpg, .png, …).")
    for (folder, files), other in ((images, "mask"), (masks, "image")):
        lost = [stem for stem in wanted if stem not in files]
        if lost:
            unread = [path.name for path in sorted(folder.iterdir()) if stem_of(path) in set(lost)]
            told = f" ({listed(unread)} is of a kind that is not read)" if unread else ""
            raise DataError(
                f"{who} {folder}",
                needed=f"a file for every {other}" if stems is None else "a file for every name of the split",
                got=f"none for {len(lost)} of {len(wanted)}: {listed(lost)}{told}",
                fix=f"Save them as one of {', '.join(IMAGE_SUFFIXES)}, or name a --reader for them."
                if unread
                else "Add the missing files, or remove their partners (or the names).",
            )
    return [Pair(stem, images[1][stem], masks[1][stem]) for stem in wanted]


def stem_of(path: Path) -> str:
    """A file's name without its suffix, or without both of `.nii.gz`; ä is one letter, as macOS may not write it."""
    return normalize("NFC", Path(path.stem).stem if path.suffix.lower() == ".gz" else path.stem)


def files_by_stem(
    who: str, folder: Path, suffixes: tuple[str, ...] | None = IMAGE_SUFFIXES
) -> dict[str, Path]:
    """The files of a folder that have one of the suffixes (None: any), by stem.

    Raises:
        DataError: no such folder, or two files of one stem.
    """
    need_folder(who, folder)
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        wanted = path.is_file() if suffixes is None else path.suffix.lower() in suffixes
        if wanted and not path.name.startswith("."):
            stem = stem_of(path)
            if stem in files:
                got = f"{files[stem].name} and {path.name}"
                raise DataError(f"{who} {folder}", needed="one file of each name", got=got, fix="Remove one.")
            files[stem] = path
    return files


def need_folder(who: str, folder: Path) -> Path:
    """The folder, if it is there.

    Raises:
        DataError: it is not.
    """
    if not folder.is_dir():
        nearest = next((p for p in folder.parents if p.is_dir()), Path())
        got = f"nothing there; {nearest} holds {listed(sorted(p.name for p in nearest.iterdir()))}"
        fix = "Give the folder in which the data set was unpacked."
        raise DataError(f"{who} {folder}", needed="this folder", got=got, fix=fix)
    return folder


def read_stems(who: str, path: Path) -> list[str]:
    """Names from a split's list: the last part of each line's path, without an image's suffix.

    Raises:
        DataError: no such file, or nothing in it.
    """
    if not path.exists():
        raise DataError(
            f"{who} {path}", needed="the list of this split", got="no such file", fix="Unpack it there."
        )
    text = read_text(path, f"{who} {path}", DataError)
    names = [Path(line.strip()) for line in text.splitlines() if line.strip()]
    known = (*IMAGE_SUFFIXES, *ARRAY_SUFFIXES)
    stems = [stem_of(name) if name.suffix.lower() in known else normalize("NFC", name.name) for name in names]
    if not stems:
        raise DataError(
            f"{who} {path}", needed="names, one a line", got="an empty list", fix="Unpack it again."
        )
    return stems


def listed(names: Sequence[object]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (", ".join(str(n) for n in names[:_SHOWN]) or "nothing") + more
