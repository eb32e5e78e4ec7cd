"""The figure of an ablation, and the command that draws it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from icnn_core.errors import ArgumentError
from icnn_core.training.ablation_table import RowSummary, summarise
from icnn_viz.cli import main
from icnn_viz.figures.ablation import draw_ablation

ROWS = ["none", "classifier", "res5a", "a.module.with.a.rather.long.name"]


def make_runs(seeds: int = 4) -> tuple[pd.DataFrame, list[RowSummary]]:
    rng = np.random.default_rng(3)
    base = 0.4 + 0.03 * rng.normal(size=seeds)
    rows = [
        {"row": row, "seed": seed, "split": "val", "mean_iou": base[seed] + 0.02 * i + 0.005 * rng.normal()}
        for seed in range(seeds)
        for i, row in enumerate(ROWS)
    ]
    runs = pd.DataFrame(rows)
    return runs, summarise(list(runs.drop(columns="split").itertuples(index=False)), ROWS)  # type: ignore[arg-type]


def find(ax: Any, gid: str) -> Any:
    return next(line for line in ax.lines if line.get_gid() == gid)


def test_points_means_and_intervals_are_those_of_the_table() -> None:
    runs, summaries = make_runs()
    left, right = draw_ablation(runs, summaries).axes
    seed = runs[runs["seed"] == 2].set_index("row").loc[ROWS, "mean_iou"]
    np.testing.assert_allclose(find(left, "seed 2").get_xdata(), 100 * seed)
    np.testing.assert_allclose(find(left, "means").get_xdata(), [100 * s.mean for s in summaries])
    for place, summary in enumerate(summaries[1:], 1):
        wide = runs.pivot(index="seed", columns="row", values="mean_iou")
        points = find(right, f"differences of {summary.row}")
        np.testing.assert_allclose(points.get_xdata(), 100 * (wide[summary.row] - wide["none"]))
        interval = find(right, f"interval of {summary.row}")
        assert summary.low is not None
        assert summary.high is not None
        np.testing.assert_allclose(interval.get_xdata(), [100 * summary.low, 100 * summary.high])
        assert round(interval.get_ydata()[0]) == place
        mean = find(right, f"mean of {summary.row}")
        is_filled = mean.get_markerfacecolor() == mean.get_markeredgecolor()
        assert is_filled == (summary.low > 0 or summary.high < 0)
    assert not any(line.get_gid() == "mean of none" for line in right.lines)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("seeds", [1, 5])
def test_it_is_tidy(assert_tidy: Callable[[Figure], None], theme: str, seeds: int) -> None:
    runs, summaries = make_runs(seeds)
    assert_tidy(draw_ablation(runs, summaries, theme=theme, subtitle="measured on val"))


def test_nothing_to_show_is_an_error() -> None:
    with pytest.raises(ArgumentError, match="finished run"):
        draw_ablation(make_runs()[0], [])


def test_the_command_draws_a_folder_or_a_file(run_main: Callable[..., Any], tmp_path: Path) -> None:
    runs, summaries = make_runs()
    runs.to_csv(tmp_path / "runs.csv", index=False)
    ended = run_main(main, "ablation", tmp_path, "--json")
    assert ended.code == 0, ended.err
    result = json.loads(ended.out)
    assert [row["mean"] for row in result["rows"]] == pytest.approx([s.mean for s in summaries])
    assert Path(result["written"]) == tmp_path / "ablation.png"
    assert (tmp_path / "ablation.png").stat().st_size > 10_000
    picture = tmp_path / "dark.svg"
    ended = run_main(
        main, "ablation", tmp_path / "runs.csv", "--theme", "dark", "--against", "res5a", "-o", picture
    )
    assert ended.code == 0, ended.err
    assert picture.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("text", "options", "part"),
    [
        (None, (), "runs.csv"),
        ("", (), "runs.csv of icnn ablate"),
        ("row,seed\nnone,0\n", (), "none of mean_iou"),
        ("row,seed,mean_iou\nnone,0,43\n", (), "out of range"),
        ("row,seed,mean_iou\nfc1,0,0.4\n", (), "'none'"),
        ("row,seed,mean_iou\nnone,0,0.4\n", ("--against", "fc1"), "'fc1'"),
    ],
)
def test_errors_are_one_line(
    run_main: Callable[..., Any], tmp_path: Path, text: str | None, options: tuple[str, ...], part: str
) -> None:
    if text is not None:
        (tmp_path / "runs.csv").write_text(text)
    ended = run_main(main, "ablation", tmp_path, *options)
    assert ended.code == 1
    assert len(ended.err.splitlines()) == 1
    assert part in ended.err
