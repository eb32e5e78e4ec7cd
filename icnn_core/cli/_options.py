"""Options that several commands of both console scripts share, so that each is called, read and explained the same."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

Theme = Literal["light", "dark"]
"""The two looks of every figure."""
DeviceOption = Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps.")]
SeedOption = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Same seed, same result.")]
OutOption = Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for what is written.")]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace what an earlier call left there.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, nothing else.")]
ThemeOption = Annotated[Theme, typer.Option("--theme", help="Look of the figures.")]
RootOption = Annotated[Path | None, typer.Option("--root", metavar="DIR", help="Folder of the data set.")]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="PACKAGE.MODULE:FUNCTION",
        help="Your own function that builds the regular network. It is imported and run.",
    ),
]

PrefixOption = Annotated[
    str | None,
    typer.Option(
        "--prefix",
        metavar="TEXT",
        help="Of a state dict: take the names that begin so, without it, e.g. teacher. Known ones go by themselves.",
    ),
]

# Settings of a training: left out, the preset's.
WeightsOption = Annotated[
    str | None,
    typer.Option(
        "--weights",
        metavar="FILE",
        help="What the network starts from: a file, none, or imagenet (downloads the backbone's).",
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
    typer.Option("--set", metavar="KEY=VALUE", help="Any other setting, e.g. power=1. Repeatable."),
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


def parse_size(text: str) -> tuple[int, int]:
    """ "HEIGHTxWIDTH", or one number for a square, to (height, width). A usage error if it is anything else."""
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) > 2 or not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        raise typer.BadParameter(f"{text!r} is not HEIGHTxWIDTH in pixels, e.g. 180x240, nor one number.")
    return int(parts[0]), int(parts[-1])


def parse_numbers(text: str) -> tuple[float, ...]:
    """ "0.5,1,1.5" to numbers. A usage error if it is anything else."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no list of numbers, e.g. 0.5,1,1.5.") from error
