"""How much memory a pass needs at its peak, each measured in a process of its own."""

from __future__ import annotations

import ctypes
import gc
import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from icnn_core.ops.benchmark import Case, Layer, Method, make_methods, run_once
from icnn_core.ops.irregular_conv import explain

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def measure_peak(case: Case, method: str) -> int | None:
    """Peak resident memory of one forward and backward on the CPU, in bytes above what the process held before it.

    The inputs lie in memory before, and the method has run once on a layer of a few pixels, so that its code is loaded.
    None where the system does not tell (only Linux does).
    """
    if not _RESET.exists():
        return None
    wanted = json.dumps({"layer": asdict(case.layer), "spread": case.spread, "method": method})
    done = subprocess.run([sys.executable, __file__, wanted], check=True, capture_output=True, text=True)
    return int(done.stdout.split()[-1])


def _print_peak(wanted: str) -> None:
    """What the process of its own does; see `measure_peak`."""
    task = json.loads(wanted)
    layer = Layer(**task["layer"])
    few = replace(layer, batch=1, size=layer.padding + 1)
    (method,) = make_methods(layer, task["spread"], peers=True, only=[task["method"]])
    served_by = _find_backend(method, layer) if task["method"] == "automatic" else task["method"]
    for sizes, name in ((few, served_by), (layer, task["method"])):
        (method,) = make_methods(sizes, task["spread"], peers=True, only=[name])
        _give_back_free_memory()
        before = _read_status("VmRSS")
        _RESET.write_text("5")  # lets the peak start anew
        run_once(method, backward=True)
        print(_read_status("VmHWM") - before)


def _find_backend(method: Method, layer: Layer) -> str:
    """The back end that serves this operator's method: with few pixels another one might be chosen."""
    x, weight, positions = method.leaves
    options: dict[str, Any] = {"padding": layer.padding, "dilation": layer.dilation, "groups": layer.groups}
    return explain(x, weight, positions, **options).backend


def _give_back_free_memory() -> None:
    """Else a pass could live on what loading its code has left over, and seem to need nothing."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _read_status(field: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    _print_peak(sys.argv[1])
