"""`icnn-viz explore`: click through heatmaps, kernels and trajectories in a browser on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from icnn_core.cli._numbers import parse_size
from icnn_core.cli._options import DeviceOption, ModelOption, RootOption, SeedOption
from icnn_viz.cli._options import (
    BUILTIN,
    MaxSizeOption,
    PairArgument,
    RegularOption,
    SizeOption,
    SplitOption,
    choose_pair,
)

if TYPE_CHECKING:
    from rich.console import Console

    from icnn_core.datasets.registry import SegmentationDataset
    from icnn_viz.explorer.pictures import Shelf, Source
    from icnn_viz.explorer.session import Session


def command(
    checkpoint: PairArgument = None,
    regular: RegularOption = None,
    image: Annotated[
        list[Path] | None,
        typer.Option(
            "--image",
            "-i",
            metavar="PATH",
            help="Repeatable; by default the sample image.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="NAME",
            help="The images of this data set: shapes, camvid, voc, …",
            show_default=False,
        ),
    ] = None,
    root: RootOption = None,
    split: SplitOption = "val",
    snapshots: Annotated[
        Path | None,
        typer.Option(
            "--snapshots",
            metavar="DIR",
            help="Of the network's training; by default the folder snapshots beside CKPT.",
            show_default=False,
        ),
    ] = None,
    size: SizeOption = None,
    max_size: MaxSizeOption = 2048,
    model: ModelOption = None,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Anyone who reaches another address can look.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="0 takes a free one.")
    ] = 8050,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")
    ] = True,
    export: Annotated[
        Path | None,
        typer.Option(
            "--export",
            metavar="FILE.html",
            help="Write a page that needs no server, and stop.",
            show_default=False,
        ),
    ] = None,
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
    seen = parse_size(size) if size else None
    checkpoint, regular = choose_pair(checkpoint, regular, model)

    from icnn_core.cli.app import make_console
    from icnn_core.datasets.registry import open_dataset
    from icnn_core.models.factory import load_factory
    from icnn_viz.cli._inputs import check_classes
    from icnn_viz.explorer.session import Session
    from icnn_viz.gradients import load_pair

    if export is None:
        need_dash()
    console = make_console()
    dataset = open_dataset(data, root, split) if data else None
    shelf = make_shelf(image or (), dataset, f"{data} {split}", max_size)
    factory = load_factory(model) if model else None
    networks = load_pair(checkpoint, regular, factory=factory, size=seen, device=device, seed=seed)
    if dataset is not None:
        check_classes(networks, dataset, str(data))
    clouds, read_run = read_shapes(checkpoint, snapshots)
    session = Session(networks, shelf, clouds, read_run, seed=seed)
    if export is not None:
        _export(session, export, console)
    else:
        _serve(session, host, port, browser, console)


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


def make_shelf(images: Any, dataset: SegmentationDataset | None, name: str, max_size: int) -> Shelf:
    """The images named, read and checked at once; then those of the data set, read as they are wanted; else the sample.

    Args:
        name: what the data set's images are called if they have no files.

    Raises:
        DataError: an image cannot be used.
    """
    from icnn_viz.cli._inputs import read_image
    from icnn_viz.data import builtin_path
    from icnn_viz.explorer.pictures import Shelf, Source

    def held(path: Path, name: str) -> Source:
        array = read_image(path, max_size)
        return Source(name, lambda: (array, None))

    sources = [held(path, path.name) for path in images]
    sources += _list_dataset(dataset, name) if dataset is not None else []
    return Shelf(sources or [held(builtin_path(BUILTIN[2]), "sample")], max_size)


def read_shapes(checkpoint: Path, snapshots: Path | None) -> tuple[list[Any], Any]:
    """The clouds of a checkpoint's irregular layers, if it has any, and what reads its training's snapshots, or None.

    Raises:
        CheckpointError: the checkpoint cannot be read, or the folder named holds no snapshots.
    """
    from icnn_core.checkpoint import read_checkpoint
    from icnn_viz.positions import read_clouds, read_snapshots

    clouds = read_clouds(checkpoint) if read_checkpoint(checkpoint).irregular else []
    if snapshots is not None:
        run = read_snapshots(snapshots)
        return clouds, lambda: run
    beside = checkpoint.parent / "snapshots"
    return clouds, (lambda: read_snapshots(beside)) if beside.is_dir() else None


def _list_dataset(dataset: SegmentationDataset, name: str) -> list[Source]:
    from icnn_viz.explorer.pictures import Source

    pairs = getattr(dataset, "pairs", None)

    def read(index: int) -> Any:
        tensor, mask = dataset[index]
        return tensor.permute(1, 2, 0).numpy(), mask.numpy()

    def named(index: int) -> str:
        return pairs[index].stem if pairs else f"{name} {index}"

    return [Source(named(index), lambda index=index: read(index)) for index in range(len(dataset))]


def _serve(session: Session, host: str, port: int, browser: bool, console: Console) -> None:
    import sys
    import webbrowser

    from icnn_viz.explorer.guards import is_loopback
    from icnn_viz.explorer.server import bind, make_app

    server = bind(make_app(session, host=host), host, port)
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{server.port}/"
    if not is_loopback(host):
        text = "whoever reaches this address can look at these networks and images, and drop in their own."
        print(f"icnn-viz: warning: {text}", file=sys.stderr)
    console.print(f"Explorer at {address} · Ctrl-C ends it.")
    sys.stdout.flush()
    if browser:
        webbrowser.open(address)
    try:
        server.serve_forever()  # returns at Ctrl-C: werkzeug catches it
    finally:
        server.server_close()
    console.print("Ended.")


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
