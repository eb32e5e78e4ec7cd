"""`icnn-viz report`: a network, or a pair, told on one page of HTML."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from icnn_core.cli._grouped import OwnNetwork, grouped
from icnn_core.cli._options import (
    DeviceOption,
    JsonOption,
    OverwriteOption,
    RootOption,
    SeedOption,
    refuse_ignored,
)
from icnn_core.text import counted
from icnn_viz.cli._options import (
    OfDcls,
    PairArgument,
    RegularOption,
    SplitOption,
    TargetOption,
    choose_pair,
    parse_pixels,
)


@grouped
def command(
    checkpoint: PairArgument = None,
    regular: RegularOption = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Take pixels from this data set: shapes, camvid, voc, …"),
    ] = None,
    root: RootOption = None,
    split: SplitOption = "val",
    target: TargetOption = "true",
    image: Annotated[
        Path | None,
        typer.Option("--image", "-i", metavar="PATH", help="Take pixels from this image instead."),
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
        int, typer.Option(metavar="N", min=0, max=64, help="How many to choose; 0 for none.")
    ] = 4,
    layer: Annotated[
        list[str] | None,
        typer.Option("--layer", "-l", metavar="PATTERN", help="Only these layers' kernels; repeatable."),
    ] = None,
    photo: Annotated[
        bool,
        typer.Option("--photo/--no-photo", help="Show the images; without, heatmaps and contours alone."),
    ] = True,
    network: OwnNetwork = OwnNetwork(),
    of_dcls: OfDcls = OfDcls(),
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The page.")] = Path(
        "icnn-report.html"
    ),
    device: DeviceOption = "auto",
    seed: SeedOption = 0,
    overwrite: OverwriteOption = False,
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
    if image is None and data is None:
        refuse_ignored(command, locals(), ("root",), "without --data")
    if image is not None:
        refuse_ignored(command, locals(), ("root", "split", "target"), "with --image")
    if not pixels and not pixel:
        refuse_ignored(
            command,
            locals() | vars(network),
            ("image", "data", "root", "split", "target", "photo", "reader"),
            "with --pixels 0",
        )
    if pixel:
        refuse_ignored(command, locals(), ("pixels",), "beside --pixel")
    places = parse_pixels(pixel)
    checkpoint, regular = choose_pair(checkpoint, regular, network.model)

    from icnn_core.cli.app import make_console, make_progress, print_json
    from icnn_core.outputs import check_target
    from icnn_viz.displays.tables import to_records
    from icnn_viz.report import Pixels, build_report, find_out, list_commands, write_report

    check_target(out, overwrite=overwrite)
    said = network.preparation()
    wanted = Pixels(data, root, split, image, places, pixels, target, network.reader, said)
    console = make_console(json=json)
    with make_progress() as progress:
        task = progress.add_task("looking", total=None)
        findings = find_out(
            checkpoint,
            regular,
            wanted,
            layers=layer or (),
            commands=list_commands(sys.argv[1:], checkpoint, regular, wanted, _how_to_read(network, of_dcls)),
            photo=photo,
            model=network.model,
            prefix=network.prefix,
            dcls=of_dcls.layers(),
            device=device,
            seed=seed,
        )
        progress.update(task, description="drawing")
        text = build_report(
            findings, on_drawn=lambda done, total: progress.update(task, completed=done, total=total)
        )
    write_report(text, out)
    size = out.stat().st_size
    for note in findings.notes:
        console.print(note)
    parts = counted(len(findings.looks), "pixel"), counted(len(findings.display.clouds), "layer")
    console.print(f"{out}: {size / 1e6:.1f} MB, {', '.join(parts)}.")
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
                    {"image": look.source, "x": look.pixel[1], "y": look.pixel[0]} for look in findings.looks
                ],
                "notes": list(findings.notes),
                "seed": seed,
            }
        )


def _how_to_read(network: OwnNetwork, of_dcls: OfDcls) -> list[str]:
    """The options among those given with which `icnn-viz kernels` reads the same layers."""
    given = {"--prefix": network.prefix, "--dcls": of_dcls.dcls, "--kernel-size": of_dcls.kernel_size}
    return [part for name, value in given.items() if value is not None for part in (name, value)]
