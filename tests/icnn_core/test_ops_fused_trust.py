"""The CUDA back end is tried before it is trusted; where it is wrong or fails, native operations serve."""

from __future__ import annotations

import warnings

import pytest
import torch

from icnn_core.ops import fused, gathered, trusted
from icnn_core.ops.geometry import Geometry, regular_slots

pytest.importorskip("triton", reason="Triton is not installed")

from icnn_core.ops.fused import remembered, trust
from icnn_core.ops.fused.remembered import Remembered

HERE = torch.device("cpu")  # in place of a GPU
SIZES = Geometry(2, 70, 80, (9, 8), (3, 2), (1, 1), (1, 0), (1, 1), 1)


@pytest.fixture
def tried(monkeypatch, tmp_path):
    """A machine on which nothing was tried yet, and a list of the trials."""
    monkeypatch.setattr(remembered.triton.knobs.cache, "dir", str(tmp_path))
    monkeypatch.setattr(trust, "_verdicts", Remembered("verdicts"))
    monkeypatch.setattr(trust, "_known", {})
    trials = []

    def differentiate(kind):
        """What `fused` would do, by native operations, times `wrong`."""

        def forward(x, weight, positions, bias, geometry):
            trials.append((kind, torch.is_grad_enabled()))
            return gathered.forward(x, weight, positions, bias, geometry)

        return forward

    def backward(grad_out, x, weight, positions, geometry, needs):
        with torch.enable_grad():
            inputs = [t.detach().requires_grad_() for t in (grad_out, x, weight, positions)]
            return gathered.backward(*inputs, geometry, needs)

    monkeypatch.setattr(fused, "forward", differentiate("forward"))
    monkeypatch.setattr(fused, "backward", backward)
    return trials


def ask(dtype=torch.float32, geometry=SIZES):
    return trust.why_not(HERE, dtype, geometry, gathered.forward)


def test_it_is_tried_once_for_a_dtype_and_a_kind_of_layer(tried):
    few = Geometry(1, 6, 4, (5, 4), (1, 2), (1, 1), (0, 0), (1, 1), 1)
    narrow = Geometry(1, 6, 6, (5, 4), (1, 2), (1, 1), (0, 0), (1, 1), 6)
    for _ in range(2):
        assert ask() == ask(torch.bfloat16) == ask(geometry=few) == ask(geometry=narrow) == ""
    assert len(tried) == 4


def test_the_next_process_remembers(tried, monkeypatch):
    assert ask() == ""
    monkeypatch.setattr(trust, "_known", {})
    monkeypatch.setattr(trust, "_verdicts", Remembered("verdicts"))
    assert ask() == ""
    assert len(tried) == 1


@pytest.mark.parametrize("gradient", range(4))
def test_a_wrong_gradient_is_found_told_once_and_remembered(gradient, tried, monkeypatch):
    right = fused.backward

    def wrong(*call):
        found = list(right(*call))
        found[gradient] = 1.1 * found[gradient]
        return found

    monkeypatch.setattr(fused, "backward", wrong)
    with pytest.warns(UserWarning, match="Native operations serve") as told:
        reason = ask()
    assert ("x", "weight", "positions", "bias")[gradient] in reason
    assert len(told) == 1
    monkeypatch.setattr(trust, "_known", {})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ask() == reason


def test_what_fails_is_not_used(tried, monkeypatch):
    def fail(*call):
        raise RuntimeError("ptxas\nsays no")

    monkeypatch.setattr(fused, "forward", fail)
    with pytest.warns(UserWarning, match="Native operations serve"):
        assert "its kernels failed: RuntimeError: ptxas says no" in ask()


def test_a_full_memory_is_no_verdict(tried, monkeypatch):
    def fail(*call):
        raise torch.OutOfMemoryError

    right = fused.forward
    monkeypatch.setattr(fused, "forward", fail)
    with pytest.raises(torch.OutOfMemoryError):
        ask()
    monkeypatch.setattr(fused, "forward", right)
    assert ask() == ""


def test_nothing_is_tried_while_a_graph_is_captured(tried, monkeypatch):
    monkeypatch.setattr(trust, "is_capturing", lambda: True)
    assert "call the layer once before" in ask()
    assert not tried
    monkeypatch.setattr(trust, "is_capturing", lambda: False)
    assert ask() == ""
    monkeypatch.setattr(trust, "is_capturing", lambda: True)
    assert ask() == ""


def test_a_trial_sees_nothing_of_what_surrounds_the_call(tried):
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        assert ask() == ""
    assert tried == [("forward", False)]


@pytest.mark.parametrize("compiled", [False, True])
def test_the_operator_serves_by_native_operations_where_it_is_not_trusted(compiled, monkeypatch):
    monkeypatch.setattr(trusted, "why_not", lambda device, dtype, geometry: "wrong")
    generator = torch.Generator().manual_seed(0)
    shapes = (2, 3, 7, 6), (4, 3, 2, 3), (3, 6, 2), (4,)
    inputs = [torch.randn(shape, generator=generator) for shape in shapes]
    inputs[2] = regular_slots((2, 3), (1, 1)) + inputs[2]
    sizes = (1, 2), (1, 1), (1, 1), 1
    geometry = Geometry(2, 3, 4, (7, 6), (2, 3), (1, 2), (1, 1), (1, 1), 1)

    def run(x, weight, positions, bias):
        return torch.ops.icnn.fused_conv2d(x, weight, positions, bias, *sizes).sin()

    serve = torch.compile(run, fullgraph=True, backend="aot_eager") if compiled else run
    ours, theirs = ([t.clone().requires_grad_() for t in inputs] for _ in range(2))
    out, expected = serve(*ours), gathered.forward(*theirs, geometry).sin()
    torch.testing.assert_close(out, expected)
    grad = torch.randn(out.shape, generator=generator)
    for mine, other in zip(
        *(torch.autograd.grad(o, t, grad) for o, t in ((out, ours), (expected, theirs))), strict=True
    ):
        torch.testing.assert_close(mine, other)
