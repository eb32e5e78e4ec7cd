"""The CPU back end against torchvision's deformable convolution, however its work is cut, and its place in PyTorch."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.autograd import forward_ad
from torchvision.ops import deform_conv2d

from icnn_core.errors import UnsupportedError
from icnn_core.ops import gathered, reference, sampled
from icnn_core.ops.compiled import team
from icnn_core.ops.geometry import Geometry, regular_slots
from icnn_core.ops.registration import needs_native, run_sampled
from icnn_core.ops.sampled import job as planning

ALL = (True, True, True, True)
CASES = {  # batch, C_in, C_out, (H, W), kernel, stride, padding, dilation, groups
    "torchvision's": Geometry(33, 6, 2, (5, 4), (3, 2), (2, 1), (1, 0), (2, 1), 2),
    "even kernel": Geometry(2, 2, 3, (7, 9), (2, 4), (1, 2), (1, 3), (1, 1), 1),
    "5×3": Geometry(2, 3, 4, (11, 8), (5, 3), (1, 1), (4, 1), (2, 1), 1),
    "rows of several vectors": Geometry(2, 4, 6, (9, 53), (3, 3), (1, 1), (2, 1), (2, 1), 2),
    "a row that fills its vectors": Geometry(1, 3, 2, (3, 18), (1, 3), (1, 1), (1, 0), (1, 1), 1),
    "wide stride": Geometry(2, 3, 2, (10, 40), (3, 2), (3, 4), (1, 2), (1, 2), 1),
    "depthwise": Geometry(3, 5, 5, (6, 21), (3, 5), (1, 1), (1, 2), (1, 1), 5),
    "depthwise, two kernels a channel": Geometry(2, 3, 6, (9, 7), (2, 3), (1, 1), (2, 0), (1, 2), 3),
    "depthwise, wide stride": Geometry(2, 3, 3, (11, 19), (3, 3), (2, 3), (1, 0), (1, 1), 3),
    "one channel": Geometry(2, 1, 7, (6, 5), (3, 3), (1, 1), (1, 1), (1, 1), 1),
}

SMALL = Geometry(1, 4, 2, (4, 3), (2, 1), (2, 1), (1, 0), (2, 1), 2)
SMALL_DEPTHWISE = Geometry(1, 2, 2, (5, 4), (1, 2), (2, 1), (0, 1), (1, 2), 2)


def make_tensors(geometry, shapes="channel", *, spread=1.5, dtype=torch.float64, seed=0):
    """x, weight, positions, bias and a gradient of the output."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype)

    g = geometry
    lead = g.in_channels if shapes == "channel" else 1
    positions = regular_slots(g.kernel_size, g.dilation).to(dtype) + spread * random(lead, g.taps, 2)
    weight = random(g.out_channels, g.in_channels // g.groups, *g.kernel_size)
    grad_out = random(g.batch, g.out_channels, *g.output_size)
    return random(g.batch, g.in_channels, *g.input_size), weight, positions, random(g.out_channels), grad_out


def run(geometry, x, weight, positions, bias, grad_out):
    """Output and all gradients of the back end's two passes."""
    out = sampled.forward(x, weight, positions, bias, geometry)
    return out, *sampled.backward(grad_out, x, weight, positions, geometry, ALL)


def differentiate(function, x, weight, positions, bias, grad_out):
    inputs = [t.detach().requires_grad_() for t in (x, weight, positions, bias)]
    out = function(*inputs)
    return out.detach(), *torch.autograd.grad(out, inputs, grad_out)


def deformable(geometry):
    """torchvision's operator with offsets that are constant over the image: pairs (dy, dx) from the regular slots."""
    g = geometry

    def function(x, weight, positions, bias):
        offset = positions.expand(g.in_channels, -1, -1) - regular_slots(g.kernel_size, g.dilation).to(
            x.dtype
        )
        offset = offset.reshape(1, -1, 1, 1).expand(x.shape[0], -1, *g.output_size)
        return deform_conv2d(x, offset, weight, bias, g.stride, g.padding, g.dilation)

    return function


def assert_close(ours, theirs, tolerance=1e-10):
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("shapes", ["layer", "channel"])
@pytest.mark.parametrize("spread", [0.4, 6.0])
@pytest.mark.parametrize("name", CASES)
def test_equals_torchvision(name, spread, shapes):
    tensors = make_tensors(CASES[name], shapes, spread=spread)
    assert_close(run(CASES[name], *tensors), differentiate(deformable(CASES[name]), *tensors))


NEAR = {  # as CASES; vectors of 8 numbers: blocks of two, of three, of both, that fill a row or not
    "3×3": Geometry(2, 3, 3, (13, 9), (3, 3), (1, 1), (1, 1), (1, 1), 3),
    "fewer rows than a block": Geometry(2, 2, 2, (3, 24), (3, 3), (1, 1), (1, 0), (1, 1), 2),
    "7×7": Geometry(1, 4, 4, (20, 43), (7, 7), (1, 1), (3, 3), (1, 1), 4),
    "two kernels a channel": Geometry(2, 2, 4, (17, 32), (5, 5), (1, 1), (2, 2), (1, 1), 2),
    "dilation": Geometry(1, 2, 2, (9, 50), (5, 3), (1, 1), (4, 2), (2, 1), 2),
}


@pytest.mark.parametrize("moved", [(0.0, 0.0), (-5.0, 4.0), (7.0, -30.0)])
@pytest.mark.parametrize("name", NEAR)
def test_depthwise_taps_that_lie_together_are_one_kernel(name, moved):
    """Also where the whole shape lies partly beside the image."""
    x, weight, positions, bias, grad_out = make_tensors(NEAR[name], spread=0.3)
    tensors = x, weight, positions + torch.tensor(moved, dtype=x.dtype), bias, grad_out
    assert_close(run(NEAR[name], *tensors), differentiate(deformable(NEAR[name]), *tensors))


def test_depthwise_taps_that_lie_together_read_no_pixel_beyond_their_reach():
    geometry = NEAR["7×7"]
    x, weight, positions, bias, grad_out = make_tensors(geometry, spread=0.3)
    x[:, :, 8, 20] = torch.nan
    out = run(geometry, x, weight, positions, bias, grad_out)[0]
    anchors = positions + torch.tensor(geometry.centre) - torch.tensor(geometry.padding)
    first, last = anchors.floor().amin(1), anchors.floor().amax(1) + 1
    for channel in range(4):
        rows, columns = out[0, channel].isnan().nonzero().amin(0), out[0, channel].isnan().nonzero().amax(0)
        place = torch.tensor((8, 20))
        assert (rows == place - last[channel]).all()
        assert (columns == place - first[channel]).all()


@pytest.mark.parametrize("name", CASES)
def test_single_precision_differs_by_rounding(name):
    tensors = make_tensors(CASES[name])
    singles = run(CASES[name], *(t.float() for t in tensors))
    for single, double in zip(singles, run(CASES[name], *tensors), strict=True):
        assert single.dtype == torch.float32
        assert (single - double).abs().max() <= 2e-6 * (1 + double.abs().max())


@pytest.mark.parametrize("name", CASES)
def test_no_images(name):
    empty = dataclasses.replace(CASES[name], batch=0)
    out, grad_x, *others = run(empty, *make_tensors(empty))
    assert out.shape == (0, empty.out_channels, *empty.output_size)
    assert grad_x.shape == (0, empty.in_channels, *empty.input_size)
    assert all(torch.equal(gradient, torch.zeros_like(gradient)) for gradient in others)


def test_any_strides_in_memory():
    geometry = CASES["torchvision's"]
    tensors = make_tensors(geometry)
    strided = [t.transpose(0, -1).contiguous().transpose(0, -1) for t in tensors]
    strided[0] = tensors[0].to(memory_format=torch.channels_last)
    strided[4] = torch.stack([tensors[4], tensors[4]], -1)[..., 1]
    assert not any(t.is_contiguous() for t in (*strided[:3], strided[4]))
    assert_close(run(geometry, *strided), run(geometry, *tensors), 1e-12)
    constant = torch.ones((), dtype=torch.float64).expand_as(tensors[4])
    assert_close(
        run(geometry, *tensors[:4], constant), run(geometry, *tensors[:4], constant.contiguous()), 1e-12
    )


@pytest.mark.parametrize("tile_bytes", [1, 4000])
@pytest.mark.parametrize("pixels", [1, 90])
@pytest.mark.parametrize("name", ["rows of several vectors", "wide stride", "5×3"])
def test_however_the_work_is_cut(name, pixels, tile_bytes, threads, monkeypatch):
    geometry = CASES[name]
    tensors = make_tensors(geometry, spread=3.0)
    whole = run(geometry, *tensors)
    monkeypatch.setattr(planning, "_TILE_BYTES", tile_bytes)
    monkeypatch.setattr(planning, "_BLOCK_PIXELS", pixels)
    monkeypatch.setattr(planning, "_LEAST_PIXELS", 1)
    plan = planning.make_plan("backward", geometry, geometry.in_channels, 8, threads)
    assert tile_bytes > 1 or plan.record["block_channels"] == 1
    assert pixels > 1 or plan.record["block_rows"] == 1
    assert_close(run(geometry, *tensors), whole, 1e-12)


@pytest.mark.parametrize("count", [8, 16, 61])
def test_kernels_are_cut_where_rows_do_not_suffice(count, monkeypatch):
    geometry = Geometry(1, 4, 2 * 131, (5, 46), (2, 3), (1, 1), (0, 2), (1, 1), 2)
    tensors = make_tensors(geometry)
    plan = planning.make_plan("forward", geometry, geometry.in_channels, 8, count)
    if count == 61:
        assert plan.record["block_kernels"] < 131
        assert plan.units == 2 * -(-131 // plan.record["block_kernels"])
    out = run(geometry, *tensors)[0]
    monkeypatch.setattr(torch, "get_num_threads", lambda: count)
    assert_close([run(geometry, *tensors)[0]], [out], 1e-12)


def test_few_threads_sample_nothing_twice():
    geometry = Geometry(1, 256, 256, (41, 41), (3, 3), (1, 1), (2, 2), (2, 2), 1)
    for count in (1, 2, 3, 8):
        plan = planning.make_plan("forward", geometry, geometry.in_channels, 4, count)
        assert plan.record["block_kernels"] == 256
    many = planning.make_plan("forward", geometry, geometry.in_channels, 4, 16)
    assert many.units >= 16


def test_memory_and_work_do_not_depend_on_positions():
    """They are planned from sizes alone; positions far away then only read zeros."""
    geometry = CASES["rows of several vectors"]
    x, weight, positions, bias, grad_out = make_tensors(geometry)
    for far in (1e7, -1e7, 1e18, -torch.finfo(torch.float64).max):
        moved = positions.clone()
        moved[:, ::2, 0] = far
        moved[:, 1::2, 1] = far
        out, grad_x, grad_weight, grad_positions, _ = run(geometry, x, weight, moved, bias, grad_out)
        assert torch.equal(out, bias[:, None, None].expand_as(out))
        for gradient in (grad_x, grad_weight, grad_positions):
            assert torch.equal(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize(
    "name", ["even kernel", "rows of several vectors", "depthwise", "depthwise, wide stride"]
)
def test_on_the_lattice_and_on_the_border(name):
    """Whole-pixel positions from inside to just outside: there the specification has the right-hand derivative."""
    geometry = CASES[name]
    x, weight, positions, bias, grad_out = make_tensors(geometry)
    centre = torch.tensor(geometry.centre, dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    low, high = -max(geometry.input_size) - 1, max(geometry.input_size) + 2
    whole = torch.randint(low, high, positions.shape, generator=generator).double()
    tensors = x, weight, whole - centre, bias, grad_out
    expected = differentiate(lambda *t: reference.forward(*t, geometry), *tensors)
    assert expected[3].count_nonzero()
    assert_close(run(geometry, *tensors), expected)


def test_right_hand_derivative_by_hand():
    geometry = Geometry(1, 1, 1, (1, 3), (1, 1), (1, 1), (0, 0), (1, 1), 1)
    x = torch.tensor([[[[1.0, 10.0, 100.0]]]])
    *_, grad_positions, _ = run(
        geometry,
        x,
        torch.ones(1, 1, 1, 1),
        torch.zeros(1, 1, 2),
        torch.zeros(1),
        torch.tensor([[[[1.0, 0, 0]]]]),
    )
    assert grad_positions.flatten().tolist() == [-1.0, 9.0]  # below the image there are zeros


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["torchvision's", "depthwise"])
def test_lost_positions_spoil_their_own_group_alone(name, bad):
    geometry = CASES[name]
    tensors = make_tensors(geometry)
    lost = tensors[2].clone()
    lost[0, 1, 1] = bad
    good = run(geometry, *tensors)
    out, grad_x, grad_weight, grad_positions, grad_bias = run(geometry, *tensors[:2], lost, *tensors[3:])
    kernels, channels = (n // geometry.groups for n in (geometry.out_channels, geometry.in_channels))
    assert out[:, :kernels].isnan().all()
    assert grad_x[:, 0].isnan().all()
    assert grad_weight.flatten(2)[:kernels, 0, 1].isnan().all()
    assert grad_positions[0, 1].isnan().all()
    assert_close(
        (out[:, kernels:], grad_x[:, channels:], grad_weight[kernels:], grad_positions[channels:], grad_bias),
        (good[0][:, kernels:], good[1][:, channels:], good[2][kernels:], good[3][channels:], good[4]),
        0,
    )
    assert grad_positions[0, 2:].isfinite().all()


@pytest.mark.parametrize("groups", [1, 2])
def test_what_no_output_reads_takes_no_part_even_if_it_is_not_a_number(groups):
    geometry = Geometry(1, 2, 2, (9, 6), (3, 2), (1, 1), (0, 0), (1, 1), groups)
    tensors = list(make_tensors(geometry))
    tensors[2] = tensors[2].abs() % 1 - torch.tensor(geometry.centre, dtype=torch.float64)
    expected = run(geometry, *tensors)
    tensors[0] = tensors[0].clone()
    tensors[0][:, :, -1] = torch.nan
    assert_close(run(geometry, *tensors), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_single_precision_rounded(dtype):
    geometry = CASES["5×3"]
    tensors = [t.to(dtype) for t in make_tensors(geometry)]
    wide = run(geometry, *(t.float() for t in tensors))
    for ours, theirs in zip(run(geometry, *tensors), wide, strict=True):
        assert ours.dtype == dtype
        torch.testing.assert_close(ours, theirs.to(dtype), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["wide stride", "depthwise"])
@pytest.mark.parametrize("wanted", [0, 1, 2, 3])
def test_only_the_gradient_that_is_wanted(name, wanted):
    geometry = CASES[name]
    x, weight, positions, _, grad_out = tensors = make_tensors(geometry)
    needs = tuple(i == wanted for i in range(4))
    gradients = sampled.backward(grad_out, x, weight, positions, geometry, needs)
    assert [gradient is not None for gradient in gradients] == list(needs)
    torch.testing.assert_close(gradients[wanted], run(geometry, *tensors)[1 + wanted], rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_positions_of_another_dtype(dtype):
    geometry = CASES["5×3"]
    tensors = [t.to(dtype) for t in make_tensors(geometry)]
    other = torch.float64 if dtype == torch.float32 else torch.float32
    tensors[2] = tensors[2].to(other)
    ours = run(geometry, *tensors)
    assert ours[3].dtype == other
    assert_close(ours, differentiate(lambda *t: reference.forward(*t, geometry), *tensors), 1e-4)


@pytest.mark.parametrize("name", ["rows of several vectors", "depthwise"])
def test_several_callers_at_once(name, threads):
    geometry = CASES[name]
    sets = [make_tensors(geometry, seed=seed) for seed in range(4)]
    alone = [run(geometry, *tensors) for tensors in sets]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda i: run(geometry, *sets[i % 4]), range(24)))
    for i, results in enumerate(together):
        assert_close(results, alone[i % 4], 0)


@pytest.mark.parametrize("name", ["rows of several vectors", "depthwise"])
def test_without_the_team_and_the_blas_of_torch(name, monkeypatch):
    geometry = CASES[name]
    tensors = make_tensors(geometry)
    expected = run(geometry, *tensors)
    monkeypatch.setattr(team, "_openmp", lambda: None)
    monkeypatch.setattr(team, "_torch_library", lambda: None)
    team.find_gemm.cache_clear()
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert_close(run(geometry, *tensors), expected, 1e-12)
    finally:
        torch.set_num_threads(before)
        team.find_gemm.cache_clear()


def test_where_nothing_can_be_cached(monkeypatch):
    from icnn_core.ops.sampled import depthwise

    compiler, asked = depthwise.compile_forward, []

    def refuse(*arguments, **options):
        asked.append(options)
        if options:
            raise RuntimeError("cannot cache function: no locator available")
        return compiler(*arguments)

    monkeypatch.setattr(depthwise, "compile_forward", refuse)
    team._find_pass.cache_clear()
    try:
        test_equals_torchvision("depthwise", 0.4, "channel")
    finally:
        team._find_pass.cache_clear()
    assert asked == [{"cache": True}, {}]


def test_reasons():
    cpu = torch.device("cpu")
    assert sampled.unsupported_reasons(torch.float32, cpu, shared=True) == []
    wrong = torch.float8_e4m3fn
    refused = sampled.unsupported_reasons(wrong, torch.device("meta"), shared=False, gaussian=True)
    for word, reason in zip(("meta", "float8", "kernel", "bilinear"), refused, strict=True):
        assert word in reason


def operator_arguments(geometry):
    sizes = [*map(list, (geometry.stride, geometry.padding, geometry.dilation)), geometry.groups]
    x, weight, positions, bias, grad_out = (t.requires_grad_() for t in make_tensors(geometry, spread=0.4))
    return (x, weight, positions, bias, *sizes), (grad_out, x, weight, positions, *sizes)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_opcheck_forward():
    forward_arguments, _ = operator_arguments(SMALL)
    torch.library.opcheck(torch.ops.icnn.sampled_conv2d.default, forward_arguments)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("needs", [ALL, (False, True, True, False)])
def test_opcheck_backward(needs):
    """Without tracing the derivative of the backward pass for sizes that may change: that takes a minute."""
    _, backward_arguments = operator_arguments(SMALL)
    torch.library.opcheck(
        torch.ops.icnn.sampled_conv2d_backward.default,
        (*backward_arguments, list(needs)),
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )


@pytest.mark.parametrize("geometry", [SMALL, SMALL_DEPTHWISE], ids=["columns", "depthwise"])
def test_gradcheck_and_gradgradcheck_off_the_lattice(geometry):
    x, weight, positions, bias, _ = make_tensors(geometry)
    centre = torch.tensor(geometry.centre, dtype=torch.float64)
    generator = torch.Generator().manual_seed(2)
    inside = 0.2 + 0.6 * torch.rand(positions.shape, generator=generator, dtype=torch.float64)
    off = (positions + centre).floor() + inside - centre
    tensors = [t.requires_grad_() for t in (x, weight, off, bias)]

    def function(*inputs):
        return run_sampled(*inputs, geometry)

    assert torch.autograd.gradcheck(function, tensors)
    assert torch.autograd.gradgradcheck(function, tensors)


def third_derivatives(function, x, weight, positions):
    """Through squares, so that the incoming gradients themselves depend on the inputs."""
    inputs = [t.detach().requires_grad_() for t in (x, weight, positions)]
    value = function(*inputs).square().sum()
    for _ in range(2):
        gradients = torch.autograd.grad(value, inputs, create_graph=True)
        value = sum(gradient.square().sum() for gradient in gradients)
    return torch.autograd.grad(value, inputs)


def test_third_derivatives_equal_the_native_ones():
    geometry = dataclasses.replace(CASES["torchvision's"], batch=2)
    tensors = make_tensors(geometry, spread=0.4)[:3]
    ours = third_derivatives(lambda *t: run_sampled(*t, None, geometry), *tensors)
    theirs = third_derivatives(lambda *t: gathered.forward(*t, None, geometry), *tensors)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-9 * float(other.abs().max()))


def test_double_backward_where_some_inputs_are_constant():
    geometry = dataclasses.replace(CASES["5×3"], batch=1)
    x, weight, positions, *_ = make_tensors(geometry)

    def second(function):
        p = positions.detach().requires_grad_()
        (first,) = torch.autograd.grad(
            function(x, weight, p, None, geometry).square().sum(), p, create_graph=True
        )
        return torch.autograd.grad(first.square().sum(), p)

    assert_close(second(run_sampled), second(gathered.forward), 1e-8)


def test_autocast_computes_in_float32_and_rounds():
    geometry = CASES["5×3"]
    x, weight, positions, bias, _ = (t.float() for t in make_tensors(geometry))
    expected = run_sampled(x, weight, positions, bias, geometry)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = run_sampled(x, weight, positions, bias, geometry)
        mixed = run_sampled(x.bfloat16(), weight, positions, bias, geometry)
        double = run_sampled(*(t.double() for t in (x, weight, positions, bias)), geometry)
    assert torch.equal(out, expected.bfloat16())
    assert mixed.dtype == torch.bfloat16
    assert double.dtype == torch.float64


def test_compiled_and_meta():
    geometry = CASES["5×3"]
    tensors = make_tensors(geometry)
    compiled = torch.compile(lambda *t: run_sampled(*t, geometry), fullgraph=True, backend="aot_eager")
    assert_close(
        differentiate(compiled, *tensors), differentiate(lambda *t: run_sampled(*t, geometry), *tensors), 0
    )
    meta = run_sampled(*(t.to("meta") for t in tensors[:4]), geometry)
    assert meta.shape == tensors[4].shape


def choose(geometry, asked):
    """What a dispatcher does; notes in `asked` what it was told."""

    def function(x, weight, positions):
        asked.append(needs_native(x, weight, positions, None))
        run = gathered.forward if asked[-1] else run_sampled
        return run(x, weight, positions, None, dataclasses.replace(geometry, batch=x.shape[0]))

    return function


# torch's own forward-mode rules still load torch.jit.script
_FORWARD_MODE = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*is (deprecated|not supported)")


@_FORWARD_MODE
@pytest.mark.parametrize("which", range(4))
@pytest.mark.parametrize("needs_grad", [False, True])
def test_the_operator_itself_refuses_tangents(which, needs_grad):
    """PyTorch would call it on the primals, and the derivative would be 0."""
    (*tensors, stride, padding, dilation, groups), _ = operator_arguments(SMALL)
    tensors = [t.detach().requires_grad_(needs_grad) for t in tensors]
    with forward_ad.dual_level():
        tensors[which] = forward_ad.make_dual(tensors[which], torch.ones_like(tensors[which]))
        with pytest.raises((UnsupportedError, RuntimeError), match=r"forward-mode|jvp"):
            torch.ops.icnn.sampled_conv2d(*tensors, stride, padding, dilation, groups)


@_FORWARD_MODE
@pytest.mark.parametrize("which", range(4))
def test_its_backward_pass_refuses_tangents(which):
    _, (*tensors, stride, padding, dilation, groups) = operator_arguments(SMALL)
    tensors = [t.detach() for t in tensors]
    with forward_ad.dual_level():
        tensors[which] = forward_ad.make_dual(tensors[which], torch.ones_like(tensors[which]))
        with pytest.raises(UnsupportedError, match="forward-mode"):
            torch.ops.icnn.sampled_conv2d_backward(*tensors, stride, padding, dilation, groups, list(ALL))


@_FORWARD_MODE
def test_the_operator_itself_refuses_torch_func_jvp():
    (x, weight, positions, bias, *sizes), _ = operator_arguments(SMALL)
    primal = positions.detach()

    def call(p):
        return torch.ops.icnn.sampled_conv2d(x.detach(), weight.detach(), p, bias.detach(), *sizes)

    with pytest.raises((UnsupportedError, RuntimeError), match=r"forward-mode|jvp"):
        torch.func.jvp(call, (primal,), (torch.ones_like(primal),))


@_FORWARD_MODE
def test_native_operations_serve_what_the_operator_cannot():
    geometry = dataclasses.replace(CASES["torchvision's"], batch=2)
    x, weight, positions, *_ = make_tensors(geometry, spread=0.4)
    asked: list[bool] = []
    function = choose(geometry, asked)

    function(x, weight, positions)
    with forward_ad.dual_level():
        function(x, weight, positions)
    assert asked == [False, False]
    asked.clear()

    def per_sample(w, image):
        return function(image[None], w, positions).square().sum()

    tangent = torch.ones_like(positions)
    _, pushed = torch.func.jvp(lambda p: function(x, weight, p), (positions,), (tangent,))
    with forward_ad.dual_level():
        dual = function(x, weight, forward_ad.make_dual(positions, tangent))
        torch.testing.assert_close(forward_ad.unpack_dual(dual).tangent, pushed)
    step = 1e-6
    ahead, behind = (function(x, weight, positions + s * tangent) for s in (step, -step))
    del asked[-2:]
    torch.testing.assert_close(pushed, (ahead - behind) / (2 * step), rtol=1e-6, atol=1e-6)
    each = torch.func.vmap(torch.func.grad(per_sample), in_dims=(None, 0))(weight, x)
    torch.testing.assert_close(each[1], torch.func.grad(per_sample)(weight, x[1]))
    jacobian = torch.func.jacfwd(lambda p: function(x, weight, p).sum())(positions)
    torch.testing.assert_close(jacobian, torch.func.grad(lambda p: function(x, weight, p).sum())(positions))
    torch.func.hessian(lambda w: function(x, w, positions).square().sum())(weight)
    assert len(asked) >= 7
    assert all(asked)


@_FORWARD_MODE
def test_native_operations_serve_compiled_transforms_and_export():
    x, weight, positions, *_ = make_tensors(SMALL, spread=0.4)
    function = choose(SMALL, [])

    def push(p):
        return torch.func.jvp(lambda p: function(x, weight, p), (p,), (torch.ones_like(p),))[1]

    compiled = torch.compile(push, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(positions), push(positions))

    class Module(torch.nn.Module):
        def forward(self, *tensors):
            return function(*tensors)

    graph = torch.export.export(Module(), (x, weight, positions)).graph
    assert not [node for node in graph.nodes if "icnn" in str(node.target)]


def test_compiled_code_is_kept_outside_of_the_package():
    """A file left beside the sources would outlive an uninstall, and its folder would shadow the package."""
    from pathlib import Path

    import icnn_core
    from icnn_core.ops.compiled.team import find_pass

    assert find_pass("sampled.columns.forward", torch.float64)
    assert not list(Path(str(icnn_core.__file__)).parent.rglob("*.nb[ic]"))
