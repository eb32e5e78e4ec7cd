"""Positions of any origin: arrays, tables, DCLS layers, deformable layers, snapshots of a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torchvision.ops import DeformConv2d

from icnn_core.checkpoint import write_checkpoint
from icnn_core.errors import ArgumentError, CheckpointError, DataError, NameNotFoundError, ShapeError
from icnn_core.nn import IrregularConv2d
from icnn_viz.positions import (
    clouds_from_deformable,
    read_arrays,
    read_dcls,
    read_snapshots,
    to_cloud,
)
from icnn_viz.records import PositionCloud

MakeCloud = Callable[..., PositionCloud]


# arrays


@pytest.mark.parametrize(
    ("shape", "sharing"), [((6, 2), "layer"), ((5, 6, 2), "channel"), ((4, 5, 6, 2), "none")]
)
def test_the_number_of_axes_says_what_is_shared(shape: tuple[int, ...], sharing: str) -> None:
    positions = np.random.default_rng(0).normal(size=shape)
    cloud = to_cloud(positions, kernel_size=(3, 2), dilation=(1, 4), layer="mine")
    assert (cloud.sharing, cloud.layer, cloud.kernel_size) == (sharing, "mine", (3, 2))
    np.testing.assert_array_equal(cloud.positions.reshape(shape), positions)
    np.testing.assert_array_equal(cloud.slots, [(-1, -2), (-1, 2), (0, -2), (0, 2), (1, -2), (1, 2)])
    assert (cloud.weights == 1).all()


def test_a_square_kernel_needs_no_size_and_other_slots_may_be_given() -> None:
    assert to_cloud(np.zeros((7, 25, 2))).kernel_size == (5, 5)
    slots = np.random.default_rng(0).normal(size=(4, 2))
    np.testing.assert_array_equal(to_cloud(np.zeros((7, 4, 2)), slots=slots).slots, slots)


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"\(channels, K, 2\)"):
        to_cloud(np.zeros((3, 3)))
    with pytest.raises(ShapeError, match="3·3 positions a shape"):
        to_cloud(np.zeros((5, 8, 2)), kernel_size=(3, 3))
    with pytest.raises(ShapeError, match=r"slots \(9, 2\)"):
        to_cloud(np.zeros((5, 9, 2)), slots=np.zeros((8, 2)))
    with pytest.raises(ShapeError, match="a weight for each"):
        to_cloud(np.zeros((5, 9, 2)), weights=np.zeros((5, 8)))
    with pytest.raises(ArgumentError, match="no square"):
        to_cloud(np.zeros((5, 6, 2)))


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": (3, 2), "channels": 12},
        {"kernels": 11, "channels": 3, "sharing": "none"},
        {"channels": 1, "sharing": "layer"},
    ],
)
def test_the_table_that_kernels_writes_is_read_back(
    make_cloud: MakeCloud, tmp_path: Path, options: dict[str, object]
) -> None:
    clouds = [make_cloud("b.conv", **options), make_cloud("a.conv", depth=1)]
    table = pd.concat([cloud.to_frame() for cloud in clouds])
    table.sample(frac=1, random_state=0).sort_values("layer", ascending=False).to_csv(
        tmp_path / "p.csv", index=False
    )
    for read, cloud in zip(read_arrays(tmp_path / "p.csv"), clouds, strict=True):
        assert (read.layer, read.depth, read.sharing) == (cloud.layer, cloud.depth, cloud.sharing)
        assert (read.kernel_size, read.dilation) == (cloud.kernel_size, cloud.dilation)
        np.testing.assert_allclose(read.slots, cloud.slots)
        np.testing.assert_allclose(read.positions, cloud.positions)
        np.testing.assert_allclose(read.weights, np.abs(cloud.weights))


def test_an_npz_file_holds_the_arguments(tmp_path: Path) -> None:
    positions = np.random.default_rng(1).normal(size=(3, 8, 2))
    weights = np.arange(24.0).reshape(3, 8)
    np.savez(tmp_path / "head.npz", positions=positions, kernel_size=(2, 4), dilation=(3, 1), weights=weights)
    (cloud,) = read_arrays(tmp_path / "head.npz")
    assert (cloud.layer, cloud.kernel_size, cloud.dilation) == ("head", (2, 4), (3, 1))
    np.testing.assert_array_equal(cloud.positions[0], positions)
    np.testing.assert_array_equal(cloud.weights[0], weights)


def test_broken_files_are_refused(make_cloud: MakeCloud, tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", offsets=np.zeros(3))
    (tmp_path / "text.npz").write_text("no archive")
    table = make_cloud(channels=4).to_frame()
    table.drop(columns="slot_y").to_csv(tmp_path / "short.csv", index=False)
    table.iloc[:-1].to_csv(tmp_path / "ragged.csv", index=False)
    pd.concat([table, table.iloc[:1]]).to_csv(tmp_path / "double.csv", index=False)
    for name, words in (
        ("other.npz", "named positions"),
        ("text.npz", "npz or .csv"),
        ("texts.npz", r"Did you mean .*text\.npz"),
        ("short.csv", "no slot_y"),
        ("ragged.csv", "35 rows"),
        ("double.csv", "37 rows"),
    ):
        with pytest.raises(DataError, match=words):
            read_arrays(tmp_path / name)


# DCLS


def _write_dcls(path: Path, places: np.ndarray, weight: np.ndarray) -> Path:
    state = {
        "net.0.weight": torch.tensor(weight),
        "net.0.P": torch.tensor(places),
        "net.1.weight": torch.zeros(3, 2),
    }
    torch.save(state, path)
    return path


@pytest.mark.parametrize(("version", "first"), [("v0", "y"), ("v1", "x"), ("max", "x"), ("gauss", "x")])
def test_the_version_decides_the_order_of_axes(tmp_path: Path, version: str, first: str) -> None:
    random = np.random.default_rng(2)
    places, weight = random.normal(size=(2, 4, 3, 6)), random.normal(size=(4, 3, 6))
    (cloud,) = read_dcls(_write_dcls(tmp_path / "net.pt", places, weight), version, 7)
    assert (cloud.layer, cloud.sharing, cloud.positions.shape) == ("net.0", "none", (4, 3, 6, 2))
    y, x = (places[0], places[1]) if first == "y" else (places[1], places[0])
    np.testing.assert_allclose(cloud.positions[2, 1], np.stack([y[2, 1], x[2, 1]], 1))
    np.testing.assert_array_equal(cloud.weights, weight)
    np.testing.assert_allclose(cloud.slots, cloud.points.mean(0))


def test_an_even_box_is_half_a_pixel_off(tmp_path: Path) -> None:
    places = np.zeros((2, 4, 3, 6))
    places[0] = np.arange(6)
    path = _write_dcls(
        tmp_path / "net.pt", places + np.random.default_rng(0).normal(size=places.shape), np.ones((4, 3, 6))
    )
    (odd,), (even,) = read_dcls(path, "v0", (7, 9)), read_dcls(path, "v0", (8, 9))
    np.testing.assert_allclose(
        even.positions - odd.positions, np.broadcast_to((0.5, 0.0), odd.positions.shape)
    )


def test_positions_that_kernels_share_are_kept_once(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    weight = random.normal(size=(4, 3, 6))
    shared = np.broadcast_to(random.normal(size=(2, 1, 3, 6)), (2, 4, 3, 6)).copy()
    (cloud,) = read_dcls(_write_dcls(tmp_path / "a.pt", shared, weight), "v0", 7)
    assert (cloud.sharing, cloud.positions.shape) == ("channel", (1, 3, 6, 2))
    np.testing.assert_allclose(cloud.weights[0], np.linalg.norm(weight, axis=0))
    one = np.broadcast_to(random.normal(size=(2, 1, 1, 6)), (2, 4, 3, 6)).copy()
    (cloud,) = read_dcls(_write_dcls(tmp_path / "b.pt", one, weight), "v0", 7)
    assert (cloud.sharing, cloud.positions.shape) == ("layer", (1, 1, 6, 2))


def test_what_is_not_dcls_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.save(nn.Conv2d(2, 3, 3).state_dict(), path)
    with pytest.raises(CheckpointError, match=r"a P \(2"):
        read_dcls(path, "v0", 7)
    with pytest.raises(NameNotFoundError, match="Did you mean v1"):
        read_dcls(path, "v12", 7)


# deformable convolutions


class _Deformable(nn.Module):
    """A 3×2 deformable layer with two offset groups, whose offsets are known."""

    def __init__(self, offset: torch.Tensor) -> None:
        super().__init__()
        self.offset = offset
        self.layer = DeformConv2d(4, 5, (3, 2), dilation=(1, 2))
        self.drop = nn.Dropout()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(self.drop(x), self.offset)


def test_a_deformable_layers_points_are_slot_plus_offset() -> None:
    torch.manual_seed(0)
    offset = torch.randn(2, 2 * 2 * 6, 5, 6)  # pairs (dy, dx), taps row-major, two groups
    network = _Deformable(offset).train()
    (cloud,) = clouds_from_deformable(network, [torch.randn(2, 4, 7, 8)])
    assert (cloud.layer, cloud.kernel_size, cloud.dilation) == ("layer", (3, 2), (1, 2))
    np.testing.assert_array_equal(cloud.slots, [(-1, -1), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 1)])
    assert cloud.positions.shape == (1, 2 * 2 * 5 * 6, 6, 2)
    tap, group = 3, 1
    wanted = offset[1, 2 * 6 * group + 2 * tap : 2 * 6 * group + 2 * tap + 2, 4, 2].numpy()
    assert np.isclose(cloud.displacements[:, tap], wanted, atol=1e-6).all(-1).sum() == 1
    np.testing.assert_allclose(
        cloud.displacements.mean(0)[tap],
        offset.unflatten(1, (2, 6, 2))[:, :, tap].mean((0, 1, 3, 4)),
        atol=1e-6,
    )
    norm = network.layer.weight.detach()[:, :, 1, 1].norm().item()
    np.testing.assert_allclose(cloud.weights[0, :, 3], norm, rtol=1e-6)
    assert network.training
    assert network.drop.training
    assert not network.layer._forward_pre_hooks


def test_places_are_drawn_from_all_images() -> None:
    network = _Deformable(torch.zeros(1, 12, 5, 6))

    def images() -> object:
        for value in (1.0, 2.0, 3.0):
            network.offset = torch.full((1, 12, 5, 6), value)
            yield torch.zeros(1, 4, 7, 8)

    (cloud,) = clouds_from_deformable(network, images(), samples=60)  # type: ignore[arg-type]
    values, counts = np.unique(cloud.displacements[:, 0, 0].round(6), return_counts=True)
    assert list(values) == [1, 2, 3]
    assert counts.sum() == 60
    assert counts.min() > 8


class ModulatedDeformConv2dPack(nn.Module):
    """Makes its offsets itself, as mmcv's layer of this name does: two thirds offsets, one third a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.dilation = nn.Parameter(torch.ones(5, 4, 3, 3)), 2
        self.conv_offset = nn.Conv2d(4, 27, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv_offset(x)


def test_a_layer_that_makes_its_own_offsets_is_watched_there() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(ModulatedDeformConv2dPack())
    image = torch.randn(1, 4, 6, 7)
    (cloud,) = clouds_from_deformable(network, [image])
    made = network(image)[0, :18].detach().double().numpy().reshape(9, 2, -1).transpose(2, 0, 1)
    np.testing.assert_allclose(cloud.displacements, made, atol=1e-6)
    assert cloud.dilation == (2, 2)


def test_networks_without_deformable_layers_are_refused() -> None:
    with pytest.raises(ArgumentError, match="a layer of class DeformConv2d"):
        clouds_from_deformable(nn.Conv2d(3, 4, 3), [])
    with pytest.raises(ArgumentError, match="images that reach"):
        clouds_from_deformable(_Deformable(torch.zeros(1)), [])


# snapshots


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


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    (path,) = _snapshots(tmp_path, [7], say=True)
    with pytest.raises(CheckpointError, match="two or more snapshots"):
        read_snapshots(path)
    with pytest.raises(CheckpointError, match="two of iteration 7"):
        read_snapshots([path, path])
    write_checkpoint(tmp_path / "other-8.pt", nn.Sequential(IrregularConv2d(4, 3, 3)))
    with pytest.raises(CheckpointError, match="snapshots of one network"):
        read_snapshots(tmp_path)
