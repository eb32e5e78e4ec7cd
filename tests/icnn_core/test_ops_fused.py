"""The Triton kernels, interpreted on the CPU, against torchvision's deformable convolution in float64.

The interpreter must be asked for before Triton is first imported, so this file runs itself in a child process, which
reads calls and writes outputs and gradients.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.ops import deform_conv2d

from icnn_core.ops import fused, irregular_conv2d
from icnn_core.ops.geometry import Geometry, regular_slots

Call = dict[str, Any]
NAMES = ("out", "x", "weight", "positions", "bias")
TOLERANCE = {torch.float32: 1e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}  # of norms, relative
CASES: dict[str, dict[str, Any]] = {
    "strided": {"c_in": 4, "c_out": 4, "kernel": (2, 2), "size": (5, 4), "stride": (2, 1), "padding": (1, 0),
                "dilation": (2, 1), "groups": 2, "batch": 2},
    "strided along x": {"stride": (1, 2), "kernel": (1, 3), "padding": (0, 2)},
    "one shape a layer": {"shapes": 1, "bias": False},
    "even kernel": {"kernel": (2, 4), "dilation": (1, 3), "padding": (1, 4)},
    "several tiles": {"size": (9, 130), "c_out": 3, "kernel": (1, 2)},
    "depthwise": {"groups": 3, "c_in": 3, "c_out": 6, "kernel": (2, 1), "batch": 2},
    "strided depthwise": {"groups": 3, "c_in": 3, "c_out": 3, "kernel": (1, 2), "stride": (2, 3),
                          "dtype": torch.float16},
    "float16": {"dtype": torch.float16},
    "bfloat16": {"dtype": torch.bfloat16},
    "other strides in memory": {"permuted": True},
    "on the lattice": {"lattice": True},
    "far away": {"odd": 1e7},
    "far away, the other side": {"odd": -1e7, "stride": (2, 1)},
    "one pixel": {"size": (1, 1), "padding": (2, 3), "kernel": (2, 1)},
    "one kernel of many channels": {"c_in": 5, "c_out": 1, "batch": 2, "kernel": (1, 2)},
    "channels last": {"last": True, "batch": 2},
    "depthwise, channels last": {"groups": 3, "c_in": 3, "c_out": 3, "kernel": (2, 1), "last": True},
    "positions of half precision": {"dtype": torch.float16, "coarse": True, "size": (4, 5)},
}  # fmt: skip
COLUMNS: dict[str, dict[str, Any]] = {
    "columns": {"kernel": (2, 3)},
    "columns, one pixel": {"size": (1, 1), "padding": (2, 3), "kernel": (2, 1)},
    "columns, strided": {**CASES["strided"], "c_in": 2, "workspace": 500},
    "columns, one shape a layer": CASES["one shape a layer"],
    "columns, aligned rows of pixels": {"size": (8, 6), "kernel": (1, 3), "padding": (0, 1), "batch": 2},
    "columns, float16": {"dtype": torch.float16},
    "columns, bfloat16": {"dtype": torch.bfloat16},
    "columns, odd width, bfloat16": {
        "dtype": torch.bfloat16,
        "size": (5, 9),
        "stride": (2, 1),
        "dilation": (1, 2),
    },
    "columns, channels last": {"last": True, "batch": 2},
    "columns, channels last, groups": {"last": True, "batch": 2, "c_in": 4, "c_out": 6, "groups": 2},
    "columns, a workspace of one channel": {"workspace": 1, "c_in": 3},
    "columns, a workspace of one channel, groups": {"workspace": 1, "c_in": 4, "c_out": 2, "groups": 2},
    "columns, a workspace of one group": {"workspace": 2_300, "c_in": 4, "c_out": 2, "groups": 2, "batch": 2},
    "columns, a workspace of one image": {"workspace": 9_000, "batch": 3, "kernel": (1, 2)},
}
"""Served by columns of samples and products; the rest by one kernel, for they have few kernels a group."""
NON_FINITE: dict[str, dict[str, Any]] = {
    "not a number": {"odd": float("nan")},
    "infinite": {"odd": float("-inf"), "axis": 1},
}

UNREAD: dict[str, dict[str, Any]] = {
    "columns": {},
    "strided": {"stride": (2, 1)},
    "depthwise": {"c_in": 2, "c_out": 2, "groups": 2},
    "strided depthwise": {"c_in": 2, "c_out": 2, "groups": 2, "stride": (1, 2)},
}


def make_call(
    *,
    batch: int = 1,
    c_in: int = 2,
    c_out: int = 5,
    size: tuple[int, int] = (7, 6),
    kernel: tuple[int, int] = (1, 2),
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
    shapes: int | None = None,
    bias: bool = True,
    dtype: torch.dtype = torch.float32,
    permuted: bool = False,
    last: bool = False,
    coarse: bool = False,
    lattice: bool = False,
    odd: float | None = None,
    axis: int = 0,
    workspace: int = 1 << 20,
) -> Call:
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    geometry = Geometry(batch, c_in, c_out, size, kernel, stride, padding, dilation, groups)
    moved = 1.7 * random(shapes or c_in, geometry.taps, 2)
    positions = regular_slots(kernel, dilation) + (moved.round() if lattice else moved)
    if odd is not None:
        positions[-1, 1, axis] = odd
    x, grad_out = random(batch, c_in, *size).to(dtype), random(batch, c_out, *geometry.output_size).to(dtype)
    if permuted:
        x = torch.stack([x, torch.full_like(x, torch.nan)], -1).flatten(3)[..., ::2]
        grad_out = grad_out[..., :1].expand(-1, -1, -1, geometry.output_size[1])
    if last:
        x, grad_out = (t.to(memory_format=torch.channels_last) for t in (x, grad_out))
    positions = positions.to(dtype) if coarse else positions
    weight = (random(c_out, c_in // groups, *kernel) / 3).to(dtype)
    tensors = {
        "x": x,
        "weight": weight,
        "positions": positions,
        "bias": random(c_out).to(dtype) if bias else None,
    }
    return {**tensors, "grad_out": grad_out, "geometry": geometry, "workspace": workspace}


def make_unread_call(**options: Any) -> Call:
    """The last row holds NaN. No output reads it, but a lane of four rows goes down to it."""
    call = make_call(size=(9, 6), kernel=(3, 2), padding=(0, 0), **options)
    centre = torch.tensor(call["geometry"].centre)
    call["positions"] = call["positions"].abs() % 1 - centre
    call["x"][:, :, -1] = torch.nan
    return call


def serve(path: Path) -> None:
    """In the child: answer every call of a file with output and gradients."""
    from icnn_core.ops.fused import passes, tuning

    _multiply_bfloat16()
    _patch_once_a_launch()
    _leave_overflows_alone()
    tuning._first_that_runs = lambda ways: ways[0]()  # whose failure is to be seen
    calls, most_kernels = torch.load(path, weights_only=False), tuning.MOST_KERNELS
    answers: dict[object, Any] = {"opcheck": _check_operator(make_call(c_out=2, size=(4, 3), kernel=(1, 2)))}
    for name, call in calls.items():
        passes.workspace_bytes = lambda _, size=call["workspace"]: size
        tuning.MOST_KERNELS = 0 if name.startswith("columns") else most_kernels
        answers[name] = _run_publicly(call)
    tuning.MOST_KERNELS = most_kernels
    answers |= _run_configurations(calls["configurations"])
    answers["verdicts"] = _try_out()
    for name in ("columns", "depthwise"):
        tuning.MOST_KERNELS = 0 if name == "columns" else most_kernels
        answers[f"needs, {name}"] = _run_needs(calls[name])
    answers["planes"] = {name: _copy(image, margin) for name, (image, margin) in make_images().items()}
    torch.save(answers, path)


def make_images() -> dict[str, tuple[Tensor, int]]:
    """Images to copy, each with the margin of its planes: every block of the kernel, its last ones in part."""
    numbers = torch.arange(2 * 131 * 5 * 3, dtype=torch.float32).remainder(509).view(2, 131, 5, 3)
    last = numbers.to(memory_format=torch.channels_last)
    return {
        "channels last": (last, 1),
        "channels last, of 2 bytes": (last.bfloat16(), 5),
        "few channels of a slice": (last[:, 3:36, 1:], 5),
        "contiguous": (numbers[:, :33], 1),
        "contiguous, of 2 bytes": (numbers[:, :33].half(), 5),
    }


def _copy(image: Tensor, margin: int) -> Tensor:
    from icnn_core.ops.fused import launches
    from icnn_core.ops.fused.sizes import plane_pitch

    pitch = plane_pitch((image.shape[2], image.shape[3]), margin)
    dtype = torch.int32 if image.element_size() == 2 else image.dtype
    planes = torch.full((*image.shape[:2], pitch), -1, dtype=dtype)
    launches.copy(image.shape, image.stride(), margin, rows_first=False, device=None)(image, planes)
    return planes


def _run_needs(call: Call) -> dict[int, Tensor]:
    """Each gradient, alone; the weight lies in memory as in a network that is channels_last."""
    x, weight, positions = (call[name].detach() for name in NAMES[1:4])
    weight, found = weight.to(memory_format=torch.channels_last), {}
    for number in range(3):
        needs = tuple(number == other for other in range(4))
        gradients = fused.backward(call["grad_out"], x, weight, positions, call["geometry"], needs)
        assert [gradient is not None for gradient in gradients] == [*needs]
        found[number] = gradients[number]
    return found


def _try_out() -> list[str]:
    """Verdicts of the trial at first use: what it says of right kernels, and of a yardstick that is a little longer."""
    from icnn_core.ops import gathered
    from icnn_core.ops.fused import trust

    def longer(*call: Any) -> Tensor:
        return 1.1 * gathered.forward(*call)

    where = torch.device("cpu"), torch.float32
    return [trust._try(*where, "columns", gathered.forward), trust._try(*where, "narrow", longer)]


def _check_operator(call: Call) -> dict[str, str]:
    """PyTorch's own checks of the registered operator: schema, autograd, shapes and strides without values."""
    tensors = [call[name].requires_grad_() for name in NAMES[1:]]
    g = call["geometry"]
    arguments = (*tensors, g.stride, g.padding, g.dilation, g.groups)
    checks = ("test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_static")
    return torch.library.opcheck(
        torch.ops.icnn.fused_conv2d.default, arguments, test_utils=checks, raise_exception=False
    )


