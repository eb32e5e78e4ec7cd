"""Time the operator over all layers, near and far, and write docs/benchmarks/operator.json and .png.

    python benchmarks/operator.py [--rounds 15] [--peers] [--short]

The machine should be idle. Ratios are to conv2d, in the same run; see `icnn_core.ops.benchmark`. Where CUDA is there,
its rows (batch 16, TF32 and bfloat16) are measured as well; where it is not, they are not in the file.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch

from icnn_core.errors import DataError
from icnn_core.files import write_atomically
from icnn_core.ops.benchmark import (
    LAYERS,
    SPREADS,
    Case,
    Timing,
    describe_machine,
    measure_peak,
    scaled_cases,
    time_case,
)

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

OUT = Path(__file__).parents[1] / "docs" / "benchmarks"
STYLES = {
    "automatic": ("#0072b2", "o"),
    "sampled": ("#56b4e9", "s"),
    "fused": ("#009e73", "D"),
    "dense": ("#e69f00", "^"),
    "gathered": ("#cc79a7", "v"),
    "deform_conv2d": ("#d55e00", "P"),
    "DCLS": ("#999999", "X"),
}
UNITS = {"batch": "images", "size": "image side / px", "channels": "channels", "reach": "σ of positions / px"}


def main() -> None:
    """Time, write, print a line per case."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--peers", action="store_true", help="deform_conv2d and DCLS too: slow")
    parser.add_argument("--short", action="store_true", help="neither memory nor scaling")
    parser.add_argument("--out", type=Path, default=OUT)
    chosen = parser.parse_args()
    cases = [Case(layer, spread, name) for name, layer in LAYERS.items() for spread in SPREADS.values()]
    content: dict[str, Any] = {"cpu": describe_machine(), "rounds": chosen.rounds}
    timings = _measure(cases, rounds=chosen.rounds, peers=chosen.peers)
    content["layers"] = [asdict(timing) for timing in timings]
    content["means"] = _means(timings)
    scaled: dict[str, list[Timing]] = {}
    if not chosen.short:
        only = ("automatic", "sampled", "dense")
        scaled = {
            name: _measure(some, rounds=chosen.rounds, only=only) for name, some in scaled_cases().items()
        }
        content["scaling"] = {name: [asdict(timing) for timing in some] for name, some in scaled.items()}
        content["peak_bytes"] = _peaks(cases)
    if torch.cuda.is_available():
        content["cuda"] = _measure_cuda(cases, chosen.rounds, chosen.peers)
    _write(chosen.out, content, timings, scaled)


def _measure(cases: Iterable[Case], **options: Any) -> list[Timing]:
    timings = []
    for case in cases:
        found = time_case(case, **options)
        timings += found
        ratios = {f"{t.method}{' +bwd' if t.backward else ''}": round(t.ratio, 2) for t in found}
        print(case.name, f"σ {case.spread:g}", ratios, flush=True)
    return timings


def _means(timings: list[Timing]) -> dict[str, float]:
    """Geometric means of the ratios over the dense layers, near and far, per method and pass."""
    groups: dict[str, list[float]] = {}
    for timing in timings:
        if timing.case != "depthwise":
            key = f"{timing.method}, {'forward+backward' if timing.backward else 'forward'}"
            groups.setdefault(key, []).append(timing.ratio)
    complete = max(map(len, groups.values()))
    means = {key: ratios for key, ratios in groups.items() if len(ratios) == complete}
    return {key: math.exp(sum(map(math.log, ratios)) / len(ratios)) for key, ratios in means.items()}


def _peaks(cases: list[Case]) -> list[dict[str, Any]]:
    rows = []
    for case in cases:
        row = {method: measure_peak(case, method) for method in ("conv2d", "sampled", "automatic")}
        rows.append({"case": case.name, "spread": case.spread, **row})
        print("peak", rows[-1], flush=True)
    return rows


