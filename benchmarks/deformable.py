"""The same layers regular, irregular, and as deformable convolutions: mean IoU, parameters, time, overfitting, zeros.

    OMP_NUM_THREADS=1 python benchmarks/deformable.py [--seeds 3] [--iterations N] [--short]

The network, its dilations and its rate are the preset's: of the synthetic set those at which the regular one is best.
A deformable convolution (what torchvision's deform_conv2d computes; on a CPU by grid_sample, which is faster) predicts
an offset for each tap at each output pixel by a convolution that starts at zero and learns at the weights' rate, or at
a tenth of it as in Deformable ConvNets v2 (arXiv 1811.11168); an irregular one learns one offset per channel and tap.
Writes docs/results/deformable.json and .png; finished runs are kept in --runs and shared with `icnn ablate --out` of
the same settings.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

mpl.use("Agg")
from study import common_config, describe_config, finish_all, make_parser, print_table, write_study

from icnn_core.checkpoint import read_checkpoint
from icnn_core.models.controls import DeformableConv2d
from icnn_core.surgery import make_regular
from icnn_core.training.ablation import plan_runs
from icnn_core.training.ablation_table import VariantSummary, summarise
from icnn_core.training.config import TrainConfig
from icnn_core.training.runs import Run, RunResult
from icnn_core.training.setup import Prepared, prepare
from icnn_viz.figures.ablation import draw_ablation

SMALL = {
    "iterations": 500,
    "size": (96, 128),
    "batch_size": 4,
    "train_images": 300,
    "val_images": 200,
}
DEFORMABLE = {"deformable": 1.0, "deformable 0.1": 0.1}
"""Variants, and the rate of the offsets as a share of the weights'."""
SHARES = (0.01, 0.05)
HEADINGS = (
    "layers", "mean IoU %", "− regular, 95 % interval", "higher in", "train − val", "parameters", "more", "CPU ms",
    "below 1 %", "below 5 %",
)  # fmt: skip


def main() -> None:
    """Train, print the table, write it and the figure."""
    chosen = make_parser(__doc__, "shapes", seeds=3).parse_args()
    config = common_config(chosen, SMALL)
    runs = plan_runs(config, ["none", chosen.irregular], range(chosen.seeds), chosen.runs)
    rows = ["none", chosen.irregular, *DEFORMABLE]
    for row, seed in itertools.product(DEFORMABLE, range(chosen.seeds)):
        own = replace(config, seed=seed, irregular=chosen.irregular)
        runs.append(Run(row, own, chosen.runs / row.replace(" ", "-") / f"seed-{seed}"))
    splits = [config.val_split, config.train_split]
    results = finish_all(runs, splits, chosen.device, build)
    measured = [r for r in results if r.split == config.val_split]
    summaries = summarise(measured, rows)
    firsts = {run.variant: run for run in reversed(runs)}
    layers = list(make_regular(prepare(firsts[chosen.irregular].config).model))
    more: dict[str, dict[str, Any]] = {row: _count(firsts[row], layers) for row in rows}
    times = _time(firsts, rounds=3 if chosen.short else 25)
    for row in rows:
        folders = [run.folder for run in runs if run.variant == row]
        more[row] |= {
            "cpu_ms": times[row],
            "gap": _gap(results, row, splits),
            "zeros": _zeros(folders, layers),
        }
    print_table(HEADINGS, [_cells(summary, more[summary.variant]) for summary in summaries])
    content = {
        "config": describe_config(config),
        "layers": layers,
        "variants": [asdict(summary) | more[summary.variant] for summary in summaries],
        "runs": [asdict(result) for result in results],
    }
    title = f"{chosen.preset}, {config.iterations} iterations, {len(layers)} layers from {chosen.irregular}"
    table = pd.DataFrame([{"variant": r.variant, "seed": r.seed, "mean_iou": r.mean_iou} for r in measured])
    write_study(
        chosen.out,
        "deformable",
        content,
        lambda: draw_ablation(
            table, summaries, title="Regular (none), irregular, deformable", subtitle=title
        ),
    )


