"""Multiply first, blend after, against the specification: one shape for the layer, whatever the other sizes are."""

from __future__ import annotations

import pytest
import torch

from icnn_core.errors import UnsupportedError
from icnn_core.ops import blended, explain, irregular_conv2d, reference
from icnn_core.ops.geometry import Geometry, regular_slots

CASES = {  # C_in, C_out, (H, W), kernel, stride, padding, dilation, groups
    "same": (5, 2, (7, 9), (3, 3), (1, 1), (2, 2), (2, 2), 1),
    "even kernel": (3, 2, (6, 7), (2, 4), (1, 1), (1, 0), (1, 2), 1),
    "valid": (4, 3, (8, 9), (3, 2), (1, 1), (0, 0), (2, 3), 1),
    "strided, groups": (6, 4, (9, 8), (3, 1), (2, 3), (1, 2), (1, 1), 2),
    "more padding than kernel": (3, 1, (5, 4), (1, 3), (1, 2), (4, 3), (1, 1), 1),
}


def make(name, dtype=torch.float64):
    c_in, c_out, size, kernel, *rest = CASES[name]
    geometry = Geometry(2, c_in, c_out, size, kernel, *rest)
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=dtype)

    positions = regular_slots(kernel, geometry.dilation).to(dtype) + 1.5 * normal(1, geometry.taps, 2)
    tensors = (
        normal(2, c_in, *size),
        normal(c_out, c_in // geometry.groups, *kernel),
        positions,
        normal(c_out),
    )
    return geometry, [tensor.requires_grad_() for tensor in tensors]


@pytest.mark.parametrize("name", CASES)
def test_equals_the_specification(name):
    geometry, tensors = make(name)
    sizes = {key: getattr(geometry, key) for key in ("stride", "padding", "dilation", "groups")}
    out, expected = (
        irregular_conv2d(*tensors, **sizes, backend="blended"),
        reference.forward(*tensors, geometry),
    )
    torch.testing.assert_close(out, expected)
    assert out.is_contiguous()
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for mine, other in zip(
        *(torch.autograd.grad(each, tensors, grad) for each in (out, expected)), strict=True
    ):
        torch.testing.assert_close(mine, other)


def test_a_position_rounds_onto_the_lattice_where_the_specification_has_it():
    """2.5 - 2e-7 + 4.5 is 7 in single precision, 2.5 - 2e-7 + 1.5 is left of 4: the pixels read are others then."""
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(1, 2, 1, 12, generator=generator), torch.randn(1, 2, 1, 4, generator=generator))
    geometry = Geometry(1, 2, 1, (1, 12), (1, 4), (1, 1), (0, 3), (1, 3), 1)
    assert (geometry.centre[1], blended.planes_geometry(geometry).padding[1]) == (4.5, 0)
    positions = regular_slots((1, 4), (1, 3))[None].requires_grad_()
    with torch.no_grad():
        positions[0, 2, 1] = 2.5 - 2e-7
    mine = irregular_conv2d(x, weight, positions, padding=(0, 3), dilation=(1, 3), backend="blended")
    expected = reference.forward(x, weight, positions, None, geometry)
    ours, theirs = (torch.autograd.grad(each.sum(), positions)[0] for each in (mine, expected))
    torch.testing.assert_close(ours, theirs)


def test_the_planes_sampled_are_as_large_as_needed():
    for name in CASES:
        geometry, _ = make(name)
        sampled = blended.planes_geometry(geometry)
        assert all(a >= b for a, b in zip(sampled.output_size, geometry.output_size, strict=True))
        for axis, padding in enumerate(sampled.padding):
            wanted = geometry.output_size[axis]
            smaller = (geometry.input_size[axis] + 2 * (padding - 1) - 1) // geometry.stride[axis] + 1
            assert padding == 0 or smaller < wanted


def test_serves_few_kernels_of_one_shape_and_says_why_not_others():
    x, weight, positions = torch.zeros(1, 64, 20, 21), torch.zeros(2, 64, 3, 3), 9.0 * torch.randn(1, 9, 2)
    assert explain(x, weight, positions, padding=1).backend == "blended"
    many = explain(x, torch.zeros(64, 64, 3, 3), positions, padding=1)
    assert many.backend == "sampled"
    with pytest.raises(UnsupportedError, match="shapes of their own"):
        irregular_conv2d(x, weight, positions.expand(64, -1, -1), padding=1, backend="blended")
