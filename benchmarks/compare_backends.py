"""Compare all back ends with the specification on random calls, and write docs/benchmarks/compare_backends.json.

    python benchmarks/compare_backends.py [--minutes 30] [--seed 0]
    python benchmarks/compare_backends.py --fused 300 [--seed 19]    # Triton's kernels alone; prints, writes nothing

Outputs and all gradients; see agreement.py for the measure. The Triton kernels are interpreted
on the CPU, for every sixteenth call, a small one. Stops at the first difference that is more than rounding, with the
call; `--case` draws that one again.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import itertools
import json
import os
import sys
import time
from pathlib import Path

os.environ["TRITON_INTERPRET"] = "1"  # before anything imports Triton

import torch
from agreement import LIMIT, Largest, compare
from random_calls import draw_call

from icnn_core.errors import DataError, IcnnError
from icnn_core.files import write_text
from icnn_core.ops.backends import BACKENDS
from icnn_core.ops.benchmark import describe_machine

OUT = Path(__file__).parents[1] / "docs" / "benchmarks" / "compare_backends.json"
EVERY = 16  # calls one of which is small and goes through Triton's interpreter as well
NATIVE = [name for name in BACKENDS if name not in ("reference", "fused")]
_MOST_LOOPS = 12  # images times channels times taps of an interpreted call
INTERPRETED = (torch.float32, torch.float16)  # the interpreter multiplies bfloat16 by its bits


def main() -> None:
    """Compare until the time is up; print and write what was found every minute."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0, help="of the first call, in millions")
    parser.add_argument("--case", type=int, help="compare this one alone; writes nothing")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--fused", type=int, help="compare that many small calls of the Triton kernels alone")
    chosen = parser.parse_args()
    largest = Largest()
    try:
        if chosen.fused is not None:
            _compare_fused(chosen.fused, chosen.seed, largest)
        elif chosen.case is not None:
            _compare(chosen.case, largest)
            print(json.dumps(_largest(largest), indent=1))
        else:
            _compare_for(chosen.minutes, chosen.seed, largest, chosen.out)
    except IcnnError as error:
        sys.exit(str(error))


def _compare(case: int, largest: Largest) -> None:
    small = case % EVERY == 0
    call = draw_call(case, small=True, dtypes=INTERPRETED) if small else draw_call(case)
    compare(call, [*NATIVE, *["fused"] * small], largest)


def _compare_fused(count: int, seed: int, largest: Largest) -> None:
    """Every second call by columns, in workspaces of all sizes; the others by one kernel, as few kernels are.

    Those that the interpreter takes long over, of many channels, taps and images, are passed over.
    """
    from icnn_core.ops.fused import passes, tuning

    few = tuning.MOST_KERNELS
    served = 0
    for case in itertools.count(1_000_000 * seed):
        columns = case % 2 == 1
        tuning.MOST_KERNELS = 0 if columns else few
        passes.workspace_bytes = lambda device, budget=1 << case % 16 + 6: budget
        dtypes = (*INTERPRETED, torch.bfloat16) if columns else INTERPRETED
        call = draw_call(case, small=True, dtypes=dtypes)
        if call.geometry.batch * call.geometry.in_channels * call.geometry.taps > _MOST_LOOPS:
            continue
        compare(call, ["fused"], largest)
        served += 1
        if served % 10 == 0:
            print(_line(case % 1_000_000 + 1, largest), flush=True)
        if served == count:
            break
    print(json.dumps(_largest(largest), indent=1))


def _compare_for(minutes: float, seed: int, largest: Largest, out: Path) -> None:
    start = told = time.monotonic()
    first = 1_000_000 * seed
    for cases in itertools.count(1):
        _compare(first + cases - 1, largest)
        now = time.monotonic()
        ends = now - start > 60 * minutes
        if ends or now - told > 60:
            told = now
            content = {"first_case": first, "cases": cases, "minutes": round((now - start) / 60, 2)}
            content |= {"limit": LIMIT, "machine": describe_machine() | _versions()}
            content |= {"served": largest.served, "largest": _largest(largest)}
            write_text(out, json.dumps(content, indent=1) + "\n", DataError)
            print(_line(cases, largest), flush=True)
        if ends:
            return


def _versions() -> dict[str, str]:
    names = [name for name in ("numba", "numpy", "triton") if importlib.util.find_spec(name) is not None]
    return {name: importlib.metadata.version(name) for name in names}


def _largest(largest: Largest) -> dict[str, dict[str, dict[str, float]]]:
    return {
        backend: {
            name: {"roundings": round(error, 4), "case": seed} for name, (error, seed) in errors.items()
        }
        for backend, errors in largest.errors.items()
    }


def _line(cases: int, largest: Largest) -> str:
    worst = {
        backend: max(errors.items(), key=lambda item: item[1][0])
        for backend, errors in largest.errors.items()
    }
    parts = [
        f"{backend} {largest.served[backend]} calls, {error:.2g} in {name} (case {seed})"
        for backend, (name, (error, seed)) in worst.items()
    ]
    return f"{cases} cases; largest differences in roundings: " + "; ".join(parts)


if __name__ == "__main__":
    main()
