"""What a user can type to get a report again, and its parts."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from icnn_viz.data import builtin_path
from icnn_viz.report.findings import Pixels


def list_commands(
    typed: Sequence[str], checkpoint: Path, regular: Path | None, wanted: Pixels, read: Sequence[str] = ()
) -> list[tuple[str, str]]:
    """The command as it was `typed`, and those that give its parts with more choice; `read`: options with which a
    file's layers are read.

    Files are named without where they lie: the page is passed on.
    """
    # The commands take the built-in networks by themselves.
    built_in = [builtin_path(f"shapes-{kind}.safetensors") for kind in ("irregular", "regular")]
    pair = [] if checkpoint == built_in[0] else [checkpoint]
    named = regular is not None and (pair or regular != built_in[1])
    networks = [*pair, *(("--regular", regular) if named else ())]
    commands = [
        (_join(*_without_places(typed)), "This page:"),
        (_join("kernels", *pair, *read, "--view", "all"), "All figures and tables of the kernels as files:"),
    ]
    if wanted.image:
        spots = [part for y, x in wanted.places for part in ("--pixel", f"{x},{y}")]
        place = ["--image", wanted.image, *(spots or ["--pixel", "x,y"])]
        commands.append((_join("heatmap", *networks, *place), "Heatmaps, with other methods too:"))
    if wanted.data:
        root = ["--root", wanted.root] if wanted.root else []
        survey = ["--data", wanted.data, *root, "--split", wanted.split, "--pixels", 200]
        words = "The measures over many pixels, with intervals (some pictures prove nothing):"
        commands.append((_join("heatmap", *networks, *survey), words))
    return commands


def _join(*parts: object) -> str:
    return shlex.join(["icnn-viz", *(part.name if isinstance(part, Path) else str(part) for part in parts)])


def _without_places(typed: Sequence[str]) -> Iterator[str]:
    """What was typed, but where the page went, and the folders of files."""
    rest = iter(typed)
    for part in rest:
        option, equals, value = part.partition("=") if part.startswith("--") else ("", "", part)
        if part in ("-o", "--out"):
            next(rest, None)
        elif part != "--overwrite" and option != "--out":
            yield option + equals + (Path(value).name if os.path.exists(value) else value)
