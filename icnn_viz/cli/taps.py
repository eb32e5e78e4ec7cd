"""`icnn-viz taps`: where the taps of a layer land on an image for one pixel."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from icnn_core.cli._grouped import OwnNetwork, grouped
from icnn_core.cli._options import DeviceOption, JsonOption, OverwriteOption, ThemeOption, parse_size
from icnn_viz.cli._options import (
    BUILTIN,
    ImageOption,
    MaxSizeOption,
    PairArgument,
    SizeOption,
    choose_pair,
    parse_pixel,
)
from icnn_viz.cli._shown import bar, tell, to_tap_table

if TYPE_CHECKING:
    from icnn_viz.displays import TapDisplay

_OUT = Path("icnn-taps")

Format = StrEnum("Format", ["png", "svg", "pdf", "html"])
"""Kinds of picture; html is a page to go through."""
Layout = Literal["yx", "xy", "yyxx", "xxyy", "dcnv3", "dcnv4", "absolute"]
"""Of offsets (`icnn_viz.displays.taps.LAYOUTS`)."""


@dataclass(frozen=True)
class Networks:
    """What is looked through."""

    checkpoint: PairArgument = None
    regular: Annotated[
        Path | None,
        typer.Option(
            metavar="CKPT",
            help="The network whose regular places and weights are shown; by default the same one's.",
        ),
    ] = None
    size: SizeOption = None
    device: DeviceOption = "auto"


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
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for what is written.")] = (
        _OUT
    )
    overwrite: OverwriteOption = False
    format: Annotated[
        list[Format] | None, typer.Option("--format", "-f", help="Repeatable; by default png and html.")
    ] = None
    json: JsonOption = False


@grouped
def command(networks: Networks, own: OwnNetwork, place: Place, output: Output) -> None:
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

    pixel = parse_pixel(place.pixel)
    check_writable(output.out)
    checkpoint, regular = choose_pair(networks.checkpoint, networks.regular, own.model)
    call = {name: value for part in (networks, own, place, output) for name, value in asdict(part).items()}
    with one_call(output.out, "taps", describe_call(call), overwrite=output.overwrite):
        _write(_look(checkpoint, regular, pixel, networks, own, place), pixel, output)


def _look(
    checkpoint: Path,
    regular: Path | None,
    pixel: tuple[int, int],
    networks: Networks,
    own: OwnNetwork,
    place: Place,
) -> TapDisplay:
    from icnn_viz.data import builtin_path
    from icnn_viz.displays import TapDisplay
    from icnn_viz.displays.images import read_image
    from icnn_viz.displays.pixels import make_targets
    from icnn_viz.displays.taps import load_networks, to_source

    image = read_image(place.image or builtin_path(BUILTIN[2]), place.max_size, own.reader)
    make_targets([pixel], image)  # a wrong one is told before networks are read
    loaded = load_networks(
        checkpoint,
        regular,
        size=parse_size(networks.size) if networks.size else None,
        device=networks.device,
        **own.options(),
    )
    source = to_source(place.offsets, place.layout or "yx", place.layer) if place.offsets else None
    return TapDisplay.from_networks(
        loaded, image, pixel, layer=place.layer, class_id=place.class_, depth=place.depth, offsets=source
    )


def _write(display: TapDisplay, pixel: tuple[int, int], output: Output) -> None:
    from icnn_viz.displays.drawings import draw_tap_views, write_drawings
    from icnn_viz.displays.tables import to_records, write_tables

    kinds = output.format or ["png", "html"]
    written = write_drawings(draw_tap_views(display, output.theme), kinds, output.out, bar("drawing"))
    written += write_tables({"taps": display.to_frame()}, output.out)
    summary = display.summary()
    found: dict[str, Any] = {"x": pixel[1], "y": pixel[0], "class": display.class_name, "out": output.out}
    found |= {"panels": to_records(summary), "notes": display.notes()}
    tell([to_tap_table(summary, display.notes())], written, output.out, found if output.json else None)
