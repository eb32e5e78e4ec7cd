"""The full version's CPU back end against the specification, however its work is cut, and its place in PyTorch."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.autograd import forward_ad

from icnn_core.errors import UnsupportedError
from icnn_core.ops import explain, gathered, irregular_conv2d, reference, sparse
from icnn_core.ops.compiled import team
from icnn_core.ops.geometry import SIGMA_RANGE, Geometry, regular_slots
from icnn_core.ops.registration import run_sparse

pytest.importorskip("numba", reason="Numba is not installed")

from icnn_core.ops.sparse import job as planning

ALL = (True,) * 5
CASES = {  # batch, C_in, C_out, (H, W), kernel, stride, padding, dilation, groups
    "groups, stride (2, 1)": Geometry(3, 6, 2, (5, 4), (3, 2), (2, 1), (1, 0), (2, 1), 2),
    "even kernel": Geometry(2, 2, 3, (7, 9), (2, 4), (1, 2), (1, 3), (1, 1), 1),
    "5×3": Geometry(2, 3, 4, (11, 8), (5, 3), (1, 1), (4, 1), (2, 1), 1),
    "rows of several vectors": Geometry(2, 4, 6, (9, 53), (3, 3), (1, 1), (2, 1), (2, 1), 2),
    "a row that fills its vectors": Geometry(1, 3, 2, (3, 18), (1, 3), (1, 1), (1, 0), (1, 1), 1),
    "wide stride": Geometry(2, 3, 2, (10, 40), (3, 2), (3, 4), (1, 2), (1, 2), 1),
    "depthwise": Geometry(3, 5, 5, (6, 21), (3, 5), (1, 1), (1, 2), (1, 1), 5),
    "several blocks of rows": Geometry(1, 3, 2, (47, 13), (2, 3), (1, 1), (1, 1), (1, 1), 1),
    "one channel": Geometry(2, 1, 7, (6, 5), (3, 3), (1, 1), (1, 1), (1, 1), 1),
}
SMALL = Geometry(1, 4, 2, (4, 3), (2, 1), (2, 1), (1, 0), (2, 1), 2)
# torch's own forward-mode rules still load torch.jit.script
_FORWARD_MODE = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*is (deprecated|not supported)")
GAUSSIAN = pytest.mark.parametrize("gaussian", [False, True], ids=["bilinear", "gaussian"])


def make_tensors(geometry, gaussian=False, *, spread=1.5, dtype=torch.float64, seed=0):
    """x, weight, positions, sigma, bias and a gradient of the output."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype)

    g = geometry
    per_group = g.in_channels // g.groups
    noise = random(g.out_channels, per_group, g.taps, 2)
    positions = regular_slots(g.kernel_size, g.dilation).to(dtype) + spread * noise
    weight = random(g.out_channels, per_group, *g.kernel_size)
    grad_out = random(g.batch, g.out_channels, *g.output_size)
    sigma = 0.2 + 0.7 * torch.rand(positions.shape, generator=generator, dtype=dtype) if gaussian else None
    x = random(g.batch, g.in_channels, *g.input_size)
    return x, weight, positions, sigma, random(g.out_channels), grad_out


def run(geometry, x, weight, positions, sigma, bias, grad_out):
    """Output and all gradients of the back end's passes."""
    needs = (True, True, True, sigma is not None, True)
    out = sparse.forward(x, weight, positions, sigma, bias, geometry)
    return out, *sparse.backward(grad_out, x, weight, positions, sigma, geometry, needs)


def specify(geometry, x, weight, positions, sigma, bias, grad_out):
    tensors = [
        None if t is None else t.detach().requires_grad_() for t in (x, weight, positions, sigma, bias)
    ]
    out = reference.forward(*tensors[:3], tensors[4], geometry, tensors[3])
    given = [t for t in tensors if t is not None]
    found = iter(torch.autograd.grad(out, given, grad_out))
    return out.detach(), *(None if t is None else next(found) for t in tensors)


