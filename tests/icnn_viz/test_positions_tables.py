"""Tables of positions: what is written is read back equal; rows that contradict each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torchvision.ops import DeformConv2d

from icnn_core.errors import DataError
from icnn_viz.displays.tables import write_tables
from icnn_viz.positions import (
    clouds_from_deformable,
    read_arrays,
    read_clouds,
    to_cloud,
)
from icnn_viz.positions.dcls import dcls_to_cloud
from icnn_viz.records import PositionCloud

MakeCloud = Callable[..., PositionCloud]


class _Offsets(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = DeformConv2d(4, 5, (3, 2), dilation=(1, 2))  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x, torch.randn(2, 12, 5, 6))


def _all_kinds(make_cloud: MakeCloud) -> list[PositionCloud]:
    random = np.random.default_rng(0)
    layer = nn.Sequential(_Offsets())
    lost = make_cloud("lost", kernel_size=(1, 3), channels=4)
    lost.positions[0, 2, 1] = (np.nan, np.inf)
    names = (
        "NA",
        "null",
        "nan",
        "None",
        "n/a",
        "",
        "1.10",
        'comma, "quote"',
        "=sum(1)",
        "line\nbreak",
        "µ 层",
    )
    clouds = [make_cloud(name, channels=5, seed=n) for n, name in enumerate(names)]
    clouds += [
        make_cloud("channel", kernel_size=(3, 2), dilation=(1, 4), channels=12),
        make_cloud("none", kernels=11, channels=3, sharing="none"),
        make_cloud("one kernel, one channel", kernels=1, channels=1, sharing="none"),
        make_cloud("one for all", channels=1, sharing="layer"),
        make_cloud("one tap", kernel_size=(1, 1), channels=3),
        lost,
        dcls_to_cloud(
            "free", 0, "v1", (7, 4), torch.tensor(random.normal(size=(4, 3, 6))),
            torch.tensor(random.normal(size=(2, 4, 3, 6))),
        ),
        *clouds_from_deformable(layer, [torch.randn(2, 4, 7, 8)], samples=30),
        to_cloud(np.zeros((3, 6, 2)), slots=random.normal(size=(6, 2)), layer="free slots"),
    ]  # fmt: skip
    return [replace(cloud, depth=depth) for depth, cloud in enumerate(clouds)]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_every_table_of_positions_is_read_back_equal(
    make_cloud: MakeCloud, tmp_path: Path, kind: str
) -> None:
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    clouds = _all_kinds(make_cloud)
    table = pd.concat([cloud.to_frame() for cloud in clouds])
    (path,) = write_tables({"positions": table}, tmp_path, [kind])
    for read, cloud in zip(read_clouds(path), clouds, strict=True):
        for part in fields(PositionCloud):
            np.testing.assert_array_equal(getattr(read, part.name), getattr(cloud, part.name), part.name)


def test_rows_in_any_order_and_without_what_may_be_left_out(make_cloud: MakeCloud, tmp_path: Path) -> None:
    clouds = [make_cloud("b.conv", kernel_size=(3, 2), channels=12), make_cloud("a.conv", depth=1)]
    table = pd.concat([cloud.to_frame() for cloud in clouds])
    table = table.drop(columns=["weight", "kernel_size", "dilation", "regular"])
    table = table.sample(frac=1, random_state=0).sort_values("layer", ascending=False)
    table.to_csv(tmp_path / "p.csv", index=False)
    for read, cloud in zip(read_arrays(tmp_path / "p.csv"), clouds, strict=True):
        assert (read.layer, read.depth, read.sharing) == (cloud.layer, cloud.depth, cloud.sharing)
        assert (read.kernel_size, read.dilation) == (cloud.kernel_size, cloud.dilation)
        np.testing.assert_array_equal(read.positions, cloud.positions)
        np.testing.assert_array_equal(read.weights, np.abs(cloud.weights))


def test_kernels_without_channels_are_kernels(make_cloud: MakeCloud, tmp_path: Path) -> None:
    cloud = make_cloud(kernels=5, channels=1, sharing="none")
    cloud.to_frame().drop(columns="channel").to_csv(tmp_path / "kernels.csv", index=False)
    (read,) = read_arrays(tmp_path / "kernels.csv")
    assert read.sharing == "none"
    np.testing.assert_array_equal(read.positions, cloud.positions)


def test_rows_that_contradict_each_other_are_refused(make_cloud: MakeCloud, tmp_path: Path) -> None:
    table = make_cloud(channels=4, kernels=2, sharing="none").to_frame()
    shifted = table.assign(slot_y=table.slot_y + table.kernel)
    mixed = table.astype({"channel": object})
    mixed.loc[3, "channel"] = "all"
    for changed, words in (
        (shifted, "the same in every shape"),
        (mixed, "whole numbers in the column channel"),
        (table.assign(dilation="2"), "one dilation"),
        (table.assign(kernel_size=["3x3"] * 71 + ["9x1"]), "one kernel_size"),
        (table.assign(y="far"), "could not convert"),
    ):
        changed.to_csv(tmp_path / "p.csv", index=False)
        with pytest.raises(DataError, match=words):
            read_arrays(tmp_path / "p.csv")


def test_a_mark_of_the_encoding_is_no_part_of_a_column(make_cloud: MakeCloud, tmp_path: Path) -> None:
    """As spreadsheets write CSV."""
    clouds = [make_cloud("a", channels=3), make_cloud("b", channels=3, depth=1)]
    pd.concat([cloud.to_frame() for cloud in clouds]).to_csv(
        tmp_path / "P.CSV", index=False, encoding="utf-8-sig"
    )
    assert [cloud.layer for cloud in read_clouds(tmp_path / "P.CSV")] == ["a", "b"]


@pytest.mark.parametrize("mark", [";", "\t"])
def test_columns_that_are_parted_otherwise_are_told(make_cloud: MakeCloud, tmp_path: Path, mark: str) -> None:
    make_cloud(channels=3).to_frame().to_csv(tmp_path / "p.csv", index=False, sep=mark)
    with pytest.raises(DataError, match=r"columns parted by commas, .* got one column"):
        read_arrays(tmp_path / "p.csv")