def _run_publicly(call: Call) -> tuple[Tensor | None, ...]:
    tensors = {name: call[name] if call[name] is None else call[name].requires_grad_() for name in NAMES[1:]}
    g = call["geometry"]
    sizes = {"stride": g.stride, "padding": g.padding, "dilation": g.dilation, "groups": g.groups}
    out = irregular_conv2d(**tensors, **sizes, backend="fused")
    out.backward(call["grad_out"])
    return out.detach(), *(tensor if tensor is None else tensor.grad for tensor in tensors.values())


def _run_configurations(call: Call) -> dict[object, tuple[Tensor | None, ...]]:
    """The output by every block size of the kernel that samples and multiplies."""
    from icnn_core.ops.fused import tuning

    usual, answers = tuning.candidates, {}
    for config in tuning.CONFIGS:
        tuning.candidates = lambda kernels, config=config: [config]
        found = fused.forward(*(call[name] for name in NAMES[1:]), call["geometry"])
        answers["forward", config.kernels, config.pixels] = found, None, None, None, None
    tuning.candidates = usual
    return answers


def _multiply_bfloat16() -> None:
    """The interpreter keeps bfloat16 as its bits and multiplies those; give it the numbers."""
    import triton.language as tl
    from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

    usual = InterpreterBuilder.create_dot

    def number(handle: TensorHandle) -> TensorHandle:
        if handle.dtype.scalar != tl.bfloat16:
            return handle
        return TensorHandle((handle.data.astype(np.uint32) << 16).view(np.float32), tl.float32)

    def create_dot(self, a, b, *rest):
        return usual(self, number(a), number(b), *rest)

    InterpreterBuilder.create_dot = create_dot


