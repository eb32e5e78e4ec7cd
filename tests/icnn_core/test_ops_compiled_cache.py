"""What Numba keeps on disk: damaged, absent, wanted by several threads at once."""

from __future__ import annotations

import importlib
import itertools
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("numba", reason="Numba is not installed")

from icnn_core.ops.compiled import team


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The user's cache folder, empty, and nothing compiled in this process."""
    config: Any = importlib.import_module("numba.core.config")
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "cache"))
    team._find_pass.cache_clear()
    yield tmp_path / "cache"
    team._find_pass.cache_clear()


class Small:
    """In place of a compiled pass, one that compiles in no time but goes by the same cache."""

    @staticmethod
    def compile_forward(real: Any, lanes: int, stamp: int, *, cache: bool = False) -> Any:
        from numba import types

        from icnn_core.ops.compiled.cached import c_function
        from icnn_core.ops.sampled import taps  # so that its files lie where the real ones do

        def small(job: int) -> None:
            pass

        small.__code__ = small.__code__.replace(co_filename=taps.__file__)
        return c_function(types.void(types.voidptr), real, lanes, stamp, cache=cache)(small)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(team.importlib, "import_module", _small_or(importlib.import_module))


def _small_or(load: Any) -> Any:
    return lambda name, *rest: Small if name == "icnn_core.ops.sampled.columns" else load(name, *rest)


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
@pytest.mark.parametrize("left", [0, 40])
def test_a_damaged_cache_is_said_removed_and_compiled_anew(
    fresh: Path, small: None, suffix: str, left: int, caplog: pytest.LogCaptureFixture
) -> None:
    assert team.find_pass("sampled.columns.forward", torch.float32)
    (kept,) = fresh.rglob(f"*.{suffix}")
    os.truncate(kept, left)
    team._find_pass.cache_clear()
    assert team.find_pass("sampled.columns.forward", torch.float32)
    assert "was damaged: compiled anew" in caplog.text
    caplog.clear()
    written = {file: file.stat().st_mtime_ns for file in fresh.rglob("*.nb?")}
    team._find_pass.cache_clear()
    assert team.find_pass("sampled.columns.forward", torch.float32)
    assert not caplog.records
    assert team._KEPT[-1].cache_hits == 1
    assert {file: file.stat().st_mtime_ns for file in fresh.rglob("*.nb?")} == written


@pytest.mark.parametrize("code", ["sampled.depthwise.forward", "sparse.planes.bilinear"])
def test_what_was_compiled_is_found_again_until_a_source_changes(
    fresh: Path, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hits = []
    for stamp in (1, 1, 2):
        monkeypatch.setattr(team, "_stamp", lambda package, stamp=stamp: stamp)
        team._find_pass.cache_clear()
        team.find_pass(code, torch.float64)
        hits.append(team._KEPT[-1].cache_hits)
    assert hits == [0, 1, 0]


def test_processes_that_compile_at_once_find_what_is_their_own(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both look for a free name before either has one; the first one's code is on the disk last."""
    from numba import types
    from numba.core.caching import IndexDataCacheFile

    from icnn_core.ops.compiled.cached import c_function

    def compile_answer(number: int) -> Any:
        def answer() -> int:
            return number

        return c_function(types.intc(), number, cache=True)(answer)

    late = []
    with monkeypatch.context() as patch:
        patch.setattr(IndexDataCacheFile, "_load_index", lambda self: {})
        with monkeypatch.context() as first:
            save = IndexDataCacheFile._save_data
            first.setattr(IndexDataCacheFile, "_save_data", lambda *saved: late.append(saved))
            compile_answer(41)
        compile_answer(43)
    save(*late[0])
    found = [compile_answer(number) for number in (41, 43)]
    assert [one.ctypes() for one in found] == [41, 43]
    assert [one.cache_hits for one in found] == [1, 1]


def test_what_two_processes_kept_does_not_run_in_each_others_place(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every process counts its functions from the same number, so that helpers of one name are different code."""
    from numba import njit, types
    from numba.core.bytecode import FunctionIdentity

    from icnn_core.ops.compiled.cached import c_function

    def compile_sum(number: int) -> Any:
        @njit
        def add_up(terms: int) -> int:
            total = 0
            for term in range(terms):
                total += number * (term % 7) + (total >> 3)
            return total

        def answer(terms: int) -> int:
            return add_up(terms)

        monkeypatch.setattr(FunctionIdentity, "_unique_ids", itertools.count(5000))
        return c_function(types.int64(types.int64), number, cache=True)(answer), add_up

    for number in (41, 43):
        compile_sum(number)
    for made, add_up in [compile_sum(number) for number in (41, 43)]:
        assert made.cache_hits == 1
        assert made.ctypes(100) == add_up.py_func(100)


def test_first_calls_of_several_threads_compile_once_and_leave_numbas_settings(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config: Any = importlib.import_module("numba.core.config")
    monkeypatch.setattr(config, "CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(fresh))
    compiled = []

    class Slow:
        address = 7

        @classmethod
        def compile_forward(cls, *arguments: Any, **options: Any) -> Any:
            compiled.append(config.CACHE_DIR)
            time.sleep(0.05)
            return cls

    load = importlib.import_module
    monkeypatch.setattr(
        team.importlib,
        "import_module",
        lambda name, *rest: Slow if name.endswith("sampled.columns") else load(name, *rest),
    )
    threads = [
        threading.Thread(target=team.find_pass, args=("sampled.columns.forward", torch.float32))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert compiled == [str(fresh / "icnn")]
    assert config.CACHE_DIR == ""


def test_without_a_home_nothing_is_kept_in_the_working_folder(
    fresh: Path, small: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config: Any = importlib.import_module("numba.core.config")
    monkeypatch.setattr(config, "CACHE_DIR", "")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # no HOME, no entry in passwd
    monkeypatch.chdir(tmp_path)
    assert team.find_pass("sampled.columns.forward", torch.float32)
    assert not list(tmp_path.iterdir())
