"""How long the first call takes in a fresh process, where nothing is compiled yet, and in the next process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass

from icnn_core.ops.benchmark import Case, Layer, make_methods, run_once


@dataclass(frozen=True)
class FirstCall:
    """Seconds of a process that calls a layer forward and backward once, above one that calls conv2d instead.

    Attributes:
        compiling: with an empty cache.
        cached: in the process after it.
        compiling_cpu, cached_cpu: the same of the processor's time, which other processes do not lengthen.
    """

    case: str
    compiling: float
    cached: float
    compiling_cpu: float
    cached_cpu: float


def measure_first_call(case: Case) -> FirstCall:
    """Time the automatic choice's first call on the CPU in processes of their own, with a cache folder of their own."""
    with tempfile.TemporaryDirectory() as folder:
        _start(case, "conv2d", folder)  # so that the files that all processes load are in memory
        plain = _start(case, "conv2d", folder)
        compiling, cached = (_start(case, "automatic", folder) for _ in range(2))
    first, first_cpu = (ours - theirs for ours, theirs in zip(compiling, plain, strict=True))
    second, second_cpu = (ours - theirs for ours, theirs in zip(cached, plain, strict=True))
    return FirstCall(case.name, first, second, first_cpu, second_cpu)


def _start(case: Case, method: str, folder: str) -> tuple[float, float]:
    """Seconds of the whole process: by the clock, and of the processor."""
    wanted = json.dumps({"layer": asdict(case.layer), "spread": case.spread, "method": method})
    environment = os.environ | {"NUMBA_CACHE_DIR": folder}
    start, used = time.perf_counter(), _used_by_children()
    subprocess.run([sys.executable, __file__, wanted], check=True, capture_output=True, env=environment)
    return time.perf_counter() - start, _used_by_children() - used


def _used_by_children() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _call_once(wanted: str) -> None:
    """What the process of its own does; see `measure_first_call`."""
    task = json.loads(wanted)
    (method,) = make_methods(Layer(**task["layer"]), task["spread"], only=[task["method"]])
    run_once(method, backward=True)


if __name__ == "__main__":
    _call_once(sys.argv[1])
