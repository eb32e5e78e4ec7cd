"""Layers by name: shell patterns, trailing parts of dotted names, Caffe's names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from icnn_core.errors import ArgumentError, NameNotFoundError, nearest_names


def caffe_name_pattern(name: str) -> str | None:
    """A pattern of torchvision's dotted names for a Caffe name of a ResNet, or None if it is none.

    `res{2..5}` are `layer{1..4}`; the block is a letter (a = 0, b = 1, …) or `b` and a number (b11 = 11); a
    `_branch2{a,b,c}` is `conv{1,2,3}`; `fc1_…` is `fc1`.
    """
    if re.fullmatch(r"fc1(_\w+)?", name):
        return "fc1"
    match = re.fullmatch(r"res([2-5])([a-z])(\d*)(?:_branch2([abc]))?", name)
    if match is None:
        return None
    stage, letter, number, branch = match.groups()
    block = int(number) if number else ord(letter) - ord("a")
    convolution = "" if branch is None else f".conv{'abc'.index(branch) + 1}"
    return f"layer{int(stage) - 1}.{block}{convolution}"


def caffe_name(name: str, blocks: int = 3) -> str | None:
    """Caffe's name for a convolution of a ResNet by its dotted name, the way back of `caffe_name_pattern`, or None.

    Args:
        blocks: in its stage: up to three are called a, b, c; of more all but the first are b and a number, as in
            Caffe's ResNet-101.
    """
    if name.rpartition(".")[2] == "fc1":
        return "fc1"
    match = re.search(r"(?:^|\.)layer([1-4])\.(\d+)\.conv([1-3])$", name)
    if match is None:
        return None
    stage, block, convolution = int(match[1]), int(match[2]), int(match[3])
    letter = "abc"[block] if blocks <= 3 else f"b{block}" if block else "a"
    return f"res{stage + 1}{letter}_branch2{'abc'[convolution - 1]}"


def match_names(patterns: Iterable[str], known: Iterable[str], *, who: str) -> list[str]:
    """The known dotted names that a pattern matches, as a whole or as a trailing part, in their own order.

    Raises:
        NameNotFoundError: a pattern matches nothing.
    """
    known = list(known)
    matched: set[str] = set()
    for pattern in patterns:
        found = _matches(pattern, known) or _matches(caffe_name_pattern(pattern) or "", known)
        if not found:
            raise NameNotFoundError(
                who, needed="the name of a module", got=repr(pattern), fix=nearest_names(pattern, known)
            )
        matched.update(found)
    return [name for name in known if name in matched]


def match_name(pattern: str, known: Iterable[str], *, who: str) -> str:
    """The one known name that a pattern matches, as of `match_names`; of a shell pattern the first.

    Raises:
        NameNotFoundError: it matches nothing. ArgumentError: it is the trailing part of several.
    """
    found = match_names([pattern], known, who=who)
    if len(found) > 1 and not set("*?[") & set(pattern):
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        got = f"{pattern!r}, in which {', '.join(found[:3])}{more} end"
        raise ArgumentError(who, needed="the name of one module", got=got, fix="Write more of it.")
    return found[0]


def _matches(pattern: str, known: list[str]) -> list[str]:
    """Exact or shell-pattern matches; else those that end in the pattern, so that a prefix may be left out."""
    if not pattern:
        return []
    exact = [name for name in known if fnmatchcase(name, pattern)]
    return exact or [name for name in known if fnmatchcase(name, f"*.{pattern}")]
