"""The benchmark measures what it says: every method that can serve, as ratios to conv2d. No time is asserted."""

from __future__ import annotations

import json

import pytest
import torch

from icnn_core.errors import NameNotFoundError
from icnn_core.ops import benchmark
from icnn_core.ops.benchmark import Case, Layer
from icnn_core.ops.benchmark.methods import Method

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


def test_compiling_is_no_part_of_a_time(monkeypatch):
    """By a clock that the methods move on: what compiles takes 5 s once in each pass, then 1.3 times conv2d."""
    clock, runs = [0.0], dict.fromkeys(("conv2d", "automatic", "slow"), 0)
    leaf = torch.zeros(1, requires_grad=True)

    def make(name, seconds, compiling=()):
        def run():
            runs[name] += 1
            clock[0] += 5.0 if runs[name] in compiling else seconds
            return 1.0 * leaf

        return Method(name, run, (leaf,), compiles=bool(compiling))

    passes = (1, 2 + 1 + 3 + 1)  # in the first one: compiling, once more, warm, three rounds
    methods = [make("conv2d", 0.01), make("automatic", 0.013, passes), make("slow", 2.0)]
    monkeypatch.setattr(benchmark.timing, "make_methods", lambda *_, **__: methods)
    monkeypatch.setattr(benchmark.timing.time, "perf_counter", lambda: clock[0])
    ratios = {
        (t.method, t.backward): t.ratio for t in benchmark.time_case(Case(SMALL, 0.5, "small"), rounds=3)
    }
    assert ratios["automatic", False] == pytest.approx(1.3)
    assert ratios["automatic", True] == pytest.approx(1.3)
    assert ratios["slow", True] == pytest.approx(200)
    assert runs["slow"] == 2


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


def test_far_dense_kernels_are_not_timed():
    names = [[m.name for m in benchmark.make_methods(benchmark.LAYERS["shallow"], s)] for s in (0.5, 4.0)]
    assert "dense" in names[0]
    assert "dense" not in names[1]


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
