"""Memory, roofline and first call: what the operator's benchmark measures beside time."""

from __future__ import annotations

import sys

import first_call
import pytest
import roofline
from memory import measure_peak
from time_operator import scaled_cases

from icnn_core.ops.benchmark import LAYERS, Case, Layer


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak")
def test_peak_memory_tells_who_keeps_the_column():
    case = Case(Layer(1, 48, 8, 96, 1), 0.5, "small")
    column = 48 * 9 * 96 * 96 * 4
    kept, not_kept = (measure_peak(case, method) for method in ("gathered", "sampled"))
    assert kept > column > not_kept > 0


@pytest.mark.parametrize("groups", [1, 4])
def test_roofline_is_the_larger_of_products_and_moving(groups, monkeypatch):
    monkeypatch.setattr(roofline, "_COPIED_BYTES", 1 << 16)
    case = Case(Layer(2, 4, 4, 9, 2, groups=groups), 0.5, "small")
    forward, both = roofline.measure_roofline(case, rounds=2)
    assert forward.operations * 3 == both.operations == 3 * 2 * 2 * 4 * 4 // groups * 9 * 81
    assert forward.sampling == 9 * 2 * 4 * 9 * 81
    inputs, out = 2 * 4 * 81 + 4 * 4 // groups * 9 + 4 * 9 * 2, 2 * 4 * 81
    assert forward.bytes == 4 * (inputs + out)
    assert both.bytes == 4 * (3 * inputs + 2 * out)
    for row in (forward, both):
        assert row.distance == pytest.approx(row.seconds / max(row.product, row.moving))


def test_first_call_in_a_process_of_its_own(monkeypatch):
    """What it costs above a convolution; the full version, which compiles nothing."""
    seconds = iter([(9.0, 9.0), (2.0, 1.0), (7.0, 5.0), (2.5, 1.25)])
    started = []

    def start(case, method, folder):
        started.append((method, folder))
        return next(seconds)

    monkeypatch.setattr(first_call, "_start", start)
    found = first_call.measure_first_call(Case(Layer(2, 4, 6, 9, 2), 0.5, "small"))
    assert found == first_call.FirstCall("small", 5.0, 0.5, 4.0, 0.25)
    assert [method for method, _ in started] == ["conv2d", "conv2d", "automatic", "automatic"]
    assert len({folder for _, folder in started}) == 1


def test_scaled_cases_differ_in_one_number():
    base = LAYERS["res4"]
    for name, cases in scaled_cases().items():
        changed = {
            field
            for case in cases
            for field in ("batch", "in_channels", "size", "dilation", "groups", "kernel")
            if getattr(case.layer, field) != getattr(base, field)
        }
        assert (
            changed
            == {"batch": {"batch"}, "size": {"size"}, "channels": {"in_channels"}, "reach": set()}[name]
        )