def assert_close(ours, theirs, tolerance=1e-10):
    for mine, other in zip(ours, theirs, strict=True):
        if other is None:
            assert mine is None
        else:
            torch.testing.assert_close(mine, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("spread", [0.4, 6.0])
@pytest.mark.parametrize("name", CASES)
def test_equals_the_specification(name, spread):
    tensors = make_tensors(CASES[name], spread=spread)
    assert_close(run(CASES[name], *tensors), specify(CASES[name], *tensors))


@pytest.mark.parametrize("name", ["groups, stride (2, 1)", "even kernel", "one channel"])
def test_gaussian_equals_the_specification(name):
    tensors = make_tensors(CASES[name], gaussian=True, spread=2.0)
    assert_close(run(CASES[name], *tensors), specify(CASES[name], *tensors))


@pytest.mark.parametrize("name", ["rows of several vectors", "wide stride", "several blocks of rows"])
def test_gaussian_equals_native_operations(name):
    geometry = CASES[name]
    tensors = make_tensors(geometry, gaussian=True, spread=2.0)
    x, weight, positions, sigma, bias, grad_out = tensors
    given = [t.clone().requires_grad_() for t in (x, weight, positions, sigma)]
    out = gathered.forward(*given[:3], bias, geometry, given[3])
    expected = out.detach(), *torch.autograd.grad(out, given, grad_out)
    assert_close(run(geometry, *tensors)[:5], expected)


@GAUSSIAN
@pytest.mark.parametrize("name", CASES)
def test_single_precision_differs_by_rounding(name, gaussian):
    tensors = make_tensors(CASES[name], gaussian)
    singles = run(CASES[name], *(None if t is None else t.float() for t in tensors))
    for single, double in zip(singles, run(CASES[name], *tensors), strict=True):
        if double is not None:
            assert single.dtype == torch.float32
            assert (single - double).abs().max() <= 5e-6 * (1 + double.abs().max())


@GAUSSIAN
def test_no_images(gaussian):
    empty = dataclasses.replace(CASES["5×3"], batch=0)
    out, grad_x, *others = run(empty, *make_tensors(empty, gaussian))
    assert out.shape == (0, 4, *empty.output_size)
    assert grad_x.shape == (0, 3, 11, 8)
    assert all(g is None or torch.equal(g, torch.zeros_like(g)) for g in others)


def test_any_strides_in_memory():
    geometry = CASES["groups, stride (2, 1)"]
    tensors = make_tensors(geometry, gaussian=True)
    strided = [t.transpose(0, -1).contiguous().transpose(0, -1) for t in tensors]
    strided[0] = tensors[0].to(memory_format=torch.channels_last)
    strided[5] = torch.stack([tensors[5], tensors[5]], -1)[..., 1]
    assert not any(t.is_contiguous() for t in (*strided[:4], strided[5]))
    assert_close(run(geometry, *strided), run(geometry, *tensors), 1e-12)
    constant = torch.ones((), dtype=torch.float64).expand_as(tensors[5])
    expected = run(geometry, *tensors[:5], constant.contiguous())
    assert_close(run(geometry, *tensors[:5], constant), expected, 1e-12)


@GAUSSIAN
@pytest.mark.parametrize("cache", [1, 9000])
@pytest.mark.parametrize("name", ["rows of several vectors", "wide stride", "several blocks of rows"])
def test_however_the_work_is_cut(name, cache, threads, gaussian, monkeypatch):
    geometry = CASES[name]
    tensors = make_tensors(geometry, gaussian, spread=3.0)
    whole = run(geometry, *tensors)
    monkeypatch.setattr(planning, "_SHEETS_BYTES", cache)
    monkeypatch.setattr(planning, "_SUMS_BYTES", cache)
    monkeypatch.setattr(planning, "_LEAST_PIXELS", 50)
    window = (-3, 4) if gaussian else (0, 1)
    plan = planning.plan_planes(geometry, window, False, 8, threads).record
    assert plan["rows"] < geometry.output_size[0] or name == "wide stride"
    assert cache > 1 or plan["block_sources"] == plan["block_targets"] == 1
    assert_close(run(geometry, *tensors), whole, 1e-12)


def test_threads_change_no_bit(monkeypatch):
    geometry = CASES["several blocks of rows"]
    tensors = [None if t is None else t.float() for t in make_tensors(geometry)]
    before = torch.get_num_threads()
    results = []
    for count in (1, 2, 5):
        torch.set_num_threads(count)
        results.append(run(geometry, *tensors))
    torch.set_num_threads(before)
    assert_close(results[1], results[0], 0)
    assert_close(results[2], results[0], 0)


@GAUSSIAN
def test_memory_and_work_do_not_depend_on_positions(gaussian):
    """They are planned from sizes alone; positions far away then only read zeros."""
    geometry = CASES["rows of several vectors"]
    x, weight, positions, sigma, bias, grad_out = make_tensors(geometry, gaussian)
    for far in (1e7, -1e7, 1e18, -torch.finfo(torch.float64).max):
        moved = positions.clone()
        moved[..., ::2, 0] = far
        moved[..., 1::2, 1] = far
        out, *gradients, _ = run(geometry, x, weight, moved, sigma, bias, grad_out)
        assert torch.equal(out, bias[:, None, None].expand_as(out))
        assert all(g is None or torch.equal(g, torch.zeros_like(g)) for g in gradients)


@pytest.mark.parametrize(
    "name", ["even kernel", "rows of several vectors", "depthwise", "wide stride", "several blocks of rows"]
)
def test_on_the_lattice_and_on_the_border(name):
    """Whole-pixel positions from inside to just outside: there the specification has the right-hand derivative."""
    geometry = CASES[name]
    x, weight, positions, _, bias, grad_out = make_tensors(geometry)
    generator = torch.Generator().manual_seed(1)
    low, high = -max(geometry.input_size) - 1, max(geometry.input_size) + 2
    whole = torch.randint(low, high, positions.shape, generator=generator).double()
    centre = torch.tensor(geometry.centre, dtype=torch.float64)
    tensors = x, weight, whole - centre, None, bias, grad_out
    expected = specify(geometry, *tensors)
    assert expected[3].count_nonzero()
    assert_close(run(geometry, *tensors), expected)


def test_right_hand_derivative_by_hand():
    geometry = Geometry(1, 1, 1, (1, 3), (1, 1), (1, 1), (0, 0), (1, 1), 1)
    x, one = torch.tensor([[[[1.0, 10.0, 100.0]]]]), torch.ones(1, 1, 1, 1)
    grad_out = torch.tensor([[[[1.0, 0, 0]]]])
    *_, grad_positions, _, _ = run(geometry, x, one, torch.zeros(1, 1, 1, 2), None, torch.zeros(1), grad_out)
    assert grad_positions.flatten().tolist() == [-1.0, 9.0]  # below the image there are zeros


def test_one_tap_worked_by_hand():
    image = torch.arange(12.0).reshape(1, 1, 3, 4)
    weight, positions = torch.full((1, 1, 1, 1), 2.0), torch.tensor([[[[0.5, 0.25]]]])
    out = irregular_conv2d(image, weight, positions, backend="sparse")
    # At (0, 0): half-way between the rows 0 and 4, a quarter of the way to the right: 2 · (2 + 0.25).
    assert out[0, 0, 0, 0].item() == pytest.approx(4.5)
    # At (2, 3): below and right of it lies nothing: 2 · 0.5 · 0.75 · 11.
    assert out[0, 0, 2, 3].item() == pytest.approx(8.25)


@GAUSSIAN
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_lost_positions_spoil_their_own_kernel_alone(bad, gaussian):
    geometry = CASES["groups, stride (2, 1)"]
    tensors = list(make_tensors(geometry, gaussian))
    good = run(geometry, *tensors)
    tensors[2] = tensors[2].clone()
    tensors[2][1, 2, 1, 1] = bad  # kernel 1, of group 1, on channel 5
    out, grad_x, grad_weight, grad_positions, _, grad_bias = run(geometry, *tensors)
    assert out[:, 1].isnan().all()
    assert grad_x[:, 5].isnan().all()
    assert grad_weight.flatten(2)[1, 2, 1].isnan()
    assert grad_positions[1, 2, 1].isnan().all()
    for ours, theirs in ((out[:, 0], good[0][:, 0]), (grad_x[:, :5], good[1][:, :5]), (grad_bias, good[5])):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert grad_weight.isnan().sum() == 1
    assert grad_positions.isnan().sum() == 2


def test_what_no_output_reads_takes_no_part_even_if_it_is_not_a_number():
    geometry = Geometry(1, 2, 2, (9, 6), (3, 2), (1, 1), (0, 0), (1, 1), 1)
    tensors = list(make_tensors(geometry))
    tensors[2] = tensors[2].abs() % 1 - torch.tensor(geometry.centre, dtype=torch.float64)
    expected = run(geometry, *tensors)
    tensors[0] = tensors[0].clone()
    tensors[0][:, :, -1] = torch.nan
    assert_close(run(geometry, *tensors), expected)
    tensors[0][:, :, -1] = 0
    tensors[2] = tensors[2] - torch.tensor(
        [0.0, 1.0]
    )  # now the last columns of the image are read by no output
    expected = run(geometry, *tensors)
    tensors[0][..., 5] = torch.nan
    assert_close(run(geometry, *tensors)[2:4], expected[2:4])


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("pixel", [(0, 0), (9, 3), (12, 20)])
def test_only_taps_that_read_a_pixel_that_is_not_finite_have_no_gradient(pixel, bad):
    geometry = Geometry(
        2, 2, 3, (13, 21), (3, 2), (1, 1), (0, 1), (2, 1), 1
    )  # 9 rows, where a block may have 11
    tensors = list(make_tensors(geometry, spread=3.0))
    tensors[0][1, 1, *pixel] = bad
    expected = specify(geometry, *tensors)
    assert 0 < expected[2].isfinite().sum() < expected[2].numel()
    for ours, theirs in zip(run(geometry, *tensors)[2:4], expected[2:4], strict=True):
        ours, theirs = (torch.where(t.isfinite(), t, torch.nan) for t in (ours, theirs))
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_single_precision_rounded(dtype):
    geometry = CASES["5×3"]
    tensors = [t.to(dtype) for t in make_tensors(geometry, gaussian=True)]
    wide = run(geometry, *(t.float() for t in tensors))
    for ours, theirs in zip(run(geometry, *tensors), wide, strict=True):
        assert ours.dtype == dtype
        torch.testing.assert_close(ours, theirs.to(dtype), rtol=0, atol=0)


@pytest.mark.parametrize("wanted", range(5))
def test_only_the_gradient_that_is_wanted(wanted):
    geometry = CASES["wide stride"]
    x, weight, positions, sigma, _, grad_out = tensors = make_tensors(geometry, gaussian=True)
    needs = tuple(i == wanted for i in range(5))
    gradients = sparse.backward(grad_out, x, weight, positions, sigma, geometry, needs)
    assert [gradient is not None for gradient in gradients] == list(needs)
    torch.testing.assert_close(gradients[wanted], run(geometry, *tensors)[1 + wanted], rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_positions_of_another_dtype(dtype):
    geometry = CASES["5×3"]
    tensors = [None if t is None else t.to(dtype) for t in make_tensors(geometry)]
    other = torch.float64 if dtype == torch.float32 else torch.float32
    tensors[2] = tensors[2].to(other)
    ours = run(geometry, *tensors)
    assert ours[3].dtype == other
    assert_close(ours, specify(geometry, *tensors), 1e-4)


def test_several_callers_at_once(threads):
    geometry = CASES["rows of several vectors"]
    sets = [make_tensors(geometry, seed=seed) for seed in range(4)]
    alone = [run(geometry, *tensors) for tensors in sets]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda i: run(geometry, *sets[i % 4]), range(24)))
    for i, results in enumerate(together):
        assert_close(results, alone[i % 4], 0)


