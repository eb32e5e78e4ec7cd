"""What the commands that look through a pair of networks have in common: its options, and the built-in pair."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from icnn_core.cli._options import parse_size

if TYPE_CHECKING:
    from icnn_viz.displays.sources import DclsLayers

BUILTIN = ("shapes-irregular.safetensors", "shapes-regular.safetensors", "sample.png")
"""In `icnn_viz.data`: the pair that is looked through, and the image that is looked at, where none is named."""

PairArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="[CKPT]", help="The irregular network; by default the built-in pair.", show_default=False
    ),
]
RegularOption = Annotated[
    Path | None,
    typer.Option(
        "--regular",
        metavar="CKPT",
        help="The network to compare with; by default the same one, its positions snapped to the slots.",
    ),
]
ImageOption = Annotated[
    Path | None, typer.Option("--image", "-i", metavar="PATH", help="By default the sample image.")
]
SplitOption = Annotated[str, typer.Option("--split", metavar="NAME", help="With --data.")]
SizeOption = Annotated[
    str | None,
    typer.Option(
        "--size",
        metavar="HxW",
        help="Size that the networks see; by default what they were trained with, if the file says so.",
    ),
]
MaxSizeOption = Annotated[
    int, typer.Option("--max-size", metavar="N", min=1, help="Refuse images longer than this, in pixels.")
]

DataOption = Annotated[
    str | None,
    typer.Option(
        "--data", metavar="NAME", help="Look at many pixels of this data set instead: shapes, camvid, voc, …"
    ),
]

TargetRule = Literal["true", "predicted"]
"""Whose logit is followed at a labelled pixel (`icnn_viz.displays.pixels.TARGETS`)."""
TargetOption = Annotated[
    TargetRule,
    typer.Option(
        "--target", help="With --data: whose logit, the pixel's true class's or the predicted one's."
    ),
]

Dcls = Literal["v0", "v1", "max", "gauss"]
"""Versions of DCLS layers."""


@dataclass(frozen=True)
class OfDcls:
    """What a file of DCLS layers does not say."""

    dcls: Annotated[Dcls | None, typer.Option(help="Read DCLS layers of this version.")] = None
    kernel_size: Annotated[
        str | None, typer.Option(metavar="HEIGHTxWIDTH", help="Their dilated_kernel_size, or one number.")
    ] = None

    def layers(self) -> DclsLayers | None:
        """None: the file holds none.

        Raises:
            BadParameter: one without the other.
        """
        from icnn_viz.displays.sources import DclsLayers

        if self.dcls is None and self.kernel_size is None:
            return None
        if self.dcls is None:
            raise typer.BadParameter("has no effect without --dcls.", param_hint="--kernel-size")
        if self.kernel_size is None:
            raise typer.BadParameter(
                "needs --kernel-size, the layers' dilated_kernel_size.", param_hint="--dcls"
            )
        return DclsLayers(self.dcls, parse_size(self.kernel_size))


def parse_pixels(texts: Sequence[str]) -> list[tuple[int, int]]:
    """Each "x,y" once, x the column and y the row, to (y, x). A usage error if one is anything else."""
    return list(dict.fromkeys(parse_pixel(text) for text in texts))


def parse_pixel(text: str) -> tuple[int, int]:
    """ "x,y" to (y, x)."""
    parts = text.replace(" ", "").split(",")
    if len(parts) != 2 or not all(re.fullmatch(r"-?[0-9]{1,9}", part) for part in parts):
        raise typer.BadParameter(f"{text!r} is not x,y: two whole numbers, column and row, counted from 0.")
    return int(parts[1]), int(parts[0])


def choose_pair(checkpoint: Path | None, regular: Path | None, model: str | None) -> tuple[Path, Path | None]:
    """The checkpoints named, or the built-in ones.

    Raises:
        BadParameter: the user's own network without its weights.
    """
    from icnn_viz.data import builtin_path

    if checkpoint is not None:
        return checkpoint, regular
    if model:
        raise typer.BadParameter("needs a checkpoint with its weights.", param_hint="--model")
    return builtin_path(BUILTIN[0]), regular or builtin_path(BUILTIN[1])
