"""From checkpoints and modules to clouds: shapes, weights, order, selection, refusals."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from icnn_core.errors import CheckpointError, NameNotFoundError
from icnn_core.nn import IrregularConv2d
from icnn_core.surgery import make_irregular
from icnn_viz.positions import clouds_from_model, read_clouds, select_layers


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(3)
    stem = nn.Sequential(nn.Conv2d(3, 6, (3, 2), dilation=(1, 2)), nn.ReLU(), nn.Conv2d(6, 4, 1))
    block = nn.Sequential(nn.Conv2d(4, 8, 3, groups=2, dilation=2))
    network = nn.Sequential()
    network.add_module("stem", stem)
    network.add_module("layer3", nn.Sequential(nn.Sequential(), block))
    network.add_module("head", nn.Conv2d(8, 5, 3, bias=False))
    make_irregular(network, names="stem", sharing="layer", shift=0.3)
    make_irregular(network, names="layer3", sharing="channel", shift=0.3)
    make_irregular(network, names="head", sharing="none", shift=0.3)
    return network


@pytest.fixture
def checkpoint(network: nn.Module, tmp_path: Path) -> Path:
    path = tmp_path / "network.pt"
    torch.save(network.state_dict(), path)
    return path


def test_clouds_come_in_network_order_with_their_geometry(network: nn.Module) -> None:
    clouds = clouds_from_model(network)
    assert [(c.layer, c.depth, c.kernel_size, c.dilation, c.sharing) for c in clouds] == [
        ("stem.0", 0, (3, 2), (1, 2), "layer"),
        ("layer3.1.0", 1, (3, 3), (2, 2), "channel"),
        ("head", 2, (3, 3), (1, 1), "none"),
    ]
    assert [c.positions.shape for c in clouds] == [(1, 1, 6, 2), (1, 4, 9, 2), (5, 8, 9, 2)]
    assert [c.weights.shape for c in clouds] == [(1, 1, 6), (1, 4, 9), (5, 8, 9)]
    np.testing.assert_array_equal(clouds[0].slots, [(-1, -1), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 1)])
    for cloud in clouds:
        layer = network.get_submodule(cloud.layer)
        assert isinstance(layer, IrregularConv2d)
        expected = layer.positions.detach().double().numpy().reshape(cloud.positions.shape)
        np.testing.assert_array_equal(cloud.positions, expected)


def test_weights_are_norms_over_what_shares_a_position(network: nn.Module) -> None:
    layer_shared, channel_shared, unshared = clouds_from_model(network)
    stem, block, head = (
        network.get_submodule(n).weight.detach().double() for n in ("stem.0", "layer3.1.0", "head")
    )
    assert layer_shared.weights[0, 0, 4] == pytest.approx(stem[:, :, 2, 0].norm().item())
    # channel 3 is the second of group 1, which kernels 4 to 7 read
    assert channel_shared.weights[0, 3, 5] == pytest.approx(block[4:8, 1, 1, 2].norm().item())
    assert unshared.weights[2, 7, 6] == pytest.approx(head[2, 7, 2, 0].item())
    assert (unshared.weights < 0).any()


def test_a_cloud_does_not_follow_the_module(network: nn.Module) -> None:
    cloud = clouds_from_model(network.double())[2]
    before = cloud.positions.copy()
    with torch.no_grad():
        network.get_submodule("head").positions.add_(1.0)
    np.testing.assert_array_equal(cloud.positions, before)


def test_a_single_layer_is_a_network_too() -> None:
    (cloud,) = clouds_from_model(IrregularConv2d(2, 3, 3))
    assert cloud.layer == "layer"


def test_a_state_dict_is_read_as_the_module_is(network: nn.Module, checkpoint: Path) -> None:
    for read, made in zip(read_clouds(checkpoint), clouds_from_model(network), strict=True):
        assert (read.layer, read.depth, read.sharing, read.dilation) == (
            made.layer,
            made.depth,
            made.sharing,
            made.dilation,
        )
        np.testing.assert_array_equal(read.positions, made.positions)
        np.testing.assert_array_equal(read.weights, made.weights)


def test_a_regular_network_is_refused(tmp_path: Path) -> None:
    torch.save(nn.Conv2d(3, 4, 3).state_dict(), tmp_path / "regular.pt")
    with pytest.raises(CheckpointError, match=r"regular\.pt: needs at least one irregular layer"):
        read_clouds(tmp_path / "regular.pt")


def test_positions_that_are_not_finite_are_logged_by_layer(
    network: nn.Module, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with torch.no_grad():
        network.get_submodule("layer3.1.0").positions[1, 2, 0] = torch.nan
        network.get_submodule("layer3.1.0").positions[3, 8] = torch.inf
    torch.save(network.state_dict(), tmp_path / "diverged.pt")
    with caplog.at_level(logging.WARNING, logger="icnn_viz"):
        clouds = read_clouds(tmp_path / "diverged.pt")
    assert len(clouds) == 3
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["layer3.1.0"]
    assert "2 of 36 positions" in caplog.text


@pytest.mark.parametrize(
    ("patterns", "chosen"),
    [
        ([], ["stem.0", "layer3.1.0", "head"]),
        (["head"], ["head"]),
        (["head", "stem"], ["stem.0", "head"]),
        (["layer3.?"], ["layer3.1.0"]),
        (["*.0"], ["stem.0", "layer3.1.0"]),
        (["res4b1"], ["layer3.1.0"]),
        (["res4b"], ["layer3.1.0"]),
    ],
)
def test_layers_are_selected_by_pattern(network: nn.Module, patterns: list[str], chosen: list[str]) -> None:
    assert [cloud.layer for cloud in select_layers(clouds_from_model(network), patterns)] == chosen


def test_a_pattern_that_matches_nothing_names_the_nearest(network: nn.Module) -> None:
    with pytest.raises(NameNotFoundError, match=r"--layer.*'haed'.*Did you mean head"):
        select_layers(clouds_from_model(network), ["stem", "haed"])


def test_a_student_and_its_teacher_are_told(
    network: nn.Module, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = network.state_dict()
    both = {f"{who}.{name}": tensor for who in ("student", "teacher") for name, tensor in state.items()}
    torch.save(both, tmp_path / "both.pt")
    assert len(read_clouds(tmp_path / "both.pt")) == 6
    assert "the same network under student., teacher.: the layers of all are shown. --prefix" in caplog.text
    caplog.clear()
    torch.save(
        {f"{who}.{name}": tensor for who in (0, 1) for name, tensor in state.items()}, tmp_path / "two.pt"
    )
    read_clouds(tmp_path / "two.pt")  # two blocks of one network
    read_clouds(tmp_path / "both.pt", prefix="teacher.")
    assert not caplog.records
