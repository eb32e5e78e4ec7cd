"""What the commands have in common: options, groups of them, and the built-in pair."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from icnn_core.cli._grouped import OwnNetwork
from icnn_core.cli._options import DeviceOption, RootOption, parse_size

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
PixelsOption = Annotated[
    list[str],
    typer.Option(
        "--pixel",
        "-p",
        metavar="x,y",
        help="Column and row in the image, from 0; repeatable.",
        show_default=False,
    ),
]
LayersOption = Annotated[
    list[str] | None,
    typer.Option(
        "--layer",
        "-l",
        metavar="PATTERN",
        help="Only these layers; repeatable. Dotted names, shell patterns, Caffe's names.",
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
class OfPair:
    """The networks that are looked through."""

    checkpoint: PairArgument = None
    regular: RegularOption = None
    size: SizeOption = None
    device: DeviceOption = "auto"

    def options(self, own: OwnNetwork) -> dict[str, Any]:
        """How they are loaded: what `load_networks` of heatmaps and of taps take beside the files."""
        size = parse_size(self.size) if self.size else None
        return {"size": size, "device": self.device, **own.options()}


@dataclass(frozen=True)
class OfData:
    """A data set whose images are looked at."""

    data: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Look at images of this data set: shapes, camvid, voc, …"),
    ] = None
    root: RootOption = None
    split: Annotated[str, typer.Option(metavar="NAME", help="With --data.")] = "val"


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
            text = "needs --kernel-size, the layers' dilated_kernel_size."
            raise typer.BadParameter(text, param_hint="--dcls")
        return DclsLayers(self.dcls, parse_size(self.kernel_size))


def parse_pixels(texts: Sequence[str]) -> list[tuple[int, int]]:
    """Each "x,y" once, x the column and y the row, to (y, x). A usage error if one is anything else."""
    found = []
    for text in texts:
        parts = text.replace(" ", "").split(",")
        if len(parts) != 2 or not all(re.fullmatch(r"-?[0-9]{1,9}", part) for part in parts):
            words = f"{text!r} is not x,y: two whole numbers, column and row, counted from 0."
            raise typer.BadParameter(words)
        found.append((int(parts[1]), int(parts[0])))
    return list(dict.fromkeys(found))


def need_html(path: Path, option: str) -> None:
    """A usage error for a page that would not be one by its name."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise typer.BadParameter(f"{path} does not end in .html.", param_hint=option)


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
