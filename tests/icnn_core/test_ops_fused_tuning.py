"""Which configuration of a Triton kernel runs: measured once, kept on disk, and never measured where it must not be."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")

from triton.runtime.errors import OutOfResources

from icnn_core.ops.fused import tuning
from icnn_core.ops.fused.tuning import CONFIGS, candidates, read_choices, run_fastest, write_choices

GPU = torch.device("cuda", 0)
SIZES = (256, 2304, 1, 4, 451)


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    """A GPU that is only named. Returns the file of choices and the configurations that were timed."""
    timed, file = [], tmp_path / "triton" / "choices.json"

    def milliseconds(config, launch):
        timed.append(config)
        return 1.0 if config.rows == 16 else 2.0

    choices = {}
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    monkeypatch.setattr(tuning, "_milliseconds", milliseconds)
    monkeypatch.setattr(tuning, "_choices_file", lambda: file)
    monkeypatch.setattr(tuning, "_choices", lambda: choices)
    return file, timed


@pytest.mark.parametrize(
    ("kernels", "widths"),
    [
        (1, {16}),
        (16, {16}),
        (21, {16, 32}),
        (33, {32, 64}),
        (100, {64, 128}),
        (256, {128, 256}),
        (2048, {128, 256}),
    ],
)
def test_candidates_are_as_wide_as_the_output_channels_or_half(kernels, widths):
    assert {config.kernels for config in candidates("forward", "matrix", kernels)} == widths


def test_every_call_has_a_candidate():
    for kernel, unit in CONFIGS:
        assert all(candidates(kernel, unit, kernels) for kernels in range(1, 600))


def test_the_fastest_runs_and_is_measured_once(gpu):
    file, timed = gpu
    ran = [
        run_fastest("forward", "matrix", torch.bfloat16, SIZES, GPU, lambda config: config) for _ in range(2)
    ]
    assert ran[0] == ran[1]
    assert ran[0].rows == 16
    assert timed == candidates("forward", "matrix", 256)
    assert list(read_choices(file).values()) == [ran[0]]


def test_other_dtypes_and_sizes_are_measured_anew_but_not_near_ones(gpu):
    _, timed = gpu
    calls = [(torch.bfloat16, SIZES), (torch.float16, SIZES), (torch.bfloat16, (256, 1152, 1, 4, 451))]
    calls.append((torch.bfloat16, (200, 2100, 1, 3, 500)))  # as the first, rounded up to powers of 2
    for dtype, sizes in calls:
        run_fastest("forward", "matrix", dtype, sizes, GPU, lambda config: config)
    assert len(timed) == 3 * len(candidates("forward", "matrix", 256))


def test_nothing_is_timed_in_a_graph_when_deterministic_or_without_a_gpu(gpu, monkeypatch):
    _, timed = gpu
    first = candidates("forward", "matrix", 256)[0]

    def run(device):
        return run_fastest("forward", "matrix", torch.bfloat16, SIZES, device, lambda config: config)

    assert run(torch.device("cpu")) == first
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    assert run(GPU) == first
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    assert run(GPU) == first
    assert not timed


def test_blocks_too_large_for_the_gpu_are_passed_over():
    def launch(config):
        if config.kernels == 256:
            raise OutOfResources(300, 200, "shared memory")
        return config

    ran = run_fastest("forward", "matrix", torch.bfloat16, SIZES, torch.device("cpu"), launch)
    assert ran == next(config for config in candidates("forward", "matrix", 256) if config.kernels < 256)


def test_choices_of_several_processes_are_merged_and_damage_is_survived(tmp_path):
    file, (first, second, *_) = tmp_path / "choices.json", CONFIGS["forward", "matrix"]
    assert read_choices(file) == {}
    write_choices(file, {"a": first})
    write_choices(file, {"b": second})
    assert read_choices(file) == {"a": first, "b": second}
    assert [path.name for path in tmp_path.iterdir()] == ["choices.json"]
    for damaged in ("{", "[]", '{"a": [1, 2]}', '{"a": 3}'):
        file.write_text(damaged)
        assert read_choices(file) == {}
    write_choices(file / "below a file", {"a": first})
