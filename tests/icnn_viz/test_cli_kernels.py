"""`icnn-viz kernels`: what it writes, prints and refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from icnn_core.surgery import make_irregular
from icnn_viz.cli import main
from icnn_viz.cli._views import to_file_names

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 5, (3, 2)), nn.ReLU(), nn.Conv2d(5, 4, 3, dilation=2))
    make_irregular(network, names="0", sharing="channel", shift=0.8)
    make_irregular(network, names="2", sharing="none", shift=0.0)
    path = tmp_path_factory.mktemp("checkpoint") / "network.pt"
    torch.save(network.state_dict(), path)
    return path


def test_pictures_page_and_tables_are_written_and_named(
    run_main: Run, checkpoint: Path, tmp_path: Path
) -> None:
    ended = run_main(main, "kernels", checkpoint, "--out", tmp_path)
    assert ended.code == 0
    pictures = {f"{layer}.{kind}.png" for layer in "02" for kind in ("cloud", "cloud3d")}
    tables = {"gaussians.csv", "layers.csv", "positions.csv"}
    assert {path.name for path in tmp_path.iterdir()} == pictures | tables | {"clouds.html"}
    assert str(tmp_path / "clouds.html") in ended.out
    assert "8 files" in ended.out
    assert ended.err == ""
    for cell in ("3x2", "3x3 d2x2", "undeformed", "0.0%"):
        assert cell in ended.out


def test_positions_are_a_tidy_table(run_main: Run, checkpoint: Path, tmp_path: Path) -> None:
    assert run_main(main, "kernels", checkpoint, "-o", tmp_path, "-f", "html").code == 0
    table = pd.read_csv(tmp_path / "positions.csv", dtype={"layer": str})
    assert list(table.columns) == [
        "layer",
        "kernel",
        "channel",
        "slot",
        "slot_y",
        "slot_x",
        "y",
        "x",
        "weight_norm",
    ]
    assert len(table) == 3 * 6 + 4 * 5 * 9
    state = torch.load(checkpoint, weights_only=True)
    row = table.query("layer == '0' and channel == 2 and slot == 3").iloc[0]
    assert row["kernel"] == "all"
    assert (row["slot_y"], row["slot_x"]) == (0.0, 0.5)
    np.testing.assert_allclose([row["y"], row["x"]], state["0.positions"][2, 3].numpy(), rtol=1e-6)
    assert row["weight_norm"] == pytest.approx(state["0.weight"][:, 2, 1, 1].norm().item(), rel=1e-6)
    row = table.query("layer == '2' and kernel == '3' and channel == 1 and slot == 7").iloc[0]
    assert row["weight_norm"] == pytest.approx(abs(state["2.weight"][3, 1, 2, 1].item()), rel=1e-6)
    assert len(pd.read_csv(tmp_path / "gaussians.csv")) == 6 + 9
    assert list(pd.read_csv(tmp_path / "layers.csv")["state"]) == ["ok", "undeformed"]


def test_json_lists_layers_and_files_and_nothing_else_is_on_stdout(
    run_main: Run, checkpoint: Path, tmp_path: Path
) -> None:
    ended = run_main(main, "kernels", checkpoint, "-o", tmp_path, "-f", "svg", "--layer", "2", "--json")
    result = json.loads(ended.out)
    assert [layer["layer"] for layer in result["layers"]] == ["2"]
    assert result["layers"][0]["largest_displacement"] == 0.0
    assert sorted(result["written"]) == sorted(str(path) for path in tmp_path.iterdir())
    assert {Path(path).suffix for path in result["written"]} == {".svg", ".csv"}
    assert "undeformed" in ended.err


def test_refusals_are_one_line_and_write_nothing(run_main: Run, checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    regular = tmp_path / "regular.pt"
    torch.save(nn.Conv2d(3, 4, 3).state_dict(), regular)
    for arguments, words in (
        ((regular,), "at least one irregular layer"),
        ((tmp_path / "none.pt",), "none.pt"),
        ((checkpoint, "--layer", "conv9"), "Known names: 0, 2."),
    ):
        ended = run_main(main, "kernels", *arguments, "--out", out)
        assert (ended.code, ended.out) == (1, "")
        assert words in ended.err
        assert ended.err.count("\n") == 1
    assert not out.exists()


def test_the_dark_theme_is_dark(run_main: Run, checkpoint: Path, tmp_path: Path) -> None:
    from matplotlib.image import imread

    for theme in ("light", "dark"):
        run_main(
            main, "kernels", checkpoint, "-o", tmp_path / theme, "-f", "png", "--theme", theme, "-l", "0"
        )
    assert imread(tmp_path / "light" / "0.cloud.png")[0, 0, :3].min() > 0.9
    assert imread(tmp_path / "dark" / "0.cloud.png")[0, 0, :3].max() < 0.2


def test_file_names_are_safe_and_distinct() -> None:
    names = to_file_names(["a.b", "A.B", "a/b", "a:b", "../../etc", "", "é" * 3, "x" * 300, "x" * 301])
    assert names[:3] == ["a.b", "A.B-2", "a_b"]
    assert names[4] == "_.._etc"
    assert len({name.lower() for name in names}) == len(names)
    for name in names:
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
        assert 0 < len(name) <= 83
        assert name[0] != "."
