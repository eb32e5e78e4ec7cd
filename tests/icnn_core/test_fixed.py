"""Positions that stay: ordinary convolutions that compute what irregular layers do."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from icnn_core import IrregularConv2d, fix_positions
from icnn_core.errors import ArgumentError
from icnn_core.fixed import TapsConv2d

SIZES = [
    {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 2), "dilation": (2, 1)},
    {"kernel_size": (2, 3), "stride": (1, 3)},
    {"kernel_size": (4, 3), "padding": "same", "dilation": (1, 2)},
    {"kernel_size": (1, 3), "padding": "valid", "stride": (3, 2)},
]


def assert_equal(ours: nn.Module, theirs: nn.Module, channels: int = 6) -> None:
    for height, width in ((13, 11), (12, 16)):
        x = torch.randn(2, channels, height, width)
        expected = theirs(x)
        torch.testing.assert_close(ours(x), expected, rtol=0, atol=1e-6 * expected.abs().max().item())


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize(("sharing", "groups"), [("channel", 1), ("channel", 2), ("layer", 3), ("none", 2)])
@pytest.mark.parametrize("shift", [0.4, 2.6])
def test_a_dense_kernel_computes_the_same(sizes: dict, sharing: str, groups: int, shift: float) -> None:
    torch.manual_seed(1)
    layer = IrregularConv2d(6, 12, **sizes, sharing=sharing, groups=groups, shift=shift).eval()
    dense = layer.to_conv2d(dense=True)
    assert (type(dense), dense.training) == (nn.Conv2d, False)
    assert_equal(dense, layer)


def test_a_dense_kernel_is_no_larger_than_it_must_be() -> None:
    layer = IrregularConv2d(2, 3, (3, 5), padding=(1, 2), shift=0.0)
    still = layer.to_conv2d(dense=True)
    assert (still.kernel_size, still.padding) == ((3, 5), (1, 2))
    assert torch.equal(still.weight, layer.weight)
    with torch.no_grad():
        layer.positions[1, 0] = torch.tensor([-2.5, 1.0])  # whole in x: one column more would be 0
    moved = layer.to_conv2d(dense=True)
    assert (moved.kernel_size, moved.padding) == ((7, 5), (3, 2))  # to -3 above, so to 3 below
    assert_equal(moved, layer, channels=2)


def test_gaussian_widths_and_double_precision_are_kept() -> None:
    layer = IrregularConv2d(
        2, 3, (3, 2), interpolation="gaussian", learn_sigma=True, shift=0.7, dtype=torch.float64
    )
    dense = layer.to_conv2d(dense=True)
    x = torch.randn(1, 2, 14, 13, dtype=torch.float64)
    torch.testing.assert_close(dense(x), layer(x), rtol=0, atol=1e-12)


def test_what_no_kernel_holds_is_refused() -> None:
    layer = IrregularConv2d(2, 3, 3, padding=1, shift=0.0)
    with torch.no_grad():
        layer.positions[1, 0] = torch.tensor([-17.5, 3.0])
    with pytest.raises(ArgumentError, match=r"31 × 31 pixels; got some that need 37 × 7"):
        layer.to_conv2d(dense=True)
    assert_equal(layer.to_conv2d(dense=True, largest=37), layer, channels=2)
    net = nn.Sequential(IrregularConv2d(2, 2, 3, padding=1, shift=0.3), layer)
    with torch.no_grad():
        layer.positions[1, 0, 0] = -40.5
    with pytest.raises(ArgumentError, match=r"^1: needs positions within .* 41 × 5"):
        fix_positions(net)
    assert [type(part) for part in net] == [IrregularConv2d, IrregularConv2d]
    with torch.no_grad():
        layer.positions[0, 0] = torch.nan
    with pytest.raises(ArgumentError, match="finite positions"):
        layer.to_conv2d(dense=True)
    with pytest.raises(ArgumentError, match="a single one"):
        fix_positions(layer)
    near = IrregularConv2d(2, 3, 3, padding=1, padding_mode="reflect", shift=0.3)
    with pytest.raises(ArgumentError, match=r"padding_mode=.*'reflect', and others"):
        near.to_conv2d(dense=True)


@pytest.mark.parametrize(
    ("sizes", "mode", "shift"),
    [
        *itertools.product(SIZES, ["zeros"], [0.0, 0.4, 2.6]),
        ({"kernel_size": (3, 2), "padding": (2, 1)}, "reflect", 0.9),
    ],
)
@pytest.mark.parametrize("sharing", ["layer", "channel"])
def test_taps_and_a_product_compute_the_same(sizes: dict, mode: str, shift: float, sharing: str) -> None:
    torch.manual_seed(2)
    layer = IrregularConv2d(6, 9, **sizes, sharing=sharing, padding_mode=mode, shift=shift)
    assert_equal(TapsConv2d(layer), layer)


@pytest.mark.parametrize("mode", ["reflect", "circular"])
@pytest.mark.parametrize(
    "options",
    [{"groups": 6}, {"sharing": "none"}, {"interpolation": "gaussian", "learn_sigma": True}],
    ids=str,
)
def test_borders_are_kept_by_layers_of_any_kind(mode: str, options: dict) -> None:
    torch.manual_seed(5)
    layer = IrregularConv2d(6, 12, (3, 2), (2, 1), (2, 1), shift=1.7, padding_mode=mode, **options)
    network = nn.Sequential(layer)
    assert fix_positions(network)["0"].startswith("a kernel of")
    assert not isinstance(network[0], IrregularConv2d)
    assert_equal(network, layer)


@pytest.mark.parametrize("form", [lambda layer: layer.to_conv2d(dense=True), TapsConv2d])
def test_dilation_and_padding_may_have_been_changed(form) -> None:
    """As backbones that were made for another task are dilated."""
    layer = IrregularConv2d(6, 9, (3, 2), padding=1, shift=0.4)
    layer.padding = (3, 2)
    assert_equal(form(layer), layer)


class Twice(nn.Module):
    """A network that holds one layer under two names."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first = IrregularConv2d(6, 6, (3, 2), padding=(1, 1), shift=0.4)
        self.again = self.first
        self.wide = nn.Sequential(nn.ReLU(), IrregularConv2d(6, 300, 3, bias=False, shift=0.4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.wide(self.again(self.first(x)))


def test_a_networks_layers_are_replaced_by_what_is_cheaper() -> None:
    net, fixed = Twice(), Twice()
    said = fix_positions(fixed)
    assert said == {
        "first": "a kernel of 5 × 4",
        "wide.1": "9 taps of up to 4 × 4, then products",
    }
    assert fixed.first is fixed.again
    assert not [part for part in fixed.modules() if isinstance(part, IrregularConv2d)]
    assert_equal(fixed, net)


@pytest.mark.parametrize("kernels", [3, 9])
@pytest.mark.parametrize("size", [(5, 30), (30, 5), (4, 3)])
def test_images_smaller_than_the_dilation_are_convolved_too(kernels: int, size: tuple[int, int]) -> None:
    """Taps may lie beside the whole image; with few kernels they are shifted behind the product."""
    torch.manual_seed(4)
    layer = IrregularConv2d(6, kernels, (3, 2), padding=(12, 6), dilation=12, shift=0.9)
    x = torch.randn(2, 6, *size)
    torch.testing.assert_close(TapsConv2d(layer)(x), layer(x), rtol=0, atol=1e-6)


def test_exported_taps_add_no_padding_of_their_own() -> None:
    """Runtimes know a convolution with padding; a step that pads before it would copy the image."""
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    net = nn.Sequential(TapsConv2d(IrregularConv2d(6, 9, 3, padding=4, dilation=4, shift=0.9))).eval()
    program = torch.onnx.export(net, (torch.randn(1, 6, 13, 17),), dynamo=True, verbose=False)
    assert program is not None
    kinds = [node.op_type for node in program.model.graph]
    assert (kinds.count("Conv"), kinds.count("Pad")) == (18, 0)


@pytest.mark.parametrize("kernels", [3, 9])
def test_a_program_for_images_of_any_size_has_no_smallest_one(kernels: int) -> None:
    net = nn.Sequential(TapsConv2d(IrregularConv2d(6, kernels, 3, padding=4, dilation=4, shift=0.9))).eval()
    sizes = ({2: torch.export.Dim("height"), 3: torch.export.Dim("width")},)
    program = torch.export.export(net, (torch.randn(1, 6, 13, 17),), dynamic_shapes=sizes, strict=False)
    other = torch.randn(1, 6, 21, 19)
    torch.testing.assert_close(program.module()(other), net(other), rtol=0, atol=1e-6)
