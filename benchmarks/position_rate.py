"""Mean IoU and displacement against the positions' learning rate, for Adam and for the paper's SGD.

    python benchmarks/position_rate.py [--seeds 3] [--iterations N] [--short]
    python benchmarks/position_rate.py --preset camvid --config docs/results/camvid.toml --root CamVid \\
        --weights imagenet --irregular features.9

Controls: rate 0, where positions stay where they start, and positions thrown at random and frozen there. Positions
rest in the first tenth of the iterations, but for "at once": the paper's rule, which has no such warm-up. Writes
docs/results/position_rate.json and .png (position_rate-PRESET for other presets); finished runs are kept in --runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import matplotlib as mpl

mpl.use("Agg")
from study import common_config, describe_config, finish_all, make_parser, print_table, write_study

from icnn_core.training.ablation_table import VariantSummary, summarise
from icnn_core.training.runs import Run, RunResult
from icnn_viz.figures.sheet import Sheet
from icnn_viz.figures.style import use_theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SMALL = {
    "backbone": "tiny",
    "dilation_factor": 1.0,
    "lr": 0.005,
    "iterations": 250,
    "size": (72, 96),
    "batch_size": 4,
    "train_images": 300,
    "val_images": 100,
}
RATES = {"adam": (0.01, 0.05, 0.2), "sgd": (1.0, 5.0, 50.0)}
UNITS = {"adam": "Adam: rate (pixels a step)", "sgd": "SGD: rate (the paper's is 50)"}
FROZEN, PAPER = "frozen", "sgd 50 at once"


def main() -> None:
    """Train, print the table, write it and the figure."""
    parser = make_parser(__doc__, "position_rate", seeds=3)
    parser.add_argument(
        "--thrown", type=float, default=0.5, help="half-width of the random frozen shift in px"
    )
    chosen = parser.parse_args()
    config = common_config(chosen, SMALL, irregular=chosen.irregular)
    settings: dict[str, dict[str, Any]] = {FROZEN: {"position_lr": 0.0}}
    settings[f"thrown {chosen.thrown:g} px"] = {"position_lr": 0.0, "shift": chosen.thrown}
    for rule, rates in RATES.items():
        settings |= {f"{rule} {r:g}": {"position_rule": rule, "position_lr": r} for r in rates}
    settings[PAPER] = {"position_rule": "sgd", "position_lr": 50.0, "position_warmup": 0.0}
    folder = chosen.runs / chosen.preset
    runs = [
        Run(row, replace(config, seed=seed, **own), folder / row.replace(" ", "-") / f"seed-{seed}")
        for seed in range(chosen.seeds)
        for row, own in settings.items()
    ]
    results = finish_all(runs, [config.val_split], chosen.device)
    summaries = summarise(results, list(settings), FROZEN)
    moved = {s.variant: [r.displacement or 0.0 for r in results if r.variant == s.variant] for s in summaries}
    print_table(HEADINGS, [_cells(summary, moved[summary.variant]) for summary in summaries])
    content = {
        "config": describe_config(config),
        "variants": [asdict(summary) for summary in summaries],
        "runs": [asdict(result) for result in results],
    }
    name = "position_rate" if chosen.preset == "shapes" else f"position_rate-{chosen.preset}"
    title = f"{chosen.preset}, {config.iterations} iterations, {chosen.seeds} seeds"
    write_study(chosen.out, name, content, lambda: draw(results, list(settings), title))


HEADINGS = ("positions", "mean IoU %", "− frozen, 95 % interval", "higher in", "displacement px")


def _cells(summary: VariantSummary, moved: Sequence[float]) -> tuple[str, ...]:
    spread = "" if summary.sd is None else f" ± {100 * summary.sd:.1f}"
    difference = "–"
    if summary.difference is not None:
        difference = f"{100 * summary.difference:+.1f}"
        if summary.low is not None and summary.high is not None:
            difference += f" [{100 * summary.low:+.1f}, {100 * summary.high:+.1f}]"
    wins = f"{summary.wins} of {summary.pairs}" if summary.pairs else "–"
    mean = f"{100 * summary.mean:.1f}{spread}"
    return summary.variant, mean, difference.replace("-", "−"), wins, f"{sum(moved) / len(moved):.3f}"


def draw(results: Sequence[RunResult], rows: Sequence[str], title: str, theme: str = "light") -> Any:
    """Above mean IoU, below displacement; left the controls, then Adam's rates, then SGD's. Dots are seeds."""
    groups = {"controls": [row for row in rows if row.split()[0] not in RATES]}
    groups |= {rule: [row for row in rows if row.split()[0] == rule] for rule in RATES}
    with use_theme(theme) as look:
        sheet = Sheet(170, 96, look)
        left, wide = 16.0, 46.0
        panels: list[list[Axes]] = []
        for number in range(len(groups)):
            x = left + number * (wide + 4)
            panels.append([sheet.add_axes(x, 52, wide, 32), sheet.add_axes(x, 18, wide, 29)])
        iou = [100 * r.mean_iou for r in results]
        moved = [r.displacement or 0.0 for r in results]
        for (rule, some), (above, below) in zip(groups.items(), panels, strict=True):
            for ax, values in ((above, iou), (below, moved)):
                _draw_points(ax, results, some, values, look.muted, look.accent)
                margin = 0.08 * (max(values) - min(values) or 1)
                ax.set_ylim(min(values) - margin, max(values) + margin)
            above.set_xticks(range(len(some)), [""] * len(some))
            labels = [row.removeprefix(f"{rule} ").replace(" at", "\nat") for row in some]
            below.set_xticks(range(len(some)), labels)
            below.set_xlabel(UNITS.get(rule, "controls: no learning"))
            below.xaxis.set_label_coords(0.5, -0.3)  # on one line, however many a label has
        for group in panels[1:]:
            for ax in group:
                ax.tick_params(labelleft=False)
        panels[0][0].set_ylabel("mean IoU (%)")
        panels[0][1].set_ylabel("displacement (px)")
        sheet.write_heading("Mean IoU and displacement against the positions' rate", title, left=4)
        sheet.write_notes(["dots: seeds", "diamonds: their means"], top=5)
    return sheet.figure


def _draw_points(
    ax: Axes,
    results: Sequence[RunResult],
    rows: Sequence[str],
    values: Sequence[float],
    muted: str,
    accent: str,
) -> None:
    means = []
    for place, row in enumerate(rows):
        own = [value for result, value in zip(results, values, strict=True) if result.variant == row]
        ax.plot([place] * len(own), own, "o", color=muted, markersize=2.6, alpha=0.8)
        means.append(sum(own) / len(own))
    joined = "D-" if rows[0].split()[0] in RATES else "D"
    ax.plot(range(len(rows)), means, joined, color=accent, linewidth=0.8, markersize=4)
    ax.set_xlim(-0.6, len(rows) - 0.4)
    ax.grid(True, axis="y")


if __name__ == "__main__":
    main()
