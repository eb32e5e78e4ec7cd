"""What training costs: seconds an iteration and peak memory of DeepLab-LargeFOV, regular against irregular.

    python benchmarks/training.py [--device cuda --batch-size 16] [--short]

ResNet-101 with random weights, random images, the recipe of the preset `voc` at a rate near 0: forward, backward,
step. Regular and irregular networks take turns, each turn in a process of its own, so that peaks are their own. Memory
is the peak resident set (CPU) or what PyTorch allocated (CUDA). On a machine that others use, too, wall-clock
seconds mean little; the processor's seconds and the memory do. Writes docs/results/training_cost.json.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from icnn_core.errors import DataError
from icnn_core.files import write_text
from icnn_core.models.deeplab import deeplab_largefov
from icnn_core.ops.benchmark import describe_machine
from icnn_core.optim import position_parameters
from icnn_core.surgery import make_irregular
from icnn_core.training.config import make_config
from icnn_core.training.processes import Processes
from icnn_core.training.update import Updater

OUT = Path(__file__).parents[1] / "docs" / "results" / "training_cost.json"
VARIANTS = ("regular", "irregular")
CLASSES, VOID = 21, 255
HEADINGS = (
    "",
    "parameters",
    "of positions",
    "s an iteration",
    "ratio",
    "CPU s",
    "ratio",
    "peak GiB",
    "ratio",
)
MEASURES = ("seconds", "cpu_seconds", "peak_bytes")


def main() -> None:
    """Run all turns, print the table, write the JSON; or run one turn, as the parent asks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--irregular", default="res4b11", help="irregular from this module to the end")
    parser.add_argument("--backbone", default="resnet101")
    parser.add_argument("--crop", type=int, default=321)
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument(
        "--iterations", type=int, default=2, help="timed ones a turn, after one that warms up"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--short", action="store_true", help="a smoke test: the numbers mean nothing")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.short:
        chosen.backbone, chosen.irregular, chosen.crop, chosen.turns = "tiny", "layer4", 65, 1
    if chosen.variant:
        print(json.dumps(run_turn(chosen)))
        return
    turns = [
        {"variant": variant, "turn": turn, **_in_process(chosen, variant)}
        for turn in range(chosen.turns)
        for variant in VARIANTS
    ]
    variants = {
        variant: summarise([turn for turn in turns if turn["variant"] == variant]) for variant in VARIANTS
    }
    print_table(variants)
    settings = {
        key: getattr(chosen, key)
        for key in ("backbone", "irregular", "crop", "batch_size", "turns", "iterations")
    }
    machine = describe_machine(chosen.device) | {"load": os.getloadavg()[2]}  # of 15 minutes
    content = {"machine": machine, "settings": settings, "variants": variants, "turns": turns}
    write_text(chosen.out, json.dumps(content, indent=1) + "\n", DataError)
    print(f"Wrote {chosen.out}")


def run_turn(chosen: argparse.Namespace) -> dict[str, Any]:
    """Train one network for some iterations in this process."""
    config = make_config("voc", batch_size=chosen.batch_size, lr=1e-9, position_lr=1e-9)
    torch.manual_seed(0)
    model = deeplab_largefov(chosen.backbone, CLASSES)
    for name, parameter in model.named_parameters():
        if name.endswith("bn3.weight"):
            torch.nn.init.constant_(parameter, 0.1)  # else frozen batch norm lets random weights overflow
    if chosen.variant == "irregular":
        make_irregular(model, chosen.irregular)
    update = Updater(model, config, Processes(config, chosen.device), torch.ones(CLASSES), VOID)
    seconds, cpu_seconds = _timed(update, chosen)
    positions = sum(parameter.numel() for parameter in position_parameters(model))
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "peak_bytes": _peak_bytes(chosen.device),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "positions": positions,
    }


def summarise(turns: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over turns of one network."""
    return {
        "seconds": statistics.median(second for turn in turns for second in turn["seconds"]),
        "cpu_seconds": statistics.median(second for turn in turns for second in turn["cpu_seconds"]),
        "peak_bytes": statistics.median(turn["peak_bytes"] for turn in turns),
        "parameters": turns[0]["parameters"],
        "positions": turns[0]["positions"],
    }


def print_table(variants: dict[str, dict[str, Any]]) -> None:
    """As Markdown; ratios are to the regular network."""
    print("| " + " | ".join(HEADINGS) + " |\n|" + "---|" * len(HEADINGS))
    base = variants["regular"]
    for name, variant in variants.items():
        ratios = [variant[key] / base[key] for key in MEASURES]
        print(
            f"| {name} | {variant['parameters'] / 1e6:.2f} M | {variant['positions'] / 1e6:.3f} M "
            f"| {variant['seconds']:.2f} | {ratios[0]:.2f} | {variant['cpu_seconds']:.2f} | {ratios[1]:.2f} "
            f"| {variant['peak_bytes'] / 2**30:.2f} | {ratios[2]:.2f} |"
        )


def _in_process(chosen: argparse.Namespace, variant: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--variant", variant]
    for key in ("irregular", "backbone", "crop", "batch_size", "iterations", "device"):
        command += [f"--{key.replace('_', '-')}", str(getattr(chosen, key))]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(ended.stdout.splitlines()[-1])
    print(f"{variant}: {found['seconds']} s, {found['peak_bytes'] / 2**30:.2f} GiB", file=sys.stderr)
    return found


def _timed(update: Updater, chosen: argparse.Namespace) -> tuple[list[float], list[float]]:
    """Seconds of each iteration after the first, and of them the processor's, over all threads.

    The loss that an update returns has waited for the device.
    """
    images = torch.randn(chosen.batch_size, 3, chosen.crop, chosen.crop)
    masks = torch.randint(0, CLASSES, (chosen.batch_size, chosen.crop, chosen.crop))
    seconds, cpu_seconds = [], []
    for iteration in range(1 + chosen.iterations):
        began, cpu_began = time.perf_counter(), time.process_time()
        update([(images, masks)], iteration)
        seconds.append(time.perf_counter() - began)
        cpu_seconds.append(time.process_time() - cpu_began)
    return seconds[1:], cpu_seconds[1:]


def _peak_bytes(device: str) -> int:
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts kibibytes


if __name__ == "__main__":
    main()
