"""`icnn import-masks`: masks drawn in colours to masks of class ids."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from icnn_core.cli._options import JsonOption, OverwriteOption
from icnn_core.cli.app import make_console, make_progress, print_json


def command(
    masks: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder of masks in colours (PNG, TIFF, BMP).")
    ],
    palette: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Which class each colour is: classes.json with a palette, or rows of name,r,g,b. Left out: list the "
            "colours that are there, and write nothing.",
        ),
    ] = None,
    void: Annotated[
        list[str] | None, typer.Option(metavar="R,G,B", help="A colour that means no class; repeatable.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="Folder for the masks, e.g. my-images/masks."),
    ] = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Turn masks drawn in colours into masks of class ids with a palette, as the data set "folder" reads them.

    Names and colours go into classes.json beside --out. Transparent pixels, and the colours of --void, become void
    (255). Colours that the palette lacks are an error that names them.

    Example: icnn import-masks drawn --palette colours.csv --void 0,0,0 --out my-images/masks
    """
    colours = [_parse_colour(text) for text in void or ()]
    if palette is not None and out is None:
        raise typer.BadParameter("needs a folder to write to.", param_hint="--out")

    from icnn_core.datasets.importing import convert_masks, count_colours, write_class_file
    from icnn_core.datasets.listing import files_by_stem

    files = files_by_stem("import-masks", masks)
    console = make_console(json=as_json)
    if palette is None or out is None:
        counted = count_colours(files.values())
        console.print(f"{len(counted)} colours in {len(files)} masks, the most frequent first:")
        for colour, share in counted[:40]:
            console.print(f"  {','.join(map(str, colour))}  {share:.1%}")
        console.print("Write them with names into a table, name,r,g,b a row, and name it with --palette.")
        if as_json:
            print_json({"colours": [{"rgb": colour, "share": share} for colour, share in counted]})
        return
    with make_progress() as bar:
        labels, written = convert_masks(
            files, palette, colours, out, lambda items: bar.track(items, description="converting"),
            overwrite=overwrite,
        )  # fmt: skip
    kept = write_class_file(out.parent / "classes.json", labels, overwrite=overwrite)
    if as_json:
        print_json({"written": written, "classes": kept, "names": labels.classes})
    console.print(f"{len(written)} masks of {len(labels.classes)} classes in {out}; their names in {kept}.")


def _parse_colour(text: str) -> tuple[int, int, int]:
    parts = text.split(",")
    if len(parts) != 3 or not all(part.strip().isdecimal() and int(part) < 256 for part in parts):
        raise typer.BadParameter(f"{text!r} is not R,G,B from 0 to 255.", param_hint="--void")
    return int(parts[0]), int(parts[1]), int(parts[2])
