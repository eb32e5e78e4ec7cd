"""How long commands take, beside B: a process that imports torch, matplotlib.pyplot, pandas and scipy.stats.

Processor time (user and system, children included), each beside the B before and the one after it, medians of the
ratios: where a machine's speed varies, both do. By the clock where a line says so, which needs an idle machine.
`python benchmarks/start.py [--turns N] [--only PART] [--demo] [--out FILE.json]`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

_B = "import torch, matplotlib.pyplot, pandas, scipy.stats"
_CLI = "from icnn_viz.cli import main; main()"
_FIRST_TABLE = f"""
import sys, time

class Watched:
    def __init__(self, stream): self.stream = stream
    def __getattr__(self, name): return getattr(self.stream, name)
    def write(self, text):
        if "displacements in input pixels" in text:
            print("FIRST", time.process_time(), file=sys.stderr)
        return self.stream.write(text)

sys.stdout = Watched(sys.stdout)
{_CLI}
"""
_NETWORK = """
import sys, torch
from icnn_core import deeplab_largefov, make_irregular, write_checkpoint
torch.manual_seed(0)
model = deeplab_largefov("resnet101", 21)
assert len(make_irregular(model, "layer1").replaced) == 34
with torch.no_grad():
    for name, tensor in model.named_parameters():
        if name.endswith("positions"):
            tensor.add_(0.6 * torch.randn_like(tensor))
write_checkpoint(sys.argv[1], model)
"""


@dataclass(frozen=True)
class Case:
    """A line of the table.

    Attributes:
        name, command: what is run: arguments of `icnn-viz`, or of Python after "-c".
        unit: "B", times B's processor time; "s", seconds of it; "s by the clock".
        limit: what it is to take at most.
        turns: how often, at most.
    """

    name: str
    command: Sequence[str]
    unit: str
    limit: float
    turns: int = 7


@dataclass(frozen=True)
class Row:
    """What was measured: `value` in the case's unit, the seconds of each turn, and what they are of B's beside them."""

    name: str
    unit: str
    limit: float
    value: float
    seconds: list[float]
    ratios: list[float] = field(default_factory=list)


def list_cases(folder: Path) -> list[Case]:
    """All of them; what they write goes into `folder`."""
    large = folder / "resnet101.safetensors"
    kernels = ["kernels", "--overwrite", "--out", str(folder / "kernels")]
    page, export = str(folder / "report.html"), str(folder / "page.html")
    return [
        Case("--help", ["--help"], "s", 0.2),
        Case("kernels, built-in, default views", kernels, "B", 1.3),
        Case("kernels, its first table", ["-c", _FIRST_TABLE, *kernels], "B", 0.8),
        Case("heatmap, built-in", ["heatmap", "-p", "60,40", "--overwrite", "-o", str(folder / "h")], "B", 1.35),
        Case("report of the built-in pair", ["report", "--overwrite", "--out", page], "B", 3.0, 3),
        Case("explore --export, built-in", ["explore", "--overwrite", "--export", export], "s", 60.0, 1),
        Case("kernels, ResNet-101, 34 layers", ["kernels", str(large), "--overwrite", "-o", str(folder / "r")],
             "s by the clock", 7.0, 3),
    ]  # fmt: skip


def run(arguments: Sequence[str], folder: Path) -> tuple[float, float]:
    """Seconds of a process of its own: of the processor, and by the clock. For a first table, until it is told."""
    code = list(arguments) if arguments[0] == "-c" else ["-c", _CLI, *arguments]
    before, start = _used_by_children(), time.perf_counter()
    done = subprocess.run([sys.executable, *code], check=True, capture_output=True, text=True, cwd=folder)
    clock, used = time.perf_counter() - start, _used_by_children() - before
    found = re.search(r"^FIRST (\S+)", done.stderr, re.MULTILINE)
    return (float(found[1]) if found else used), clock


def measure(cases: Sequence[Case], turns: int, folder: Path, say: Callable[[str], None]) -> list[Row]:
    """Every case between two Bs, so that what else runs meets all alike; one turn beforehand warms files and caches."""
    for case in cases:
        run(case.command, folder)
    seconds: dict[str, list[float]] = {case.name: [] for case in cases}
    ratios: dict[str, list[float]] = {case.name: [] for case in cases}
    bases = [run(["-c", _B], folder)[0]]
    for turn in range(turns):
        for case in cases:
            if turn >= case.turns:
                continue
            used, clock = run(case.command, folder)
            bases.append(run(["-c", _B], folder)[0])
            seconds[case.name].append(clock if "clock" in case.unit else used)
            ratios[case.name].append(2 * used / sum(bases[-2:]))
        say(f"turn {turn + 1} of {turns}")
    rows = [Row("B", "s", 0.0, statistics.median(bases), bases)]
    for case in cases:
        own = (ratios if case.unit == "B" else seconds)[case.name]
        rows.append(
            Row(
                case.name,
                case.unit,
                case.limit,
                statistics.median(own),
                seconds[case.name],
                ratios[case.name],
            )
        )
    return rows


def first_sight(folder: Path) -> Row:
    """Seconds by the clock from the request of the explorer's page until it is there, its image in it."""
    import urllib.request

    port = 8051
    code = ["-c", _CLI, "explore", "--port", str(port), "--no-browser"]
    server = subprocess.Popen([sys.executable, *code], cwd=folder, stdout=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1).read()
                break
            except OSError:
                time.sleep(0.1)
        taken = []
        for _ in range(5):
            start = time.perf_counter()
            for part in ("", "_dash-layout", "_dash-dependencies"):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/{part}", timeout=30).read()
            taken.append(time.perf_counter() - start)
    finally:
        server.terminate()
        server.wait()
    return Row("explore, its page with the image", "s by the clock", 0.5, statistics.median(taken), taken)


def to_table(rows: Sequence[Row]) -> str:
    """As the documents show it."""
    lines = ["| | measured | wanted |", "|---|---|---|"]
    for row in rows:
        wanted = f"≤ {row.limit:g} {row.unit}" if row.limit else ""
        lines.append(f"| {row.name} | {row.value:.2f} {row.unit} | {wanted} |")
    return "\n".join(lines)


def _used_by_children() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _describe_machine() -> dict[str, object]:
    from importlib.metadata import version

    names = ("torch", "matplotlib", "pandas", "scipy", "numpy")
    found: dict[str, object] = {
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
    }
    return found | {name: version(name) for name in names}


def main() -> None:
    """Measure, print the table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--demo", action="store_true", help="the demo too: a minute or two")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cases = [case for case in list_cases(folder) if given.only in case.name]
        if any("ResNet" in case.name for case in cases):
            subprocess.run(
                [sys.executable, "-c", _NETWORK, str(folder / "resnet101.safetensors")], check=True
            )
        rows = measure(cases, given.turns, folder, lambda text: print(text, file=sys.stderr, flush=True))
        if given.only in "explore, its page with the image":
            rows.append(first_sight(folder))
        if given.demo:
            clock = run(["demo", "--out", str(folder / "demo")], folder)[1]
            rows.append(Row("demo", "s by the clock", 90.0, clock, [clock]))
    print(to_table(rows))
    if given.out:
        found = {"machine": _describe_machine(), "rows": [asdict(row) for row in rows]}
        given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