def _patch_once_a_launch() -> None:
    """The interpreter goes through all of triton.language anew at every function that a kernel calls, for as long as
    the kernel itself takes: let it do so once a module and launch."""
    from triton.runtime import interpreter

    usual, launch = interpreter._patch_lang, interpreter.GridExecutor.__call__
    patched: set[str] = set()

    def patch(function: Any) -> Any:
        if function.__module__ not in patched:
            patched.add(function.__module__)
            return usual(function)
        return None

    def run(self: Any, *arguments: Any, **options: Any) -> None:
        patched.clear()  # at its end a launch takes back what it patched
        launch(self, *arguments, **options)

    interpreter._patch_lang, interpreter.GridExecutor.__call__ = patch, run


def _leave_overflows_alone() -> None:
    """The interpreter computes every sum and product of integers twice more, to see whether it overflows, and says so
    only where it is told to debug, which it is not."""
    from triton.runtime import interpreter

    options = interpreter.interpreter_builder.options
    if not options.debug:
        interpreter.interpreter_builder.options = dataclasses.replace(options, sanitize_overflow=False)


def oracle(call: Call) -> tuple[Tensor | None, ...]:
    """Output and gradients of torchvision's operator, its offsets constant over the image, in float64."""
    geometry = call["geometry"]
    tensors = [None if call[name] is None else call[name].double().requires_grad_() for name in NAMES[1:]]
    x, weight, positions, bias = tensors
    offsets = (positions - regular_slots(geometry.kernel_size, geometry.dilation).double()).expand(
        x.shape[1], -1, -1
    )
    offsets = offsets.reshape(1, -1, 1, 1).expand(x.shape[0], -1, *geometry.output_size)
    out = deform_conv2d(x, offsets, weight, bias, geometry.stride, geometry.padding, geometry.dilation)
    leaves = [tensor for tensor in tensors if tensor is not None]
    gradients = iter(torch.autograd.grad(out, leaves, call["grad_out"].double()))
    return out.detach(), *(None if tensor is None else next(gradients) for tensor in tensors)


