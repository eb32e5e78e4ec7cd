"""What `icnn ablate` measured: read, summarised and drawn."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from icnn_core.errors import DataError, check_name
from icnn_core.files import explain, read_text
from icnn_core.training.ablation_table import VariantSummary, summarise

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_COLUMNS = ("variant", "seed", "mean_iou")


def draw_study(
    source: Path, against: str | None = None, title: str | None = None, *, theme: str = "light"
) -> tuple[Figure, list[VariantSummary]]:
    """The figure of a study, and its summary by variant.

    Args:
        source: the folder that `icnn ablate` wrote, or a CSV with the columns variant, seed and mean_iou.
        against: the variant that the others are compared with; by default none, or regular.
        title: None = the folder's name.

    Raises:
        DataError: the file cannot be used. NameNotFoundError: it has no variant `against`.
    """
    from icnn_viz.figures.ablation import draw_ablation

    runs, against = _open(source, against)
    rows = list(dict.fromkeys(runs["variant"]))
    summaries = summarise(list(runs[list(_COLUMNS)].itertuples(index=False)), rows, against)  # type: ignore[arg-type]
    splits = ", ".join(dict.fromkeys(runs["split"])) if "split" in runs else ""
    figure = draw_ablation(
        runs,
        summaries,
        against=against,
        title=title or (source if source.is_dir() else source.parent).absolute().name,
        subtitle=f"measured on {splits}" if splits else "",
        theme=theme,
    )
    return figure, summaries


def judge_study(source: Path, against: str | None = None) -> pd.DataFrame:
    """What the paper says of trainings, judged on a study's runs; `source` and `against` as of `draw_study`.

    See `judge_effects`.
    """
    from icnn_viz.statistics.effects import judge_effects

    runs, against = _open(source, against)
    return judge_effects(ablation=runs, against=against)


def _open(source: Path, against: str | None) -> tuple[pd.DataFrame, str]:
    """A study's runs, and the variant that the others are compared with."""
    path = source / "runs.csv" if source.is_dir() else source
    runs = _read_runs(path)
    rows = list(dict.fromkeys(runs["variant"]))
    against = against or ("regular" if "regular" in rows else "none")
    check_name(str(path), "a variant of it", against, rows)
    return runs, against


def _read_runs(path: Path) -> pd.DataFrame:
    import pandas as pd

    text = read_text(path, str(path), DataError)
    try:
        runs = pd.read_csv(io.StringIO(text), dtype={"variant": str, "row": str})
        runs = runs if "variant" in runs else runs.rename(columns={"row": "variant"})  # its name before 0.1
        missing = [name for name in _COLUMNS if name not in runs]
        if missing or runs.empty or not runs["mean_iou"].between(0, 1).all():
            what = f"none of {', '.join(missing)}" if missing else "no runs, or values out of range"
            raise ValueError(what)
    except ValueError as error:  # pandas' own errors are ValueErrors
        reason = explain(error)[0]
        needed = "runs.csv of icnn ablate: variant, seed, mean_iou in [0, 1]"
        fix = "Name the folder that icnn ablate wrote."
        raise DataError(str(path), needed=needed, got=reason, fix=fix) from error
    return runs
