"""`icnn-viz report`: a network, or a pair, told on one page of HTML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from icnn_core.cli._options import DeviceOption, JsonOption, ModelOption, RootOption, SeedOption
from icnn_viz.cli._inputs import parse_pixel
from icnn_viz.cli._options import PairArgument, RegularOption, SplitOption, choose_pair


def command(
    checkpoint: PairArgument = None,
    regular: RegularOption = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="NAME",
            help="Take pixels from this data set: shapes, camvid, voc, …",
            show_default=False,
        ),
    ] = None,
    root: RootOption = None,
    split: SplitOption = "val",
    image: Annotated[
        Path | None,
        typer.Option(
            "--image", "-i", metavar="PATH", help="Take pixels from this image instead.", show_default=False
        ),
    ] = None,
    pixel: Annotated[
        list[str],
        typer.Option(
            "--pixel",
            "-p",
            metavar="x,y",
            help="Column and row in --image, from 0; repeatable. By default chosen from what is seen there.",
            show_default=False,
        ),
    ] = [],  # noqa: B006
    pixels: Annotated[
        int, typer.Option("--pixels", metavar="N", min=0, max=64, help="How many to choose; 0 for none.")
    ] = 4,
    layer: Annotated[
        list[str] | None,
        typer.Option("--layer", "-l", metavar="PATTERN", help="Only these layers' kernels; repeatable."),
    ] = None,
    photo: Annotated[
        bool,
        typer.Option("--photo/--no-photo", help="Show the images; without, heatmaps and contours alone."),
    ] = True,
    model: ModelOption = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The page.")] = Path(
        "icnn-report.html"
    ),
    device: DeviceOption = "auto",
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Tell on one page what a network's irregular kernels learnt, for a reader who never heard of them.

    One HTML file that needs no network and no other file: what the method is, the model card, figures of the kernels
    and some to turn, the paper's claims judged, heatmaps of some pixels beside the regular network's, tables to sort
    and to download. If the run's `snapshots` lie beside the checkpoint, how its kernels grew.

    Example: icnn-viz report irregular.pt --regular regular.pt --data camvid --root CamVid --out report.html
    """
    if pixel and image is None:
        raise typer.BadParameter("says where in an image: add --image.", param_hint="--pixel")
    if image is not None and data is not None:
        raise typer.BadParameter("takes the place of --data: give one of them.", param_hint="--image")
    if out.suffix.lower() not in (".html", ".htm"):
        raise typer.BadParameter(f"{out} does not end in .html.", param_hint="--out")
    places = list(dict.fromkeys(parse_pixel(text) for text in pixel))
    checkpoint, regular = choose_pair(checkpoint, regular, model)

    from icnn_core.cli.app import make_console, make_progress, print_json
    from icnn_viz.cli._findings import Asked, find_out
    from icnn_viz.cli._table import to_records
    from icnn_viz.report import build_report, write_report

    asked = Asked(
        checkpoint, regular, tuple(layer or ()), data, root, split, image, tuple(places), pixels, photo, model,
        device, seed,
    )  # fmt: skip
    console = make_console(json=json)
    with make_progress() as progress:
        task = progress.add_task("looking", total=None)
        findings = find_out(asked)
        progress.update(task, description="drawing")
        text = build_report(
            findings, on_drawn=lambda done, total: progress.update(task, completed=done, total=total)
        )
    write_report(text, out)
    size = out.stat().st_size
    for note in findings.notes:
        console.print(note)
    console.print(
        f"{out}: {size / 1e6:.1f} MB, {len(findings.looks)} pixels, {len(findings.display.clouds)} layers."
    )
    if json:
        print_json(
            {
                "out": out,
                "bytes": size,
                "checkpoint": checkpoint,
                "regular": regular,
                "layers": [cloud.layer for cloud in findings.display.clouds],
                "claims": to_records(findings.tables["claims"]),
                "pixels": [
                    {
                        "image": seen.source,
                        "x": seen.look.gradients[0].pixel[1],
                        "y": seen.look.gradients[0].pixel[0],
                    }
                    for seen in findings.looks
                ],
                "notes": list(findings.notes),
                "seed": seed,
            }
        )