def _measure_cuda(cases: list[Case], rounds: int, peers: bool) -> dict[str, Any]:
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    content: dict[str, Any] = {"machine": describe_machine("cuda"), "batch": 16}
    batches = [replace(case, layer=replace(case.layer, batch=16)) for case in cases]
    for name, dtype in (("tf32", torch.float32), ("bfloat16", torch.bfloat16)):
        timings = _measure(batches, rounds=rounds, device="cuda", dtype=dtype, peers=peers)
        content[name] = {"layers": [asdict(t) for t in timings], "means": _means(timings)}
    return content


def draw(timings: list[Timing], scaled: dict[str, list[Timing]], title: str) -> Figure:
    """Time / conv2d forward and backward: a row per layer, near and far; below, what happens when one number grows."""
    figure = plt.figure(figsize=(10, 8 if scaled else 4.6), layout="constrained")
    grid = figure.add_gridspec(2 if scaled else 1, 4, height_ratios=(1.4, 1) if scaled else (1,))
    shown = [t for t in timings if t.backward and t.method in STYLES]
    first: Axes | None = None
    for column, (name, spread) in enumerate(SPREADS.items()):
        ax = figure.add_subplot(grid[0, 2 * column : 2 * column + 2], sharex=first, sharey=first)
        first = first or ax
        _draw_layers(ax, [t for t in shown if t.spread == spread])
        ax.set_title(f"{name}: positions {spread:g} px from their slots (σ)", fontsize=10)
    if first is not None:
        first.plot([], [], marker=".", color="#1a1a1a", label="conv2d")
        handles, labels = first.get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside upper center", ncols=len(labels), frameon=False, fontsize=9
        )
    for column, (name, some) in enumerate(scaled.items()):
        _draw_scaling(figure.add_subplot(grid[1, column]), name, some, labelled=column == 0)
    figure.supxlabel(title, fontsize=8, color="#5c5c5c")
    return figure


def _draw_layers(ax: Axes, timings: list[Timing]) -> None:
    names = list(LAYERS)
    for method, (colour, marker) in STYLES.items():
        some = [t for t in timings if t.method == method]
        rows = [len(names) - 1 - names.index(t.case) for t in some]
        if some:
            ax.plot([t.ratio for t in some], rows, marker, color=colour, markersize=7, label=method)
    ax.axvline(1, color="#1a1a1a", linewidth=0.8)
    ax.set_xscale("log")
    ax.set_xlabel("time / conv2d, forward and backward")
    ax.set_yticks(range(len(names)), names[::-1])
    ax.grid(axis="both", color="#e2e2e2", linewidth=0.6)
    ax.set_axisbelow(True)


def _draw_scaling(ax: Axes, name: str, timings: list[Timing], *, labelled: bool) -> None:
    for method, (colour, marker) in {"conv2d": ("#1a1a1a", "."), **STYLES}.items():
        some = [t for t in timings if t.backward and t.method == method]
        if some:
            values = [float(t.case) for t in some]
            ax.plot(
                values,
                [1e3 * t.median for t in some],
                marker=marker,
                color=colour,
                markersize=5,
                label=method,
            )
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ticks = sorted({float(t.case) for t in timings})
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.set_xlabel(UNITS[name])
    ax.grid(color="#e2e2e2", linewidth=0.6)
    if labelled:
        ax.set_ylabel("forward and backward / ms")


def _write(
    folder: Path, content: dict[str, Any], timings: list[Timing], scaled: dict[str, list[Timing]]
) -> None:
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    write_atomically(
        folder / "operator.json", lambda to: Path(to).write_text(text, encoding="utf-8"), DataError
    )
    machine = describe_machine()
    title = f"{machine['machine']}, {machine['threads']} threads, torch {machine['torch']}, float32"
    figure = draw(timings, scaled, title)
    write_atomically(folder / "operator.png", lambda to: figure.savefig(to, dpi=130, format="png"), DataError)


if __name__ == "__main__":
    main()
