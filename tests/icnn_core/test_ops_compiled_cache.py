"""What Numba keeps on disk: damaged, absent, wanted by several threads at once."""

from __future__ import annotations

import importlib
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
    whole = kept.stat().st_size
    os.truncate(kept, left)
    team._find_pass.cache_clear()
    assert team.find_pass("sampled.columns.forward", torch.float32)
    assert "was damaged: compiled anew" in caplog.text
    (again,) = fresh.rglob(f"*.{suffix}")
    assert again.stat().st_size >= whole - 8
    caplog.clear()
    team._find_pass.cache_clear()
    assert team.find_pass("sampled.columns.forward", torch.float32)
    assert not caplog.records


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
