"""Dilation and learning rate of the regular and of the irregular network, each chosen on validation images.

    OMP_NUM_THREADS=1 python benchmarks/fair_baselines.py [--seeds 2] [--dilations 0.5,1] [--rates 0.5,1,2] [--short]
    python benchmarks/fair_baselines.py --preset camvid --config docs/results/camvid.toml --root CamVid \\
        --weights imagenet --irregular features.9 --seeds 1

Both have the same trials: factors of all dilations and of the rate of the weights, each with each, or as --trials
lists them. Chosen is the highest mean over the seeds, which are others (from 100) than those that a study reports. The
test split stays untouched. Writes docs/results/fair_baselines-PRESET.json and .png, and prints what to hand to
`icnn ablate`; finished runs are kept in --runs.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import asdict, replace

import matplotlib as mpl

mpl.use("Agg")
from study import common_config, describe_config, finish_all, make_parser, print_table, write_study

from icnn_core.training.runs import Run, RunResult
from icnn_viz.figures.sheet import Sheet
from icnn_viz.figures.style import use_theme

SMALL = {
    "lr": 0.005,
    "iterations": 500,
    "size": (96, 128),
    "batch_size": 4,
    "train_images": 300,
    "val_images": 200,
}
FIRST_SEED = 100
VARIANTS = ("regular", "irregular")


def main() -> None:
    """Train, print the table, write it and the figure."""
    parser = make_parser(__doc__, "fair_baselines", seeds=2)
    parser.add_argument("--dilations", default="0.25,0.5,0.75,1,1.5", help="factors of all dilations")
    parser.add_argument("--rates", default="0.5,1,2", help="factors of the rate of the weights")
    parser.add_argument("--trials", help="dilation:rate,… in place of all combinations, as 0.5:1,1:1,0.5:2")
    chosen = parser.parse_args()
    config = common_config(chosen, SMALL)
    trials = list_trials(chosen.trials, chosen.dilations, chosen.rates)
    dilations, rates = (sorted({trial[place] for trial in trials}) for place in (0, 1))
    seeds = range(FIRST_SEED, FIRST_SEED + chosen.seeds)
    folder = chosen.runs / chosen.preset
    runs = [
        Run(
            name_of(variant, dilation, rate),
            replace(
                config,
                seed=seed,
                irregular=chosen.irregular if variant == "irregular" else None,
                dilation_factor=dilation,
                lr=config.lr * rate,
            ),
            folder / name_of(variant, dilation, rate).replace(" ", "-") / f"seed-{seed}",
        )
        for seed, (dilation, rate), variant in itertools.product(seeds, trials, VARIANTS)
    ]
    results = finish_all(runs, [config.val_split], chosen.device)
    means = {
        (variant, dilation, rate): mean_of(results, name_of(variant, dilation, rate))
        for variant, (dilation, rate) in itertools.product(VARIANTS, trials)
    }
    for variant in VARIANTS:
        print(f"\n{variant}: mean IoU in %, {in_words(seeds)}, by rate (rows) and factor of dilations\n")
        rows = [
            [
                f"{config.lr * rate:g}",
                *(f"{100 * means[variant, d, rate]:.1f}" if (d, rate) in trials else "–" for d in dilations),
            ]
            for rate in rates
        ]
        print_table(["rate", *(f"{d:g}" for d in dilations)], rows)
    best = {
        variant: max((key for key in means if key[0] == variant), key=means.__getitem__)
        for variant in VARIANTS
    }
    settings = {
        variant: {"dilation_factor": dilation, "lr": config.lr * rate}
        for variant, (_, dilation, rate) in best.items()
    }
    print("\nChosen: " + "; ".join(f"{name} {own}" for name, own in settings.items()))
    print(
        "icnn ablate --variants … "
        + " ".join(f"--set {v}.{key}={value:g}" for v, own in settings.items() for key, value in own.items())
    )
    content = {
        "config": describe_config(config),
        "trials": [
            {"variant": v, "dilation_factor": d, "lr": config.lr * r, "mean_iou": mean}
            for (v, d, r), mean in means.items()
        ],
        "chosen": settings,
        "runs": [asdict(result) for result in results],
    }
    title = f"{chosen.preset}, {config.iterations} iterations, {in_words(seeds)}, on {config.val_split}"
    write_study(chosen.out, f"fair_baselines-{chosen.preset}", content, lambda: draw(means, title))


def list_trials(listed: str | None, dilations: str, rates: str) -> list[tuple[float, float]]:
    """(dilation, rate) of each trial, both as factors; those at the rate of the configuration first."""
    if listed is not None:
        pairs = [pair.split(":") for pair in listed.split(",")]
        trials = [(float(dilation), float(rate)) for dilation, rate in pairs]
    else:
        trials = [
            (float(dilation), float(rate))
            for rate, dilation in itertools.product(rates.split(","), dilations.split(","))
        ]
    return sorted(trials, key=lambda trial: trial[1] != 1)


def in_words(seeds: range) -> str:
    """Which they are."""
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]} to {seeds[-1]}"


def name_of(variant: str, dilation: float, rate: float) -> str:
    """Of a trial, and of its folder."""
    return f"{variant} dilation-{dilation:g} rate-{rate:g}"


def mean_of(results: Sequence[RunResult], name: str) -> float:
    """Mean IoU over the seeds of one trial."""
    return statistics.fmean(result.mean_iou for result in results if result.variant == name)


def draw(means: dict[tuple[str, float, float], float], title: str, theme: str = "light") -> object:
    """A panel a variant: mean IoU against the factor of the dilations, a line a rate."""
    rates = sorted({rate for _, _, rate in means})
    with use_theme(theme) as look:
        sheet = Sheet(170, 70, look)
        low, high = 100 * min(means.values()) - 1, 100 * max(means.values()) + 1
        for number, variant in enumerate(VARIANTS):
            ax = sheet.add_axes(16 + number * 78, 16, 70, 40)
            for rate, style in zip(rates, itertools.cycle(("-", "--", ":", "-.")), strict=False):
                line = sorted(
                    (d, 100 * mean) for (v, d, r), mean in means.items() if (v, r) == (variant, rate)
                )
                colour = look.accent if variant == "irregular" else look.muted
                ax.plot(
                    *zip(*line, strict=True), style, marker="o", markersize=3, color=colour, linewidth=0.9
                )
            ax.set_ylim(low, high)
            ax.set_xlabel(f"{variant}: factor of all dilations")
            ax.grid(True, axis="y")
            if number == 0:
                ax.set_ylabel("mean IoU (%)")
        sheet.write_heading("Regular and irregular over the same grid", title, left=4)
        shown = ", ".join(
            f"{style} rate × {rate:g}"
            for rate, style in zip(
                rates, itertools.cycle(("solid", "dashed", "dotted", "dash-dotted")), strict=False
            )
        )
        sheet.write_notes([shown], top=5)
    return sheet.figure


if __name__ == "__main__":
    main()
