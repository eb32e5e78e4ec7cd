"""`icnn-viz kernels`: what it writes, prints and refuses."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from icnn_core.errors import NameNotFoundError
from icnn_core.surgery import make_irregular
from icnn_viz.cli import main
from icnn_viz.data import builtin_path
from icnn_viz.displays import LAYER_VIEWS, NETWORK_VIEWS
from icnn_viz.displays.drawings import KernelOptions, to_file_names
from icnn_viz.records import PositionCloud

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
    pictures = {f"{layer}.{kind}.png" for layer in "02" for kind in ("cloud", "zoo", "3d")} | {"strip.png"}
    tables = {f"{table}.csv" for table in ("claims", "effects", "gaussians", "layers", "positions", "tests")}
    assert {path.name for path in tmp_path.glob("[!.]*")} == pictures | tables | {"clouds.html"}
    assert str(tmp_path / "clouds.html") in ended.out
    assert "14 files" in ended.out
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
        "weight",
        "kernel_size",
        "dilation",
        "regular",
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
    assert sorted(result["written"]) == sorted(str(path) for path in tmp_path.glob("[!.]*"))
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


def test_every_view_is_written(run_main: Run, checkpoint: Path, tmp_path: Path) -> None:
    ended = run_main(
        main, "kernels", checkpoint, "-o", tmp_path, "--view", "all", "-f", "svg", "--kernel", "3"
    )
    assert ended.code == 0
    of_layers = {f"{layer}.{view}" for layer in "02" for view in LAYER_VIEWS} - {"0.qq"}
    assert {path.stem for path in tmp_path.glob("*.svg")} == of_layers | set(NETWORK_VIEWS)
    assert "qq of 0 (fewer than 10 shapes)" in ended.out


def test_channel_kernel_and_slot_choose_what_is_shown(
    run_main: Run, checkpoint: Path, tmp_path: Path
) -> None:
    ended = run_main(
        main, "kernels", checkpoint, "-l", "2", "--view", "inspect", "--channel", "9", "-o", tmp_path
    )
    assert ended.code == 1
    assert "channel 0 to 4, kernel 0 to 3; got channel 9, kernel 0" in ended.err
    ended = run_main(main, "kernels", checkpoint, "-l", "0", "--view", "cloud", "--slot", "6", "-o", tmp_path)
    assert "slots of 0: needs 0 to 5; got 6" in ended.err
    options = ("--slot", "5", "--height", "weight", "--magnify", "3", "-o", tmp_path)
    views = ("--view", "3d", "--view", "cloud", "--view", "layers")
    assert run_main(main, "kernels", checkpoint, "-l", "0", *views, *options).code == 0


def test_each_view_gets_its_own_options(make_cloud: Callable[..., PositionCloud]) -> None:
    options = KernelOptions("dark", channel=3, kernel=2, slots=(1,), third_axis="weight", magnify=5.0)
    shared, full = make_cloud(), make_cloud(kernels=4, channels=6, sharing="none")
    assert options.of("cloud", shared) == {
        "theme": "dark", "magnify": 5.0, "scale": "auto", "slots": (1,)
    }  # fmt: skip
    assert options.of("3d", shared) == {
        "theme": "dark", "magnify": 5.0, "scale": "auto", "third_axis": "weight"
    }  # fmt: skip
    assert options.of("qq", shared) == {"theme": "dark", "slots": (1,)}
    assert options.of("field", shared) == {"theme": "dark", "scale": "auto"}
    assert options.of("inspect", shared) == {"theme": "dark", "channel": 3, "kernel": 0, "scale": "auto"}
    assert options.of("inspect", full) == {"theme": "dark", "channel": 3, "kernel": 2, "scale": "auto"}


def test_tables_are_written_as_parquet_too(run_main: Run, checkpoint: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    arguments = ("--table", "parquet", "--table", "csv", "-f", "svg", "--view", "layers")
    assert run_main(main, "kernels", checkpoint, "-o", tmp_path, *arguments).code == 0
    for name in ("positions", "gaussians", "layers", "tests", "claims", "effects"):
        parquet, csv = pd.read_parquet(tmp_path / f"{name}.parquet"), pd.read_csv(tmp_path / f"{name}.csv")
        assert list(parquet.columns) == list(csv.columns)
        assert len(parquet) == len(csv)


def test_parquet_without_pyarrow_says_what_to_install(
    run_main: Run, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "pyarrow" else find(name))
    ended = run_main(main, "kernels", checkpoint, "-o", tmp_path, "--table", "parquet")
    assert ended.code == 1
    assert "pip install pyarrow" in ended.err


def test_claims_are_stated_with_their_evidence(run_main: Run, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    np.savez(
        tmp_path / "layer.npz", positions=random.normal(size=(300, 9, 2)), kernel_size=(3, 3), dilation=(6, 6)
    )
    ended = run_main(main, "kernels", tmp_path / "layer.npz", "-o", tmp_path / "out", "-f", "html", "--json")
    claims = json.loads(ended.out)["claims"]
    assert len(claims) == 5
    assert claims[0]["verdict"] == "holds"
    assert claims[3]["verdict"] == "cannot be said here"
    assert "does not hold" in ended.err
    assert "of 9 slots" in ended.err


def test_a_layer_without_a_finite_position_is_listed(run_main: Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "layer.npz", positions=np.full((4, 9, 2), np.nan))
    ended = run_main(main, "kernels", tmp_path / "layer.npz", "-o", tmp_path / "out", "--view", "all")
    assert ended.code == 0
    assert "not finite" in ended.out
    assert "claims cannot be said here" in ended.out


def test_two_checkpoints_are_compared(run_main: Run, checkpoint: Path, tmp_path: Path) -> None:
    state = torch.load(checkpoint, weights_only=True)
    state["0.positions"][:, 2, 0] += 5.0
    other = tmp_path / "other.pt"
    torch.save(state, other)
    out = tmp_path / "out"
    ended = run_main(main, "kernels", checkpoint, other, "-o", out)
    assert ended.code == 0
    assert {path.name for path in out.glob("[!.]*")} == {"comparison.csv", "layers.csv", "runs.png"}
    rows = pd.read_csv(out / "comparison.csv", dtype={"layer_a": str}).set_index(["layer_a", "slot"])
    assert rows.loc[("0", 2), "shift_y"] == pytest.approx(5.0, abs=1e-5)
    assert rows.loc[("0", 3), "shift_y"] == 0
    assert "5.00" in ended.out
    ended = run_main(main, "kernels", checkpoint, other, "-o", tmp_path / "none", "--view", "cloud")
    assert "Leave out --view to compare" in ended.err
    ended = run_main(main, "kernels", checkpoint, other, other, "-o", out)
    assert "--view trajectory" in ended.err


def test_single_layers_are_compared_whatever_their_names(
    run_main: Run, checkpoint: Path, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    positions = random.normal(size=(30, 6, 2))
    for name in "ab":
        np.savez(tmp_path / f"{name}.npz", positions=positions, kernel_size=(2, 3))
        positions = positions + np.array([0.0, 2.5])
    out = tmp_path / "out"
    ended = run_main(main, "kernels", tmp_path / "a.npz", tmp_path / "b.npz", "-o", out)
    assert ended.code == 0, ended.err
    assert "a of the first was compared with b of the second" in " ".join(ended.out.split())
    rows = pd.read_csv(out / "comparison.csv")
    assert set(rows["layer_a"] + rows["layer_b"]) == {"ab"}
    assert rows["shift_x"].tolist() == pytest.approx([2.5] * 6)
    ended = run_main(main, "kernels", tmp_path / "a.npz", checkpoint, "-o", out)
    assert ended.code == 1
    assert "none in common" in ended.err


def test_a_runs_snapshots_become_a_trajectory(run_main: Run, checkpoint: Path, tmp_path: Path) -> None:
    state = torch.load(checkpoint, weights_only=True)
    run = tmp_path / "run"
    run.mkdir()
    for step in (10, 200, 30):
        state["0.positions"] += 0.1
        torch.save(state, run / f"{step}.pt")
    formats = ("-f", "png", "-f", "html", "-f", "gif")
    ended = run_main(
        main, "kernels", run, "-o", tmp_path / "out", "-l", "0", "--view", "trajectory", *formats
    )
    assert ended.code == 0
    drawn = {path.name for path in (tmp_path / "out").glob("[!.]*") if path.suffix != ".csv"}
    assert drawn == {"0.trajectory.png", "0.trajectory.html", "0.trajectory.gif"}
    ended = run_main(main, "kernels", run / "10.pt", "-o", tmp_path / "out", "--view", "trajectory")
    assert f"error: {run / '10.pt'}: needs two or more snapshots" in " ".join(ended.err.split())
    run.rename(tmp_path / "snapshots")  # beside the checkpoint, as training keeps them
    network, beside = Path(shutil.copy(checkpoint, tmp_path)), tmp_path / "beside"
    ended = run_main(main, "kernels", network, "-o", beside, "--view", "trajectory", "-f", "png")
    assert ended.code == 0, ended.err
    assert (beside / "0.trajectory.png").is_file()


def test_a_folder_of_transformers_is_one_network(run_main: Run, checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "net"
    folder.mkdir()
    state = torch.load(checkpoint, weights_only=True)
    save_file(state, folder / "model.safetensors")
    arguments = ("-o", tmp_path / "out", "--view", "layers", "-f", "svg", "--json")
    ended = run_main(main, "kernels", folder, *arguments)
    assert ended.code == 0
    assert json.loads(ended.out)["layers"][0]["layer"] == "0"


def test_dcls_layers_need_their_box(run_main: Run, tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(4, 3, 5), "P": torch.randn(2, 4, 3, 5)}, tmp_path / "dcls.pt")
    ended = run_main(main, "kernels", tmp_path / "dcls.pt", "--dcls", "v1", "-o", tmp_path / "out")
    assert "--kernel-size" in ended.err
    arguments = ("--dcls", "v1", "--kernel-size", "9x11", "-o", tmp_path / "out", "--json")
    ended = run_main(main, "kernels", tmp_path / "dcls.pt", *arguments)
    assert ended.code == 0
    assert json.loads(ended.out)["layers"][0]["kernel_size"] == "9x11"


def test_a_file_that_is_not_shipped_is_named() -> None:
    with pytest.raises(NameNotFoundError, match="shapes-iregular"):
        builtin_path("shapes-iregular.safetensors")
    assert builtin_path("__init__.py").name == "__init__.py"


def test_file_names_are_safe_and_distinct() -> None:
    names = to_file_names(["a.b", "A.B", "a/b", "a:b", "../../etc", "", "é" * 3, "x" * 300, "x" * 301])
    assert names[:3] == ["a.b", "A.B-2", "a_b"]
    assert names[4] == "_.._etc"
    assert len({name.lower() for name in names}) == len(names)
    for name in names:
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
        assert 0 < len(name) <= 83
        assert name[0] != "."
    assert to_file_names(["aux.0", "CON", "nul.txt", "com1", "auxiliary", "a.con"]) == [
        *("_aux.0", "_CON", "_nul.txt", "_com1"),
        *("auxiliary", "a.con"),
    ]
