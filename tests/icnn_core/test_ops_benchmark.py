"""The benchmark measures what it says: every method that can serve, as ratios to conv2d. No time is asserted."""

from __future__ import annotations

import json
import sys

import pytest
import torch

from icnn_core.errors import NameNotFoundError
from icnn_core.ops import benchmark
from icnn_core.ops.benchmark import Case, Layer

SMALL = Layer(2, 4, 6, 9, 2)
NATIVE = {"automatic", "sampled", "dense", "gathered"}


def test_every_method_is_timed_in_both_passes():
    timings = benchmark.time_case(Case(SMALL, 0.5, "small"), rounds=2)
    assert {timing.method for timing in timings} == {"conv2d", *NATIVE}
    assert {timing.backward for timing in timings} == {False, True}
    for timing in timings:
        base = next(t for t in timings if t.method == "conv2d" and t.backward == timing.backward)
        assert timing.ratio == pytest.approx(timing.median / base.median)
        operations = 2 * 2 * 6 * 4 * 9 * 9 * 9 * (3 if timing.backward else 1)
        assert timing.gflops == pytest.approx(operations / timing.median / 1e9)
        assert timing.quartiles[0] <= timing.median <= timing.quartiles[1]


@pytest.mark.parametrize(
    "layer",
    [SMALL, Layer(2, 6, 6, 8, 1, groups=6, kernel=5), Layer(2, 4, 3, 9, 1, full=True)],
    ids=["dense", "depthwise", "full"],
)
def test_all_methods_compute_the_same(layer):
    """The peers too, so that like is timed with like; conv2d alone knows no positions."""
    methods = {m.name: m for m in benchmark.make_methods(layer, 0.5, dtype=torch.float64, peers=True)}
    assert NATIVE - ({"sampled"} if layer.full else set()) | {"conv2d"} <= set(methods)
    assert ("deform_conv2d" in methods) == (layer.groups == 1 and not layer.full)
    expected = methods["gathered"].run()
    for name in set(methods) - {"conv2d"}:
        # DCLS normalises its weights with a small constant
        torch.testing.assert_close(methods[name].run(), expected, rtol=1e-5, atol=1e-5)
    on_slots = {m.name: m for m in benchmark.make_methods(layer, 0.0, dtype=torch.float64, peers=True)}
    torch.testing.assert_close(on_slots["automatic"].run(), on_slots["conv2d"].run())


def test_dcls_is_among_them_where_it_is_installed():
    pytest.importorskip("DCLS.construct.modules", reason="DCLS is not installed (pip install dcls)")
    assert [m.name for m in benchmark.make_methods(SMALL, 0.5, peers=True, only=["DCLS"])] == ["DCLS"]
    assert benchmark.make_methods(Layer(1, 64, 64, 9, 2), 64.0, peers=True, only=["DCLS"]) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak")
def test_peak_memory_tells_who_keeps_the_column():
    case = Case(Layer(1, 48, 8, 96, 1), 0.5, "small")
    column = 48 * 9 * 96 * 96 * 4
    kept, not_kept = (benchmark.measure_peak(case, method) for method in ("gathered", "sampled"))
    assert kept > column > not_kept > 0


def test_far_dense_kernels_are_not_timed():
    names = [[m.name for m in benchmark.make_methods(benchmark.LAYERS["shallow"], s)] for s in (0.5, 4.0)]
    assert "dense" in names[0]
    assert "dense" not in names[1]


@pytest.mark.parametrize("groups", [1, 4])
def test_roofline_is_the_larger_of_products_and_moving(groups, monkeypatch):
    from icnn_core.ops.benchmark import roofline

    monkeypatch.setattr(roofline, "_COPIED_BYTES", 1 << 16)
    case = Case(Layer(2, 4, 4, 9, 2, groups=groups), 0.5, "small")
    forward, both = benchmark.measure_roofline(case, rounds=2)
    assert forward.operations * 3 == both.operations == 3 * 2 * 2 * 4 * 4 // groups * 9 * 81
    assert forward.sampling == 9 * 2 * 4 * 9 * 81
    inputs, out = 2 * 4 * 81 + 4 * 4 // groups * 9 + 4 * 9 * 2, 2 * 4 * 81
    assert forward.bytes == 4 * (inputs + out)
    assert both.bytes == 4 * (3 * inputs + 2 * out)
    for row in (forward, both):
        assert row.distance == pytest.approx(row.seconds / max(row.product, row.moving))


def test_first_call_in_a_process_of_its_own(monkeypatch):
    """What it costs above a convolution; the full version, which compiles nothing."""
    from icnn_core.ops.benchmark import first_call

    seconds = iter([(9.0, 9.0), (2.0, 1.0), (7.0, 5.0), (2.5, 1.25)])
    started = []

    def start(case, method, folder):
        started.append((method, folder))
        return next(seconds)

    monkeypatch.setattr(first_call, "_start", start)
    found = benchmark.measure_first_call(Case(SMALL, 0.5, "small"))
    assert found == benchmark.FirstCall("small", 5.0, 0.5, 4.0, 0.25)
    assert [method for method, _ in started] == ["conv2d", "conv2d", "automatic", "automatic"]
    assert len({folder for _, folder in started}) == 1


def test_scaled_cases_differ_in_one_number():
    base = benchmark.LAYERS["res4"]
    for name, cases in benchmark.scaled_cases().items():
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


def test_unknown_layers_suggest_the_nearest():
    with pytest.raises(NameNotFoundError, match="Did you mean res4"):
        benchmark.find_layer("rs4")


def test_bench_command_writes_what_it_prints(monkeypatch, capsys, tmp_path):
    from icnn_core.cli import main

    monkeypatch.setitem(benchmark.LAYERS, "small", SMALL)
    arguments = ["--layer", "small", "--rounds", "2", "--out", str(tmp_path), "--json"]
    monkeypatch.setattr("sys.argv", ["icnn", "bench", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    out = json.loads(capsys.readouterr().out)
    assert json.loads((tmp_path / "bench.json").read_text()) == out
    assert {timing["case"] for timing in out["timings"]} == {"small"}
    assert {timing["spread"] for timing in out["timings"]} == set(benchmark.SPREADS.values())
