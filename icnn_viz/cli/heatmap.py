"""`icnn-viz heatmap`: what one pixel looks at, network beside network."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from icnn_core.cli._numbers import parse_size
from icnn_core.cli._options import (
    DeviceOption,
    JsonOption,
    ModelOption,
    OutOption,
    RootOption,
    SeedOption,
    Theme,
    ThemeOption,
)
from icnn_viz.cli._inputs import parse_pixel
from icnn_viz.cli._options import (
    BUILTIN,
    MaxSizeOption,
    PairArgument,
    RegularOption,
    SizeOption,
    SplitOption,
    choose_pair,
)


class Format(StrEnum):
    """Kinds of picture."""

    png = "png"
    svg = "svg"
    pdf = "pdf"


class Method(StrEnum):
    """Attribution methods (`icnn_viz.gradients.METHODS`)."""

    gradient = "gradient"
    deconvnet = "deconvnet"
    guided = "guided"
    gradient_input = "gradient*input"
    integrated = "integrated"
    smoothgrad = "smoothgrad"


class Reduction(StrEnum):
    """Over the colour channels (`icnn_viz.heatmaps.REDUCTIONS`)."""

    max = "max"
    l2 = "l2"
    sum = "sum"


def command(
    checkpoint: PairArgument = None,
    pixel: Annotated[
        list[str],
        typer.Option(
            "--pixel",
            "-p",
            metavar="x,y",
            help="Column and row in the image, from 0; repeatable.",
            show_default=False,
        ),
    ] = [],  # noqa: B006
    regular: RegularOption = None,
    image: Annotated[
        Path | None,
        typer.Option(
            "--image", "-i", metavar="PATH", help="By default the sample image.", show_default=False
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            metavar="PATH",
            help="True class ids of the image, for measures of masks.",
            show_default=False,
        ),
    ] = None,
    class_: Annotated[
        str | None,
        typer.Option(
            "--class",
            "-c",
            metavar="NAME|ID",
            help="By default the class predicted at the pixel.",
            show_default=False,
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="NAME|ID", help="Subtract this class's logit.", show_default=False),
    ] = None,
    component: Annotated[
        bool, typer.Option("--component", help="Sum over the connected pixels of the predicted class.")
    ] = False,
    method: Annotated[
        Method, typer.Option("--method", "-m", help="deconvnet and guided are partly edge detectors.")
    ] = Method.gradient,
    reduce: Annotated[Reduction, typer.Option("--reduce", help="Over the colour channels.")] = Reduction.max,
    smooth: Annotated[
        float, typer.Option("--smooth", metavar="σ", min=0, help="Blur the maps, in pixels; 0 does not.")
    ] = 0.0,
    gamma: Annotated[
        float, typer.Option("--gamma", min=0.1, max=1, help="Colours by value ** gamma; 1 is linear.")
    ] = 0.5,
    controls: Annotated[
        bool,
        typer.Option(
            "--controls", help="Beside them the irregular network snapped, and with random weights."
        ),
    ] = False,
    sampling: Annotated[
        bool, typer.Option("--sampling", help="Also draw where the kernels sample, and what that predicts.")
    ] = False,
    overlay: Annotated[bool, typer.Option("--overlay", help="Also draw the maps over the image.")] = False,
    photo: Annotated[bool, typer.Option("--photo/--no-photo", help="Show the image in the figure.")] = True,
    size: SizeOption = None,
    max_size: MaxSizeOption = 2048,
    model: ModelOption = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="NAME",
            help="Look at many pixels of this data set instead: shapes, camvid, voc, …",
            show_default=False,
        ),
    ] = None,
    root: RootOption = None,
    split: SplitOption = "val",
    pixels: Annotated[
        int, typer.Option("--pixels", metavar="N", min=1, help="How many pixels, with --data.")
    ] = 200,
    stratify: Annotated[
        str,
        typer.Option(
            "--stratify", metavar="FACTOR,…", help="Even shares, with --data: class, boundary, elongation."
        ),
    ] = "class",
    out: OutOption = Path("icnn-heatmap"),
    format: Annotated[
        list[Format] | None,
        typer.Option("--format", "-f", help="Repeatable; by default png.", show_default=False),
    ] = None,
    device: DeviceOption = "auto",
    seed: SeedOption = 0,
    json: JsonOption = False,
    theme: ThemeOption = Theme.light,
) -> None:
    """Show what the output at a pixel depends on in the image, irregular beside regular, on one scale.

    All gradients at the output are zero but that of the chosen pixel's logit. Writes, per pixel, the comparison and
    the raw gradients (.npz); a grid of all pixels, if there are several; and measures.csv. With --data, many pixels
    of a labelled data set: every measure, paired differences with intervals, and their figure. A run that was
    stopped goes on where it stopped.

    Example: icnn-viz heatmap irregular.pt --regular regular.pt --image photo.jpg --pixel 60,40
    """
    if not pixel and not data:
        raise typer.BadParameter("at least one pixel is needed: --pixel x,y.", param_hint="--pixel")
    if pixel and data:
        raise typer.BadParameter("chooses its pixels itself: leave out --pixel.", param_hint="--data")
    places = list(dict.fromkeys(parse_pixel(text) for text in pixel))
    seen = parse_size(size) if size else None
    if overlay and not photo:
        raise typer.BadParameter("shows the image, which --no-photo forbids.", param_hint="--overlay")
    checkpoint, regular = choose_pair(checkpoint, regular, model)

    from icnn_core.cli.app import make_console, print_json
    from icnn_core.models.factory import load_factory
    from icnn_viz.cli._inputs import check_pixel, find_class, read_image, read_labels
    from icnn_viz.cli._looks import to_json, to_measure_table, write_looks
    from icnn_viz.cli._survey import look_over
    from icnn_viz.cli._views import choose_to_open
    from icnn_viz.data import builtin_path
    from icnn_viz.displays.looks import look_at
    from icnn_viz.gradients import Target, load_pair

    load = partial(
        load_pair,
        checkpoint,
        regular,
        factory=load_factory(model) if model else None,
        size=seen,
        device=device,
        controls=controls,
        seed=seed,
    )
    kinds = [str(kind) for kind in format or [Format.png]]
    console = make_console(json=json)
    found = {"checkpoint": checkpoint, "regular": regular, "method": str(method), "reduction": str(reduce)}
    found |= {"smoothing": smooth, "seed": seed, "out": out}
    if data:
        chosen = {"pixels": pixels, "stratify": tuple(stratify.split(",")), "data": data, "split": split}
        found |= look_over(load(), root, chosen | found, kinds, str(theme), console)
    else:
        array = read_image(image or builtin_path(BUILTIN[2]), max_size)
        for place in places:
            check_pixel(place, array)
        truth = read_labels(labels, array.shape[:2], max_size) if labels else None
        networks = load()
        wanted, other = (
            find_class(name, networks[0].classes) if name else None for name in (class_, against)
        )
        targets = [Target(place, wanted, other, "component" if component else None) for place in places]
        looks = look_at(
            networks,
            array,
            targets,
            method=method,
            reduction=reduce,
            smoothing=smooth,
            labels=truth,
            sampling=sampling,
            seed=seed,
        )
        written = write_looks(looks, out, kinds, photo=photo, overlay=overlay, gamma=gamma, theme=theme)
        for look in looks:
            console.print(to_measure_table(look))
        console.print(f"{len(written)} files in {out}. Open {choose_to_open(written)}.")
        size_of_image = {"height": array.shape[0], "width": array.shape[1]}
        found |= {"image": image, "image_size": size_of_image, "pixels": [to_json(look) for look in looks]}
        found |= {"written": written}
    if json:
        print_json(found)
