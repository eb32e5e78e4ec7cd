"""`icnn-viz kernels`: the shapes a network learnt, as figures and tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from icnn_core.cli._grouped import grouped
from icnn_core.cli._options import (
    JsonOption,
    OutOption,
    OverwriteOption,
    PrefixOption,
    SeedOption,
    ThemeOption,
    refuse_ignored,
)
from icnn_viz.cli._options import BUILTIN, OfDcls
from icnn_viz.cli._shown import bar, tell, to_claim_words, to_comparison_table, to_layer_table

if TYPE_CHECKING:
    from icnn_viz.displays import KernelDisplay
    from icnn_viz.displays.drawings import KernelOptions
    from icnn_viz.displays.kernel_pair import KernelPairDisplay

Found = tuple[list[Path], dict[str, Any]]
"""What was written, and what --json says."""

Format = StrEnum("Format", ["png", "svg", "pdf", "html", "gif", "mp4"])
"""Kinds of file: pictures, a page to turn and hover over, films."""
TableKind = StrEnum("TableKind", ["csv", "parquet"])
"""Kinds of table."""
Scale = Literal["auto", "true", "facets"]
"""How small clouds are shown."""
ThirdAxis = Literal["auto", "channel", "weight", "density"]
"""The third axis of the view 3d."""


class View(StrEnum):
    """What to draw: of every layer, of all layers together, or of a run."""

    overview = "strip"  # str has a method of that name
    cloud = "cloud"
    zoo = "zoo"
    histogram = "histogram"
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


_LAYER = "Only these layers; repeatable. Dotted names, shell patterns, Caffe's names."
_CKPT = "A checkpoint, state dict, .npz or .csv; two to compare; a folder of snapshots. Default: the built-in network."
_VIEW = (
    "cloud, zoo, histogram, 3d, field, qq, inspect: of every layer; strip, layers, depth, rose, heat: of all together; "
    "trajectory: of a run's snapshots; all. Repeatable; by default strip, cloud, zoo, 3d, and histogram of many slots."
)
_FORMAT = (
    "png, svg, pdf; html for 3d and trajectory; gif, mp4 for trajectory. Repeatable; by default png and html."
)


@grouped
def command(
    checkpoint: Annotated[list[Path] | None, typer.Argument(metavar="CKPT", help=_CKPT)] = None,
    layer: Annotated[list[str] | None, typer.Option("--layer", "-l", metavar="PATTERN", help=_LAYER)] = None,
    view: Annotated[list[View] | None, typer.Option(metavar="VIEW", help=_VIEW)] = None,
    channel: Annotated[
        int, typer.Option(metavar="N", min=0, help="Input channel that the view inspect shows.")
    ] = 0,
    kernel: Annotated[
        int, typer.Option(metavar="N", min=0, help="Kernel that it shows, where kernels share nothing.")
    ] = 0,
    slot: Annotated[
        list[int] | None,
        typer.Option(metavar="N", min=0, help="Only these slots in cloud and qq; repeatable."),
    ] = None,
    third_axis: Annotated[
        ThirdAxis,
        typer.Option(help="The third axis of the view 3d; auto: density of many shapes, else weight."),
    ] = "auto",
    magnify: Annotated[
        float,
        typer.Option(
            metavar="TIMES", min=1, help="Lengthen displacements in cloud, 3d (pictures) and layers."
        ),
    ] = 1.0,
    scale: Annotated[
        Scale,
        typer.Option(
            metavar="auto|true|facets",
            help="One plane for all slots (true), or facets: each slot's displacements on its own axes.",
        ),
    ] = "auto",
    out: OutOption = Path("icnn-kernels"),
    format: Annotated[
        list[Format] | None, typer.Option("--format", "-f", metavar="KIND", help=_FORMAT)
    ] = None,
    table: Annotated[
        list[TableKind] | None,
        typer.Option(metavar="KIND", help="csv or parquet; repeatable; by default csv."),
    ] = None,
    of_dcls: OfDcls = OfDcls(),
    prefix: PrefixOption = None,
    seed: SeedOption = 0,
    overwrite: OverwriteOption = False,
    json: JsonOption = False,
    theme: ThemeOption = "light",
) -> None:
    """Draw and test the shapes of a network's irregular kernels.

    Writes a strip of all layers; per layer the cloud of positions in the plane and in space, and the shapes that
    changed most; one page to turn and hover over; and the tables positions, gaussians, layers, tests and claims. Of
    two checkpoints, how they differ. The network is read, not run: there is no --device to choose.

    Example: icnn-viz kernels runs/camvid/best.pt --layer fc1 --view all --out shapes
    """
    call = {name: value for name, value in locals().items() if name != "of_dcls"} | vars(of_dcls)
    from icnn_core.cli.app import make_console
    from icnn_core.outputs import check_writable, describe_call, one_call
    from icnn_viz.displays import KernelDisplay
    from icnn_viz.displays.drawings import KernelOptions
    from icnn_viz.displays.sources import read_display

    views = [str(one) for one in view or ()]
    _check_options(call, views, len(checkpoint or ()))
    check_writable(out)
    display = read_display(
        checkpoint or [],
        layer or (),
        is_run="trajectory" in views,
        dcls=of_dcls.layers(),
        prefix=prefix,
    )
    options = KernelOptions(theme, channel, kernel, tuple(slot or ()), third_axis, magnify, scale, seed)
    kinds = [str(kind) for kind in format or ("png", "html")]
    table_kinds = [str(kind) for kind in table or ("csv",)]
    say = make_console(json=json).print
    with one_call(out, "kernels", describe_call(call), overwrite=overwrite):
        if isinstance(display, KernelDisplay):
            _check_kinds(display, views, options, format or ())
            written, found = _show(display, views, options, kinds, table_kinds, out, say)
        else:
            written, found = _compare(display, views, options, kinds, table_kinds, out, say)
    tell([], written, out, {"checkpoints": _paths(checkpoint), **found, "out": out} if json else None)


_TAKEN_BY = {
    "channel": ("inspect",),
    "kernel": ("inspect",),
    "slot": ("cloud", "qq"),
    "third_axis": ("3d",),
    "magnify": ("cloud", "3d", "layers"),
    "scale": ("cloud", "zoo", "3d", "field", "inspect", "layers", "trajectory"),
}


def _check_options(given: dict[str, Any], views: Sequence[str], files: int) -> None:
    """A usage error for options that no view asked for takes."""
    if not files or "trajectory" in views:
        why = "on snapshots" if files else "on the built-in network"
        refuse_ignored(command, given, ["prefix"], why)
    if files == 2 and "trajectory" not in views:
        refuse_ignored(command, given, _TAKEN_BY, "on two checkpoints")
        odd = [kind for kind in given["format"] or () if kind not in ("png", "svg", "pdf")]
        if odd:
            raise typer.BadParameter(
                f"{odd[0]}: two checkpoints are drawn as png, svg, pdf.", param_hint="--format"
            )
        return
    shown = set(views or ("cloud", "zoo", "3d"))
    for name, takers in _TAKEN_BY.items():
        if not shown & {*takers, "all"}:
            refuse_ignored(command, given, [name], f"without --view {' or '.join(takers)}")


def _check_kinds(
    display: KernelDisplay, views: Sequence[str], options: KernelOptions, kinds: Sequence[str]
) -> None:
    """A usage error for a kind of file that no view asked for has, or a view that is drawn in none of them."""
    from icnn_viz.displays.drawings import draw_views

    sharings = {cloud.sharing for cloud in display.clouds}
    if options.kernel and "none" not in sharings:
        raise typer.BadParameter("has no effect where kernels share their shapes.", param_hint="--kernel")
    if options.channel and sharings == {"layer"}:
        raise typer.BadParameter("has no effect where channels share their shapes.", param_hint="--channel")
    suited = {
        view: {kind for drawing in draw_views(display, [view], options) for kind in drawing.kinds}
        for view in _expand(views, display)
    }
    for kind in kinds:
        if any(suited.values()) and not any(kind in suiting for suiting in suited.values()):
            text = f"{kind} is no kind of file for {', '.join(suited)}: see --help."
            raise typer.BadParameter(text, param_hint="--format")
    for view in dict.fromkeys(views):
        if kinds and view != "all" and suited[view] and not suited[view] & set(kinds):
            text = f"{view} is drawn as {', '.join(sorted(suited[view]))}: add one by --format."
            raise typer.BadParameter(text, param_hint="--view")


def _paths(given: Sequence[Path] | None) -> list[Path]:
    from icnn_viz.data import builtin_path

    return list(given or [builtin_path(BUILTIN[0])])


def _expand(views: Sequence[str], display: KernelDisplay) -> list[str]:
    """The views asked for, each once; "all" is all that can be drawn here."""
    from icnn_viz.displays.suited import default_views

    if "all" in views:
        return [str(one) for one in View if one != "all" and (one != "trajectory" or display.steps)]
    return list(dict.fromkeys(views)) or default_views(display.clouds)


def _show(
    display: KernelDisplay,
    views: Sequence[str],
    options: KernelOptions,
    kinds: Sequence[str],
    table_kinds: Sequence[str],
    out: Path,
    say: Callable[[Any], None],
) -> Found:
    from icnn_viz.displays.drawings import count_processes, draw_views, write_drawings
    from icnn_viz.displays.suited import left_out
    from icnn_viz.displays.tables import to_records, write_tables

    say(to_layer_table(display.summary()))  # before anything is tested or drawn
    tables, expanded = display.tables(seed=options.seed), _expand(views, display)
    written: list[Path] = []

    def measure() -> None:
        written.extend(write_tables(tables, out, table_kinds, bar("measuring")))
        say(to_claim_words(tables["claims"]))

    drawings, processes = draw_views(display, expanded, options), count_processes()
    written += write_drawings(drawings, kinds, out, bar("drawing"), processes=processes, meanwhile=measure)
    for note in left_out(expanded, display.clouds):
        say(note)
    return written, {name: to_records(tables[name]) for name in ("layers", "claims")}


def _compare(
    display: KernelPairDisplay,
    views: Sequence[str],
    options: KernelOptions,
    kinds: Sequence[str],
    table_kinds: Sequence[str],
    out: Path,
    say: Callable[[Any], None],
) -> Found:
    from icnn_core.errors import ArgumentError
    from icnn_viz.displays.drawings import draw_pair, write_drawings
    from icnn_viz.displays.kernel_pair import to_notes
    from icnn_viz.displays.tables import to_records, write_tables

    if views:
        raise ArgumentError(
            "kernels", needed="one checkpoint with --view", got="two", fix="Leave out --view to compare."
        )
    tables = display.tables(seed=options.seed)
    say(to_comparison_table(tables["comparison"]))
    for note in to_notes(tables["comparison"]):
        say(note)
    written = write_tables(tables, out, table_kinds)
    written += write_drawings(draw_pair(display, options.theme), kinds, out, bar("drawing"))
    return written, {name: to_records(table) for name, table in tables.items()}
