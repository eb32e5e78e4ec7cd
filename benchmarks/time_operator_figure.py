"""The figure of time_operator.py: ratios to conv2d, a row per layer, and what happens when one number grows."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl

from icnn_core.ops.benchmark import LAYERS, SPREADS, Timing

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

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


def draw(layers: dict[str, Any], scaling: dict[str, Any]) -> Figure:
    """Time / conv2d forward and backward: a row per layer, near and far; below, what happens when one number grows.

    Args:
        layers, scaling: the sections of operator.json; the second may be empty.
    """
    timings = [Timing(**row) for row in layers["timings"]]
    rows = scaling.get("numbers", {})
    scaled = {name: [Timing(**row) for row in some] for name, some in rows.items()}
    machines = list(dict.fromkeys(_describe(part["machine"]) for part in (layers, scaling) if part))
    title = " (above), ".join(machines) + (" (below)" if len(machines) > 1 else "")
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


def _describe(machine: dict[str, Any]) -> str:
    return f"{machine['machine']}, {machine['threads']} threads, torch {machine['torch']}, float32"


def _draw_layers(ax: Axes, timings: list[Timing]) -> None:
    names = list(LAYERS)
    for method, (colour, marker) in STYLES.items():
        some = [t for t in timings if t.method == method]
        rows = [len(names) - 1 - names.index(t.case) for t in some]
        if some:
            size = 11 if method == "automatic" else 7  # seen around the back end that it chose
            ax.plot([t.ratio for t in some], rows, marker, color=colour, markersize=size, label=method)
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
