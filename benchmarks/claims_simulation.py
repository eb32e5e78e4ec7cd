"""Clouds of known truth through the rules of docs/statistics.md: verdicts, errors, coverage, power.

    python benchmarks/claims_simulation.py [--repeats 100] [--part verdicts|laws|coverage|errors] [--shapes 100]

Prints the tables of docs/statistics.md ("How often the rules are right").
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from icnn_viz.records import PositionCloud
from icnn_viz.statistics.bootstrap import bootstrap_layers
from icnn_viz.statistics.claims import judge_claims
from icnn_viz.statistics.elongation import measure_form, moment_units
from icnn_viz.statistics.layers import measure_layers
from icnn_viz.statistics.normality import test_normality
from icnn_viz.statistics.rules import CANNOT_BE_SAID, DOES_NOT_HOLD, HOLDS, ClaimRules
from icnn_viz.statistics.spreads import test_spreads

SLOTS = np.stack(np.meshgrid([-4.0, 0, 4], [-4.0, 0, 4], indexing="ij"), -1).reshape(-1, 2)
RADIAL = SLOTS / np.maximum(np.hypot(*SLOTS.T), 1e-9)[:, None] + (SLOTS == 0).all(1)[:, None] * [0.0, 1.0]
TANGENTIAL = RADIAL[:, ::-1] * [-1, 1]
HORIZONTAL = np.tile([0.0, 1.0], (9, 1))
LAYERS = 8
GAUSSIAN, CLOSE, SPREAD, TREND, STRIPS = range(5)
DEEPER = np.linspace(1, 2.5, LAYERS)
Law = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def normal(rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    return rng.standard_normal(size)


def student(freedom: float) -> Law:
    """Elliptical, of unit variance."""

    def draw(rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
        scale = np.sqrt(rng.chisquare(freedom, size=(*size[:-1], 1)) / (freedom - 2))
        return rng.standard_normal(size) / scale

    return draw


def two_humps(apart: float) -> Law:
    """Two equal Gaussians, `apart` standard deviations from each other."""

    def draw(rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
        points = rng.standard_normal(size)
        points[..., 0] += apart * (rng.random(size[:-1]) < 0.5)
        return points

    return draw


def laplace(rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    return rng.laplace(size=size) / np.sqrt(2)


def uniform(rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    return rng.uniform(-1.7320508, 1.7320508, size)


def exponential(rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    return rng.exponential(size=size) - 1


LAWS: dict[str, Law] = {
    "Gaussian": normal,
    "t, 16 degrees": student(16),
    "t, 8 degrees": student(8),
    "t, 5 degrees": student(5),
    "Laplace axes": laplace,
    "uniform axes": uniform,
    "exponential axes": exponential,
    "humps 2 sd apart": two_humps(2),
    "humps 2.5 sd apart": two_humps(2.5),
    "humps 3 sd apart": two_humps(3),
}


def cloud(
    rng: np.random.Generator, count: int, depth: int = 0, *, law: Law = normal, along: np.ndarray = HORIZONTAL,
    elongation: float = 1.0, size: float = 0.8, widths: float | np.ndarray = 1.0, shift: float = 0.0,
    still: float = 0.0,
) -> PositionCloud:  # fmt: skip
    """A layer of `count` shapes: standard deviation `size` px, strips `along` unit vectors, a share `still`."""
    points = law(rng, (count, 9, 2)) * size * [elongation**-0.5, elongation**0.5]
    points = points[..., :1] * along[:, ::-1] * [-1, 1] + points[..., 1:] * along
    points = points * np.reshape(widths, (-1, 1)) + shift
    points[: int(still * count)] = 0.001
    return PositionCloud(
        f"layer{depth}",
        depth,
        (3, 3),
        (4, 4),
        "channel",
        SLOTS,
        (SLOTS + points)[None],
        np.ones((1, count, 9)),
    )


class Scenario(NamedTuple):
    """What is drawn, layer by layer, and the claim it is about; `truth` is whether the claim is true there."""

    name: str
    claim: int
    truth: bool
    options: Callable[[int], dict[str, object]]


SCENARIOS = (
    Scenario("Gaussian", GAUSSIAN, True, lambda n: {"elongation": 1.5}),
    Scenario("Gaussian, 20 % never moved", GAUSSIAN, True, lambda n: {"still": 0.2}),
    Scenario("Laplace axes", GAUSSIAN, False, lambda n: {"law": laplace}),
    Scenario("humps 3 sd apart", GAUSSIAN, False, lambda n: {"law": two_humps(3)}),
    Scenario("centres 0.1 spacings off", CLOSE, True, lambda n: {"shift": 0.28}),
    Scenario("centres 0.35 spacings off", CLOSE, False, lambda n: {"shift": 1.0}),
    Scenario("slots alike", SPREAD, False, lambda n: {"elongation": 1.5}),
    Scenario("slots alike, t with 5 degrees", SPREAD, False, lambda n: {"law": student(5)}),
    Scenario("spreads 1 to 1.15", SPREAD, False, lambda n: {"widths": np.linspace(1, 1.15, 9)}),
    Scenario("spreads 1 to 2", SPREAD, True, lambda n: {"widths": np.linspace(1, 2, 9)}),
    Scenario("radial strips 3:1, equal areas", SPREAD, True, lambda n: {"elongation": 3.0, "along": RADIAL}),
    Scenario("longer and narrower", TREND, True, lambda n: {"elongation": DEEPER[n]}),
    Scenario("longer and wider", TREND, False, lambda n: {"elongation": 1.5, "size": 0.5 * DEEPER[n]}),
    Scenario(
        "narrower alone", TREND, False, lambda n: {"elongation": DEEPER[n], "size": 0.8 / DEEPER[n] ** 0.5}
    ),
    Scenario("no trend", TREND, False, lambda n: {"elongation": 1.5}),
    Scenario("radial strips 2.5:1", STRIPS, True, lambda n: {"elongation": 2.5, "along": RADIAL}),
    Scenario("tangential strips", STRIPS, False, lambda n: {"elongation": 2.5, "along": TANGENTIAL}),
    Scenario("horizontal strips", STRIPS, False, lambda n: {"elongation": 2.5}),
    Scenario("round clouds", STRIPS, False, lambda n: {}),
)


def print_verdicts(repeats: int, seed: int) -> None:
    print(
        "| clouds | claim | true | shapes | holds | does not hold | cannot be said |\n|---|---|---|---|---|---|---|"
    )
    names = ("Gaussian", "centres close", "variances differ", "longer and narrower", "strips outwards")
    for scenario in SCENARIOS:
        for count in (130, 512):
            rng, found = np.random.default_rng(seed), Counter()
            for _ in range(repeats):
                clouds = [cloud(rng, count, n, **scenario.options(n)) for n in range(LAYERS)]  # type: ignore[arg-type]
                found[judge_claims(clouds, ClaimRules(permutations=200)).verdict[scenario.claim]] += 1
            cells = [f"{found[verdict] / repeats:.0%}" for verdict in (HOLDS, DOES_NOT_HOLD, CANNOT_BE_SAID)]
            head = [scenario.name, names[scenario.claim], "yes" if scenario.truth else "no", str(count)]
            print("| " + " | ".join([*head, *cells]) + " |", flush=True)


def print_laws(repeats: int, seed: int) -> None:
    counts = (100, 150, 200, 512, 2048)
    print("| law of the points | " + " | ".join(f"{n:,} shapes" for n in counts) + " |")
    print("|---" * (1 + len(counts)) + "|")
    for name, law in LAWS.items():
        rng, cells = np.random.default_rng(seed), []
        for count in counts:
            clouds = [cloud(rng, count, n, law=law) for n in range(max(4, repeats // 4))]
            cells.append(f"{test_normality(clouds, simulations=2).roughly_gaussian.mean():.0%}")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def print_coverage(repeats: int, seed: int, shapes: Sequence[int] = (100, 512, 2048)) -> None:
    elongations = (1.0, 1.2, 1.5, 2.0)
    print("| law | shapes | of | " + " | ".join(map(str, elongations)) + " |\n|---|---|---|---|---|---|---|")
    for name in ("Gaussian", "t, 5 degrees"):
        for count in shapes:
            slots, layers = [], []
            for truth in elongations:
                rng, hits, held = np.random.default_rng(seed), [], 0
                for turn in range(repeats):
                    drawn = cloud(rng, count, law=LAWS[name], elongation=truth)
                    units = moment_units(drawn.displacements, np.ones((count, 9)))
                    low, high = measure_form(units).interval(0.95)
                    hits += ((low <= truth) & (truth <= high)).tolist()
                    table = bootstrap_layers([drawn], resamples=300, seed=turn)
                    row = table[table.measure == "elongation"].iloc[0]
                    held += int(row.low <= truth <= row.high)
                slots.append(f"{np.mean(hits):.1%}")
                layers.append(f"{held / repeats:.1%}")
            for kind, cells in (("a slot", slots), ("a layer's median slot", layers)):
                print(f"| {name} | {count:,} | {kind} | " + " | ".join(cells) + " |", flush=True)


def print_errors(repeats: int, seed: int) -> None:
    """How often a difference is found where there is none, at the 5 % level."""
    print("| test | where nothing is to be found | found |\n|---|---|---|")
    rng = np.random.default_rng(seed)
    same = [cloud(rng, 150, n, law=student(5)) for n in range(repeats)]
    p = test_spreads(same, permutations=200).p
    print(f"| slots differ | 150 shapes, t with 5 degrees | {(p <= 0.05).mean():.1%} |", flush=True)
    found = 0
    for _ in range(repeats):
        drawn = cloud(rng, 100)
        ours = rng.lognormal(0, 1.0, (2, 100, 1))  # intraclass correlation of the logarithms about 0.6
        moves = drawn.displacements * ours[0][:, None]
        weights = ours[1] * rng.lognormal(0, 0.8, (100, 9))
        row = measure_layers([drawn.__class__(**(vars(drawn) | {
            "positions": (SLOTS + moves)[None], "weights": weights[None]}))]).iloc[0]  # fmt: skip
        found += int(not row.weight_displacement_low <= 0 <= row.weight_displacement_high)
    print(f"| weights against displacement | 100 shapes whose points go together | {found / repeats:.1%} |")
    for name in ("Gaussian", "t, 5 degrees"):
        units = [
            moment_units(cloud(rng, 100, law=LAWS[name]).displacements, np.ones((100, 9)))
            for _ in range(repeats)
        ]
        p = np.concatenate([measure_form(unit).roundness() for unit in units])
        print(f"| roundness | 100 shapes, {name} | {(p <= 0.05).mean():.1%} |", flush=True)


def main() -> None:
    parts = {
        "verdicts": print_verdicts,
        "laws": print_laws,
        "coverage": print_coverage,
        "errors": print_errors,
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--part", choices=parts, action="append")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shapes", type=int, action="append", help="Of --part coverage; repeatable.")
    options = parser.parse_args()
    if options.shapes:
        parts["coverage"] = partial(print_coverage, shapes=options.shapes)
    for part in options.part or parts:
        parts[part](options.repeats, options.seed)
        print()


if __name__ == "__main__":
    main()