@pytest.fixture(scope="module")
def calls() -> dict[str, Call]:
    made = {name: make_call(**options) for name, options in (CASES | COLUMNS).items()}
    made |= {f"columns, {name}": make_call(**options) for name, options in NON_FINITE.items()}
    made |= {f"columns, unread, {name}": make_unread_call(**UNREAD[name]) for name in ("columns", "strided")}
    made |= {name: make_call(**options) for name, options in NON_FINITE.items()}
    made |= {f"unread, {name}": make_unread_call(**options) for name, options in UNREAD.items()}
    return made | {"configurations": make_call(c_out=15, size=(3, 35), kernel=(1, 2), padding=(0, 1))}


@pytest.fixture(scope="module")
def answers(
    calls: dict[str, Call], tmp_path_factory: pytest.TempPathFactory, triton_interpreter: None
) -> dict[Any, Any]:
    path = tmp_path_factory.mktemp("fused") / "calls.pt"
    torch.save(calls, path)
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, __file__, path], env=environment, check=True)
    return torch.load(path, weights_only=False)


def assert_close(
    ours: tuple[Tensor | None, ...], theirs: tuple[Tensor | None, ...], dtype: torch.dtype
) -> None:
    for name, mine, other in zip(NAMES, ours, theirs, strict=True):
        if mine is not None and other is not None:
            error = torch.linalg.vector_norm(mine.double() - other) / torch.linalg.vector_norm(other)
            assert error < TOLERANCE[dtype], (name, float(error))


@pytest.mark.parametrize("name", CASES | COLUMNS)
def test_equals_torchvision(name, calls, answers):
    call = calls[name]
    assert_close(answers[name], oracle(call), call["x"].dtype)
    for tensor_name, tensor in zip(NAMES[1:], answers[name][1:], strict=True):
        assert (tensor is None) == (call[tensor_name] is None)
        if tensor is not None:
            assert tensor.dtype == call[tensor_name].dtype
            assert tensor.shape == call[tensor_name].shape


def test_every_configuration_computes_the_same(calls, answers):
    expected = oracle(calls["configurations"])
    by_config = {key: answer for key, answer in answers.items() if isinstance(key, tuple)}
    assert len(by_config) >= 5
    for answer in by_config.values():
        assert answer[0] is not None
        assert_close(answer, expected, torch.float32)


