"""The layer: conversion from and to Conv2d, state, devices, refusals."""

from __future__ import annotations

import copy
import io

import numpy as np
import pytest
import torch
from torch import nn

from icnn_core import IrregularConv2d
from icnn_core.errors import ArgumentError, NameNotFoundError

CONVOLUTIONS = {
    "plain": {"kernel_size": (3, 2), "padding": (1, 0)},
    "strided": {"kernel_size": (4, 3), "stride": (2, 1), "padding": (1, 2), "groups": 2},
    "same": {"kernel_size": (3, 5), "padding": "same", "dilation": (2, 1)},
    "same, even": {"kernel_size": (4, 3), "padding": "same", "dilation": (1, 2), "bias": False},
    "valid": {"kernel_size": 3, "padding": "valid"},
    "reflect": {"kernel_size": (3, 4), "padding": "same", "padding_mode": "reflect"},
    "replicate": {"kernel_size": 3, "padding": (2, 1), "padding_mode": "replicate"},
    "circular": {"kernel_size": (2, 3), "padding": (1, 2), "padding_mode": "circular"},
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("sharing", ["layer", "channel", "none"])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_conversion_without_shift_keeps_the_output(name, sharing):
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 6, **CONVOLUTIONS[name])
    x = torch.randn(2, 4, 9, 8)
    layer = IrregularConv2d.from_conv2d(conv, sharing=sharing, shift=0.0)
    torch.testing.assert_close(layer(x), conv(x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(layer.to_conv2d()(x), conv(x), rtol=0, atol=0)


def test_an_image_without_a_batch_is_taken_as_conv2d_takes_it():
    layer = IrregularConv2d(2, 3, (3, 2), shift=0.3)
    x = torch.randn(2, 7, 9)
    torch.testing.assert_close(layer(x), layer(x[None])[0], rtol=0, atol=0)


def test_padding_same_follows_a_dilation_that_was_changed():
    """As backbones are dilated after they were made."""
    conv = nn.Conv2d(2, 3, (3, 4), padding="same")
    conv.dilation = (2, 3)
    layer = IrregularConv2d.from_conv2d(conv, shift=0.0)
    x = torch.randn(1, 2, 13, 15)
    torch.testing.assert_close(layer(x), conv(x), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(layer.to_conv2d(dense=True)(x), conv(x), rtol=1e-5, atol=1e-6)


def test_conversion_keeps_dtype_mode_and_frozen_weights():
    conv = nn.Conv2d(2, 3, 3, dtype=torch.float64).eval()
    conv.weight.requires_grad_(False)
    layer = IrregularConv2d.from_conv2d(conv)
    assert layer.positions.dtype == layer.slots.dtype == torch.float64
    assert not layer.training
    assert not layer.weight.requires_grad
    assert not layer.positions.requires_grad
    assert layer.bias is not None
    assert layer.bias.requires_grad
    with torch.no_grad():
        layer.weight.zero_()
    assert conv.weight.abs().sum() > 0, "the weights are copied, not shared"


def test_shapes_of_positions_and_slots_in_input_pixels():
    made = {
        s: IrregularConv2d(4, 6, (2, 3), dilation=(3, 2), groups=2, sharing=s, shift=0.0)
        for s in ("layer", "channel", "none")
    }
    assert [tuple(made[s].positions.shape) for s in made] == [(1, 6, 2), (4, 6, 2), (6, 2, 6, 2)]
    expected = [[-1.5, -2], [-1.5, 0], [-1.5, 2], [1.5, -2], [1.5, 0], [1.5, 2]]
    assert made["layer"].slots.tolist() == expected
    assert made["none"].positions[5, 1].tolist() == expected


def test_the_start_is_shifted_within_its_half_width_and_can_be_reset():
    torch.manual_seed(0)
    layer = IrregularConv2d(8, 3, 3, shift=0.25)
    moved = (layer.positions - layer.slots).abs()
    assert 0.2 < moved.max() <= 0.25
    layer.reset_positions(shift=0.0)
    assert torch.equal(layer.positions, layer.slots.expand_as(layer.positions))


def test_a_start_on_the_lattice_moves():
    torch.manual_seed(0)
    layer = IrregularConv2d(3, 4, 3, padding=1, shift=0.0)
    layer(torch.randn(1, 3, 6, 7)).square().sum().backward()
    assert (layer.positions.grad.abs() > 0).all()


def test_state_copies_and_files():
    layer = IrregularConv2d(3, 4, 3, sharing="none", shift=0.3)
    assert list(layer.state_dict()) == ["weight", "bias", "positions", "slots"]
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    other = IrregularConv2d(3, 4, 3, sharing="none")
    other.load_state_dict(torch.load(file, weights_only=True))
    x = torch.randn(2, 3, 5, 6)
    assert torch.equal(other(x), layer(x))
    assert torch.equal(copy.deepcopy(layer)(x), layer(x))
    assert layer.double()(x.double()).dtype == torch.float64
    assert layer.to("meta").positions.is_meta
    assert "sharing='none'" in repr(layer)


@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (NameNotFoundError, {"sharing": "chanel"}),
        (NameNotFoundError, {"interpolation": "cubic"}),
        (NameNotFoundError, {"padding": "smae"}),
        (NameNotFoundError, {"padding_mode": "mirror"}),
        (ArgumentError, {"shift": -0.1}),
        (ArgumentError, {"shift": float("nan")}),
        (ArgumentError, {"groups": 2}),
        (ArgumentError, {"padding": "same", "stride": 2}),
        (ArgumentError, {"kernel_size": (3, 3, 3)}),
        (ArgumentError, {"kernel_size": 0}),
        (ArgumentError, {"kernel_size": 3.0}),
        (ArgumentError, {"stride": 0}),
        (ArgumentError, {"padding": (-1, 0)}),
        (NameNotFoundError, {"backend": "dens"}),
    ],
)
def test_refusals(error, arguments):
    with pytest.raises(error, match="IrregularConv2d: needs"):
        IrregularConv2d(**({"in_channels": 3, "out_channels": 4, "kernel_size": 3} | arguments))


def test_what_is_no_convolution_does_not_convert():
    for other, reason in ((nn.ConvTranspose2d(2, 3, 3), "not a Conv2d"), (nn.LazyConv2d(3, 3), "lazy")):
        with pytest.raises(ArgumentError, match=reason):
            IrregularConv2d.from_conv2d(other)


def test_whole_numbers_of_numpy_are_sizes_and_truth_values_are_not():
    layer = IrregularConv2d(2, 3, np.int64(3), dilation=(np.int32(2), 1))
    assert (layer.kernel_size, layer.dilation) == ((3, 3), (2, 1))
    assert {type(v) for v in (*layer.kernel_size, *layer.dilation)} == {int}
    with pytest.raises(ArgumentError, match="whole numbers"):
        IrregularConv2d(2, 3, True)


def test_libraries_find_conv2ds_attributes():
    layer, conv = IrregularConv2d(4, 6, (3, 2), padding=1), nn.Conv2d(4, 6, (3, 2), padding=1)
    assert not layer.transposed
    assert layer.output_padding == conv.output_padding == (0, 0)
    assert set(vars(conv)) <= set(vars(layer))


@pytest.mark.parametrize("learn_sigma", [False, True])
def test_memory_that_was_never_set_is_made_whole(learn_sigma):
    """skip_init and FSDP's contract: `reset_parameters` sets everything, buffers too."""
    options = {"dilation": (2, 3), "interpolation": "gaussian", "sigma": 0.7, "learn_sigma": learn_sigma}
    whole = IrregularConv2d(3, 4, (3, 2), shift=0.0, **options)
    made = IrregularConv2d(3, 4, (3, 2), shift=0.0, device="meta", **options).to_empty(device="cpu")
    with torch.no_grad():
        for tensor in (*made.parameters(), *made.buffers()):
            tensor.fill_(float("nan"))
    made.reset_parameters()
    for name in ("positions", "slots", "sigma"):
        assert torch.equal(getattr(made, name), getattr(whole, name)), name
    assert made.weight.isfinite().all()
    assert nn.utils.skip_init(IrregularConv2d, 3, 4, 3).positions.shape == (3, 9, 2)


def test_gaussian_layers_learn_their_width_or_keep_it():
    fixed = IrregularConv2d(3, 4, 3, interpolation="gaussian", sigma=0.7)
    learnt = IrregularConv2d(3, 4, 3, interpolation="gaussian", learn_sigma=True)
    assert [name for name, _ in fixed.named_parameters()] == ["weight", "bias", "positions"]
    assert list(fixed.state_dict())[-1] == "sigma"
    assert learnt.sigma.shape == learnt.positions.shape
    learnt(torch.randn(1, 3, 6, 7)).square().sum().backward()
    assert (learnt.sigma.grad.abs() > 0).all()
    with torch.no_grad():
        learnt.sigma.fill_(0.9)
    learnt.reset_positions(shift=0.0)
    assert (learnt.sigma == 0.9).all(), "a snapped layer keeps its width"
    with pytest.raises(ArgumentError, match="sigma"):
        IrregularConv2d(3, 4, 3, interpolation="gaussian", sigma=2.0)
    with pytest.raises(ArgumentError, match="gaussian"):
        IrregularConv2d(3, 4, 3, learn_sigma=True)
