"""`icnn-viz taps`: where the taps of a layer land on an image for one pixel."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from icnn_core.cli._grouped import OwnNetwork, grouped, values_of
from icnn_core.cli._options import JsonOption, OutOption, OverwriteOption, ThemeOption
from icnn_viz.cli._options import BUILTIN, ImageOption, MaxSizeOption, OfPair, choose_pair, parse_pixels
from icnn_viz.cli._shown import bar, tell

if TYPE_CHECKING:
    from icnn_viz.displays import TapDisplay

Format = StrEnum("Format", ["png", "svg", "pdf", "html"])
"""Kinds of picture; html is a page to go through."""
Layout = Literal["yx", "xy", "yyxx", "xxyy", "dcnv3", "dcnv4", "absolute"]
"""Of offsets (`icnn_viz.displays.taps.LAYOUTS`)."""


@dataclass(frozen=True)
class Place:
    """Which pixel, and which taps."""

    pixel: Annotated[
        str | None, typer.Option("--pixel", "-p", metavar="x,y", help="Column and row in the image, from 0.")
    ] = None
    image: ImageOption = None
    layer: Annotated[
        str | None,
        typer.Option(
            "--layer",
            "-l",
            metavar="NAME",
            help="Or the end of its name; by default the last with positions or offsets of its own.",
        ),
    ] = None
    class_: Annotated[
        str | None,
        typer.Option(
            "--class",
            "-c",
            metavar="NAME|ID",
            help="Whose weights count; by default the class predicted at the pixel.",
        ),
    ] = None
    depth: Annotated[
        int, typer.Option(metavar="N", min=1, max=5, help="Up to so many layers one after another.")
    ] = 3
    offsets: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE",
            help="Whose output are offsets of a deformable convolution of one's own; MODULE:1 is its second output, "
            "MODULE:in1 its second argument.",
        ),
    ] = None
    layout: Annotated[Layout | None, typer.Option(help="Of --offsets; by default yx.")] = None
    max_size: MaxSizeOption = 2048


@dataclass(frozen=True)
class Output:
    """What is drawn and written."""

    theme: ThemeOption = "light"
    out: OutOption = Path("icnn-taps")
    overwrite: OverwriteOption = False
    format: Annotated[
        list[Format] | None, typer.Option("--format", "-f", help="Repeatable; by default png and html.")
    ] = None
    json: JsonOption = False


@grouped
def command(networks: OfPair, own: OwnNetwork, place: Place, output: Output) -> None:
    """Show where a layer's taps land on the image for one pixel: on regular places, and where they were learnt.

    Irregular layers, dilated, deformable and DCLS convolutions. Below one layer's taps those of two and of three layers
    one after another, the heaviest 20,000. Writes the figure, a page with sliders over the layers and from regular to
    learnt places, and taps.csv.

    Example: icnn-viz taps irregular.pt --image photo.jpg --pixel 60,40
    """
    if place.pixel is None:
        raise typer.BadParameter("a pixel is needed: --pixel x,y.", param_hint="--pixel")
    if place.layout is not None and place.offsets is None:
        raise typer.BadParameter("has no effect without --offsets: leave it out.", param_hint="--layout")
    from icnn_core.outputs import check_writable, describe_call, one_call
    from icnn_viz.displays.tables import to_records
    from icnn_viz.displays.text_tables import tell_taps

    [pixel] = parse_pixels([place.pixel])
    check_writable(output.out)
    call = values_of(networks, own, place, output)
    with one_call(output.out, "taps", describe_call(call), overwrite=output.overwrite):
        display = _look(pixel, networks, own, place)
        kinds, style = output.format or ["png", "html"], {"theme": output.theme, "track": bar("drawing")}
        written, summary = display.write(output.out, kinds, **style), display.summary()
        found: dict[str, Any] = {"x": pixel[1], "y": pixel[0], "class": display.class_name}
        found |= {"out": output.out, "panels": to_records(summary), "notes": display.notes()}
        tell([tell_taps(summary, display.notes())], written, found, json=output.json)


def _look(pixel: tuple[int, int], networks: OfPair, own: OwnNetwork, place: Place) -> TapDisplay:
    from icnn_viz.data import builtin_path
    from icnn_viz.displays import TapDisplay
    from icnn_viz.displays.images import read_image
    from icnn_viz.displays.pixels import make_targets
    from icnn_viz.displays.taps import OffsetSource, load_networks

    paths = choose_pair(networks.checkpoint, networks.regular, own.model)
    image = read_image(place.image or builtin_path(BUILTIN[2]), place.max_size, own.reader)
    make_targets([pixel], image)  # a wrong one is told before networks are read
    loaded = load_networks(*paths, **networks.options(own))
    where = place.layout or "yx", place.layer
    source = OffsetSource.parse(place.offsets, *where) if place.offsets else None
    chosen = {"layer": place.layer, "class_id": place.class_, "depth": place.depth, "offsets": source}
    return TapDisplay.from_networks(loaded, image, pixel, **chosen)
