"""What the studies beside this file share: runs that are resumed, one table, one JSON and one PNG each."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from icnn_core.errors import DataError
from icnn_core.files import write_atomically, write_text
from icnn_core.ops.benchmark import describe_machine
from icnn_core.training.config import TrainConfig, make_config
from icnn_core.training.runs import Run, RunResult, finish_run
from icnn_core.training.setup import Prepared, prepare

RESULTS = Path(__file__).parents[1] / "docs" / "results"


def make_parser(text: str | None, name: str, *, seeds: int) -> argparse.ArgumentParser:
    """Options of a study: its data and network, its extent, and where runs and results go."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="shapes", help="data and settings, as of icnn train")
    parser.add_argument("--config", type=Path, help="TOML file of settings over the preset's")
    parser.add_argument("--root", help="folder of the data set")
    parser.add_argument("--weights", help="the backbone's weights")
    parser.add_argument("--irregular", default="layer3", help="irregular from this module to the end")
    parser.add_argument("--iterations", type=int)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--train-images", type=int)
    parser.add_argument("--val-images", type=int)
    parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--short", action="store_true", help="a smoke test: the numbers mean nothing")
    parser.add_argument("--runs", type=Path, default=Path("runs") / name, help="folder of the runs, resumed")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the JSON and the PNG")
    return parser


def common_config(chosen: argparse.Namespace, small: dict[str, Any], **settings: Any) -> TrainConfig:
    """The config that all runs of a study have in common.

    Args:
        small: settings for the synthetic set that keep the study to minutes; options and a --config go before them.
        settings: of this study, whatever the data.
    """
    if chosen.short:
        chosen.seeds, chosen.iterations, chosen.train_images, chosen.val_images, chosen.batch_size = (
            2,
            4,
            6,
            3,
            2,
        )
        small = small | {"size": (48, 64)}
    names = ("root", "weights", "iterations", "train_images", "val_images", "batch_size")
    given = {name: value for name in names if (value := getattr(chosen, name)) is not None}
    own = small if chosen.preset == "shapes" and chosen.config is None else {}
    return make_config(chosen.preset, chosen.config, **(own | given | settings))


def finish_all(
    runs: Sequence[Run],
    splits: Sequence[str],
    device: str,
    build: Callable[[Run, TrainConfig], Prepared] = lambda run, config: prepare(config),
) -> list[RunResult]:
    """The results of all runs, a line each; what is finished is not trained again. Exits on Ctrl-C, to go on later.

    Args:
        build: makes network and data of a run and its config.
    """
    results = []
    for number, run in enumerate(runs, 1):
        began = time.perf_counter()
        found = finish_run(run, splits, device=device, build=lambda config, run=run: build(run, config))
        if found is None:
            raise SystemExit("Interrupted: the same command goes on from there.")
        results += found
        iou = ", ".join(f"{one.split} {one.mean_iou:.1%}" for one in found)
        took = f"{time.perf_counter() - began:.0f} s"
        print(f"[{number}/{len(runs)}] {run.variant}, seed {run.config.seed}: {iou} ({took})", flush=True)
    return results


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A Markdown table, as the documentation shows it."""
    rule = ["---", *("---:" for _ in headings[1:])]
    print("\n".join(f"| {' | '.join(row)} |" for row in (headings, rule, *rows)))


def describe_config(config: TrainConfig) -> dict[str, Any]:
    """The config of a study, without where its files lie."""
    values = asdict(config)
    files = ("root", "weights", "init")
    return values | {name: Path(values[name]).name for name in files if values[name] is not None}


def write_study(folder: Path, name: str, content: dict[str, Any], draw: Callable[[], Any]) -> None:
    """Write `name.json`, with the machine, and `name.png`."""
    machine = describe_machine() | {"cores": os.cpu_count() or 0}
    text = json.dumps({"machine": machine} | content, indent=1, ensure_ascii=False) + "\n"
    write_text(folder / f"{name}.json", text, DataError)
    figure = draw()
    write_atomically(folder / f"{name}.png", lambda to: figure.savefig(to, dpi=200, format="png"), DataError)
    print(f"Wrote {folder / name}.json and .png ({torch.get_num_threads()} threads)")
