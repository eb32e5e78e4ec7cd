"""`icnn-viz ablation`: draw what `icnn ablate` measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from icnn_core.cli._options import JsonOption, Theme, ThemeOption
from icnn_core.cli.app import make_console, print_json

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ("row", "seed", "mean_iou")
_SOURCE = "The folder that icnn ablate wrote, or a CSV with the columns row, seed and mean_iou (0 to 1)."


def command(
    source: Annotated[Path, typer.Argument(metavar="DIR|CSV", help=_SOURCE)],
    against: Annotated[str, typer.Option(metavar="ROW", help="The row to compare the others with.")] = "none",
    title: Annotated[
        str | None, typer.Option(help="By default the folder's name.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="A .png, .svg or .pdf; by default ablation.png beside the runs.",
            show_default=False,
        ),
    ] = None,
    theme: ThemeOption = Theme.light,
    as_json: JsonOption = False,
) -> None:
    """Draw every run's mean IoU, the rows' means, and their paired differences to one row with intervals.

    Example: icnn-viz ablation runs/voc --out voc.svg
    """
    from dataclasses import asdict

    from icnn_core.training.ablation_table import summarise
    from icnn_viz.figures.ablation import draw_ablation
    from icnn_viz.figures.write import write_figure

    path = source / "runs.csv" if source.is_dir() else source
    runs = _read_runs(path)
    rows = list(dict.fromkeys(runs["row"]))
    _check_row(path, against, rows)
    summaries = summarise(list(runs[list(_COLUMNS)].itertuples(index=False)), rows, against)  # type: ignore[arg-type]
    heading = title or path.absolute().parent.name
    splits = ", ".join(dict.fromkeys(runs["split"])) if "split" in runs else ""
    figure = draw_ablation(
        runs,
        summaries,
        against=against,
        title=heading,
        subtitle=f"measured on {splits}" if splits else "",
        theme=str(theme),
    )
    written = write_figure(figure, out or path.with_name("ablation.png"))
    make_console(json=as_json).print(f"Wrote {written}")
    if as_json:
        print_json({"rows": [asdict(summary) for summary in summaries], "written": written})


def _read_runs(path: Path) -> pd.DataFrame:
    import pandas as pd

    from icnn_core.errors import DataError
    from icnn_core.files import explain

    try:
        runs = pd.read_csv(path, dtype={"row": str})
        missing = [name for name in _COLUMNS if name not in runs]
        if missing or runs.empty or not runs["mean_iou"].between(0, 1).all():
            what = f"none of {', '.join(missing)}" if missing else "no runs, or values out of range"
            raise ValueError(what)
    except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        reason = explain(error)[0]
        raise DataError(
            str(path),
            needed="runs.csv of icnn ablate: row, seed, mean_iou in [0, 1]",
            got=reason,
            fix="Name the folder that icnn ablate wrote.",
        ) from error
    return runs


def _check_row(path: Path, against: str, rows: list[str]) -> None:
    from icnn_core.errors import NameNotFoundError, nearest_names

    if against not in rows:
        raise NameNotFoundError(
            str(path), needed="a row of it", got=repr(against), fix=nearest_names(against, rows)
        )
