"""How often 95 % intervals over images hold the truth: percentiles of a bootstrap, and `image_interval`.

    python benchmarks/image_intervals.py

Prints the table of docs/statistics.md ("Intervals over images").
"""

from __future__ import annotations

import argparse

import numpy as np

from icnn_viz.statistics.paired import image_interval

LAWS = ("normal", "exponential", "lognormal")
IMAGES = (2, 3, 5, 10, 20, 50)


def draw(rng: np.random.Generator, law: str, images: int, even: bool) -> tuple[np.ndarray, np.ndarray]:
    """Sums and numbers of pixels of images whose pixels share a deviation of their image; the truth is 0."""
    sizes = np.full(images, 4) if even else rng.integers(1, 8, images)
    deviation = {
        "normal": rng.standard_normal,
        "exponential": lambda n: rng.exponential(size=n) - 1,
        "lognormal": lambda n: rng.lognormal(size=n) - np.exp(0.5),
    }[law](images)
    return sizes * deviation + 0.3 * np.sqrt(sizes) * rng.standard_normal(images), sizes


def percentiles(
    sums: np.ndarray, sizes: np.ndarray, resamples: int, rng: np.random.Generator
) -> tuple[float, float]:
    """What was given before."""
    drawn = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=resamples)
    low, high = np.quantile((drawn @ sums) / (drawn @ sizes), [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=4000)
    parser.add_argument("--resamples", type=int, default=999)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    print("| images | pixels of an image | " + " | ".join(f"{law}: percentiles | now" for law in LAWS) + " |")
    print("|---|---|" + "---|" * (2 * len(LAWS)))
    for images in IMAGES:
        for even in (True, False):
            cells = []
            for law in LAWS:
                hits, given, before = 0, 0, 0
                for _ in range(options.repeats):
                    sums, sizes = draw(rng, law, images, even)
                    low, high = percentiles(sums, sizes, options.resamples, rng)
                    before += low <= 0 <= high
                    ends = image_interval(sums, sizes, resamples=options.resamples, level=0.95, rng=rng)
                    if ends:
                        given += 1
                        hits += ends[0] <= 0 <= ends[1]
                cells += [
                    f"{before / options.repeats:.1%}",
                    f"{hits / given:.1%}" if given >= 0.05 * options.repeats else "none",
                ]
            print(f"| {images} | {'4' if even else '1 to 7'} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
