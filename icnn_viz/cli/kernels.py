"""`icnn-viz kernels`: the shapes a network learnt, as figures and tables."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

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
from icnn_viz.cli._options import BUILTIN, LayersOption, OfDcls
from icnn_viz.cli._shown import bar, say, tell

Format = StrEnum("Format", ["png", "svg", "pdf", "html", "gif", "mp4"])
"""Kinds of file: pictures, a page to turn and hover over, films."""
TableKind = StrEnum("TableKind", ["csv", "parquet"])
"""Kinds of table."""
Scale = Literal["auto", "true", "facets"]
"""How small clouds are shown."""
ThirdAxis = Literal["auto", "channel", "weight", "density"]
"""The third axis of the view 3d."""


View = StrEnum("View", [
    "strip", "cloud", "zoo", "histogram", "3d", "field", "qq", "inspect",
    "layers", "depth", "rose", "heat", "trajectory", "all",
])  # fmt: skip
"""What to draw: of every layer, of all layers together, or of a run."""

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
    layer: LayersOption = None,
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
    changed most; one page to turn and hover over; and the tables positions, gaussians, layers, tests, claims and
    effects. Of two checkpoints, how they differ. The network is read, not run: there is no --device to choose.

    Example: icnn-viz kernels runs/camvid/best.pt --layer fc1 --view all --out shapes
    """
    call = {name: value for name, value in locals().items() if name != "of_dcls"} | vars(of_dcls)
    from icnn_core.outputs import check_writable, describe_call, one_call
    from icnn_viz.data import builtin_path
    from icnn_viz.displays import KernelDisplay
    from icnn_viz.displays.drawings import KernelOptions, count_processes
    from icnn_viz.displays.kernel_pair import to_notes
    from icnn_viz.displays.sources import read_display
    from icnn_viz.displays.suited import expand_views, ill_suited, left_out
    from icnn_viz.displays.tables import Tables, to_records
    from icnn_viz.displays.text_tables import tell_claims, tell_comparison, tell_layers

    views = [str(one) for one in view or ()]
    _check_options(call, views, len(checkpoint or ()))
    check_writable(out)
    source = {"is_run": "trajectory" in views, "dcls": of_dcls.layers(), "prefix": prefix}
    display = read_display(checkpoint or [], layer or (), **source)
    options = KernelOptions(theme, channel, kernel, tuple(slot or ()), third_axis, magnify, scale, seed)
    kinds, table_kinds = list(map(str, format or ("png", "html"))), list(map(str, table or ("csv",)))
    found: dict[str, Any] = {"checkpoints": checkpoint or [builtin_path(BUILTIN[0])]}

    def tell_tables(tables: Tables) -> None:
        if not isinstance(display, KernelDisplay):
            say(tell_comparison(tables["comparison"]), *to_notes(tables["comparison"]), json=json)
        else:
            say(tell_claims(tables["claims"]), json=json)
        shown = ("layers", "claims") if isinstance(display, KernelDisplay) else tables
        found.update({name: to_records(tables[name]) for name in shown})

    with one_call(out, "kernels", describe_call(call), overwrite=overwrite):
        if not isinstance(display, KernelDisplay):
            ways = {"theme": theme, "seed": seed, "track": bar("drawing"), "on_tables": tell_tables}
            written = display.write(out, kinds, table_kinds, **ways)
        else:
            if wrong := ill_suited(display, views, format or (), options):
                raise typer.BadParameter(wrong[1], param_hint=wrong[0])
            say(tell_layers(display.summary()), json=json)  # before anything is tested or drawn
            ways = {"options": options, "processes": count_processes(), "on_tables": tell_tables}
            ways |= {"drawing": bar("drawing"), "measuring": bar("measuring")}
            written = display.write(out, views, kinds, table_kinds, **ways)
            say(*left_out(expand_views(views, display), display.clouds), json=json)
    tell([], written, found | {"out": out}, json=json)


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
        if views:
            text = "needs one checkpoint. Leave out --view to compare two."
            raise typer.BadParameter(text, param_hint="--view")
        refuse_ignored(command, given, _TAKEN_BY, "on two checkpoints")
        for kind in given["format"] or ():
            if kind not in ("png", "svg", "pdf"):
                text = f"{kind}: two checkpoints are drawn as png, svg, pdf."
                raise typer.BadParameter(text, param_hint="--format")
        return
    shown = set(views or ("cloud", "zoo", "3d"))
    for name, takers in _TAKEN_BY.items():
        if not shown & {*takers, "all"}:
            refuse_ignored(command, given, [name], f"without --view {' or '.join(takers)}")
