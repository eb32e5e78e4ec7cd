"""`icnn-viz explore`: click through heatmaps, kernels and trajectories in a browser on this machine."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from icnn_core.cli._grouped import OwnNetwork, grouped, values_of
from icnn_core.cli._options import OverwriteOption, SeedOption, refuse_ignored
from icnn_viz.cli._options import MaxSizeOption, OfData, OfDcls, OfPair, choose_pair, need_html

if TYPE_CHECKING:
    from icnn_viz.explorer.session import Session


@grouped
def command(
    networks: OfPair,
    image: Annotated[
        list[Path] | None,
        typer.Option("--image", "-i", metavar="PATH", help="Repeatable; by default the sample image."),
    ] = None,
    images: OfData = OfData(),
    snapshots: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Of the network's training; by default the folder snapshots beside CKPT."
        ),
    ] = None,
    max_size: MaxSizeOption = 2048,
    own: OwnNetwork = OwnNetwork(),
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
    seed: SeedOption = 0,
) -> None:
    """Click on a pixel and see what it looks at, irregular beside regular; brush kernels; watch them grow.

    Serves pages on this machine alone until Ctrl-C. Needs the extra "explore": pip install "icnn-viz[explore]". With
    --export it needs no extra: one page, the heatmaps of a grid of pixels of the first image computed beforehand.

    Example: icnn-viz explore runs/irregular/last.pt --regular runs/regular/last.pt --image street.png
    """
    given = locals() | values_of(images)
    if images.data is None:
        refuse_ignored(command, given, ("root", "split"), "without --data")
    if export is None:
        refuse_ignored(command, given, ("overwrite",), "without --export")
    else:
        need_html(export, "--export")
        refuse_ignored(command, given, ("host", "port", "browser", "snapshots"), "with --export")
    checkpoint, regular = choose_pair(networks.checkpoint, networks.regular, own.model)
    options = networks.options(own)
    from icnn_core.cli.app import make_console
    from icnn_core.errors import ArgumentError
    from icnn_core.outputs import check_target
    from icnn_viz.displays.datasets import open_for
    from icnn_viz.displays.images import load_reader
    from icnn_viz.displays.pixels import load_networks
    from icnn_viz.displays.sources import holds_positions_alone, read_shapes
    from icnn_viz.explorer.session import Session
    from icnn_viz.explorer.shelf import make_shelf

    if export is not None:
        check_target(export, overwrite=overwrite, option="--export")
    elif importlib.util.find_spec("dash") is None:
        got, fix = "an installation without it", 'Run: pip install "icnn-viz[explore]"'
        raise ArgumentError("explore", needed="Dash", got=got, fix=fix)
    loaded, dcls = [], of_dcls.layers()
    if not holds_positions_alone(checkpoint) and (dcls is None or own.model):
        loaded = load_networks(checkpoint, regular, seed=seed, **options)
    where = images.root, images.split, own.reader
    dataset = open_for(loaded, images.data, *where) if images.data else None
    named = f"{images.data} {images.split}"
    shelf = make_shelf(image or (), dataset, named, max_size, load_reader(own.reader))
    model = loaded[0].model if loaded else None
    clouds, read_run = read_shapes(checkpoint, snapshots, model, dcls, own.prefix)
    session = Session(loaded, shelf, clouds, read_run, seed=seed)
    if export is not None:
        _export(session, export)
    else:
        from icnn_viz.explorer.server import serve

        serve(session, host, port, browser=browser, say=make_console().print)


def _export(session: Session, path: Path) -> None:
    from icnn_core.cli.app import make_console, make_progress
    from icnn_viz.explorer.export import write_page

    with make_progress() as progress:
        task = progress.add_task("looking", total=None)
        page = write_page(
            session, path, lambda done, total: progress.update(task, completed=done, total=total)
        )
    make_console().print(f"{page.describe()}\nOpen {path}.")