def build(run: Run, config: TrainConfig) -> Prepared:
    """As `prepare`; the deformable variants have the irregular one's layers as deformable convolutions instead."""
    ready = prepare(config)
    if run.variant in DEFORMABLE:
        for name in make_regular(ready.model):
            conv = ready.model.get_submodule(name)
            assert isinstance(conv, nn.Conv2d)
            ready.model.set_submodule(name, DeformableConv2d(conv, DEFORMABLE[run.variant]))
    return ready


def _count(run: Run, layers: Sequence[str]) -> dict[str, int]:
    """Parameters of the whole network without what the variant adds, and the number of those added."""
    model = build(run, run.config).model
    total = sum(p.numel() for p in model.parameters())
    own = ("positions", "sigma", "offset.weight", "offset.bias")
    added = sum(
        p.numel()
        for name, p in model.named_parameters()
        if any(name == f"{layer}.{key}" for layer in layers for key in own)
    )
    return {"parameters": total - added, "added": added}


def _time(firsts: dict[str, Run], rounds: int) -> dict[str, float]:
    """Median CPU time of one training step in ms, the variants in turn: forward, loss, backward, AdamW."""
    steps = {}
    for row, run in firsts.items():
        ready = build(run, run.config)
        model = ready.model.train().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        pairs = [
            ready.transform(*ready.train_set[i % len(ready.train_set)], i)
            for i in range(run.config.batch_size)
        ]
        images, masks = (torch.stack(part) for part in zip(*pairs, strict=True))
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
        steps[row] = (model, images.contiguous(memory_format=torch.channels_last), masks, optimizer)
    taken: dict[str, list[float]] = {row: [] for row in steps}
    for number in range(rounds + 2):
        for row, (model, images, masks, optimizer) in steps.items():
            began = time.process_time()
            optimizer.zero_grad()
            F.cross_entropy(model(images), masks, ignore_index=255).backward()
            optimizer.step()
            if number >= 2:
                taken[row].append(1e3 * (time.process_time() - began))
    return {row: statistics.median(values) for row, values in taken.items()}


def _gap(results: Sequence[RunResult], row: str, splits: Sequence[str]) -> dict[str, float]:
    """Mean IoU on training images (as they are, unaugmented) minus that on validation images, over seeds."""
    by_split = [
        {r.seed: r.mean_iou for r in results if r.variant == row and r.split == split} for split in splits
    ]
    gaps = [by_split[1][seed] - value for seed, value in by_split[0].items()]
    return {"mean": statistics.fmean(gaps), "sd": statistics.stdev(gaps) if len(gaps) > 1 else 0.0}


def _zeros(folders: Sequence[Path], layers: Sequence[str]) -> dict[str, float]:
    """Share of the layers' weights whose size is below a share of their layer's largest; mean over seeds."""
    found: dict[str, list[float]] = {f"{share:g}": [] for share in SHARES}
    for folder in folders:
        state = read_checkpoint(folder / "last.pt").state
        relative = torch.cat([(w := state[f"{layer}.weight"].abs()).flatten() / w.max() for layer in layers])
        for share in SHARES:
            found[f"{share:g}"].append(float((relative < share).float().mean()))
    return {share: statistics.fmean(values) for share, values in found.items()}


def _cells(summary: VariantSummary, more: dict[str, Any]) -> tuple[str, ...]:
    spread = "" if summary.sd is None else f" ± {100 * summary.sd:.1f}"
    difference = "–" if summary.difference is None else f"{100 * summary.difference:+.1f}"
    if summary.low is not None and summary.high is not None:
        difference += f" [{100 * summary.low:+.1f}, {100 * summary.high:+.1f}]"
    gap, zeros = more["gap"], more["zeros"]
    name = "regular" if summary.variant == "none" else summary.variant
    return (
        name if name in ("regular", *DEFORMABLE) else f"irregular from {name}",
        f"{100 * summary.mean:.1f}{spread}",
        difference.replace("-", "−"),
        f"{summary.wins} of {summary.pairs}" if summary.pairs else "–",
        f"{100 * gap['mean']:.1f} ± {100 * gap['sd']:.1f}",
        f"{more['parameters']:,}",
        f"{more['added']:,}",
        f"{more['cpu_ms']:.0f}",
        *(f"{100 * zeros[f'{share:g}']:.1f} %" for share in SHARES),
    )


if __name__ == "__main__":
    main()
