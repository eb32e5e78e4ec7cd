"""Every back end against the specification, against torchvision's deformable convolution, and by hand."""

from __future__ import annotations

import copy
import functools

import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import deform_conv2d

from icnn_core.errors import (
    ArgumentError,
    DeviceError,
    DtypeError,
    IcnnError,
    NameNotFoundError,
    ShapeError,
    UnsupportedError,
)
from icnn_core.ops import explain
from icnn_core.ops import irregular_conv2d as public_conv2d
from icnn_core.ops.backends import BACKENDS
from icnn_core.ops.geometry import regular_slots

FAST = ("sampled", "sparse", "dense", "gathered")
SIZES = {  # C_in, C_out, (H, W), kernel, stride, padding, dilation, groups, batch
    "torchvision's": (6, 2, (5, 4), (3, 2), (2, 1), (1, 0), (2, 1), 2, 3),
    "even kernel": (2, 3, (7, 9), (2, 4), (1, 2), (1, 3), (1, 1), 1, 2),
    "wide dilation": (3, 4, (11, 8), (3, 3), (1, 1), (4, 3), (4, 3), 1, 1),
    "depthwise": (4, 4, (6, 7), (3, 5), (1, 1), (1, 2), (1, 1), 4, 2),
    "1×3": (2, 2, (5, 8), (1, 3), (2, 3), (0, 1), (1, 2), 1, 2),
}
FEW = (4, 2, (5, 4), (3, 2), (2, 1), (1, 0), (2, 1), 2, 2)  # as torchvision's, where every number is moved
SHARINGS = ("layer", "channel", "none")


def irregular_conv2d(*arguments, **options):
    """The operator; skips the test, saying why, where the forced back end cannot serve."""
    try:
        return public_conv2d(*arguments, **options)
    except UnsupportedError as error:
        pytest.skip(str(error))


