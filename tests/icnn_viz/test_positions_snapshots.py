"""A run's snapshots: their order, and what is no run."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from icnn_core.checkpoint import write_checkpoint, write_snapshot
from icnn_core.errors import CheckpointError
from icnn_core.nn import IrregularConv2d
from icnn_core.surgery import make_irregular
from icnn_viz.displays import KernelPairDisplay
from icnn_viz.displays.sources import read_display
from icnn_viz.positions import (
    read_clouds,
    read_snapshots,
)


def _snapshots(folder: Path, iterations: list[int], *, say: bool) -> list[Path]:
    layer = IrregularConv2d(2, 3, 3, shift=0.0)
    paths = []
    for iteration in iterations:
        with torch.no_grad():
            layer.positions.copy_(layer.slots + iteration / 100)
        metrics = {"iteration": iteration} if say else {}
        paths.append(
            write_checkpoint(folder / f"step-{iteration}.safetensors", nn.Sequential(layer), metrics=metrics)
        )
    return paths


@pytest.mark.parametrize("say", [True, False])
def test_snapshots_come_in_order_of_iteration(tmp_path: Path, say: bool) -> None:
    paths = _snapshots(tmp_path, [100, 20, 3], say=say)
    (tmp_path / "config.toml").touch()
    for source in (tmp_path, paths, [tmp_path]):
        steps, snapshots = read_snapshots(source)
        assert steps == [3, 20, 100]
        for step, (cloud,) in zip(steps, snapshots, strict=True):
            np.testing.assert_allclose(cloud.displacements, step / 100, atol=1e-6)


def _write_steps(folder: Path, *names: str, times: Sequence[float] = (), dilation: int = 1) -> list[Path]:
    """State dicts of other programs, which say no iteration; the displacement of each is its place in the list."""
    paths = [folder / name for name in names]
    for number, path in enumerate(paths):
        layer = IrregularConv2d(2, 3, 3, shift=0.0, dilation=dilation)
        with torch.no_grad():
            layer.positions.add_(float(number))
        torch.save(nn.Sequential(layer).state_dict(), path)
    for path, seconds in zip(paths, times, strict=False):
        os.utime(path, (seconds, seconds))
    return paths


@pytest.mark.parametrize(
    ("names", "times", "steps"),
    [
        (("e10_acc0.71.pt", "e20_acc0.65.pt", "e30_acc0.68.pt"), (100, 200, 300), [10, 20, 30]),
        (("step_9.pt", "step_100.pt"), (50, 50), [9, 100]),
        (("epoch=1-step=90.pt", "epoch=2-step=180.pt"), (), [1, 2]),
        (("seed7_step_9.pt", "seed7_step_100.pt"), (100, 200), [9, 100]),
    ],
)
def test_names_tell_the_order_that_times_do_not_contradict(
    tmp_path: Path, names: tuple[str, ...], times: tuple[float, ...], steps: list[int]
) -> None:
    _write_steps(tmp_path, *names, times=times)
    found, snapshots = read_snapshots(tmp_path)
    assert found == steps
    assert [round(clouds[0].displacements.mean()) for clouds in snapshots] == list(range(len(names)))


@pytest.mark.parametrize(
    ("names", "times"),
    [
        (("step_100.pt", "step_200.pt", "final.pt"), (100, 200, 300)),
        (("e10_acc0.71.pt", "e20_acc0.65.pt"), (100, 100)),
        (("step_200.pt", "step_100.pt"), (100, 200)),
        (("a0.5.pt", "a0.7.pt"), (100, 200)),
    ],
)
def test_an_order_that_cannot_be_known_is_the_users_to_give(
    tmp_path: Path, names: tuple[str, ...], times: tuple[float, ...]
) -> None:
    paths = _write_steps(tmp_path, *names, times=times)
    with pytest.raises(CheckpointError, match="List the files in their order"):
        read_snapshots(tmp_path)
    found, snapshots = read_snapshots(paths)
    assert found == list(range(1, len(names) + 1))
    assert [round(clouds[0].displacements.mean()) for clouds in snapshots] == list(range(len(names)))


def test_other_programs_say_their_iteration_too(tmp_path: Path) -> None:
    for name, said in (
        ("final", {"epoch": 3, "global_step": 300}),
        ("a", {"global_step": 20}),
        ("b", {"step": 7}),
    ):
        state = nn.Sequential(IrregularConv2d(2, 3, 3)).state_dict()
        torch.save({"state_dict": state} | said, tmp_path / f"{name}.ckpt")
    assert read_snapshots(tmp_path)[0] == [7, 20, 300]


def test_snapshots_of_another_dilation_are_of_another_network(tmp_path: Path) -> None:
    _write_steps(tmp_path, "step_1.pt")
    _write_steps(tmp_path, "step_2.pt", dilation=2)
    with pytest.raises(CheckpointError, match="other layers, kernels or dilations"):
        read_snapshots(tmp_path)


def test_snapshots_hold_the_order_of_layers_and_their_iteration(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network = nn.Sequential(*[nn.Conv2d(2, 2, 3) for _ in range(12)])
    network.add_module("decoder", nn.Conv2d(2, 2, 3))
    network.add_module("a_last", nn.Conv2d(2, 2, 3, groups=2))
    make_irregular(network)
    names = [*map(str, range(12)), "decoder", "a_last"]
    for step in (3, 20):
        write_snapshot(tmp_path, network, step)
    (tmp_path / f"{3:08d}.safetensors").rename(tmp_path / "renamed.safetensors")
    steps, snapshots = read_snapshots(tmp_path)
    assert steps == [3, 20]
    assert [cloud.layer for cloud in snapshots[0]] == names
    assert not caplog.records
    save_file(network.state_dict(), tmp_path / "foreign.safetensors")
    clouds = read_clouds(tmp_path / "foreign.safetensors")
    assert [cloud.layer for cloud in clouds] == [*names[:12], "a_last", "decoder"]
    assert "does not say in which order its layers come" in caplog.text


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    (path,) = _snapshots(tmp_path, [7], say=True)
    with pytest.raises(CheckpointError, match="two or more snapshots"):
        read_snapshots(path)
    with pytest.raises(CheckpointError, match="two of iteration 7"):
        read_snapshots([path, path])
    write_checkpoint(tmp_path / "other-8.pt", nn.Sequential(IrregularConv2d(4, 3, 3)))
    with pytest.raises(CheckpointError, match="snapshots of one network"):
        read_snapshots(tmp_path)


def test_a_folder_that_is_no_run_says_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError,
        match=rf"^{re.escape(str(tmp_path))}: needs a network's weights .*; got 0; it holds nothing",
    ):
        read_snapshots([tmp_path])
    (tmp_path / "model.fp16.safetensors").write_bytes(b"")
    (tmp_path / "logs").mkdir()
    with pytest.raises(
        CheckpointError, match=r"it holds logs/, model.fp16.safetensors. Name the file: .*fp16"
    ):
        read_snapshots([tmp_path])


def test_layers_come_in_the_networks_order_if_any_file_says_it(tmp_path: Path) -> None:
    """A plain .safetensors file holds names by the alphabet: "a_head" before "stem"."""
    network = nn.Sequential()
    network.add_module("stem", IrregularConv2d(2, 3, 3))
    network.add_module("a_head", IrregularConv2d(3, 4, (3, 2)))
    save_file(network.state_dict(), tmp_path / "step-10.safetensors")
    torch.save(network.state_dict(), tmp_path / "step-20.pt")
    paths = [tmp_path / "step-10.safetensors", tmp_path / "step-20.pt"]
    assert [cloud.layer for cloud in read_clouds(paths[0])] == ["a_head", "stem"]
    _, snapshots = read_snapshots(paths)
    for clouds in snapshots:
        assert [(cloud.layer, cloud.depth) for cloud in clouds] == [("stem", 0), ("a_head", 1)]
    for mixed in (paths, paths[::-1]):
        pair = read_display(mixed)
        assert isinstance(pair, KernelPairDisplay)
        for display in pair.displays:
            assert [cloud.layer for cloud in display.clouds] == ["stem", "a_head"]
        assert list(dict.fromkeys(pair.tables()["comparison"]["layer_a"])) == ["stem", "a_head"]


def test_arrays_without_a_layers_name_are_one_layer_of_their_folder(tmp_path: Path) -> None:
    slots = np.stack(np.meshgrid([-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0], indexing="ij"), -1).reshape(9, 2)
    folder = tmp_path / "encoder"
    folder.mkdir()
    for step in (0, 10, 20):
        np.savez(folder / f"step-{step}.npz", positions=slots + step / 100, slots=slots)
    steps, snapshots = read_snapshots(folder)
    assert steps == [0, 10, 20]
    assert [cloud.layer for (cloud,) in snapshots] == ["encoder"] * 3