def test_without_the_team_of_torch(monkeypatch):
    geometry = CASES["rows of several vectors"]
    tensors = make_tensors(geometry)
    expected = run(geometry, *tensors)
    monkeypatch.setattr(team, "_openmp", lambda: None)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert_close(run(geometry, *tensors), expected, 0)
    finally:
        torch.set_num_threads(before)


def test_reasons():
    cpu = torch.device("cpu")
    assert sparse.unsupported_reasons(torch.float32, cpu, shared=False) == []
    refused = sparse.unsupported_reasons(torch.float8_e4m3fn, torch.device("meta"), shared=True)
    for word, reason in zip(("meta", "float8", "share shapes"), refused, strict=True):
        assert word in reason


def choose(x, weight, positions, **options):
    return explain(x, weight, positions, padding=1, **options)


def test_the_full_version_far_is_its_own():
    x, weight = torch.zeros(1, 64, 41, 41), torch.zeros(64, 64, 3, 3)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(64, 64, 9, 2, generator=generator)
    for spread in (0.5, 4.0):
        positions = regular_slots((3, 3), (1, 1)) + spread * noise
        assert choose(x, weight, positions).backend == "sparse"
    shared = choose(x, weight, positions[0])
    assert shared.backend == "sampled"
    assert "share shapes" in shared.others["sparse"]


