"""`icnn-viz kernels`: the shapes a network learnt, as figures and tables."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from icnn_core.cli.app import JsonOption, OutOption, Theme, ThemeOption


class Format(StrEnum):
    """Kinds of file: pictures, and a page to turn and hover over."""

    png = "png"
    svg = "svg"
    pdf = "pdf"
    html = "html"


def command(
    checkpoint: Annotated[
        Path | None,
        typer.Argument(
            metavar="[CKPT]",
            help="A checkpoint or state dict; by default the built-in network.",
            show_default=False,
        ),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            "--layer",
            "-l",
            metavar="PATTERN",
            help="Only these layers; repeatable. Dotted names, shell patterns, Caffe's names.",
        ),
    ] = None,
    out: OutOption = Path("icnn-kernels"),
    format: Annotated[
        list[Format] | None,
        typer.Option("--format", "-f", help="Repeatable; by default png and html.", show_default=False),
    ] = None,
    json: JsonOption = False,
    theme: ThemeOption = Theme.light,
) -> None:
    """Draw the shapes of a network's irregular kernels.

    Writes, per layer, the cloud of positions in the plane and in space; one page to turn and hover over; and the
    tables positions.csv, gaussians.csv and layers.csv.
    """
    import pandas as pd

    from icnn_core.cli.app import make_console, print_json
    from icnn_viz.cli._table import to_layer_table, to_records, write_tables
    from icnn_viz.cli._views import choose_to_open, list_pictures, write_pictures
    from icnn_viz.data import builtin_path
    from icnn_viz.positions import read_clouds, select_layers
    from icnn_viz.statistics.gaussian import fit_gaussians, to_shapes
    from icnn_viz.statistics.summary import summarise_clouds

    path = checkpoint or builtin_path("shapes-irregular.safetensors")
    clouds = select_layers(read_clouds(path), layer or ())
    fits = [fit_gaussians(cloud) for cloud in clouds]
    layers = summarise_clouds(clouds)
    tables = {
        "positions": pd.concat([cloud.to_frame() for cloud in clouds], ignore_index=True),
        "gaussians": pd.concat([to_shapes(fit) for fit in fits], ignore_index=True),
        "layers": layers,
    }
    kinds = [str(kind) for kind in format or (Format.png, Format.html)]
    written = write_tables(tables, out) + write_pictures(list_pictures(clouds, fits, theme), kinds, out)
    console = make_console(json=json)
    console.print(to_layer_table(layers))
    console.print(f"{len(written)} files in {out}. Open {choose_to_open(written)}.")
    if json:
        print_json({"checkpoint": path, "layers": to_records(layers), "out": out, "written": written})