@pytest.mark.parametrize("name", make_images())
def test_planes_hold_an_image_a_margin_of_zeros_and_right_neighbours(name, answers):
    image, margin = make_images()[name]
    height, width = image.shape[2:]
    expected = torch.nn.functional.pad(image, (1, 1, margin, margin)).flatten(2)
    planes = answers["planes"][name]
    if image.element_size() == 2:
        pairs = planes.view(image.dtype).unflatten(2, (-1, 2))
        planes = pairs[..., 0]
        rows = pairs[..., 1][..., : expected.shape[2]].unflatten(2, (height + 2 * margin, width + 2))
        assert torch.equal(rows[..., :-1], expected.view_as(rows)[..., 1:])
        assert not rows[..., -1].any()
    assert torch.equal(planes[..., : expected.shape[2]], expected)
    assert not planes[..., expected.shape[2] :].any()


@pytest.mark.parametrize("name", ["columns", "depthwise"])
def test_a_gradient_is_the_same_where_no_other_is_needed(name, answers):
    for number, gradient in answers[f"needs, {name}"].items():
        assert torch.equal(gradient, answers[name][1 + number])


def test_output_and_gradient_have_the_format_of_x(answers, calls):
    for name in ("channels last", "columns, channels last", "depthwise, channels last", "float16"):
        for image in answers[name][:2]:
            assert image.is_contiguous(memory_format=fused.image_format(calls[name]["x"]))


def test_the_trial_at_first_use_tells_right_from_wrong(answers):
    right, wrong = answers["verdicts"]
    assert right == ""
    assert "the output of a small layer differed" in wrong


@pytest.mark.parametrize("name", [*NON_FINITE, *(f"columns, {name}" for name in NON_FINITE)])
def test_a_position_that_is_not_finite_poisons_what_uses_it_and_nothing_else(name, calls, answers):
    out, *gradients = answers[name]
    poisoned = [torch.zeros_like(gradient, dtype=torch.bool) for gradient in gradients]
    poisoned[0][:, -1] = True  # the channel's gradient: it may lie anywhere
    poisoned[1].flatten(2)[:, -1, 1] = True
    poisoned[2][-1, 1] = True
    assert out.isnan().all()
    elsewhere = oracle({**calls[name], "positions": calls["far away"]["positions"]})[1:]
    for mine, other, where in zip(gradients, elsewhere, poisoned, strict=True):
        assert torch.equal(mine.isnan(), where)
        torch.testing.assert_close(mine[~where].double(), other[~where], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name", [*(f"unread, {name}" for name in UNREAD), "columns, unread, columns", "columns, unread, strided"]
)
def test_what_no_output_reads_takes_no_part_even_if_it_is_not_a_number(name, calls, answers):
    expected = oracle({**calls[name], "x": calls[name]["x"].nan_to_num(0.0)})
    assert_close(answers[name], expected, torch.float32)


def test_is_a_pytorch_operator(answers):
    assert set(answers["opcheck"].values()) == {"SUCCESS"}, answers["opcheck"]


def test_a_batch_of_none_gives_nothing_and_zeros():
    pytest.importorskip("triton", reason="Triton is not installed")
    call = make_call(batch=0)
    out = fused.forward(*(call[name] for name in NAMES[1:]), call["geometry"])
    assert out.shape == (0, 5, *call["geometry"].output_size)
    needs = (True, True, True, True)
    gradients = fused.backward(out, *(call[name] for name in NAMES[1:4]), call["geometry"], needs)
    for name, gradient in zip(NAMES[1:], gradients, strict=True):
        assert torch.equal(gradient, torch.zeros_like(call[name]))


def test_says_why_it_cannot_serve(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(fused, "_HAS_TRITON", False)
    reasons = fused.unsupported_reasons(torch.float64, torch.device("cpu"), shared=False, gaussian=True)
    parts = (
        "on CUDA, and the input lies on cpu",
        "input is float64",
        "shapes of its own",
        "bilinear",
        "not installed",
    )
    assert len(reasons) == len(parts)
    for part in parts:
        assert any(part in reason for reason in reasons), part
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(fused, "_HAS_TRITON", True)
    assert fused.unsupported_reasons(torch.float16, torch.device("cpu"), shared=True) == []


def test_is_imported_without_triton():
    code = "import sys; sys.modules['triton'] = None; import icnn_core.ops.fused"
    subprocess.run([sys.executable, "-c", code], check=True)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