def operator_arguments(geometry, gaussian):
    sizes = [*map(list, (geometry.stride, geometry.padding, geometry.dilation)), geometry.groups]
    tensors = [
        None if t is None else t.requires_grad_() for t in make_tensors(geometry, gaussian, spread=0.4)
    ]
    return (*tensors[:5], *sizes), (tensors[5], *tensors[:4], *sizes)


@GAUSSIAN
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_opcheck(gaussian):
    forward_arguments, backward_arguments = operator_arguments(SMALL, gaussian)
    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(torch.ops.icnn.sparse_conv2d.default, forward_arguments, test_utils=tests)
    needs = [True, True, True, gaussian, True]
    torch.library.opcheck(
        torch.ops.icnn.sparse_conv2d_backward.default, (*backward_arguments, needs), test_utils=tests
    )


def off_the_lattice(geometry, positions):
    centre = torch.tensor(geometry.centre, dtype=torch.float64)
    generator = torch.Generator().manual_seed(2)
    inside = 0.2 + 0.6 * torch.rand(positions.shape, generator=generator, dtype=torch.float64)
    return (positions + centre).floor() + inside - centre


@GAUSSIAN
def test_gradcheck_and_gradgradcheck_off_the_lattice(gaussian):
    x, weight, positions, sigma, bias, _ = make_tensors(SMALL, gaussian)
    tensors = [x, weight, off_the_lattice(SMALL, positions), bias, *([sigma] if gaussian else [])]
    tensors = [t.requires_grad_() for t in tensors]

    def function(x, weight, positions, bias, sigma=None):
        return run_sparse(x, weight, positions, bias, SMALL, sigma)

    assert torch.autograd.gradcheck(function, tensors)
    assert torch.autograd.gradgradcheck(function, tensors)


