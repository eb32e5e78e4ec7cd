"""Layers in a convolution's place start as the convolution, on networks that this package does not build."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from icnn_core.errors import ArgumentError
from icnn_core.models.controls import DeformableConv2d, TwoConv2d, replace_modules, to_larger

CONVOLUTIONS = {
    "same": {"padding": "same", "dilation": (2, 3)},
    "valid": {"padding": "valid"},
    "grouped": {"padding": (1, 2), "groups": 2, "bias": False},
    "strided": {"padding": 1, "stride": (2, 1), "dilation": 2},
}


@pytest.mark.parametrize("make", [to_larger, DeformableConv2d, TwoConv2d])
@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_they_start_as_the_same_function(kind, make):
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 6, 3, **CONVOLUTIONS[kind])
    x = torch.randn(2, 4, 11, 14)
    torch.testing.assert_close(make(conv)(x), conv(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_taps_that_move_are_torchvisions_in_training_too(kind):
    """At offsets of up to some pixels, beyond the border as well: values, and gradients of all that learns."""
    torch.manual_seed(0)
    layer = DeformableConv2d(
        nn.Conv2d(4, 6, (3, 2 if kind != "same" else 3), **CONVOLUTIONS[kind]), rate=0.5
    ).double()
    nn.init.normal_(layer.offset.weight, std=0.5)
    x = torch.randn(2, 4, 11, 14, dtype=torch.double, requires_grad=True)
    inputs = [x, *layer.parameters()]
    out = layer(x)
    out_gradient = torch.randn_like(out)
    found = torch.autograd.grad(out, inputs, out_gradient)
    layer.eval()
    expected = layer(x)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(found, torch.autograd.grad(expected, inputs, out_gradient))


def test_the_second_kernel_reaches_twice_as_far():
    two = TwoConv2d(nn.Conv2d(1, 1, 3, padding=(2, 1), dilation=(2, 1), bias=False))
    with torch.no_grad():
        two.weight.zero_()
        two.second.weight[0, 0, 0, 2] = 5.0
    x = torch.randn(1, 1, 9, 11)
    torch.testing.assert_close(two(x)[0, 0, 5, 4], 5 * x[0, 0, 5 - 4, 4 + 2])


def test_a_layer_with_two_names_is_replaced_under_both():
    conv = nn.Conv2d(3, 3, 3, padding=1)
    model = nn.ModuleDict({"one": conv, "two": nn.Sequential(conv)})
    replace_modules(model, ["one"], to_larger, "regular-5x5")
    assert model["one"] is model["two"][0]
    assert model["one"].kernel_size == (5, 5)


@pytest.mark.parametrize(
    ("options", "make", "said"),
    [
        ({"padding_mode": "reflect", "padding": 1}, DeformableConv2d, "reflect"),
        ({"padding_mode": "circular", "padding": 1}, to_larger, "circular"),
        ({"kernel_size": (3, 5)}, to_larger, "3×5"),
        ({"kernel_size": (3, 2), "padding": "same"}, DeformableConv2d, "on all sides alike"),
        ({"kernel_size": (2, 3), "padding": "same"}, TwoConv2d, "on all sides alike"),
    ],
)
def test_what_has_no_like_is_refused(options, make, said):
    conv = nn.Conv2d(2, 2, **({"kernel_size": 3} | options))
    with pytest.raises(ArgumentError, match=said):
        make(conv)


def test_a_convolution_with_a_forward_of_its_own_is_refused():
    class Own(nn.Conv2d):
        def forward(self, x):
            return super().forward(x) * 2

    with pytest.raises(ArgumentError, match="got Own"):
        replace_modules(nn.ModuleDict({"a": Own(2, 2, 3)}), ["a"], to_larger, "regular-5x5")
