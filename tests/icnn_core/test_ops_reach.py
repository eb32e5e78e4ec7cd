"""The positions' reach that is kept between calls is never older than the positions."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from icnn_core import IrregularConv2d
from icnn_core.ops import backends, dense
from icnn_core.ops.geometry import Geometry

FAR = torch.tensor([2.3, -3.4])


@pytest.fixture
def layer() -> IrregularConv2d:
    torch.manual_seed(0)
    return IrregularConv2d(2, 3, (3, 2), padding=2, shift=0.2)


def test_back_ends_are_chosen_by_the_reach_of_positions_changed_in_place(layer: IrregularConv2d) -> None:
    sizes = Geometry(1, 2, 3, (11, 9), (3, 2), (1, 1), (2, 2), (1, 1), 1)
    first = backends.read_reach(layer.positions, sizes, None)
    assert backends.read_reach(layer.positions, sizes, None) is first
    with torch.no_grad():
        layer.positions[0, 3] += FAR
    assert backends.read_reach(layer.positions, sizes, None) != first


@pytest.mark.parametrize("way", ["in place", "through data", "other storage"])
def test_a_dense_kernel_holds_positions_wherever_they_went(layer: IrregularConv2d, way: str) -> None:
    x = torch.randn(1, 2, 11, 9)
    layer.backend = "dense"
    layer(x)
    if way == "through data":
        layer.positions.data.add_(FAR)  # which counts no version
    elif way == "other storage":
        layer.positions.data = layer.positions.data + FAR
    else:
        with torch.no_grad():
            layer.positions.add_(FAR)
    got = layer(x)
    layer.backend = "reference"
    torch.testing.assert_close(got, layer(x))


def test_positions_that_stay_are_looked_at_once(
    layer: IrregularConv2d, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, look = [], dense.reach
    monkeypatch.setattr(dense, "reach", lambda *arguments: looked.append(1) or look(*arguments))
    layer.backend = None
    with torch.inference_mode():
        for _ in range(3):
            layer(torch.randn(1, 2, 11, 9))
    assert len(looked) == 1
    with torch.no_grad():
        layer.positions.mul_(1.5)
    layer(torch.randn(1, 2, 11, 9))
    assert len(looked) == 2


def test_what_is_kept_is_no_part_of_the_tensor(layer: IrregularConv2d, tmp_path: Path) -> None:
    layer(torch.randn(1, 2, 11, 9))
    torch.save([layer.positions], tmp_path / "positions.pt")
    (loaded,) = torch.load(tmp_path / "positions.pt", weights_only=True)
    torch.testing.assert_close(loaded, layer.positions)
    assert not vars(loaded)
