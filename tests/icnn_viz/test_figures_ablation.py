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
from icnn_core.training.ablation_table import VariantSummary, summarise
from icnn_viz.cli import main
from icnn_viz.figures.ablation import draw_ablation

ROWS = ["none", "classifier", "res5a", "a.module.with.a.rather.long.name"]


def make_runs(seeds: int = 4) -> tuple[pd.DataFrame, list[VariantSummary]]:
    rng = np.random.default_rng(3)
    base = 0.4 + 0.03 * rng.normal(size=seeds)
    rows = [
        {
            "variant": row,
            "seed": seed,
            "split": "val",
            "mean_iou": base[seed] + 0.02 * i + 0.005 * rng.normal(),
        }
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
    wide = runs.pivot(index="seed", columns="variant", values="mean_iou")[ROWS]
    seeds = [line for line in left.lines if line.get_gid() != "means"]
    np.testing.assert_allclose([line.get_xdata() for line in seeds], 100 * wide)
    assert all(line.get_ydata().tolist() == [0, 1, 2, 3] for line in seeds)
    np.testing.assert_allclose(find(left, "means").get_xdata(), [100 * s.mean for s in summaries])
    for place, summary in enumerate(summaries[1:], 1):
        points = next(
            dots for dots in right.collections if dots.get_gid() == f"differences of {summary.variant}"
        )
        np.testing.assert_allclose(points.get_offsets()[:, 0], 100 * (wide[summary.variant] - wide["none"]))
        interval = find(right, f"interval of {summary.variant}")
        assert summary.low is not None
        assert summary.high is not None
        np.testing.assert_allclose(interval.get_xdata(), [100 * summary.low, 100 * summary.high])
        assert round(interval.get_ydata()[0]) == place
        mean = find(right, f"mean of {summary.variant}")
        is_filled = mean.get_markerfacecolor() == mean.get_markeredgecolor()
        assert is_filled == (summary.low > 0 or summary.high < 0)
    assert not any(line.get_gid() == "mean of none" for line in right.lines)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("seeds", [1, 5])
def test_it_is_tidy(assert_tidy: Callable[[Figure], None], theme: str, seeds: int) -> None:
    runs, summaries = make_runs(seeds)
    assert_tidy(draw_ablation(runs, summaries, theme=theme, subtitle="measured on val"))


def test_seeds_that_agree_lie_side_by_side() -> None:
    """As do 3 of the 5 seeds of the second row: a dot hides none."""
    rows = [("none", seed, 0.4) for seed in range(5)]
    rows += [("fc1", seed, 0.45 + 0.02 * max(0, seed - 2)) for seed in range(5)]
    runs = pd.DataFrame(rows, columns=["variant", "seed", "mean_iou"])
    figure = draw_ablation(runs, summarise(list(runs.itertuples(index=False)), ["none", "fc1"]))  # type: ignore[arg-type]
    figure.draw_without_rendering()
    (dots,) = figure.axes[1].collections
    places = np.asarray(dots.get_offsets())
    np.testing.assert_allclose(np.sort(places[:, 0]), [5, 5, 5, 7, 9])
    assert len(set(places[:3, 1])) == 3
    assert np.abs(places[:, 1] - 0.78).max() < 0.3  # above the bar at 1.12


def test_nothing_to_show_is_an_error() -> None:
    with pytest.raises(ArgumentError, match="finished run"):
        draw_ablation(make_runs()[0], [])


def test_the_command_draws_a_folder_or_a_file(run_main: Callable[..., Any], tmp_path: Path) -> None:
    runs, summaries = make_runs()
    runs.to_csv(tmp_path / "runs.csv", index=False)
    ended = run_main(main, "ablation", tmp_path, "--json")
    assert ended.code == 0, ended.err
    result = json.loads(ended.out)
    assert [row["mean"] for row in result["variants"]] == pytest.approx([s.mean for s in summaries])
    assert [Path(path) for path in result["written"]] == [
        tmp_path / "ablation.png",
        tmp_path / "ablation-effects.csv",
    ]
    assert [row["verdict"] for row in result["effects"]] == pd.read_csv(
        tmp_path / "ablation-effects.csv"
    ).verdict.tolist()
    assert len(result["effects"]) == 5
    assert (tmp_path / "ablation.png").stat().st_size > 10_000
    runs.rename(columns={"variant": "row"}).to_csv(tmp_path / "runs.csv", index=False)  # as before 0.1
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
        ("variant,seed\nnone,0\n", (), "none of mean_iou"),
        ("variant,seed,mean_iou\nnone,0,43\n", (), "out of range"),
        ("variant,seed,mean_iou\nfc1,0,0.4\n", (), "'none'"),
        ("variant,seed,mean_iou\nnone,0,0.4\n", ("--against", "fc1"), "'fc1'"),
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
