"""Deformable layers over images: points, and places drawn with the same chance."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.ops import DeformConv2d

from icnn_core.errors import ArgumentError
from icnn_viz.positions import (
    clouds_from_deformable,
)


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


def test_every_place_has_the_same_chance_whatever_the_images_size() -> None:
    network = _Deformable(torch.zeros(1, 12, 5, 6))

    def images() -> Iterator[torch.Tensor]:
        for value, size in ((1.0, (16, 16)), (2.0, (140, 130))):
            network.offset = torch.full((1, 24, *size), value)
            yield torch.zeros(1, 4, size[0] + 2, size[1] + 2)

    (cloud,) = clouds_from_deformable(network, images(), samples=2000)
    share = (cloud.displacements[:, 0, 0] == 1).mean()
    assert share == pytest.approx(16 * 16 / (16 * 16 + 140 * 130), abs=0.01)
    assert len(cloud.points) == 2000


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
