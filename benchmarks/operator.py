"""Time the operator over all layers, near and far, and write docs/benchmarks/operator.json and .png.

    python benchmarks/operator.py [--deformable] [--rounds 7] [--device cpu]

The machine should be idle. Ratios are to conv2d, in the same run; see `icnn_core.ops.benchmark`.
"""

from __future__ import annotations

import argparse
import json
import platform
from dataclasses import asdict
from pathlib import Path

import matplotlib as mpl
import torch

from icnn_core.ops.benchmark import LAYERS, SPREADS, Timing, time_layer

mpl.use("Agg")
import matplotlib.pyplot as plt

OUT = Path(__file__).parents[1] / "docs" / "benchmarks"
COLOURS = {"automatic": "#0072b2", "sampled": "#56b4e9", "fused": "#009e73", "dense": "#e69f00"}
COLOURS |= {"gathered": "#cc79a7", "deform_conv2d": "#d55e00"}


def draw(timings: list[Timing], title: str) -> plt.Figure:
    """Bars of time / conv2d on a log scale, forward + backward, a panel for near and one for far positions."""
    figure, axes = plt.subplots(len(SPREADS), 1, figsize=(7.5, 6.5), sharex=True, layout="constrained")
    methods = [m for m in COLOURS if any(t.method == m for t in timings)]
    for ax, spread in zip(axes, SPREADS, strict=True):
        for offset, method in enumerate(methods):
            ratios = {
                t.layer: t.ratio
                for t in timings
                if (t.spread, t.method, t.backward) == (spread, method, True)
            }
            places = [list(LAYERS).index(layer) + 0.8 * offset / len(methods) for layer in ratios]
            ax.bar(
                places,
                list(ratios.values()),
                0.8 / len(methods),
                color=COLOURS[method],
                label=method,
                align="edge",
            )
        ax.axhline(1, color="black", linewidth=0.8)
        ax.set_yscale("log")
        ax.set_ylabel("time / conv2d")
        ax.set_title(
            f"{spread}: positions {SPREADS[spread]} px from their slots (standard deviation)", fontsize=10
        )
    axes[-1].set_xticks([i + 0.4 for i in range(len(LAYERS))], list(LAYERS))
    axes[0].legend(ncols=3, fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=10)
    return figure


def main() -> None:
    """Time, write, print a line per layer."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--deformable", action="store_true")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    timings = []
    for layer in LAYERS:
        for spread in SPREADS:
            found = time_layer(
                layer,
                spread,
                rounds=arguments.rounds,
                deformable=arguments.deformable,
                device=arguments.device,
            )
            timings += found
            print(layer, spread, {(t.method, t.backward): round(t.ratio, 2) for t in found}, flush=True)
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    OUT.mkdir(parents=True, exist_ok=True)
    content = {"machine": machine, "device": arguments.device, "timings": [asdict(t) for t in timings]}
    (OUT / "operator.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    draw(timings, f"forward + backward, {machine}").savefig(OUT / "operator.png", dpi=130)


if __name__ == "__main__":
    main()
