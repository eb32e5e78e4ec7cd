"""The tables of `icnn-viz kernels` follow from its seed."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from rich.console import Console

from icnn_viz.cli._shown import _to_table
from icnn_viz.displays import KernelDisplay
from icnn_viz.displays.tables import write_tables
from icnn_viz.displays.text_tables import TextTable
from icnn_viz.positions import read_clouds
from icnn_viz.records import PositionCloud


def test_the_same_seed_gives_the_same_tables_and_another_others(
    make_cloud: Callable[..., PositionCloud],
) -> None:
    clouds = [make_cloud("head", kernel_size=(3, 2), channels=300)]  # more shapes than the subsamples take
    first, again, other = (KernelDisplay(clouds).tables(seed=seed) for seed in (3, 3, 4))
    for name, table in first.items():
        assert_frame_equal(table, again[name])
    assert not first["tests"].equals(other["tests"])
    assert first["layers"]["mirror_x"].tolist() != other["layers"]["mirror_x"].tolist()


def test_a_missing_value_among_words_and_numbers_is_missing_in_parquet(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    table = pd.DataFrame({"slot": [3, "all", None], "p": [0.5, None, 1.0]})
    (path,) = write_tables({"tests": table}, tmp_path, ["parquet"])
    assert pd.read_parquet(path).astype(object).where(lambda read: read.notna(), None).to_dict("list") == {
        "slot": ["3", "all", None],
        "p": [0.5, None, 1.0],
    }


def test_no_name_is_a_formula_and_tables_are_read_back(
    make_cloud: Callable[..., PositionCloud], tmp_path: Path
) -> None:
    names = ("=HYPERLINK(1)", "+1", "-head", "@sum", "'quoted")
    clouds = [make_cloud(name, channels=4, seed=n) for n, name in enumerate(names)]
    (path,) = write_tables({"positions": KernelDisplay(clouds).tables()["positions"]}, tmp_path)
    with path.open(encoding="utf-8", newline="") as file:
        layers = {row["layer"] for row in csv.DictReader(file)}
    assert not any(layer.startswith(("=", "+", "-", "@")) for layer in layers)
    assert tuple(cloud.layer for cloud in read_clouds(path)) == names


def test_a_narrow_terminal_takes_no_digit_from_a_number() -> None:
    table = TextTable(("layer", "mean", "outside"), [["head" * 9, "123456.789", "55.6% (48.1%)"]], ("layer",))
    console = Console(width=24, legacy_windows=False)
    with console.capture() as found:
        console.print(_to_table(table))
    lines = [line.split("│")[1:-1] for line in found.get().splitlines() if "│" in line]
    shown = ["".join(cell.strip() for cell in column) for column in zip(*lines, strict=True)]
    assert shown == ["head" * 9, "123456.789", "55.6%(48.1%)"]
