"""Options that several commands of both console scripts share, so that each is called and explained the same."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer


class Theme(StrEnum):
    """The two looks of every figure."""

    light = "light"
    dark = "dark"


class Fit(StrEnum):
    """How images get to a size that the network takes."""

    pad = "pad"
    resize = "resize"


class Order(StrEnum):
    """Of colours, as the network wants them."""

    rgb = "rgb"
    bgr = "bgr"


DeviceOption = Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps.")]
SeedOption = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Same seed, same result.")]
OutOption = Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for what is written.")]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace what an earlier call left there.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, nothing else.")]
ThemeOption = Annotated[Theme, typer.Option("--theme", help="Look of the figures.")]
RootOption = Annotated[
    Path | None,
    typer.Option("--root", metavar="DIR", help="Folder of the data set.", show_default=False),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="PACKAGE.MODULE:FUNCTION",
        help="Your own function that builds the regular network. It is imported and run.",
        show_default=False,
    ),
]

# How a network wants images, and where its logits are; left out, as it says itself.
OutputOption = Annotated[
    str | None,
    typer.Option(
        "--output",
        metavar="KEY",
        help="Name of the logits in what the network returns.",
        show_default=False,
    ),
]
DivisorOption = Annotated[
    int | None,
    typer.Option(
        "--divisor",
        metavar="N",
        min=1,
        help="Bring images to multiples of this, e.g. 32, if the network wants it.",
        show_default=False,
    ),
]
FitOption = Annotated[
    Fit | None,
    typer.Option(
        "--fit", metavar="pad|resize", help="How, with --divisor; pad by default.", show_default=False
    ),
]
MeanOption = Annotated[
    str | None,
    typer.Option(
        "--mean",
        metavar="M,…",
        help="Subtract from each channel; by default ImageNet's.",
        show_default=False,
    ),
]
StdOption = Annotated[
    str | None,
    typer.Option("--std", metavar="S,…", help="Then divide by; by default ImageNet's.", show_default=False),
]
WhiteOption = Annotated[
    float | None,
    typer.Option(
        "--white", metavar="V", help="What 255 becomes before --mean: 1 or 255.", show_default=False
    ),
]
OrderOption = Annotated[
    Order | None,
    typer.Option("--order", metavar="rgb|bgr", help="Of the colours; rgb by default.", show_default=False),
]
ReaderOption = Annotated[
    str | None,
    typer.Option(
        "--reader",
        metavar="PACKAGE.MODULE:FUNCTION",
        help="Your own function from an image's path to an array, e.g. numpy:load. It is imported and run.",
        show_default=False,
    ),
]

# Settings of a training: left out, the preset's.
WeightsOption = Annotated[
    str | None,
    typer.Option(
        "--weights",
        metavar="FILE",
        help="What the network starts from: a file, none, or imagenet (downloads the backbone's).",
        show_default=False,
    ),
]
BackboneOption = Annotated[str | None, typer.Option("--backbone", help="tiny, squeezenet1_0, resnet18, …")]
IterationsOption = Annotated[int | None, typer.Option("--iterations", min=1, help="Steps of the optimiser.")]
BatchSizeOption = Annotated[
    int | None, typer.Option("--batch-size", min=1, help="Images a step, over all processes.")
]
TrainImagesOption = Annotated[int | None, typer.Option("--train-images", min=1, help="Use only the first N.")]
ValImagesOption = Annotated[int | None, typer.Option("--val-images", min=1, help="Use only the first N.")]
WorkersOption = Annotated[int | None, typer.Option("--workers", min=0, help="Processes that load data.")]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="TOML file with settings of icnn train; options here go before it."),
]
SettingsOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any other setting, e.g. momentum=0.95. Repeatable."),
]


def refuse_ignored(
    command: Callable[..., Any], given: Mapping[str, Any], names: Iterable[str], why: str
) -> None:
    """A usage error if one of the options `names` of a command was given, where nothing would come of it.

    Args:
        given: the options' values by name.
        why: when that is so: "without --data".
    """
    known = inspect.signature(command).parameters
    for name in names:
        if (given[name] or None) != (known[name].default or None):
            option = "--" + name.strip("_").replace("_", "-")
            raise typer.BadParameter(f"has no effect {why}: leave it out.", param_hint=option)
