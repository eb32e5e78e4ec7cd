"""Which way of several runs: measured once, kept on disk, never measured where it must not be, never a wrong one."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")

from triton.runtime.errors import OutOfResources

from icnn_core.ops.fused import launching, remembered, tuning
from icnn_core.ops.fused.remembered import Remembered
from icnn_core.ops.fused.tuning import CONFIGS, MOST_KERNELS, candidates, run_fastest

GPU, CPU = torch.device("cuda", 0), torch.device("cpu")


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """The folder in which findings are kept."""
    monkeypatch.setattr(remembered.triton.knobs.cache, "dir", str(tmp_path))
    return tmp_path


@pytest.fixture
def ways(monkeypatch, cache):
    """Three ways that fill one tensor, the third fastest, and a list of those that were timed. A GPU is only named."""
    out, timed = torch.zeros(3), []
    numbers = {"first": 4.0, "second": 4.01, "third": 3.99}
    made = {name: (lambda value=value: out.fill_(value)) for name, value in numbers.items()}

    def milliseconds(run):
        timed.append(float(run()[0]))
        return timed[-1]

    monkeypatch.setattr(tuning, "milliseconds", milliseconds)
    monkeypatch.setattr(tuning, "deterministic", lambda: False)
    monkeypatch.setattr(tuning, "is_capturing", lambda: False)
    monkeypatch.setattr(tuning, "_choices", Remembered("choices"))
    return made, timed


@pytest.mark.parametrize(("kernels", "width"), [(1, 16), (16, 16), (17, 32), (21, 32), (33, 64), (64, 64)])
def test_a_block_holds_all_kernels_of_a_group(kernels, width):
    assert {config.kernels for config in candidates(kernels)} == {width}


def test_every_number_of_few_kernels_has_a_block_and_names_differ():
    assert all(candidates(kernels) for kernels in range(1, MOST_KERNELS + 1))
    assert len({str(config) for config in CONFIGS}) == len(CONFIGS)


def test_the_fastest_runs_and_is_measured_once(ways, cache):
    made, timed = ways
    for _ in range(2):
        assert run_fastest("a call", made, GPU)[0] == pytest.approx(3.99)
    assert len(timed) == 3
    assert Remembered("choices").get("a call") == "third"
    run_fastest("another call", made, GPU)
    assert len(timed) == 6


def test_a_result_that_is_not_the_first_ones_is_never_chosen(ways):
    made, timed = ways
    made["third"] = lambda: torch.full((3,), 3.0)
    made["lost"] = lambda: torch.full((3,), torch.nan)
    assert run_fastest("a call", made, GPU)[0] == 4.0
    assert timed == pytest.approx([4.0, 4.01])


@pytest.mark.parametrize(
    "error", [RuntimeError("any"), OutOfResources(300, 200, "shared memory"), AssertionError()]
)
def test_a_way_that_fails_however_is_never_chosen(error, ways):
    made, _ = ways

    def fail():
        raise error

    assert run_fastest("a call", {**made, "third": fail}, GPU)[0] == 4.0
    assert run_fastest("a call on the CPU", {"first": fail, "second": made["second"]}, CPU)[0] > 4.0
    with pytest.raises(type(error)):
        run_fastest("a call on the CPU", {"first": fail, "second": fail}, CPU)


def test_no_memory_is_no_reason_to_try_the_next(ways):
    def fail():
        raise torch.OutOfMemoryError

    with pytest.raises(torch.OutOfMemoryError):
        run_fastest("a call", {"zeroth": fail, **ways[0]}, CPU)


def test_nothing_is_timed_in_a_graph_when_deterministic_or_without_a_gpu(ways, monkeypatch):
    made, timed = ways
    assert run_fastest("a call", made, CPU)[0] == 4.0
    monkeypatch.setattr(tuning, "deterministic", lambda: True)
    assert run_fastest("a call", made, GPU)[0] == 4.0
    monkeypatch.setattr(tuning, "deterministic", lambda: False)
    monkeypatch.setattr(tuning, "is_capturing", lambda: True)
    assert run_fastest("a call", made, GPU)[0] == 4.0
    assert not timed
    assert Remembered("choices").get("a call") is None


def test_findings_of_several_processes_are_merged_and_damage_is_survived(cache):
    first, second = Remembered("choices"), Remembered("choices")
    assert first.get("a") is second.get("a") is None
    first.put("a", "one")
    second.put("b", "two")
    assert [Remembered("choices").get(key) for key in "ab"] == ["one", "two"]
    assert [path.name for path in cache.iterdir()] == ["icnn-choices.json"]
    for damaged in ("{", "[]", '{"a": [1, 2]}', '{"a": 3}'):
        first.file.write_text(damaged)
        assert Remembered("choices").get("a") is None
    first.file.unlink()
    first.file.mkdir()  # cannot be written
    first.put("a", "three")
    assert first.get("a") == "three"


def test_a_launch_compiles_once_for_its_dtypes(monkeypatch):
    launch, ran, compiled = launching.Launch(None, 7, (3, 0.5), BLOCK=64, num_warps=4), [], []

    class Compiled:
        function, packed_metadata = "handle", "metadata"

        def run(self, *arguments):
            ran.append(arguments)

    compiled = []
    monkeypatch.setattr(
        launching.Launch, "compile_and_run", lambda self, *tensors: compiled.append(tensors) or Compiled()
    )

    class Active:
        get_current_device = staticmethod(lambda: 0)
        get_current_stream = staticmethod(lambda device: 11)

    monkeypatch.setattr(launching, "driver", type("Driver", (), {"active": Active}))
    numbers, half = torch.zeros(2), torch.zeros(2, dtype=torch.float16)
    for tensors in ((numbers, None), (numbers, None), (half, None), (half[1:], None)):
        launch(*tensors)
    assert len(compiled) == 2
    assert len(ran) == 2
    assert ran[0][:9] == (7, 1, 1, 11, "handle", "metadata", None, None, None)
    assert ran[0][9] is numbers
    assert ran[0][10:] == (None, 3, 0.5, 64)


def test_without_a_home_nothing_is_written_into_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(remembered.triton.knobs.cache, "dir", "~/.triton/cache")
    found = Remembered("choices")
    found.put("a", "one")
    assert found.get("a") == "one"
    assert list(tmp_path.iterdir()) == []
