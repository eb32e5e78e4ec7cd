"""`icnn-viz explore`: click through heatmaps, kernels and trajectories in a browser on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from icnn_core.cli._grouped import OwnNetwork, grouped
from icnn_core.cli._options import (
    DeviceOption,
    OverwriteOption,
    RootOption,
    SeedOption,
    parse_size,
    refuse_ignored,
)
from icnn_viz.cli._options import (
    MaxSizeOption,
    OfDcls,
    PairArgument,
    RegularOption,
    SizeOption,
    SplitOption,
    choose_pair,
)

if TYPE_CHECKING:
    from rich.console import Console

    from icnn_viz.explorer.session import Session


@grouped
def command(
    checkpoint: PairArgument = None,
    regular: RegularOption = None,
    image: Annotated[
        list[Path] | None,
        typer.Option("--image", "-i", metavar="PATH", help="Repeatable; by default the sample image."),
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="NAME", help="The images of this data set: shapes, camvid, voc, …")
    ] = None,
    root: RootOption = None,
    split: SplitOption = "val",
    snapshots: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Of the network's training; by default the folder snapshots beside CKPT."
        ),
    ] = None,
    size: SizeOption = None,
    max_size: MaxSizeOption = 2048,
    network: OwnNetwork = OwnNetwork(),
    of_dcls: OfDcls = OfDcls(),
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Anyone who reaches another address can look.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="0 takes a free one.")] = 8050,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")
    ] = True,
    export: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a page that needs no server, and stop.")
    ] = None,
    overwrite: OverwriteOption = False,
    device: DeviceOption = "auto",
    seed: SeedOption = 0,
) -> None:
    """Click on a pixel and see what it looks at, irregular beside regular; brush kernels; watch them grow.

    Serves pages on this machine alone until Ctrl-C. Needs the extra "explore": pip install "icnn-viz[explore]". With
    --export it needs no extra: one page, the heatmaps of a grid of pixels of the first image computed beforehand.

    Example: icnn-viz explore runs/irregular/last.pt --regular runs/regular/last.pt --image street.png
    """
    if export is not None and export.suffix.lower() not in (".html", ".htm"):
        raise typer.BadParameter(f"{export} does not end in .html.", param_hint="--export")
    if data is None:
        refuse_ignored(command, locals(), ("root", "split"), "without --data")
    if export is None:
        refuse_ignored(command, locals(), ("overwrite",), "without --export")
    else:
        refuse_ignored(command, locals(), ("host", "port", "browser", "snapshots"), "with --export")
    seen = parse_size(size) if size else None
    checkpoint, regular = choose_pair(checkpoint, regular, network.model)

    from icnn_core.cli.app import make_console
    from icnn_core.outputs import check_target
    from icnn_viz.displays.datasets import open_for
    from icnn_viz.displays.images import load_reader
    from icnn_viz.displays.pixels import load_networks
    from icnn_viz.displays.sources import holds_positions_alone, read_shapes
    from icnn_viz.explorer.session import Session
    from icnn_viz.explorer.shelf import make_shelf

    if export is None:
        need_dash()
    else:
        check_target(export, overwrite=overwrite, option="--export")
    console = make_console()
    networks, dcls = [], of_dcls.layers()
    if not holds_positions_alone(checkpoint) and (dcls is None or network.model):
        given = network.options() | {"size": seen, "device": device, "seed": seed}
        networks = load_networks(checkpoint, regular, **given)
    dataset = open_for(networks, data, root, split, network.reader) if data else None
    shelf = make_shelf(image or (), dataset, f"{data} {split}", max_size, load_reader(network.reader))
    model = networks[0].model if networks else None
    clouds, read_run = read_shapes(checkpoint, snapshots, model, dcls, network.prefix)
    session = Session(networks, shelf, clouds, read_run, seed=seed)
    if export is not None:
        _export(session, export, console)
    else:
        from icnn_viz.explorer.server import serve

        serve(session, host, port, browser=browser, say=console.print)


def need_dash() -> None:
    """Raises: ArgumentError: Dash is not installed."""
    import importlib.util

    from icnn_core.errors import ArgumentError

    if importlib.util.find_spec("dash") is None:
        raise ArgumentError(
            "explore",
            needed="Dash",
            got="an installation without it",
            fix='Run: pip install "icnn-viz[explore]"',
        )


def _export(session: Session, path: Path, console: Console) -> None:
    from icnn_core.cli.app import make_progress
    from icnn_viz.explorer.export import write_page

    with make_progress() as progress:
        task = progress.add_task("looking", total=None)
        page = write_page(
            session, path, lambda done, total: progress.update(task, completed=done, total=total)
        )
    console.print(page.describe())
    console.print(f"Open {path}.")
