"""Networks whose positions are fixed, exported to ONNX: onnxruntime's time beside the regular network's.

    python benchmarks/export.py [--rounds 40] [--threads 1] [--shift 0.9] [NETWORK …]

NETWORK is backbone:start, as "squeezenet1_0:features.12": DeepLab-LargeFOV, irregular from there on. Positions lie up
to `--shift` pixels from their slots. Each network is exported regular and irregular (`fix_positions`); both run
interleaved on one image of 180 × 240. Prints medians of milliseconds, their ratio, the largest difference between
onnxruntime's outputs and the irregular network's, relative to the largest output, and what became of the layers.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import nn

from icnn_core import deeplab_largefov, fix_positions, make_irregular

NETWORKS = ("squeezenet1_0:features.12", "resnet18:layer4", "tiny:layer4", "resnet50:layer4")
SIZE = (180, 240)


def load(model: nn.Module, image: torch.Tensor, folder: Path, name: str, threads: int) -> Any:
    """An onnxruntime session of the network."""
    path = folder / f"{name}.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (image,), path, dynamo=True, verbose=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run(session: Any, image: torch.Tensor) -> np.ndarray:
    return session.run(None, {session.get_inputs()[0].name: image.numpy()})[0]


def measure(name: str, shift: float, rounds: int, threads: int) -> str:
    """A row of the table."""
    backbone, start = name.split(":")
    torch.manual_seed(0)
    regular = deeplab_largefov(backbone, 11).eval()
    irregular = copy.deepcopy(regular)
    make_irregular(irregular, irregular=start, shift=shift)
    image = torch.randn(1, 3, *SIZE)
    with torch.no_grad():
        expected = irregular(image).numpy()
    forms = Counter(fix_positions(irregular).values())
    with tempfile.TemporaryDirectory() as folder:
        sessions = [
            load(model, image, Path(folder), kind, threads)
            for kind, model in (("regular", regular), ("irregular", irregular))
        ]
    difference = np.abs(run(sessions[1], image) - expected).max() / np.abs(expected).max()
    times: list[list[float]] = [[], []]
    for _ in range(rounds):
        for session, taken in zip(sessions, times, strict=True):
            began = time.perf_counter()
            run(session, image)
            taken.append(1000 * (time.perf_counter() - began))
    ours, theirs = statistics.median(times[1]), statistics.median(times[0])
    became = "; ".join(f"{count} × {form}" for form, count in forms.items())
    cells = [f"`{backbone}`, `{start}`", f"{theirs:.1f}", f"{ours:.1f}", f"{ours / theirs:.2f}"]
    return "| " + " | ".join([*cells, f"{difference:.0e}", became]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--shift", type=float, default=0.9)
    options = parser.parse_args()
    print(f"onnxruntime {onnxruntime.__version__}, torch {torch.__version__}, {options.threads} threads")
    print(
        "| network, irregular from | regular, ms | irregular, ms | ratio | difference | its layers became |"
    )
    print("|---|---|---|---|---|---|")
    for name in options.networks:
        print(measure(name, options.shift, options.rounds, options.threads), flush=True)


if __name__ == "__main__":
    main()
