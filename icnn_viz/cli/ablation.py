"""`icnn-viz ablation`: draw what `icnn ablate` measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from icnn_core.cli._options import JsonOption, OverwriteOption, ThemeOption
from icnn_core.cli.app import print_json
from icnn_viz.cli._shown import say

_SOURCE = "The folder that icnn ablate wrote, or a CSV with the columns variant, seed and mean_iou (0 to 1)."


def command(
    source: Annotated[Path, typer.Argument(metavar="DIR|CSV", help=_SOURCE)],
    against: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What the others are compared with. By default none or regular."),
    ] = None,
    title: Annotated[str | None, typer.Option(help="By default the folder's name.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="A .png, .svg or .pdf; by default ablation.png beside the runs.",
        ),
    ] = None,
    theme: ThemeOption = "light",
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Draw every run's mean IoU, the variants' means, and their paired differences to one with intervals.

    What the paper says of trainings is judged by rules fixed beforehand: ablation-effects.csv, beside the figure.

    Example: icnn-viz ablation runs/voc --out voc.svg
    """
    from dataclasses import asdict

    from icnn_core.outputs import check_target
    from icnn_viz.displays.ablation import draw_study, judge_study
    from icnn_viz.displays.tables import to_records, write_tables
    from icnn_viz.displays.text_tables import tell_claims
    from icnn_viz.figures.write import write_figure

    place = out or (source if source.is_dir() else source.parent) / "ablation.png"
    check_target(place, overwrite=overwrite)
    table = f"{place.stem}-effects"
    check_target(place.with_name(f"{table}.csv"), overwrite=overwrite)
    figure, summaries = draw_study(source, against, title, theme=theme)
    effects = judge_study(source, against)
    written = [write_figure(figure, place), *write_tables({table: effects}, place.parent)]
    say(tell_claims(effects), f"Wrote {' and '.join(map(str, written))}", json=as_json)
    if as_json:
        rows = [asdict(summary) for summary in summaries]
        print_json({"variants": rows, "effects": to_records(effects), "written": written})
