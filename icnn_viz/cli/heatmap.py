"""`icnn-viz heatmap`: what one pixel looks at, network beside network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from icnn_core.cli._grouped import OwnNetwork, grouped
from icnn_core.cli._options import (
    DeviceOption,
    JsonOption,
    OverwriteOption,
    RootOption,
    SeedOption,
    ThemeOption,
    parse_size,
    refuse_ignored,
)
from icnn_viz.cli._options import (
    BUILTIN,
    DataOption,
    ImageOption,
    MaxSizeOption,
    PairArgument,
    RegularOption,
    SizeOption,
    SplitOption,
    TargetOption,
    choose_pair,
    parse_pixels,
)
from icnn_viz.cli._shown import bar, tell, to_difference_table, to_json, to_measure_table

if TYPE_CHECKING:
    from icnn_viz.displays import SurveyDisplay
    from icnn_viz.displays.pixels import Network

_OUT = Path("icnn-heatmap")
_OF_PICTURES = ("sampling", "overlay", "photo", "difference", "width", "gamma")

Format = StrEnum("Format", ["png", "svg", "pdf"])
"""Kinds of picture."""
Method = Literal["gradient", "deconvnet", "guided", "gradient*input", "integrated", "smoothgrad"]
"""Attribution methods (`icnn_viz.gradients.METHODS`)."""
Difference = Literal["shares", "raw"]
"""How one map is taken from another (`icnn_viz.figures.maps.DIFFERENCES`)."""
Reduction = Literal["max", "l2", "sum", "signed"]
"""Over the colour channels (`icnn_viz.heatmaps.REDUCTIONS`)."""


@dataclass(frozen=True)
class Networks:
    """What is looked through."""

    checkpoint: PairArgument = None
    regular: RegularOption = None
    controls: Annotated[
        bool,
        typer.Option(
            "--controls", help="Beside them the irregular network snapped, and with random weights."
        ),
    ] = False
    size: SizeOption = None
    device: DeviceOption = "auto"


@dataclass(frozen=True)
class Place:
    """The pixels of one image, and which of their logits."""

    pixel: Annotated[
        list[str],
        typer.Option(
            "--pixel",
            "-p",
            metavar="x,y",
            help="Column and row in the image, from 0; repeatable.",
            show_default=False,
        ),
    ] = field(default_factory=list)
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
class Survey:
    """Many pixels of a data set."""

    data: DataOption = None
    root: RootOption = None
    split: SplitOption = "val"
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
    if not place.pixel and not survey.data:
        raise typer.BadParameter("at least one pixel is needed: --pixel x,y.", param_hint="--pixel")
    if place.pixel and survey.data:
        raise typer.BadParameter("chooses its pixels itself: leave out --pixel.", param_hint="--data")
    if output.overlay and not output.photo:
        raise typer.BadParameter("shows the image, which --no-photo forbids.", param_hint="--overlay")
    parts = (networks, own, place, way, output)
    call = {name: value for part in parts for name, value in vars(part).items()}
    given = call | vars(survey)
    if survey.data:
        of_one = [name for name in vars(place) if name != "pixel"]
        refuse_ignored(command, given, [*of_one, *_OF_PICTURES], "with --data")
    else:
        refuse_ignored(command, given, vars(survey), "without --data")
    if place.against is not None and place.against == place.class_:
        raise typer.BadParameter("is the class itself: nothing would be left.", param_hint="--against")
    from icnn_core.outputs import check_writable, describe_call, one_call

    check_writable(output.out or _OUT)
    checkpoint, regular = choose_pair(networks.checkpoint, networks.regular, own.model)
    from icnn_viz.displays.pixels import reduction_of

    asked = {
        "method": way.method,
        "reduction": way.reduction or reduction_of(way.method),
        "smoothing": way.smoothing,
        "seed": way.seed,
    }
    found = {"checkpoint": checkpoint, "regular": regular, **asked}
    load = partial(_load, checkpoint, regular, networks, own, way.seed)
    if survey.data:
        _survey(load, own.reader, survey, output, asked, found)
        return
    with one_call(output.out or _OUT, "heatmap", describe_call(call), overwrite=output.overwrite):
        _look(load, own.reader, place, output, asked, found)


def _load(
    checkpoint: Path, regular: Path | None, networks: Networks, own: OwnNetwork, seed: int
) -> list[Network]:
    from icnn_viz.displays.pixels import load_networks

    size = parse_size(networks.size) if networks.size else None
    return load_networks(
        checkpoint,
        regular,
        size=size,
        device=networks.device,
        controls=networks.controls,
        seed=seed,
        **own.options(),
    )


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
    from icnn_viz.displays.drawings import draw_pixels, stem_of, write_drawings, write_gradients
    from icnn_viz.displays.images import read_image, read_labels, read_sample_labels
    from icnn_viz.displays.pixels import make_targets
    from icnn_viz.displays.tables import write_tables

    pixels = parse_pixels(place.pixel)
    path = place.image or builtin_path(BUILTIN[2])
    image = read_image(path, place.max_size, reader, labelled=place.labels is not None)
    labels = read_labels(place.labels, image.shape[:2], place.max_size) if place.labels else None
    make_targets(pixels, image)  # wrong ones are told before networks are read
    loaded = load()
    labels = read_sample_labels(path, loaded[0].classes) if labels is None else labels
    targets = make_targets(
        pixels, image, loaded[0].classes, place.class_, place.against, component=place.component
    )
    display = HeatmapDisplay.from_networks(
        loaded, image, targets, labels=labels, sampling=output.sampling, **asked
    )
    style = {
        "overlay": output.overlay,
        "photo": output.photo,
        "difference": output.difference,
        "gamma": output.gamma,
        "width": output.width,
        "theme": output.theme,
    }
    out = output.out or _OUT
    written = write_drawings(draw_pixels(display, **style), output.format or ["png"], out, bar("drawing"))
    written += [write_gradients(record, out / f"{stem_of(record)}.npz") for record in display.records]
    written += write_tables({"measures": display.to_frame()}, out)
    size = {"height": image.shape[0], "width": image.shape[1]}
    found |= {
        "out": out,
        "image": place.image,
        "image_size": size,
        "pixels": list(map(to_json, display.records)),
    }
    tell(list(map(to_measure_table, display.records)), written, out, found if output.json else None)


def _survey(
    load: Callable[[], list[Network]],
    reader: str | None,
    survey: Survey,
    output: Output,
    asked: dict[str, Any],
    found: dict[str, Any],
) -> None:
    """Many pixels of a data set: run, or go on, and write the summary when all pixels are done."""
    from icnn_core.outputs import one_call
    from icnn_viz.displays import SurveyDisplay
    from icnn_viz.displays.datasets import open_for

    if output.overwrite:
        _need_one_process()
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


def _need_one_process() -> None:
    import os

    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise typer.BadParameter("takes one process; start the others after it.", param_hint="--overwrite")


def _go_on(display: SurveyDisplay, survey: Survey, output: Output, found: dict[str, Any]) -> None:
    from dataclasses import asdict

    from icnn_core.cli.app import make_console, print_json
    from icnn_viz.displays.tables import to_records

    progress, out = display.run(bar("looking")), display.folder
    found |= {"out": out, "data": survey.data, "split": survey.split, "target": survey.target}
    found |= asdict(progress)
    if progress.done < progress.total:
        words = (
            f"{progress.done} of {progress.total} pixels are done; other processes are at work on the rest."
        )
        make_console(json=output.json).print(words)
        if output.json:
            print_json(found | {"written": []})
        return
    written = display.write(output.format or ["png"], theme=output.theme)
    differences, zeros = display.tables()["differences"], display.zero_maps()
    whole = differences.loc[differences["group"] == "all"].drop(columns=["group", "stratum"])
    found |= {"zero_maps": zeros, "differences": to_records(whole)}
    first, second, *_ = (network.name for network in display.networks)
    shown: list[Any] = [to_difference_table(differences, first, second), f"{display.describe()}."]
    if progress.seconds > 1:
        share = progress.seconds_in_networks / progress.seconds
        shown.append(f"{progress.seconds:.0f} s, {share:.0%} of it in the networks.")
    tell(shown, written, out, found if output.json else None)
