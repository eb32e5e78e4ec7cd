"""`icnn-viz report`: a network, or a pair, told on one page of HTML."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from icnn_core.cli._grouped import OwnNetwork, grouped, values_of
from icnn_core.cli._options import DeviceOption, JsonOption, OverwriteOption, SeedOption, refuse_ignored
from icnn_core.text import counted
from icnn_viz.cli._options import (
    LayersOption,
    OfData,
    OfDcls,
    PairArgument,
    PixelsOption,
    RegularOption,
    TargetOption,
    choose_pair,
    need_html,
    parse_pixels,
)


@grouped
def command(
    checkpoint: PairArgument = None,
    regular: RegularOption = None,
    images: OfData = OfData(),
    target: TargetOption = "true",
    image: Annotated[
        Path | None,
        typer.Option("--image", "-i", metavar="PATH", help="Take pixels from this image instead."),
    ] = None,
    pixel: PixelsOption = [],  # noqa: B006
    pixels: Annotated[
        int, typer.Option(metavar="N", min=0, max=64, help="How many to choose without --pixel; 0 for none.")
    ] = 4,
    layer: LayersOption = None,
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
    given = locals() | values_of(images, network)
    data, root, split = images.data, images.root, images.split
    if pixel and image is None:
        raise typer.BadParameter("says where in an image: add --image.", param_hint="--pixel")
    if image is not None and data is not None:
        raise typer.BadParameter("takes the place of --data: give one of them.", param_hint="--image")
    need_html(out, "--out")
    looked_at = ("image", "data", "root", "split", "target", "photo", "reader")
    for applies, names, why in (
        (image is None and data is None, ("root",), "without --data"),
        (image is not None, ("root", "split", "target"), "with --image"),
        (not pixels and not pixel, looked_at, "with --pixels 0"),
        (bool(pixel), ("pixels",), "beside --pixel"),
    ):
        refuse_ignored(command, given, names if applies else (), why)
    places = parse_pixels(pixel)
    checkpoint, regular = choose_pair(checkpoint, regular, network.model)

    from icnn_core.cli.app import make_progress, print_json
    from icnn_core.outputs import check_target
    from icnn_viz.cli._shown import say
    from icnn_viz.displays.tables import to_records
    from icnn_viz.report import Pixels, build_report, find_out, list_commands, write_report

    check_target(out, overwrite=overwrite)
    wanted = Pixels(data, root, split, image, places, pixels, target, network.reader, network.preparation())
    how = {"--prefix": network.prefix, "--dcls": of_dcls.dcls, "--kernel-size": of_dcls.kernel_size}
    read = [part for name, value in how.items() if value is not None for part in (name, value)]
    with make_progress() as progress:
        task = progress.add_task("looking", total=None)
        findings = find_out(
            checkpoint,
            regular,
            wanted,
            layers=layer or (),
            commands=list_commands(sys.argv[1:], checkpoint, regular, wanted, read),
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
    clouds, comparisons, size = findings.display.clouds, findings.comparisons, out.stat().st_size
    parts = f"{counted(len(comparisons), 'pixel')}, {counted(len(clouds), 'layer')}"
    say(*findings.notes, f"{out}: {size / 1e6:.1f} MB, {parts}.", json=json)
    if json:
        found = {"out": out, "bytes": size, "checkpoint": checkpoint, "regular": regular}
        found |= {"layers": [cloud.layer for cloud in clouds]}
        found |= {"claims": to_records(findings.tables["claims"])}
        found |= {"pixels": [{"image": o.source, "x": o.pixel[1], "y": o.pixel[0]} for o in comparisons]}
        print_json(found | {"notes": list(findings.notes), "seed": seed})
