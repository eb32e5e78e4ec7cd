"""Damaged and hostile files through the command line: no traceback, no hang, no memory beyond a bound.

Each file is drawn by a seed from what people have (checkpoints, state dicts, arrays, tables): cut off, with bits
flipped, or of a structure that no program writes. Each goes through the commands that read its kind, in a process
that is another one after a file has ended it.

    python benchmarks/damaged_files.py                 # 400 files, as docs/robustness.md reports
    python benchmarks/damaged_files.py --files 40 --seed 7
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import multiprocessing
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from damage import make_file, write_whole

SECONDS, MEGABYTES = 10, 1024
"""What a file may take, the second beyond what reading a whole file takes."""


def try_file(path: Path, out: Path) -> tuple[str, float]:
    """How the commands that read such a file end, and their seconds: "read", "refused" or what went wrong."""
    from icnn_core.cli import main as core
    from icnn_viz.cli import main as viz

    calls = [(viz, ["kernels", str(path), "--out", str(out), "--format", "svg", "--view", "layers"])]
    if path.suffix in (".pt", ".safetensors"):
        calls.append((core, ["convert", str(path), "--irregular", "none", "--out", str(out / "again.pt")]))
    ends, started = [], time.perf_counter()
    for main, arguments in calls:
        ends.append(_call(main, arguments))
    return next(
        (end for end in ends if end not in ("read", "refused")), ends[0]
    ), time.perf_counter() - started


def _call(main: Callable[[], object], arguments: list[str]) -> str:
    printed = io.StringIO()
    before, sys.argv = sys.argv, ["icnn", *arguments]
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            main()
    except SystemExit as ended:
        code = ended.code or 0
        if "Traceback" in printed.getvalue():
            return "a traceback: " + printed.getvalue().strip().splitlines()[-1][:160]
        return {0: "read", 1: "refused"}.get(code, f"exit {code}")  # type: ignore[call-overload]
    except BaseException as error:  # what a user would see as a traceback
        last = traceback.extract_tb(error.__traceback__)[-1]
        return f"a traceback: {type(error).__name__}: {str(error)[:100]} ({Path(last.filename).name}:{last.lineno})"
    finally:
        sys.argv = before
    return "read"


def _peak() -> float:
    """Megabytes that this process has used at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1024 if sys.platform != "darwin" else 1 << 20
    )


def _work(numbers: range, seed: int, results: Any) -> None:
    """Files in a process that is not the one that counts, so that their memory is known and a hang can be ended."""
    logging.disable(logging.CRITICAL)
    for number in numbers:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "in"
            place.mkdir()
            path, words = make_file(place, number, seed)
            with contextlib.suppress(OSError):  # Linux: the peak counts from here
                Path("/proc/self/clear_refs").write_text("5")
            before = _status("VmRSS")
            results.put((words, "started", 0.0, 0.0))
            end, seconds = try_file(path, Path(folder) / "out")
            results.put((words, end, seconds, _status("VmHWM") - before))


def _status(name: str) -> float:
    """Megabytes, by Linux's own count; the process's peak elsewhere."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024
    except (OSError, StopIteration):
        return _peak()


def run(files: int, seed: int, first: int = 0) -> list[tuple[int, str, str, float, float]]:
    """Number, damage, end, seconds and megabytes of each file; in one forked process, until a file ends that."""
    warm_up()
    context = multiprocessing.get_context("fork")
    found: list[tuple[int, str, str, float, float]] = []
    while len(found) < files:
        results = context.Queue()
        left = range(first + len(found), first + files)
        worker = context.Process(target=_work, args=(left, seed, results))
        worker.start()
        for number in left:
            words, end, seconds, megabytes = "?", "no answer", 0.0, 0.0
            try:
                words, *_ = results.get(timeout=120)
                words, end, seconds, megabytes = results.get(timeout=3 * SECONDS)
            except Exception:  # queue.Empty
                end = "hung" if worker.is_alive() else f"the process ended with {worker.exitcode}"
            if end in ("read", "refused") and seconds > SECONDS:
                end = f"took {seconds:.0f} s"
            if end in ("read", "refused") and megabytes > MEGABYTES:
                end = f"took {megabytes:,.0f} MB"
            found.append((number, words, end, seconds, megabytes))
            if end == "hung" or end.startswith("the process"):
                break
        worker.kill()
        worker.join()
    return found


def warm_up() -> None:
    """Import all that the commands import, so that each file pays for itself alone."""
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("own.pt", "foreign.safetensors", "taps.npz", "t.csv"):
            write_whole(kind, Path(folder) / kind)
            end, _ = try_file(Path(folder) / kind, Path(folder) / "out")
            if end.startswith("a traceback"):
                raise SystemExit(f"{kind}, a whole file: {end}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = run(options.files, options.seed, options.first)
    bad = [row for row in found if row[2] not in ("read", "refused")]
    for number, words, end, seconds, megabytes in bad:
        print(f"{number}: {words}: {end} ({seconds:.1f} s, {megabytes:.0f} MB)")
    ends = Counter(row[2] if row[2] in ("read", "refused") else "failed" for row in found)
    print(
        f"{len(found)} files, seed {options.seed}: "
        + ", ".join(f"{count} {end}" for end, count in ends.items())
    )
    print(
        f"longest {max(r[3] for r in found):.1f} s, most {max(r[4] for r in found):,.0f} MB above the process's own"
    )
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
