"""The splits of a user's own images: those that are given bound those that are not, and what is made up is said."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from icnn_core.datasets.listing import IMAGE_SUFFIXES, Pair, list_pairs, listed, read_stems
from icnn_core.errors import DataError
from icnn_core.files import need_regular_file

_WHO = "folder"
_EVERY = 5  # without a split of the user's own, every fifth image is for validation
_log = logging.getLogger(__name__)
_said: set[str] = set()  # a data set is opened more than once, and warned of once


def split_pairs(root: Path, split: str, *, any_suffix: bool = False) -> list[Pair]:
    """The pairs of a split: see `FolderDataset`.

    Args:
        any_suffix: files need not be pictures.

    Raises:
        DataError: no such split, files lack their partner, or an image is in the train list and in that of val.
    """
    suffixes = None if any_suffix else IMAGE_SUFFIXES
    if split == "all":
        return list_pairs(_WHO, root / "images", root / "masks", suffixes=suffixes)
    known = ("train", "val", "test", split)
    given = {name: pairs for name in known if (pairs := _given(root, name, suffixes))}
    _check_disjoint(root, given)
    warn_of_twins(given)
    if split in given and not (split == "train" and "val" not in given):
        return given[split]
    found: list[Pair] = []
    if split in ("train", "val"):
        pool, where = given.get("train"), "train"
        if pool is None:
            taken = {pair.stem for pairs in given.values() for pair in pairs}
            pool, where = (
                _without(list_pairs(_WHO, root / "images", root / "masks", suffixes=suffixes), taken),
                "images",
            )
        held_out = [] if "val" in given else sorted(pool, key=lambda p: p.stem)[_EVERY - 1 :: _EVERY]
        if "val" not in given:
            say_once(f"{root}: no split val is given: every fifth of {where} is it, and train has the others")
        found = held_out if split == "val" else _without(pool, {pair.stem for pair in held_out})
    if not found:
        count = len(list_pairs(_WHO, root / "images", root / "masks", suffixes=suffixes))
        got = f"{count} images and no list {split}.txt"
        fix = f"Write their names into {split}.txt, or use the split 'all'."
        raise DataError(f"{_WHO} {root}", needed=f"images of the split {split!r}", got=got, fix=fix)
    return found


def warn_of_twins(splits: Mapping[str, Sequence[Pair]]) -> None:
    """Log which images, byte for byte, are in two splits: what is learnt by heart is measured as if it were new."""
    sizes: dict[int, list[tuple[str, Path]]] = {}
    for name, pairs in splits.items():
        for pair in pairs:
            if pair.image.is_file():
                sizes.setdefault(pair.image.stat().st_size, []).append((name, pair.image))
    twins: dict[tuple[str, str], list[str]] = {}
    for group in sizes.values():
        if len({name for name, _ in group}) > 1:
            first: dict[bytes, tuple[str, Path]] = {}
            for name, path in group:
                known, image = first.setdefault(hashlib.sha256(path.read_bytes()).digest(), (name, path))
                if known != name:
                    same = image.name if image.name == path.name else f"{image.name} as {path.name}"
                    twins.setdefault((known, name), []).append(same)
    for (one, other), names in twins.items():
        say_once(f"the same image is in {one} and in {other}: {listed(sorted(names))}")


def say_once(text: str) -> None:
    """Log a warning, unless it was before."""
    if text not in _said:
        _said.add(text)
        _log.warning("%s", text)


def _given(root: Path, split: str, suffixes: tuple[str, ...] | None) -> list[Pair] | None:
    """The pairs of a split that has folders or a list of its own."""
    images, masks, names = root / "images", root / "masks", root / f"{split}.txt"
    if (images / split).is_dir():
        return list_pairs(_WHO, images / split, masks / split, suffixes=suffixes)
    if names.exists():
        need_regular_file(names, f"{_WHO} {names}", DataError)
        return list_pairs(_WHO, images, masks, dict.fromkeys(read_stems(_WHO, names)), suffixes=suffixes)
    return None


def _without(pairs: Iterable[Pair], stems: set[str]) -> list[Pair]:
    return [pair for pair in pairs if pair.stem not in stems]


def _check_disjoint(root: Path, given: Mapping[str, Sequence[Pair]]) -> None:
    train = {pair.image for pair in given.get("train", ())}
    both = [pair.image.name for pair in given.get("val", ()) if pair.image in train]
    if both:
        needed, got = "images that are either in train or in val", f"{len(both)} in both: {listed(both)}"
        raise DataError(f"{_WHO} {root}", needed=needed, got=got, fix="Take them out of one of the two.")