def test_widths_beyond_their_range_are_clamped_and_learn_no_more():
    geometry = CASES["5×3"]
    x, weight, positions, *_ = make_tensors(geometry)
    for outside, least in ((0.01, SIGMA_RANGE[0]), (3.0, SIGMA_RANGE[1])):
        sigma = torch.tensor(outside, dtype=torch.float64, requires_grad=True)
        out = run_sparse(x, weight, positions, None, geometry, sigma)
        limit = torch.full_like(positions, least)
        torch.testing.assert_close(out, reference.forward(x, weight, positions, None, geometry, limit))
        assert torch.autograd.grad(out.sum(), sigma)[0] == 0


def test_double_backward_equals_the_native_one():
    geometry = dataclasses.replace(CASES["5×3"], batch=1)
    x, weight, positions, *_ = make_tensors(geometry)

    def second(function):
        p = positions.detach().requires_grad_()
        (first,) = torch.autograd.grad(
            function(x, weight, p, None, geometry).square().sum(), p, create_graph=True
        )
        return torch.autograd.grad(first.square().sum(), p)

    assert_close(second(run_sparse), second(gathered.forward), 1e-8)


def test_autocast_computes_in_float32_and_rounds():
    geometry = CASES["5×3"]
    x, weight, positions, _, bias, _ = (None if t is None else t.float() for t in make_tensors(geometry))
    expected = run_sparse(x, weight, positions, bias, geometry)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = run_sparse(x, weight, positions, bias, geometry)
        mixed = run_sparse(x.bfloat16(), weight, positions, bias, geometry)
        double = run_sparse(*(t.double() for t in (x, weight, positions, bias)), geometry)
    assert torch.equal(out, expected.bfloat16())
    assert mixed.dtype == torch.bfloat16
    assert double.dtype == torch.float64


@_FORWARD_MODE
@pytest.mark.parametrize("which", range(5))
def test_the_operator_itself_refuses_tangents(which):
    (*tensors, stride, padding, dilation, groups), _ = operator_arguments(SMALL, gaussian=True)
    tensors = [t.detach() for t in tensors]
    with forward_ad.dual_level():
        tensors[which] = forward_ad.make_dual(tensors[which], torch.ones_like(tensors[which]))
        with pytest.raises((UnsupportedError, RuntimeError), match=r"forward-mode|jvp"):
            torch.ops.icnn.sparse_conv2d(*tensors, stride, padding, dilation, groups)


@_FORWARD_MODE
def test_traces_transforms_and_tangents_are_left_to_native_operations():
    geometry = dataclasses.replace(CASES["groups, stride (2, 1)"], batch=2)
    x, weight, positions, *_ = make_tensors(geometry, spread=0.4)
    options = {name: getattr(geometry, name) for name in ("stride", "padding", "dilation", "groups")}

    def function(p):
        return irregular_conv2d(x, weight, p, **options)

    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(positions), function(positions))
    moved = torch.stack([positions, positions + 0.3])
    each = torch.stack([function(p) for p in moved])
    torch.testing.assert_close(torch.func.vmap(function)(moved), each)
    tangent = torch.ones_like(positions)
    _, pushed = torch.func.jvp(function, (positions,), (tangent,))
    step = 1e-6
    difference = (function(positions + step * tangent) - function(positions - step * tangent)) / (2 * step)
    torch.testing.assert_close(pushed, difference, rtol=1e-6, atol=1e-6)
