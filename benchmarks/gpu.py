"""Check and time the CUDA back end on a GPU, in under six minutes: one JSON, written as it goes, and a short table.

    python benchmarks/gpu.py [--out gpu.json] [--seconds 340] [--only correctness,time]
    python benchmarks/gpu.py --dry-run        # without a GPU: Triton's interpreter, small sizes, as far as it goes

What is right comes first, then what is fast. Each stage and each case in it is guarded: one that fails is noted and the
next runs; one that runs out of time is noted as left out. After a lost device the rest fails fast, and what was found
before it stands in the file. Install the package, or set PYTHONPATH, with Triton and torchvision.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ["TRITON_INTERPRET"] = str(int("--dry-run" in sys.argv))  # before anything imports Triton

import torch

from icnn_core.errors import DataError
from icnn_core.files import write_text

Case = tuple[str, Callable[[], Any]]
Stage = Callable[[torch.device, bool], Iterator[Case]]


class Record:
    """What was found so far, and how much time is left."""

    def __init__(self, out: Path, seconds: float) -> None:
        self._out, self._end, self._start = out, time.monotonic() + seconds, time.monotonic()
        self.found: dict[str, Any] = {"stages": {}, "failed": [], "left_out": []}

    def serve(self, name: str, cases: Iterator[Case], until: float) -> None:
        """Run a stage's cases until a share of the time is used up; note each."""
        notes: dict[str, Any] = self.found["stages"].setdefault(name, {})
        try:
            for case, run in cases:
                if time.monotonic() > self._start + until * (self._end - self._start):
                    self.found["left_out"].append(f"{name}: {case}")
                    continue
                start = time.monotonic()
                notes[case] = _guard(run)
                if isinstance(notes[case], dict) and "error" in notes[case]:
                    self.found["failed"].append(f"{name}: {case}")
                self._write(f"{name}: {case}", time.monotonic() - start)
        except Exception:  # the stage itself, before or between its cases
            notes["error"] = traceback.format_exc(limit=-4)
            self.found["failed"].append(name)
            self._write(name, 0.0)

    def _write(self, what: str, took: float) -> None:
        self.found["seconds"] = round(time.monotonic() - self._start, 1)
        write_text(self._out, json.dumps(self.found, indent=1, default=str) + "\n", DataError)
        print(f"{self.found['seconds']:6.1f} s  {what} ({took:.1f} s)", flush=True)


def _guard(run: Callable[[], Any]) -> Any:
    try:
        return run()
    except Exception as error:
        return {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"}


def stages() -> dict[str, tuple[Stage, float]]:
    """Name -> stage, and the share of the time by which it must have ended."""
    import gpu_correctness
    import gpu_time

    return {
        "machine": (gpu_time.machine, 1.0),
        "first call": (gpu_time.first_call, 0.2),
        "correctness": (gpu_correctness.correctness, 0.4),
        "at home": (gpu_correctness.at_home, 0.55),
        "time": (gpu_time.layers, 0.85),
        "memory": (gpu_time.memory, 0.88),
        "training": (gpu_time.training, 1.0),
    }


def main() -> None:
    """Run the stages, print what came out."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument("--seconds", type=float, default=340.0)
    parser.add_argument("--only", default="", help="names of stages, between commas")
    parser.add_argument("--dry-run", action="store_true", help="on the CPU, by Triton's interpreter")
    chosen = parser.parse_args()
    if not chosen.dry_run and not torch.cuda.is_available():
        sys.exit("gpu.py: needs a CUDA device, and there is none. Try --dry-run.")
    device = torch.device("cpu") if chosen.dry_run else torch.device("cuda", 0)
    wanted = [name for name in chosen.only.split(",") if name]
    run = Record(chosen.out, chosen.seconds)
    for name, (stage, until) in stages().items():
        if not wanted or name in wanted:
            run.serve(name, stage(device, chosen.dry_run), until)
    print(_table(run.found))
    sys.exit(1 if run.found["failed"] else 0)


def _table(found: dict[str, Any]) -> str:
    lines = [
        "| layer | forward over conv2d | both over conv2d | deform_conv2d over ours, both |",
        "|---|---|---|---|",
    ]
    for name, each in found["stages"].get("time", {}).items():
        if "error" in each:
            continue
        ratios = [
            each["forward"]["ratio"],
            each["both"]["ratio"],
            each["both"].get("deform_conv2d over ours"),
        ]
        lines.append("| " + " | ".join([name, *("–" if r is None else f"{r:.2f}" for r in ratios)]) + " |")
    return "\n".join([*lines, f"failed: {found['failed']}", f"left out: {found['left_out']}"])


if __name__ == "__main__":
    main()
