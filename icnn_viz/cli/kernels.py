"""`icnn-viz kernels`: the shapes a network learnt, as figures and tables."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from icnn_core.cli._options import JsonOption, OutOption, SeedOption, Theme, ThemeOption

if TYPE_CHECKING:
    from icnn_viz.cli._sources import Sources
    from icnn_viz.cli._views import ViewOptions


class View(StrEnum):
    """What to draw: of every layer, of all layers together, or of a run."""

    cloud = "cloud"
    space = "3d"
    field = "field"
    qq = "qq"
    inspect = "inspect"
    layers = "layers"
    depth = "depth"
    rose = "rose"
    heat = "heat"
    trajectory = "trajectory"
    all = "all"


class Format(StrEnum):
    """Kinds of file: pictures, a page to turn and hover over, films."""

    png = "png"
    svg = "svg"
    pdf = "pdf"
    html = "html"
    gif = "gif"
    mp4 = "mp4"


class Height(StrEnum):
    """The third axis of the view 3d."""

    channel = "channel"
    weight = "weight"
    density = "density"


class TableKind(StrEnum):
    """Kinds of table."""

    csv = "csv"
    parquet = "parquet"


class Dcls(StrEnum):
    """Versions of DCLS layers."""

    v0 = "v0"
    v1 = "v1"
    max = "max"
    gauss = "gauss"


_LAYER = "Only these layers; repeatable. Dotted names, shell patterns, Caffe's names."
_CKPT = "A checkpoint, state dict, .npz or .csv; two to compare; a folder of snapshots. Default: the built-in network."
_VIEW = (
    "cloud, 3d, field, qq, inspect: of every layer; layers, depth, rose, heat: of all together; "
    "trajectory: of a run's snapshots; all. Repeatable; by default cloud and 3d."
)
_FORMAT = (
    "png, svg, pdf; html for 3d and trajectory; gif, mp4 for trajectory. Repeatable; by default png and html."
)


def command(
    checkpoint: Annotated[
        list[Path] | None, typer.Argument(metavar="CKPT", help=_CKPT, show_default=False)
    ] = None,
    layer: Annotated[list[str] | None, typer.Option("--layer", "-l", metavar="PATTERN", help=_LAYER)] = None,
    view: Annotated[
        list[View] | None,
        typer.Option("--view", metavar="VIEW", help=_VIEW, show_default=False),
    ] = None,
    channel: Annotated[
        int, typer.Option(metavar="N", min=0, help="Input channel that the view inspect shows.")
    ] = 0,
    kernel: Annotated[
        int, typer.Option(metavar="N", min=0, help="Kernel that it shows, where kernels share nothing.")
    ] = 0,
    slot: Annotated[
        list[int] | None,
        typer.Option("--slot", metavar="N", min=0, help="Only these slots in cloud and qq; repeatable."),
    ] = None,
    height: Annotated[Height, typer.Option(help="The third axis of the view 3d.")] = Height.channel,
    magnify: Annotated[
        float,
        typer.Option(
            metavar="TIMES", min=1, help="Lengthen displacements in cloud, 3d (pictures) and layers."
        ),
    ] = 1.0,
    out: OutOption = Path("icnn-kernels"),
    format: Annotated[
        list[Format] | None, typer.Option("--format", "-f", metavar="KIND", help=_FORMAT, show_default=False)
    ] = None,
    table: Annotated[
        list[TableKind] | None,
        typer.Option(
            "--table", metavar="KIND", help="csv or parquet; repeatable; by default csv.", show_default=False
        ),
    ] = None,
    dcls: Annotated[
        Dcls | None, typer.Option(help="Read DCLS layers of this version.", show_default=False)
    ] = None,
    kernel_size: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Their dilated_kernel_size.", show_default=False)
    ] = None,
    seed: SeedOption = 0,
    json: JsonOption = False,
    theme: ThemeOption = Theme.light,
) -> None:
    """Draw and test the shapes of a network's irregular kernels.

    Writes, per layer, the cloud of positions in the plane and in space, one page to turn and hover over, and the
    tables positions, gaussians, layers, tests and claims. Of two checkpoints, how they differ. The network is read,
    not run: there is no --device to choose.

    Example: icnn-viz kernels runs/camvid/best.pt --layer fc1 --view all --out shapes
    """
    from icnn_viz.cli._sources import read_sources
    from icnn_viz.cli._views import ViewOptions

    views = [str(one) for one in view or ()]
    sources = read_sources(
        checkpoint or [],
        layer or (),
        is_run="trajectory" in views,
        dcls=dcls and str(dcls),
        kernel_size=kernel_size,
    )
    kinds = [str(kind) for kind in format or ("png", "html")]
    tables = [str(kind) for kind in table or ("csv",)]
    options = ViewOptions(str(theme), channel, kernel, tuple(slot or ()), str(height), magnify, seed)
    if sources.other is None:
        _look(sources, _expand(views, bool(sources.steps)), options, kinds, tables, out, json)
    else:
        _compare(sources, views, options, kinds, tables, out, json)


def _expand(views: Sequence[str], has_run: bool) -> list[str]:
    """The views asked for, each once; "all" is all that can be drawn here."""
    if "all" in views:
        return [str(one) for one in View if one != "all" and (one != "trajectory" or has_run)]
    return list(dict.fromkeys(views)) or ["cloud", "3d"]


def _look(
    sources: Sources,
    views: Sequence[str],
    options: ViewOptions,
    kinds: Sequence[str],
    table_kinds: Sequence[str],
    out: Path,
    json: bool,
) -> None:
    from icnn_viz.cli._table import make_tables, to_claim_words, to_layer_table, to_records, write_tables
    from icnn_viz.cli._views import list_pictures, list_trajectories, write_pictures
    from icnn_viz.displays import KernelDisplay

    display = KernelDisplay(sources.clouds)
    pictures = list_pictures(display, [one for one in views if one != "trajectory"], options)
    pictures += list_trajectories(sources, options.theme) if "trajectory" in views else []
    tables = make_tables(display.clouds, display.fits, options.seed)
    written = write_tables(tables, out, table_kinds) + write_pictures(pictures, kinds, out)
    result = {"layers": to_records(tables["layers"]), "claims": to_records(tables["claims"])}
    shown = [to_layer_table(tables["layers"]), to_claim_words(tables["claims"])]
    _report(sources, shown, written, out, result if json else None)


def _compare(
    sources: Sources,
    views: Sequence[str],
    options: ViewOptions,
    kinds: Sequence[str],
    table_kinds: Sequence[str],
    out: Path,
    json: bool,
) -> None:
    import pandas as pd

    from icnn_core.errors import ArgumentError
    from icnn_viz.cli._table import to_comparison_notes, to_comparison_table, to_records, write_tables
    from icnn_viz.cli._views import list_comparison, write_pictures
    from icnn_viz.statistics.distances import compare_runs
    from icnn_viz.statistics.layers import measure_layers

    if views:
        raise ArgumentError(
            "kernels", needed="one checkpoint with --view", got="two", fix="Leave out --view to compare."
        )
    other = sources.other or []
    comparison = compare_runs(sources.clouds, other, seed=options.seed)
    runs = {str(path): clouds for path, clouds in zip(sources.paths, (sources.clouds, other), strict=True)}
    layers = pd.concat(
        [measure_layers(clouds, seed=options.seed).assign(run=run) for run, clouds in runs.items()],
        ignore_index=True,
    )
    tables = {"comparison": comparison, "layers": layers}
    written = write_tables(tables, out, table_kinds) + write_pictures(
        list_comparison(sources, options.theme), kinds, out
    )
    result = {name: to_records(table) for name, table in tables.items()}
    shown = [to_comparison_table(comparison), *to_comparison_notes(comparison)]
    _report(sources, shown, written, out, result if json else None)


def _report(
    sources: Sources, shown: Sequence[Any], written: Sequence[Path], out: Path, result: dict[str, Any] | None
) -> None:
    """Say on the terminal what was found, what was written and what to open; as JSON too if there is a `result`."""
    from icnn_core.cli.app import make_console, print_json
    from icnn_viz.cli._views import choose_to_open

    console = make_console(json=result is not None)
    for one in shown:
        console.print(one)
    console.print(f"{len(written)} files in {out}. Open {choose_to_open(written)}.")
    if result is not None:
        print_json({"checkpoints": sources.paths, **result, "out": out, "written": written})
