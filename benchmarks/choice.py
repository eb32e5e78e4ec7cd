"""What a wrong choice of back end costs, on random calls in the sizes of layers; writes docs/benchmarks/choice.json.

    python benchmarks/choice.py [--calls 60] [--seed 100]
    python benchmarks/choice.py --fit [--calls 280] [--seed 5000]    # measures the rates of icnn_core/ops/cpu_costs.py

One thread, its processor time, so that other work on the machine disturbs little: every back end that serves a call
computes it in turn, and the least of up to nine rounds counts. What would take beyond all measure is left out, see
layer_calls.py.

With `--fit`: each back end's times are a sum of counted work times rates that are not negative, fitted to relative
errors, large ones weighing less. Times of both passes are divided by three. A call takes part in
the fit of the back ends that take at most 20 times as long as its quickest: the choice need know no others. Writes
docs/benchmarks/cpu_costs.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from layer_calls import LayerCall, draw_layer_call, time_back_ends
from scipy.optimize import nnls

from icnn_core.errors import DataError
from icnn_core.files import write_text
from icnn_core.ops.backends import BACKENDS
from icnn_core.ops.benchmark import describe_machine
from icnn_core.ops.cpu_costs import RATES, count_work

OUT = Path(__file__).parents[1] / "docs" / "benchmarks"
LIMIT = 1.3
_NEAR = 20.0  # times as long as the quickest
_BOTH_PASSES = 3.0  # times as long as the forward pass
_STEPS, _LEAST_ERROR = 30, 0.05  # of the fit: reweighted so often; a relative error below that counts in full


def main() -> None:
    """Time the calls, print a line for each, write what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--calls", type=int)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--out", type=Path, default=OUT)
    chosen = parser.parse_args()
    count = chosen.calls or (280 if chosen.fit else 60)
    first = (5000 if chosen.fit else 100) if chosen.seed is None else chosen.seed
    torch.set_num_threads(1)
    calls, times = [], []
    for seed in range(first, first + count):
        call = draw_layer_call(seed)
        calls.append(call)
        times.append(time_back_ends(call))
        told = {name: f"{1e3 * seconds:.2f}" for name, seconds in times[-1].items()}
        print(f"{seed}: {call}: {told} ms, chosen {_choose(call, times[-1])}", flush=True)
    content: dict[str, Any] = {"machine": describe_machine(), "seed": first, "calls": count}
    content |= _fit(calls, times) if chosen.fit else _judge(calls, times)
    name = "cpu_costs.json" if chosen.fit else "choice.json"
    write_text(chosen.out / name, json.dumps(content, indent=1, ensure_ascii=False) + "\n", DataError)


def _choose(call: LayerCall, times: dict[str, float]) -> str:
    return min(times, key=lambda name: BACKENDS[name].cost(call.request))


def _judge(calls: list[LayerCall], times: list[dict[str, float]]) -> dict[str, Any]:
    """How many times as long as the best the chosen back ends take."""
    rows = []
    for call, found in zip(calls, times, strict=True):
        chosen, best = _choose(call, found), min(found, key=lambda name: found[name])
        row = {
            "call": str(call),
            "chosen": chosen,
            "best": best,
            "ratio": round(found[chosen] / found[best], 3),
        }
        rows.append(row | {"ms": {name: round(1e3 * seconds, 3) for name, seconds in found.items()}})
    ratios = [row["ratio"] for row in rows]
    summary: dict[str, Any] = {
        "best chosen": ratios.count(1.0),
        f"above {LIMIT:g}": sum(r > LIMIT for r in ratios),
    }
    summary |= {"largest": max(ratios), "by chosen": _count(row["chosen"] for row in rows)}
    summary |= {"by best": _count(row["best"] for row in rows)}
    print(summary)
    return summary | {"rows": sorted(rows, key=lambda row: -row["ratio"])}


def _count(names: Any) -> dict[str, int]:
    listed = list(names)
    return {name: listed.count(name) for name in sorted(set(listed))}


def _fit(calls: list[LayerCall], times: list[dict[str, float]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for name in RATES:
        pairs = [(call, found) for call, found in zip(calls, times, strict=True) if name in found]
        pairs = [(call, found) for call, found in pairs if found[name] < _NEAR * min(found.values())]
        counts = [count_work(name, call.request) for call, _ in pairs]
        kinds = list(RATES[name])
        work = np.array([[count.get(kind, 0.0) for kind in kinds] for count in counts])
        seconds = [found[name] / (_BOTH_PASSES if call.backward else 1) for call, found in pairs]
        rates, errors = _solve(work, 1e9 * np.array(seconds))
        content[name] = {
            "rates": {kind: float(f"{rate:.3g}") for kind, rate in zip(kinds, rates, strict=True)}
        }
        content[name] |= {"calls": len(pairs), "median error": float(f"{np.median(errors):.2g}")}
        print(name, content[name])
    return {"fit": content}


def _solve(work: np.ndarray, measured: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(rates, the logarithms of estimates over measured times without their signs)"""
    weights, rates, errors = np.ones(len(measured)), np.zeros(work.shape[1]), np.zeros(len(measured))
    for _ in range(_STEPS):
        rates, _ = nnls(work * (weights / measured)[:, None], weights)
        errors = np.abs(np.log(np.maximum(work @ rates, 1) / measured))
        weights = 1 / np.sqrt(np.maximum(errors, _LEAST_ERROR))
    return rates, errors


if __name__ == "__main__":
    main()
