"""The benchmark measures what it says: every method that can serve, as ratios to conv2d. No time is asserted."""

from __future__ import annotations

import json

import pytest

from icnn_core.errors import NameNotFoundError
from icnn_core.ops import benchmark


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(benchmark, "LAYERS", {"small": benchmark.Layer(1, 4, 6, 9, 2)})


def test_every_method_is_timed_in_both_passes(small):
    timings = benchmark.time_layer("small", "near", rounds=2, deformable=True)
    methods = {timing.method for timing in timings}
    assert methods == {"conv2d", "automatic", "sampled", "dense", "gathered", "deform_conv2d"}
    assert {timing.backward for timing in timings} == {False, True}
    for timing in timings:
        base = next(t for t in timings if t.method == "conv2d" and t.backward == timing.backward)
        assert timing.ratio == pytest.approx(timing.median / base.median)


def test_unknown_layers_suggest_the_nearest(small):
    with pytest.raises(NameNotFoundError, match="Did you mean small"):
        benchmark.time_layer("smal", "near")


def test_bench_command_writes_what_it_prints(small, monkeypatch, capsys, tmp_path):
    from icnn_core.cli import main

    monkeypatch.setattr("sys.argv", ["icnn", "bench", "--rounds", "2", "--out", str(tmp_path), "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    out = json.loads(capsys.readouterr().out)
    assert json.loads((tmp_path / "bench.json").read_text()) == out
    assert {timing["layer"] for timing in out["timings"]} == {"small"}
