"""The randomised comparison of back ends: a short run of it, what it draws, and that it notices what is wrong."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import random_calls
import torch
from agreement import LIMIT, DisagreementError, Largest, compare
from random_calls import draw_call

from icnn_core.ops.backends import BACKENDS

ROOT = Path(__file__).parents[2]
NATIVE = ("sampled", "dense", "gathered")


def test_back_ends_agree_but_for_rounding():
    pytest.importorskip("numba", reason="Numba is not installed")
    largest = Largest()
    for seed in range(40):
        compare(draw_call(seed), NATIVE, largest)
    assert set(largest.served) == set(NATIVE)
    assert largest.served["gathered"] == 40
    wide = sum(draw_call(seed).dtype.itemsize >= 4 for seed in range(40))
    assert (
        largest.served["dense"] == wide > 10
    )  # in half precision PyTorch's own convolution would be measured
    assert largest.served["sampled"] > 10
    for backend, errors in largest.errors.items():
        sigma = (
            {"sigma"} if backend == "gathered" else set()
        )  # which alone serves all calls, the Gaussian ones too
        assert set(errors) | sigma == set(errors)
        assert set(errors) - {"sigma"} == {"out", "x", "weight", "positions", "bias"}
        assert all(0 <= error <= LIMIT for error, _ in errors.values())


@pytest.mark.parametrize("quantity", ["out", "x", "weight", "positions", "bias"])
def test_a_small_mistake_is_noticed(quantity, monkeypatch):
    """A relative error of 1e-4 in the output or in one gradient, in single precision."""
    gathered = BACKENDS["gathered"]

    def wrong(*arguments):
        index = ("x", "weight", "positions", "bias").index(quantity) if quantity != "out" else None
        tensors = [
            t if i != index else t * (1 + 1e-4) - (t * 1e-4).detach() for i, t in enumerate(arguments[:4])
        ]
        out = gathered.run(*tensors, *arguments[4:])
        return out + (out * 1e-4).detach() if quantity == "out" else out

    monkeypatch.setitem(BACKENDS, "gathered", dataclasses.replace(gathered, run=wrong))
    call = _find(lambda call: call.bias is not None and call.places == "near" and call.geometry.batch > 0)
    with pytest.raises(DisagreementError, match=rf"in {quantity}, case {call.seed}:.*--case {call.seed}"):
        compare(call, ["gathered"], Largest())


@pytest.mark.parametrize("value", [float("nan"), 0.0])
def test_a_number_that_should_not_be_one_is_noticed(value, monkeypatch):
    gathered = BACKENDS["gathered"]

    def wrong(*arguments):
        out = gathered.run(*arguments)
        return torch.full_like(out, value) + 0 * out.nan_to_num()

    monkeypatch.setitem(BACKENDS, "gathered", dataclasses.replace(gathered, run=wrong))
    places = "lost" if value == 0 else "near"
    call = _find(lambda call: call.places == places and call.geometry.batch > 0)
    with pytest.raises(DisagreementError, match="inf in out"):
        compare(call, ["gathered"], Largest())


def _find(wanted):
    calls = (draw_call(seed, dtypes=[torch.float32]) for seed in range(1000))
    return next(call for call in calls if call.sigma is None and wanted(call))


def test_everything_is_drawn():
    calls = [draw_call(seed) for seed in range(600)]
    assert {call.places for call in calls} == set(random_calls.PLACES)
    assert {call.layout for call in calls} == set(random_calls.LAYOUTS)
    assert {call.sharing for call in calls} == set(random_calls.SHARINGS)
    assert {call.dtype for call in calls} == set(random_calls.DTYPES)
    assert {call.geometry.batch for call in calls} == {0, 1, 2, 3}
    assert {call.geometry.groups for call in calls} == {1, 2, 3}
    assert {call.sigma is None for call in calls} == {call.bias is None for call in calls} == {True, False}
    for pair in ("kernel_size", "stride", "padding", "dilation", "input_size"):
        assert any(len(set(getattr(call.geometry, pair))) == 2 for call in calls)
    assert any(call.x.stride()[-1] == 2 for call in calls)
    assert any(call.positions.abs().max() > 1e6 for call in calls)
    assert any(call.positions.isnan().any() for call in calls)


def test_a_seed_draws_the_same_call_again():
    for seed in (3, 11):
        ours, theirs = draw_call(seed), draw_call(seed)
        assert str(ours) == str(theirs)
        for name in ("x", "weight", "positions", "grad_out"):
            torch.testing.assert_close(
                getattr(ours, name), getattr(theirs, name), rtol=0, atol=0, equal_nan=True
            )


def test_the_script_writes_what_it_found(tmp_path, triton_interpreter):
    """With the Triton kernels, interpreted."""
    out = tmp_path / "found.json"
    script = ROOT / "benchmarks" / "compare_backends.py"
    subprocess.run([sys.executable, script, "--minutes", "0.02", "--seed", "7", "--out", out], check=True)
    found = json.loads(out.read_text())
    assert found["first_case"] == 7_000_000
    assert found["cases"] >= found["served"]["fused"] >= 1
    for errors in found["largest"].values():
        assert all(each["roundings"] <= found["limit"] for each in errors.values())
        assert all(7_000_000 <= each["case"] < 7_000_000 + found["cases"] for each in errors.values())
