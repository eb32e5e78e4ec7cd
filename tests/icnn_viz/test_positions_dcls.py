"""Layers of DCLS: read where they read, in all versions and boxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from icnn_core.errors import ArgumentError, CheckpointError, NameNotFoundError
from icnn_core.nn import IrregularConv2d
from icnn_viz.displays import KernelDisplay
from icnn_viz.positions import clouds_from_model, read_clouds, read_dcls


def _write_dcls(path: Path, places: np.ndarray, weight: np.ndarray) -> Path:
    state = {
        "net.0.weight": torch.tensor(weight),
        "net.0.P": torch.tensor(places),
        "net.1.weight": torch.zeros(3, 2),
    }
    torch.save(state, path)
    return path


def _read_ramp(layer: nn.Module, size: tuple[int, int], axis: int) -> np.ndarray:
    """Where each kernel's weight reads along an axis, from the middle of its box: a ramp's value is its place."""
    ramp = torch.arange(40.0, dtype=torch.float64)
    image = (ramp[:, None] if axis == 0 else ramp).expand(1, 1, 40, 40)
    with torch.no_grad():
        return layer(image)[0, :, 0, 0].numpy() - (size[axis] - 1) / 2


@pytest.mark.parametrize("size", [(7, 7), (8, 8), (7, 10), (10, 7), (9, 12), (12, 9)])
@pytest.mark.parametrize(("version", "inexact"), [("v0", 1e-9), ("v1", 1e-6), ("max", 1e-6), ("gauss", 0.03)])
def test_dcls_is_read_where_it_reads(
    tmp_path: Path, version: str, inexact: float, size: tuple[int, int]
) -> None:
    """Gauss reads through a Gaussian on whole pixels, whose middle is not quite its mean."""
    modules = pytest.importorskip("DCLS.construct.modules", reason="dcls is not installed")
    layer = modules.Dcls2d(1, 6, 1, dilated_kernel_size=size, bias=False, version=version).double()
    index = torch.rand(2, 6, 1, 1, dtype=torch.float64) * (torch.tensor(size) - 6).reshape(2, 1, 1, 1) + 2.5
    halves = torch.tensor(size).reshape(2, 1, 1, 1) // 2
    with torch.no_grad():
        layer.weight.fill_(1.0)
        layer.P.copy_((index if version == "v0" else index.flip(0)) - halves)  # well inside the box
    torch.save(nn.Sequential(layer).state_dict(), tmp_path / "net.pt")
    (cloud,) = read_dcls(tmp_path / "net.pt", version, size)
    assert not cloud.regular
    read = np.stack([_read_ramp(layer, size, axis) for axis in (0, 1)], 1)
    np.testing.assert_allclose(cloud.points[:, 0], read, rtol=0, atol=inexact)


@pytest.mark.parametrize("version", ["v0", "v1", "max", "gauss"])
def test_points_that_a_layer_does_not_read_where_they_are_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, version: str
) -> None:
    modules = pytest.importorskip("DCLS.construct.modules", reason="dcls is not installed")
    size = (11, 4)
    layer = modules.Dcls2d(1, 5, 1, dilated_kernel_size=size, bias=False, version=version).double()
    index = torch.tensor([[5, 1.5], [10, 3], [10.4, 2], [3, -0.6], [4, 6.5]], dtype=torch.float64).T
    halves = torch.tensor(size)[:, None] // 2
    with torch.no_grad():
        layer.weight.fill_(1.0)
        layer.P.copy_((index - halves if version == "v0" else index.flip(0) - halves).reshape(2, 5, 1, 1))
    torch.save(nn.Sequential(layer).state_dict(), tmp_path / "net.pt")
    (cloud,) = read_dcls(tmp_path / "net.pt", version, size)
    read = np.stack([_read_ramp(layer, size, axis) for axis in (0, 1)], 1)
    nothing = [
        layer(torch.ones(1, 1, 40, 40, dtype=torch.float64))[0, n, 0, 0].item() < 0.01 for n in range(5)
    ]
    apart = np.abs(cloud.points[:, 0] - read).max(1)[~np.array(nothing)]
    edge = {"v0": 2, "v1": 2, "max": 2, "gauss": 3}[version]  # half of a Gaussian at an edge lies within
    assert (sum(nothing), int((apart > 0.1).sum())) == (1, edge)
    assert (
        f"0: of 5 points 1 lie beyond the layer's box of 11 × 4, where it reads nothing, and {edge} so"
        in caplog.text
    )
    if version != "v0":  # whose weight fades
        assert f"by up to {apart.max():.2g} px" in caplog.text


@pytest.mark.parametrize("size", [9, 10])
@pytest.mark.parametrize("flat", [0, 1])
@pytest.mark.parametrize(("version", "inexact"), [("v0", 1e-9), ("v1", 1e-6), ("max", 1e-6), ("gauss", 0.03)])
def test_dcls_along_one_axis_is_read_where_it_reads(
    tmp_path: Path, version: str, inexact: float, flat: int, size: int
) -> None:
    modules = pytest.importorskip("DCLS.construct.modules", reason="dcls is not installed")
    layer = modules.Dcls2dK1d(
        1, 4, 1, dilated_kernel_size=size, bias=False, version=version, flat_dim=flat
    ).double()
    with torch.no_grad():
        layer.weight.fill_(1.0)
        layer.P.copy_(torch.rand(1, 4, 1, 1) * 2 - 1)
    torch.save(nn.Sequential(layer).state_dict(), tmp_path / "net.pt")
    box = (size, 1) if flat == 0 else (1, size)
    (cloud,) = read_dcls(tmp_path / "net.pt", version, box)
    read = np.stack([_read_ramp(layer, box, axis) for axis in (0, 1)], 1)
    np.testing.assert_allclose(cloud.points[:, 0], read, rtol=0, atol=inexact)


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


def test_layers_in_memory_are_those_of_their_file(tmp_path: Path) -> None:
    modules = pytest.importorskip("DCLS.construct.modules", reason="dcls is not installed")
    network = nn.Sequential(
        modules.Dcls2d(2, 4, 3, dilated_kernel_size=(7, 10), version="gauss"),
        IrregularConv2d(4, 2, 3),
        modules.Dcls2dK1d(2, 2, 3, dilated_kernel_size=9, version="v1", flat_dim=1),
    )
    torch.save(network[0].state_dict(), tmp_path / "first.pt")
    first, second, third = clouds_from_model(network)
    assert [(cloud.layer, cloud.depth, cloud.regular) for cloud in (first, second, third)] == [
        ("0", 0, False), ("1", 1, True), ("2", 2, False),
    ]  # fmt: skip
    (read,) = read_dcls(tmp_path / "first.pt", "gauss", (7, 10))
    np.testing.assert_array_equal(first.positions, read.positions)
    assert third.kernel_size == (1, 9)
    assert (third.points[..., 0] == 0).all()
    assert len(KernelDisplay.from_model(network).clouds) == 3


def test_a_file_of_dcls_says_what_it_does_not_hold(tmp_path: Path) -> None:
    path = _write_dcls(tmp_path / "net.pt", np.zeros((2, 4, 3, 6)), np.ones((4, 3, 6)))
    with pytest.raises(
        CheckpointError, match=r"their version, .*got 1 of them, 0\. Give --dcls v1 --kernel-size 7"
    ):
        read_clouds(path)
    torch.save(nn.Sequential(nn.Conv2d(3, 4, 5)).state_dict(), tmp_path / "regular.pt")
    with pytest.raises(
        CheckpointError, match=r"regular convolutions only: 0\.weight \(4×3×5×5\), 0\.bias \(4\)"
    ):
        read_clouds(tmp_path / "regular.pt")
    with pytest.raises(ArgumentError, match="a size"):
        read_dcls(path, "v0", (7, 0))
