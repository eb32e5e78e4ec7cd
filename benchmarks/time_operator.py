"""Time the operator and write docs/benchmarks/operator.json and .png.

    python benchmarks/time_operator.py [--section NAME …] [--rounds 15] [--peers] [--redraw]

The machine should be idle. Ratios are to conv2d, in the same run; see `icnn_core.ops.benchmark`. Sections that are not
asked for stay in the file as they were:

    layers      every method on every layer, near and far; --peers adds deform_conv2d and DCLS, which are slow
    scaling     batch, size, channels, reach
    peaks       memory above what a process held, of every layer
    full        the full version (a shape per kernel) beside DCLS: time and memory
    first-call  compilation, and the next process
    roofline    how far each layer is from its products and from moving its tensors once
    cuda        batch 16, TF32 and bfloat16; left out where there is no GPU
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from first_call import measure_first_call
from memory import measure_peak
from roofline import measure_roofline
from time_operator_figure import draw

from icnn_core.errors import DataError
from icnn_core.files import write_atomically, write_text
from icnn_core.ops.benchmark import (
    LAYERS,
    SPREADS,
    Case,
    Layer,
    Timing,
    describe_machine,
    time_case,
)

FULL_LAYERS = {
    "full 64": Layer(1, 64, 64, 41, 1, full=True),
    "full 64 ×4": Layer(4, 64, 64, 41, 1, full=True),
    "full 128": Layer(1, 128, 128, 41, 1, full=True),
}
"""Layers of the full version, of such a size that DCLS's temporaries fit into memory."""
OUT = Path(__file__).parents[1] / "docs" / "benchmarks"


def main() -> None:
    """Measure the sections, print a line per case, merge them into the file, draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--section", action="append", choices=SECTIONS, help="repeatable; all by default")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--peers", action="store_true", help="deform_conv2d and DCLS too: slow")
    parser.add_argument("--redraw", action="store_true", help="measure nothing, draw what is in the file")
    parser.add_argument("--out", type=Path, default=OUT)
    chosen = parser.parse_args()
    path = chosen.out / "operator.json"
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for name in [] if chosen.redraw else chosen.section or SECTIONS:
        measured = SECTIONS[name](chosen.rounds, chosen.peers)
        if measured is None:
            continue
        content[name] = {"machine": describe_machine(), "rounds": chosen.rounds, "load": os.getloadavg()}
        content[name] |= measured
        write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n", DataError)
    if "layers" in content:
        figure = draw(content["layers"], content.get("scaling", {}))
        image = chosen.out / "operator.png"
        write_atomically(image, lambda to: figure.savefig(to, dpi=130, format="png"), DataError)


def _cases(layers: dict[str, Layer]) -> list[Case]:
    return [Case(layer, spread, name) for name, layer in layers.items() for spread in SPREADS.values()]


def _measure_layers(rounds: int, peers: bool) -> dict[str, Any]:
    timings = _time(_cases(LAYERS), rounds=rounds, peers=peers)
    return {"timings": [asdict(timing) for timing in timings], "means": _means(timings)}


def _measure_scaling(rounds: int, peers: bool) -> dict[str, Any]:
    only = ("automatic", "sampled", "dense")
    numbers = {name: _time(some, rounds=rounds, only=only) for name, some in scaled_cases().items()}
    return {"numbers": {name: [asdict(timing) for timing in some] for name, some in numbers.items()}}


def _measure_peaks(rounds: int, peers: bool) -> dict[str, Any]:
    return {"bytes": _peaks(_cases(LAYERS), ("conv2d", "sampled", "automatic"))}


def _measure_full(rounds: int, peers: bool) -> dict[str, Any]:
    cases, only = _cases(FULL_LAYERS), ("automatic", "DCLS")
    timings = _time(cases, rounds=rounds, peers=True, only=only)
    return {"timings": [asdict(timing) for timing in timings], "bytes": _peaks(cases, ("conv2d", *only))}


def _measure_first_call(rounds: int, peers: bool) -> dict[str, Any]:
    cases = [Case(LAYERS[name], SPREADS["near"], name) for name in ("res4", "depthwise")]
    return {"calls": [_told(asdict(measure_first_call(case))) for case in cases]}


def _measure_roofline(rounds: int, peers: bool) -> dict[str, Any]:
    return {
        "passes": [_told(asdict(row)) for case in _cases(LAYERS) for row in measure_roofline(case, rounds)]
    }


def _measure_cuda(rounds: int, peers: bool) -> dict[str, Any] | None:
    if not torch.cuda.is_available():
        return None
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    content: dict[str, Any] = {"machine": describe_machine("cuda"), "batch": 16}
    batches = [replace(case, layer=replace(case.layer, batch=16)) for case in _cases(LAYERS)]
    for name, dtype in (("tf32", torch.float32), ("bfloat16", torch.bfloat16)):
        timings = _time(batches, rounds=rounds, device="cuda", dtype=dtype, peers=peers)
        content[name] = {"timings": [asdict(t) for t in timings], "means": _means(timings)}
    return content


SECTIONS: dict[str, Callable[[int, bool], dict[str, Any] | None]] = {
    "layers": _measure_layers,
    "scaling": _measure_scaling,
    "peaks": _measure_peaks,
    "full": _measure_full,
    "first-call": _measure_first_call,
    "roofline": _measure_roofline,
    "cuda": _measure_cuda,
}


def _time(cases: Iterable[Case], **options: Any) -> list[Timing]:
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


def _peaks(cases: list[Case], methods: tuple[str, ...]) -> list[dict[str, Any]]:
    return [
        _told(
            {"case": case.name, "spread": case.spread}
            | {method: measure_peak(case, method) for method in methods}
        )
        for case in cases
    ]


def _told(row: dict[str, Any]) -> dict[str, Any]:
    print(row, flush=True)
    return row


def scaled_cases() -> dict[str, list[Case]]:
    """What is scaled -> cases: `res4` with near positions, but for one of its numbers."""
    base, near = LAYERS["res4"], SPREADS["near"]
    return {
        "batch": [Case(replace(base, batch=n), near, str(n)) for n in (1, 2, 4, 8)],
        "size": [Case(replace(base, size=n), near, str(n)) for n in (21, 41, 81)],
        "channels": [
            Case(replace(base, in_channels=n, out_channels=n), near, str(n)) for n in (64, 128, 256, 512)
        ],
        "reach": [Case(base, float(n), str(n)) for n in (1, 2, 4, 8, 16)],
    }


if __name__ == "__main__":
    main()
