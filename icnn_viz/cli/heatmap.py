"""`icnn-viz heatmap`: what one pixel looks at, network beside network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from icnn_core.cli._grouped import OwnNetwork, grouped, values_of
from icnn_core.cli._options import JsonOption, OverwriteOption, SeedOption, ThemeOption, refuse_ignored
from icnn_viz.cli._options import (
    BUILTIN,
    ImageOption,
    MaxSizeOption,
    OfData,
    OfPair,
    PixelsOption,
    TargetOption,
    choose_pair,
    parse_pixels,
)
from icnn_viz.cli._shown import bar, say, tell

if TYPE_CHECKING:
    from icnn_viz.displays import SurveyDisplay
    from icnn_viz.displays.pixels import Network

_OUT = Path("icnn-heatmap")
_DRAWN = ("overlay", "photo", "difference", "width", "gamma")

Format = StrEnum("Format", ["png", "svg", "pdf"])
"""Kinds of picture."""
Method = Literal["gradient", "deconvnet", "guided", "gradient*input", "integrated", "smoothgrad"]
"""Attribution methods (`icnn_viz.gradients.METHODS`)."""
Difference = Literal["shares", "raw"]
"""How one map is taken from another (`icnn_viz.figures.maps.DIFFERENCES`)."""
Reduction = Literal["max", "l2", "sum", "signed"]
"""Over the colour channels (`icnn_viz.heatmaps.REDUCTIONS`)."""


@dataclass(frozen=True)
class Networks(OfPair):
    """What is looked through."""

    controls: Annotated[
        bool,
        typer.Option(
            "--controls", help="Beside them the irregular network snapped, and with random weights."
        ),
    ] = False


@dataclass(frozen=True)
class Place:
    """The pixels of one image, and which of their logits."""

    pixel: PixelsOption = field(default_factory=list)
    image: ImageOption = None
    labels: Annotated[
        Path | None, typer.Option(metavar="PATH", help="True class ids of the image, for measures of masks.")
    ] = None
    class_: Annotated[
        str | None,
        typer.Option("--class", "-c", metavar="NAME|ID", help="By default the class predicted at the pixel."),
    ] = None
    against: Annotated[str | None, typer.Option(metavar="NAME|ID", help="Subtract this class's logit.")] = (
        None
    )
    component: Annotated[
        bool, typer.Option("--component", help="Sum over the connected pixels of the predicted class.")
    ] = False
    max_size: MaxSizeOption = 2048


@dataclass(frozen=True)
class Survey(OfData):
    """Many pixels of a data set."""

    pixels: Annotated[int, typer.Option(metavar="N", min=1, help="How many pixels, with --data.")] = 200
    stratify: Annotated[
        str, typer.Option(metavar="FACTOR,…", help="Even shares, with --data: class, boundary, elongation.")
    ] = "class"
    target: TargetOption = "true"


@dataclass(frozen=True)
class Way:
    """How a gradient becomes a map."""

    method: Annotated[
        Method, typer.Option("--method", "-m", help="deconvnet and guided are partly edge detectors.")
    ] = "gradient"
    reduction: Annotated[
        Reduction | None,
        typer.Option(
            help="Over the colour channels; by default signed for gradient*input and integrated, else max."
        ),
    ] = None
    smoothing: Annotated[
        float, typer.Option(metavar="σ", min=0, help="Blur the maps, in pixels; 0 does not.")
    ] = 0.0
    seed: SeedOption = 0


@dataclass(frozen=True)
class Output:
    """What is drawn and written."""

    sampling: Annotated[
        bool, typer.Option("--sampling", help="Also draw where the kernels sample, and what that predicts.")
    ] = False
    overlay: Annotated[bool, typer.Option("--overlay", help="Also draw the maps over the image.")] = False
    photo: Annotated[bool, typer.Option("--photo/--no-photo", help="Show the image in the figure.")] = True
    difference: Annotated[
        Difference,
        typer.Option(help="Of maps divided by their energy (shares), or of maps as they are (raw)."),
    ] = "shares"
    width: Annotated[
        float, typer.Option(metavar="MM", min=60, max=400, help="Of a comparison; 80 is a column.")
    ] = 170.0
    gamma: Annotated[float, typer.Option(min=0.1, max=1, help="Colours by value ** gamma; 1 is linear.")] = (
        0.5
    )
    theme: ThemeOption = "light"
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="By default icnn-heatmap; with --data a folder in it for what is asked.",
        ),
    ] = None
    overwrite: OverwriteOption = False
    format: Annotated[
        list[Format] | None, typer.Option("--format", "-f", help="Repeatable; by default png.")
    ] = None
    json: JsonOption = False


@grouped
def command(
    networks: Networks, own: OwnNetwork, place: Place, survey: Survey, way: Way, output: Output
) -> None:
    """Show what the output at a pixel depends on in the image, irregular beside regular, on one scale.

    All gradients at the output are zero but that of the chosen pixel's logit. Writes, per pixel, the comparison and
    the raw gradients (.npz); a grid of all pixels, if there are several; and measures.csv. With --data, many pixels
    of a labelled data set: every measure, paired differences with intervals, and their figure. A run that was
    stopped goes on where it stopped.

    Example: icnn-viz heatmap irregular.pt --regular regular.pt --image photo.jpg --pixel 60,40
    """
    call = values_of(networks, own, place, way, output)
    if not place.pixel and not survey.data:
        raise typer.BadParameter("at least one pixel is needed: --pixel x,y.", param_hint="--pixel")
    if place.pixel and survey.data:
        raise typer.BadParameter("chooses its pixels itself: leave out --pixel.", param_hint="--data")
    if output.overlay and not output.photo:
        raise typer.BadParameter("shows the image, which --no-photo forbids.", param_hint="--overlay")
    of_one = ({*vars(place), "sampling", *_DRAWN} - {"pixel"}, "with --data")
    given, ignored = call | vars(survey), of_one if survey.data else (vars(survey), "without --data")
    refuse_ignored(command, given, *ignored)
    if place.against is not None and place.against == place.class_:
        raise typer.BadParameter("is the class itself: nothing would be left.", param_hint="--against")
    from icnn_core.outputs import check_writable, describe_call, one_call

    check_writable(output.out or _OUT)
    checkpoint, regular = choose_pair(networks.checkpoint, networks.regular, own.model)
    from icnn_viz.displays.pixels import load_networks, reduction_of

    asked = asdict(way) | {"reduction": way.reduction or reduction_of(way.method)}
    found = {"checkpoint": checkpoint, "regular": regular, **asked}
    options = {"controls": networks.controls, "seed": way.seed, **networks.options(own)}
    load = partial(load_networks, checkpoint, regular, **options)
    if survey.data:
        _survey(load, own.reader, survey, output, asked, found)
        return
    with one_call(output.out or _OUT, "heatmap", describe_call(call), overwrite=output.overwrite):
        _look(load, own.reader, place, output, asked, found)


def _look(
    load: Callable[[], list[Network]],
    reader: str | None,
    place: Place,
    output: Output,
    asked: dict[str, Any],
    found: dict[str, Any],
) -> None:
    """Some pixels of one image."""
    from icnn_viz.data import builtin_path
    from icnn_viz.displays import HeatmapDisplay
    from icnn_viz.displays.images import read_image, read_labels, read_sample_labels
    from icnn_viz.displays.pixels import make_targets, to_plain
    from icnn_viz.displays.text_tables import tell_pixel

    pixels = parse_pixels(place.pixel)
    path = place.image or builtin_path(BUILTIN[2])
    image = read_image(path, place.max_size, reader, labelled=place.labels is not None)
    labels = read_labels(place.labels, image.shape[:2], place.max_size) if place.labels else None
    make_targets(pixels, image)  # wrong ones are told before networks are read
    loaded = load()
    classes = loaded[0].classes
    labels = read_sample_labels(path, classes) if labels is None else labels
    targets = make_targets(pixels, image, classes, place.class_, place.against, component=place.component)
    seen = {"labels": labels, "sampling": output.sampling}
    display = HeatmapDisplay.from_networks(loaded, image, targets, **seen, **asked)
    out = output.out or _OUT
    style = {name: getattr(output, name) for name in (*_DRAWN, "theme")}
    written = display.write(out, output.format or ["png"], track=bar("drawing"), **style)
    size = {"height": image.shape[0], "width": image.shape[1]}
    found |= {"out": out, "image": place.image, "image_size": size}
    found |= {"pixels": [to_plain(record) for record in display.records]}
    tell([tell_pixel(record) for record in display.records], written, found, json=output.json)


def _survey(
    load: Callable[[], list[Network]],
    reader: str | None,
    survey: Survey,
    output: Output,
    asked: dict[str, Any],
    found: dict[str, Any],
) -> None:
    """Many pixels of a data set: run, or go on, and write the summary when all pixels are done."""
    import os

    from icnn_core.outputs import one_call
    from icnn_viz.displays import SurveyDisplay
    from icnn_viz.displays.datasets import open_for

    if output.overwrite and os.environ.get("WORLD_SIZE", "1") != "1":
        raise typer.BadParameter("takes one process; start the others after it.", param_hint="--overwrite")
    networks = load()
    display = SurveyDisplay(
        networks,
        open_for(networks, str(survey.data), survey.root, survey.split, reader),
        folder=output.out or _OUT,
        split=survey.split,
        pixels=survey.pixels,
        stratify=[factor.strip() for factor in survey.stratify.split(",")],
        target=survey.target,
        **asked,
    )
    if output.out is None:
        display.folder = _OUT / display.folder_name()
    with one_call(display.folder, "heatmap --data", {}, overwrite=output.overwrite, goes_on=True):
        _go_on(display, survey, output, found)


def _go_on(display: SurveyDisplay, survey: Survey, output: Output, found: dict[str, Any]) -> None:
    from icnn_core.cli.app import print_json
    from icnn_viz.displays.tables import to_records
    from icnn_viz.displays.text_tables import tell_differences

    progress = display.run(bar("looking"))
    found |= {"out": display.folder, "data": survey.data, "split": survey.split, "target": survey.target}
    found |= asdict(progress)
    if progress.done < progress.total:
        rest = "other processes are at work on the rest"
        say(f"{progress.done} of {progress.total} pixels are done; {rest}.", json=output.json)
        if output.json:
            print_json(found | {"written": []})
        return
    written, summary = display.write(output.format or ["png"], theme=output.theme), display.summary()
    found |= {"zero_maps": display.zero_maps(), "differences": to_records(summary)}
    first, second, *_ = (network.name for network in display.networks)
    shown = [tell_differences(summary, first, second), f"{display.describe()}."]
    if lacking := display.left_out():
        shown.append(lacking)
    if progress.seconds > 1:
        share = progress.seconds_in_networks / progress.seconds
        shown.append(f"{progress.seconds:.0f} s, {share:.0%} of it in the networks.")
    tell(shown, written, found, json=output.json)