def make_case(name, sharing, *, spread=1.5, dtype=torch.float64, seed=0):
    """x, weight, positions, bias and the keyword arguments of a call."""
    c_in, c_out, size, kernel, stride, padding, dilation, groups, batch = SIZES.get(name, FEW)
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype)

    taps = kernel[0] * kernel[1]
    lead = {"layer": (1,), "channel": (c_in,), "none": (c_out, c_in // groups)}[sharing]
    slots = regular_slots(kernel, dilation).to(dtype)
    positions = slots + spread * random(*lead, taps, 2)
    tensors = [random(batch, c_in, *size), random(c_out, c_in // groups, *kernel), positions, random(c_out)]
    call = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return [t.requires_grad_() for t in tensors], call


def outputs_and_gradients(tensors, call, **options):
    x, weight, positions, bias = tensors
    out = irregular_conv2d(x, weight, positions, bias, **call, **options)
    seed = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).reshape(out.shape)
    return (out.detach(), *torch.autograd.grad((out * seed).sum() + out.square().sum(), tensors))


def deformable(tensors, call):
    """torchvision's operator with offsets that are constant over the image: an independent oracle."""
    x, weight, positions, bias = tensors
    c_out, per_group, *kernel = weight.shape
    slots = regular_slots(tuple(kernel), call["dilation"]).to(x.dtype)

    def run(shapes, part, part_bias):  # shapes: (C_in, K, 2)
        out_size = F.conv2d(x, weight, None, **call).shape[2:]
        offset = (shapes - slots).reshape(1, -1, 1, 1).expand(x.shape[0], -1, *out_size)
        return deform_conv2d(x, offset, part, part_bias, call["stride"], call["padding"], call["dilation"])

    c_in = x.shape[1]
    if positions.ndim == 3:
        dense = _without_groups(weight, c_in, call["groups"])
        return run(positions.expand(c_in, -1, -1), dense, bias)
    planes = []
    dense = _without_groups(weight, c_in, call["groups"])
    for kernel_index in range(c_out):
        group = kernel_index // (c_out // call["groups"])
        shapes = slots.expand(c_in, -1, -1).clone()
        shapes[group * per_group : (group + 1) * per_group] = positions[kernel_index]
        planes.append(run(shapes, dense[kernel_index][None], bias[kernel_index][None]))
    return torch.cat(planes, 1)


def _without_groups(weight, c_in, groups):
    c_out, per_group = weight.shape[:2]
    dense = weight.new_zeros(c_out, c_in, *weight.shape[2:])
    for kernel in range(c_out):
        first = kernel // (c_out // groups) * per_group
        dense[kernel, first : first + per_group] = weight[kernel]
    return dense


@functools.cache  # the loops take longest, and every back end is held against the same
def specify(name, sharing):
    tensors, call = make_case(name, sharing)
    return tensors, call, outputs_and_gradients(tensors, call, backend="reference")


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("sharing", SHARINGS)
@pytest.mark.parametrize("name", SIZES)
def test_equals_the_specification(name, sharing, backend):
    tensors, call, expected = specify(name, sharing)
    for ours, theirs in zip(outputs_and_gradients(tensors, call, backend=backend), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("sharing", SHARINGS)
@pytest.mark.parametrize("name", SIZES)
def test_specification_equals_torchvision(name, sharing):
    tensors, call = make_case(name, sharing)
    expected = deformable(tensors, call)
    seed = torch.linspace(-1, 1, expected.numel(), dtype=expected.dtype).reshape(expected.shape)
    gradients = torch.autograd.grad((expected * seed).sum() + expected.square().sum(), tensors)
    _, _, ours = specify(name, sharing)
    for mine, theirs in zip(ours, (expected.detach(), *gradients), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("sharing", SHARINGS)
def test_specification_equals_dcls(sharing):
    """The second oracle, for dilations and strides of 1, which is what it computes."""
    dcls = pytest.importorskip("DCLS.construct.modules", reason="DCLS is not installed (pip install dcls)")
    tensors, _ = make_case("wide dilation", sharing, spread=0.7)
    x, weight, positions, bias = tensors
    c_out, c_in = weight.shape[:2]
    box = 17  # wide enough for every position: DCLS moves those outside it onto its border
    layer = dcls.Dcls2d(
        c_in, c_out, kernel_count=9, dilated_kernel_size=box, padding=box // 2, version="v0"
    ).double()
    full = positions.expand(c_out, c_in, 9, 2).permute(3, 0, 1, 2)
    with torch.no_grad():
        layer.weight.copy_(weight.flatten(2))
        layer.P.copy_(full)
        layer.bias.copy_(bias)
    out = layer(x)
    seed = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).reshape(out.shape)
    loss = (out * seed).sum() + out.square().sum()
    by_x, by_weight, by_position, by_bias = torch.autograd.grad(loss, (x, layer.weight, layer.P, layer.bias))
    (by_position,) = torch.autograd.grad(full, positions, by_position)
    ours = outputs_and_gradients(tensors, {"padding": (4, 3), "dilation": (4, 3)}, backend="reference")
    theirs = (out, by_x, by_weight.reshape(weight.shape), by_position, by_bias)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-10)


GAUSSIAN = {"interpolation": "gaussian", "sigma": 0.6}


@functools.cache
def blurred(sharing, backend):
    tensors, call = make_case("torchvision's", sharing)
    generator = torch.Generator().manual_seed(1)
    sigma = 0.4 + 0.5 * torch.rand(tensors[2].shape, generator=generator, dtype=torch.float64)
    tensors.append(sigma.requires_grad_())
    x, weight, positions, bias, width = tensors
    out = irregular_conv2d(
        x, weight, positions, bias, **call, interpolation="gaussian", sigma=width, backend=backend
    )
    return (out.detach(), *torch.autograd.grad(out.square().sum(), tensors))


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("sharing", SHARINGS)
def test_gaussian_equals_the_specification(sharing, backend):
    for ours, theirs in zip(blurred(sharing, backend), blurred(sharing, "reference"), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_gaussian_specification_equals_dcls():
    dcls = pytest.importorskip("DCLS.construct.modules", reason="DCLS is not installed (pip install dcls)")
    (x, weight, positions, bias), _ = make_case("wide dilation", "none", spread=0.7)
    c_out, c_in = weight.shape[:2]
    layer = dcls.Dcls2d(
        c_in, c_out, kernel_count=9, dilated_kernel_size=21, padding=10, version="gauss"
    ).double()
    generator = torch.Generator().manual_seed(1)
    sigma = 0.3 + 0.3 * torch.rand(positions.shape, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(weight.flatten(2))
        layer.P.copy_(positions.flip(-1).permute(3, 0, 1, 2))  # this version has (column, row)
        layer.SIG.copy_(sigma.flip(-1).permute(3, 0, 1, 2) - 0.27)
        layer.bias.copy_(bias)
    out = irregular_conv2d(
        x, weight, positions, bias, padding=(4, 3), dilation=(4, 3), interpolation="gaussian", sigma=sigma,
        backend="reference",
    )  # fmt: skip
    # DCLS sums its Gaussians over the whole box and adds 1e-7 to the sum; here they end 4 pixels away.
    torch.testing.assert_close(out, layer(x), rtol=1e-5, atol=1e-5)


def test_gaussian_gradients_reach_where_bilinear_ones_do_not():
    image = torch.zeros(1, 1, 9, 11)
    image[0, 0, 4, 8] = 1.0  # three pixels right of the position
    for interpolation, sigma in (("bilinear", None), ("gaussian", 0.9)):
        positions = torch.tensor([[[4.0, 5.3]]], requires_grad=True)
        out = irregular_conv2d(
            image, torch.ones(1, 1, 1, 1), positions, interpolation=interpolation, sigma=sigma
        )
        out[0, 0, 0, 0].backward()
        assert (positions.grad[0, 0, 1] > 1e-3) == (interpolation == "gaussian")


@pytest.mark.parametrize("backend", [*FAST, "reference"])
@pytest.mark.parametrize("far", [1e7, -3e38, float("nan")])
def test_gaussian_far_and_lost_positions(backend, far):
    (x, weight, positions, _), call = make_case("even kernel", "channel", dtype=torch.float32)
    moved = torch.full_like(positions, far, requires_grad=True)
    out = irregular_conv2d(x, weight, moved, **call, **GAUSSIAN, backend=backend)
    if far != far:
        assert out.isnan().all()
        return
    out.sum().backward()
    assert out.abs().max() == 0
    assert moved.grad.abs().max() == 0


def test_one_tap_worked_by_hand():
    image = torch.arange(12.0).reshape(1, 1, 3, 4)
    weight = torch.full((1, 1, 1, 1), 2.0)
    positions = torch.tensor([[[0.5, 0.25]]])
    for backend in (*FAST, "reference"):
        out = irregular_conv2d(image, weight, positions, backend=backend)
        # At (0, 0): half-way between the rows 0 and 4, a quarter of the way to the right: 2 · (2 + 0.25).
        assert out[0, 0, 0, 0].item() == pytest.approx(4.5)
        # At (2, 3): below and right of it lies nothing: 2 · 0.5 · 0.75 · 11.
        assert out[0, 0, 2, 3].item() == pytest.approx(8.25)


@pytest.mark.parametrize("backend", [*FAST, "reference"])
@pytest.mark.parametrize("name", SIZES)
def test_at_the_slots_it_is_conv2d(name, backend):
    (x, weight, _, bias), call = make_case(name, "channel")
    slots = regular_slots(tuple(weight.shape[2:]), call["dilation"]).double()[None]
    expected = F.conv2d(x, weight, bias, **call)
    torch.testing.assert_close(irregular_conv2d(x, weight, slots, bias, **call, backend=backend), expected)


@pytest.mark.parametrize("backend", [*FAST, "reference"])
@pytest.mark.parametrize("shift", [(0, 0), (-3, 2), (5, -4)])
def test_derivative_on_the_lattice_is_the_right_hand_one(backend, shift):
    """Compared with one-sided differences, for taps inside, on and beyond the border."""
    (x, weight, _, _), call = make_case("even kernel", "channel")
    slots = regular_slots(tuple(weight.shape[2:]), call["dilation"]).double()
    positions = (slots + torch.tensor(shift)).expand(x.shape[1], -1, -1).clone().requires_grad_()

    def loss(at):
        return irregular_conv2d(x.detach(), weight.detach(), at, **call, backend=backend).sum()

    (gradient,) = torch.autograd.grad(loss(positions), positions)
    step, expected = 1e-6, torch.zeros_like(gradient)
    with torch.no_grad():
        here = loss(positions)
        for index in torch.cartesian_prod(*(torch.arange(n) for n in positions.shape)).tolist():
            moved = positions.clone()
            moved[tuple(index)] += step
            expected[tuple(index)] = (loss(moved) - here) / step
    torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("sharing", SHARINGS)
def test_gradcheck_off_the_lattice(sharing, backend):
    tensors, call = make_case("few", sharing)
    with torch.no_grad():  # keep clear of the kinks, which finite differences would straddle
        positions = tensors[2]
        positions.copy_(positions.floor() + 0.2 + 0.6 * (positions - positions.floor()))

    def run(*inputs):
        return irregular_conv2d(*inputs, **call, backend=backend)

    assert torch.autograd.gradcheck(run, tensors)


@pytest.mark.parametrize("backend", [*FAST, "reference"])
def test_far_positions_read_zero(backend):
    (x, weight, positions, bias), call = make_case("even kernel", "channel", dtype=torch.float32)
    far = torch.full_like(positions, 1e7)
    far[:, ::2] = -3e38
    out = irregular_conv2d(x, weight, far, bias, **call, backend=backend)
    torch.testing.assert_close(out, bias[:, None, None].expand_as(out))


@pytest.mark.parametrize("backend", [*FAST, "reference"])
@pytest.mark.parametrize("away", [1e7, -1e7])
def test_all_positions_beyond_an_image_smaller_than_its_padding(away, backend):
    """The random comparison found this: what was cropped did not meet the image."""
    x, weight, bias = torch.ones(1, 2, 1, 5), torch.ones(3, 2, 3, 2), torch.tensor([1.0, 2.0, 3.0])
    positions = torch.full((2, 6, 2), away)
    out = irregular_conv2d(x, weight, positions, bias, padding=(4, 0), dilation=(4, 1), backend=backend)
    torch.testing.assert_close(out, bias[:, None, None].expand_as(out))


@pytest.mark.parametrize("backend", [*FAST, "reference"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_non_finite_positions_give_nan_in_their_own_group_only(backend, bad):
    (x, weight, positions, bias), call = make_case("torchvision's", "channel")
    broken = positions.detach().clone()
    broken[0, 1, 0] = bad
    out = irregular_conv2d(x, weight, broken, bias, **call, backend=backend)
    healthy = irregular_conv2d(x, weight, positions, bias, **call, backend=backend)
    assert out[:, 0].isnan().all()
    torch.testing.assert_close(out[:, 1], healthy[:, 1])


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("batch", [0, 33])
def test_batches_and_strides(backend, batch):
    (x, weight, positions, bias), call = make_case("torchvision's", "channel")
    x = x.detach()[:1].expand(batch, -1, -1, -1)
    permuted = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2).requires_grad_()
    out = irregular_conv2d(permuted, weight, positions, bias, **call, backend=backend)
    assert out.shape[0] == batch
    out.sum().backward()
    if batch:
        expected = irregular_conv2d(x[:1], weight, positions, bias, **call, backend="reference")
        torch.testing.assert_close(out, expected.expand_as(out))


def test_dense_kernel_is_no_larger_than_the_image():
    (x, weight, positions, _), call = make_case("even kernel", "channel")
    from icnn_core.ops import dense
    from icnn_core.ops.arguments import to_geometry

    geometry = to_geometry(x, weight, **call)
    spread = positions.detach().clone()
    spread[0, 0] = torch.tensor([-1e6, 1e6])
    (first_y, last_y), (first_x, last_x) = dense.reach(spread, geometry)
    reads = [
        size + stride * (out - 1)
        for size, stride, out in zip((7, 9), (1, 2), geometry.output_size, strict=True)
    ]
    assert last_y - first_y < reads[0]
    assert last_x - first_x < reads[1]


def test_forced_backend_that_cannot_serve_gives_its_reasons():
    x, weight = torch.empty(1, 2, 5, 6, device="meta"), torch.empty(3, 2, 3, 3, device="meta")
    positions = torch.empty(2, 9, 2, device="meta")
    assert public_conv2d(x, weight, positions, padding=1).shape == (1, 3, 5, 6)
    with pytest.raises(UnsupportedError, match=r"^not supported: .*cannot be read"):
        public_conv2d(x, weight, positions, padding=1, backend="dense")
    with pytest.raises(UnsupportedError, match=r"^not supported: .*on CUDA.*float64"):
        public_conv2d(*make_case("1×3", "channel")[0], backend="fused")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ("sharing", "backend"),
    [(sharing, backend) for sharing in ("layer", "channel") for backend in ("sampled", "dense", "gathered")]
    + [("none", backend) for backend in ("sparse", "dense", "gathered")],
)
def test_every_back_end_serves_a_plain_call(sharing, dtype, backend):
    """Else the tests here, which skip what a back end refuses, would pass where it refuses everything."""
    pytest.importorskip("numba", reason="Numba is not installed")
    tensors, call = make_case("wide dilation", sharing, dtype=dtype)
    out = public_conv2d(*tensors, **call, backend=backend)
    assert out.dtype == dtype
    assert out.isfinite().all()


def test_kernels_are_interpreted_only_where_that_is_asked_for(monkeypatch):
    """TRITON_INTERPRET in the environment is a wish about Triton, not about this operator."""
    pytest.importorskip("triton", reason="Triton is not installed")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    (x, weight, positions, _), call = make_case("wide dilation", "channel", dtype=torch.float32)
    explanation = explain(x, weight, positions, **call)
    assert explanation.backend != "fused"
    assert "only where it is asked for" in explanation.others["fused"]


@pytest.mark.parametrize("spread", [0.5, 4.0])
def test_depthwise_layers_are_sampled_not_made_dense(spread):
    """A depthwise convolution is far from a matrix product's speed, and a dense kernel makes it larger."""
    x, weight = torch.zeros(1, 384, 41, 41), torch.zeros(384, 1, 7, 7)
    generator = torch.Generator().manual_seed(0)
    positions = regular_slots((7, 7), (1, 1)) + spread * torch.randn(384, 49, 2, generator=generator)
    assert explain(x, weight, positions, padding=3, groups=384).backend == "sampled"


def test_explain_names_every_back_end():
    (x, weight, positions, _), call = make_case("wide dilation", "channel")
    explanation = explain(x, weight, positions, **call)
    assert {explanation.backend, *explanation.others} == set(BACKENDS)
    assert "reference" in explanation.others
    assert all(explanation.others.values())


@pytest.mark.parametrize(
    ("error", "change"),
    [
        (ShapeError, {"x": torch.zeros(2, 5, 6)}),
        (ShapeError, {"x": torch.zeros(1, 3, 5, 6)}),
        (ShapeError, {"x": torch.zeros(1, 2, 2, 6)}),
        (ShapeError, {"weight": torch.zeros(4, 2, 9)}),
        (ShapeError, {"positions": torch.zeros(9, 2)}),
        (ShapeError, {"positions": torch.zeros(2, 9, 3)}),
        (ShapeError, {"bias": torch.zeros(5)}),
        (DtypeError, {"x": torch.zeros(1, 2, 5, 6, dtype=torch.int64)}),
        (DtypeError, {"bias": torch.zeros(4, dtype=torch.float64)}),
        (ShapeError, {"weight": torch.zeros(4, 2, 0, 3)}),
        (DtypeError, {"weight": torch.zeros(4, 2, 3, 3, dtype=torch.float64)}),
        (DeviceError, {"positions": torch.zeros(2, 9, 2, device="meta")}),
        (ArgumentError, {"stride": 0}),
        (ArgumentError, {"padding": (-1, 0)}),
        (ArgumentError, {"dilation": (1, 2, 3)}),
        (ShapeError, {"groups": 3}),
        (NameNotFoundError, {"interpolation": "bicubic"}),
        (ArgumentError, {"interpolation": "gaussian"}),
        (ArgumentError, {"sigma": 0.5}),
        (ShapeError, {"interpolation": "gaussian", "sigma": torch.ones(9)}),
        (NameNotFoundError, {"backend": "densse"}),
    ],
)
def test_bad_arguments_say_who_what_and_how_to_mend(error, change):
    arguments = {
        "x": torch.zeros(1, 2, 5, 6),
        "weight": torch.zeros(4, 2, 3, 3),
        "positions": torch.zeros(2, 9, 2),
        "bias": torch.zeros(4),
    } | change
    with pytest.raises(error) as caught:
        public_conv2d(**arguments)
    assert isinstance(caught.value, IcnnError)
    assert all((caught.value.who, caught.value.needed, caught.value.got, caught.value.fix))
    assert str(copy.deepcopy(caught.value)) == str(caught.value)


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
@pytest.mark.parametrize("backend", ["reference", "dense", "gathered", "sampled", "sparse"])
@pytest.mark.parametrize("sharing", ["channel", "none"])
def test_a_pixel_that_is_not_finite_spreads_to_what_reads_it(backend, sharing, broken):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 2, 9, 10, generator=generator)
    x[0, 0, 4, 5] = broken
    lead = (2,) if sharing == "channel" else (3, 2)
    shift = 0.1 + 0.2 * torch.rand(*lead, 9, 2, generator=generator)
    positions = regular_slots((3, 3), (1, 1)) + shift
    weight = torch.randn(3, 2, 3, 3, generator=generator)
    if backend in ("sampled", "sparse") and (sharing == "none") != (backend == "sparse"):
        pytest.skip("serves only the other sharing")
    out = irregular_conv2d(x, weight, positions, padding=1, backend=backend)
    far = torch.ones(9, 10, dtype=torch.bool)
    far[2:6, 3:7] = False  # the four rows and columns whose taps read pixel (4, 5)
    assert out[0, :, far].isfinite().all()
    assert not out[0, :, ~far].isfinite().any()
