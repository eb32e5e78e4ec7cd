"""The paper's first argument (figure 1) as an experiment: how well can one kernel give the response of a pattern?

    python benchmarks/one_kernel.py [--steps 500] [--restarts 8] [--out docs/results]

A pattern, a filter that is 0 but along a bar, an arc, an L or at 9 scattered pixels, answers to noise images. One
irregular 3×3 kernel and several regular ones are fitted to the answer: the irregular one and two stacked ones by
gradient descent from several starts, the others exactly (least squares, and the best of all places). Prints a table;
writes one_kernel.json and one_kernel.png.
"""

from __future__ import annotations

import argparse
import itertools
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import numpy as np
import torch
import torch.nn.functional as F
from one_kernel_figure import draw
from torch import Tensor, nn

from icnn_core import IrregularConv2d, StepBound, parameter_groups
from icnn_core.errors import DataError
from icnn_core.files import write_text
from icnn_viz.figures.write import write_figure

WINDOW = 13  # side, in pixels, of the square that holds all kernels; patterns stay in its inner 9 × 9
REACH = WINDOW // 2
SIDE, IMAGES = 56, 8
NEAR_ZERO = 0.05  # of the largest weight
NOISES = {"white": 0.0, "natural": 1.0}  # amplitude falls with frequency ** -this


@dataclass(frozen=True)
class Fit:
    """The best of the starts (or the optimum), measured on images that it was not fitted to.

    Attributes:
        residual: mean square of what is missing, as a share of the answer's: 0 is perfect, 1 is no better than nothing.
        middle: median of `residual` over the starts.
        near_zero: share of the weights below 5 % of the largest, in magnitude.
        taps: (y, x, weight) in pixels from the centre, as drawn.
    """

    noise: str
    pattern: str
    kernel: str
    weights: int
    coordinates: int
    residual: float
    middle: float
    near_zero: float
    taps: list[tuple[float, float, float]]


def to_patterns() -> dict[str, np.ndarray]:
    """Filters (WINDOW, WINDOW) of unit norm: strokes one pixel wide, and 9 whole pixels for the last two."""
    turn = np.radians(np.linspace(-20, 200, 30))
    patterns = {
        "slanted bar": _to_stroke(np.array([(-3.4, -1.6), (3.4, 1.6)])),
        "arc": _to_stroke(np.stack([1.4 - 3 * np.sin(turn), 3 * np.cos(turn)], 1)),
        "L": np.zeros((WINDOW, WINDOW)),
        "scattered": np.zeros((WINDOW, WINDOW)),
    }
    for y, x in [(y, -2) for y in range(-3, 3)] + [(2, x) for x in range(-1, 2)]:
        patterns["L"][REACH + y, REACH + x] = 1
    rng = np.random.default_rng(1)
    places = rng.choice(49, 9, replace=False)
    patterns["scattered"][REACH - 3 + places // 7, REACH - 3 + places % 7] = rng.standard_normal(9)
    return {name: pattern / np.linalg.norm(pattern) for name, pattern in patterns.items()}


def _to_stroke(points: np.ndarray) -> np.ndarray:
    """How much of each pixel a line one pixel wide along `points` (y, x) covers."""
    across = np.arange(-REACH, REACH + 1.0)
    grid = np.stack(np.meshgrid(across, across, indexing="ij"), -1)[:, :, None]
    starts, spans = points[:-1], np.diff(points, axis=0)
    share = ((grid - starts) * spans).sum(-1) / (spans**2).sum(-1)
    nearest = starts + np.clip(share, 0, 1)[..., None] * spans
    return np.clip(1 - np.linalg.norm(grid - nearest, axis=-1).min(-1), 0, 1)


def to_images(slope: float, seed: int) -> Tensor:
    """(IMAGES, 1, SIDE, SIDE) float32 of variance 1; with slope 1 the spectrum of natural images."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.fft2(rng.standard_normal((IMAGES, SIDE, SIDE)))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(SIDE), np.fft.fftfreq(SIDE), indexing="ij"))
    frequency[0, 0] = np.inf if slope else 1  # no mean
    images = np.fft.ifft2(spectrum / frequency**slope).real
    return torch.from_numpy((images / images.std()).astype(np.float32))[:, None]


def answers(images: Tensor, kernel: np.ndarray) -> Tensor:
    """What a filter (WINDOW, WINDOW) gives wherever it lies inside the images: (IMAGES, 1, h, w)."""
    return F.conv2d(images, torch.from_numpy(kernel).to(images)[None, None])


class Task:
    """Images and the answer to give, as moments of all windows: what a kernel misses is quadratic in it."""

    def __init__(self, images: Tensor, answer: Tensor) -> None:
        windows = F.unfold(images, WINDOW).permute(0, 2, 1).reshape(-1, WINDOW**2).double()
        wanted = answer.double().flatten()
        self.square = wanted @ wanted
        self.moments, self.products = windows.T @ windows, windows.T @ wanted

    def missing(self, kernels: Tensor) -> Tensor:
        """Mean square of answer minus a kernel's, over the answer's: (n, WINDOW, WINDOW) to (n,)."""
        flat = kernels.double().flatten(1)
        return 1 + ((flat @ self.moments - 2 * self.products) * flat).sum(1) / self.square

    def solve(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Least squares: weights (…, n) at window indices `places` (…, n), of least norm; the square explained, (…)."""
        inner = self.moments.numpy()[places[..., :, None], places[..., None, :]]
        products = self.products.numpy()[places]
        weights = (np.linalg.pinv(inner, hermitian=True) @ products[..., None])[..., 0]
        return weights, (weights * products).sum(-1)


def square(side: int, y: int = 0, x: int = 0) -> np.ndarray:
    """Window indices of a side × side kernel centred at (y, x)."""
    across = np.arange(side) - side // 2 + REACH
    return ((across + y)[:, None] * WINDOW + across + x).ravel()


def best_places(task: Task, count: int) -> np.ndarray:
    """Window indices of the 3×3 kernels that do best together, of all places inside of the inner 9 × 9."""
    room = range(-3, 4)
    squares = [square(3, y, x) for y, x in itertools.product(room, room)]
    groups = np.array([np.concatenate(group) for group in itertools.combinations(squares, count)])
    return groups[int(np.argmax(task.solve(groups)[1]))]


def to_kernels(module: nn.Module, starts: int) -> Tensor:
    """The kernels (starts, WINDOW, WINDOW) of a linear module: its answer to a single point, turned round."""
    point = torch.zeros(1, starts, 2 * WINDOW - 1, 2 * WINDOW - 1)
    point[:, :, WINDOW - 1, WINDOW - 1] = 1
    middle = slice(WINDOW - 1 - REACH, WINDOW + REACH)
    return module(point)[0, :, middle, middle].flip(1, 2)


def descend(module: nn.Module, task: Task, starts: int, steps: int) -> Tensor:
    """Fit a module of one channel per start by Adam, in place; what each still misses, as a share."""
    optimizer = torch.optim.Adam(parameter_groups(module, lr=0.03, position_lr=0.05))
    StepBound(optimizer, module)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (1 - step / steps) ** 0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        task.missing(to_kernels(module, starts)).sum().backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return task.missing(to_kernels(module, starts))


def make_irregular(starts: int) -> nn.Module:
    """One irregular 3×3 kernel per channel; the first starts on its slots, the others up to a pixel away."""
    layer = IrregularConv2d(starts, starts, 3, padding=1, groups=starts, bias=False, shift=1.0)
    with torch.no_grad():
        layer.positions[0] = layer.slots + 1e-3
    return layer


def make_stack(starts: int) -> nn.Module:
    """Two regular 3×3 kernels per channel, one after the other."""
    return nn.Sequential(
        *(nn.Conv2d(starts, starts, 3, padding=1, groups=starts, bias=False) for _ in range(2))
    )


def fit_all(noise: str, name: str, pattern: np.ndarray, steps: int, restarts: int) -> list[Fit]:
    """All kernels for one pattern and one kind of images."""
    images, unseen = (to_images(NOISES[noise], seed) for seed in (10, 11))
    task, other = (Task(each, answers(each, pattern)) for each in (images, unseen))
    fits = []

    def add(kernel: str, weights: np.ndarray, coordinates: int, residuals: Tensor, best: int, taps) -> None:
        near = float((np.abs(weights) < NEAR_ZERO * np.abs(weights).max()).mean())
        shares = float(residuals[best]), float(residuals.median())
        drawn = [(float(y), float(x), float(w)) for y, x, w in taps]
        fits.append(Fit(noise, name, kernel, weights.size, coordinates, *shares, near, drawn))

    for kernel, places in (
        ("regular 3×3", square(3)),
        ("regular 3×3, best place", best_places(task, 1)),
        ("two regular 3×3, summed", np.concatenate([square(3), square(3)])),
        ("two regular 3×3, best places", best_places(task, 2)),
        ("regular 5×5", square(5)),
    ):
        weights, _ = task.solve(places)
        whole = np.zeros(WINDOW**2)
        np.add.at(whole, places, weights)
        residual = other.missing(torch.from_numpy(whole)[None])
        add(
            kernel,
            weights,
            2 * (places.size // 9) if "best" in kernel else 0,
            residual,
            0,
            _to_taps(whole, places),
        )
    for kernel, make in (("two regular 3×3, stacked", make_stack), ("irregular 3×3", make_irregular)):
        torch.manual_seed(0)
        module = make(restarts)
        best = int(descend(module, task, restarts, steps).argmin())
        with torch.no_grad():
            found = to_kernels(module, restarts)
        layers = [m for m in module.modules() if isinstance(m, nn.Conv2d | IrregularConv2d)]
        weights = np.stack([layer.weight[best, 0].detach().numpy() for layer in layers])
        taps, coordinates = _to_taps(found[best].numpy().ravel(), square(5)), 0
        if isinstance(module, IrregularConv2d):
            positions = module.positions[best].detach().numpy()
            assert np.abs(positions).max() < REACH, "a tap has left the window, in which alone it is judged"
            taps, coordinates = np.concatenate([positions, weights.reshape(-1, 1)], 1), 18
        add(kernel, weights, coordinates, other.missing(found), best, taps)
    return fits


def _to_taps(whole: np.ndarray, places: np.ndarray) -> list[tuple[float, float, float]]:
    return [
        (float(p // WINDOW - REACH), float(p % WINDOW - REACH), float(whole[p]))
        for p in np.unique(places).tolist()
    ]


def main() -> None:
    """Fit, print the table, write it and the figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--restarts", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "results")
    chosen = parser.parse_args()
    patterns = to_patterns()
    fits = []
    for noise, (name, pattern) in itertools.product(NOISES, patterns.items()):
        fits += fit_all(noise, name, pattern, chosen.steps, chosen.restarts)
    print(to_table(fits))
    settings = {"steps": chosen.steps, "restarts": chosen.restarts, "images": IMAGES, "side": SIDE}
    content = settings | {
        "torch": torch.__version__,
        "patterns": {name: pattern.tolist() for name, pattern in patterns.items()},
        "fits": [asdict(fit) for fit in fits],
    }
    write_text(chosen.out / "one_kernel.json", json.dumps(content, ensure_ascii=False) + "\n", DataError)
    write_figure(draw(patterns, fits), chosen.out / "one_kernel.png", dpi=200)


def to_table(fits: list[Fit]) -> str:
    """Markdown: a row per kernel; residuals in % per kind of images and pattern."""
    columns = list(dict.fromkeys((fit.noise, fit.pattern) for fit in fits))
    heads = [f"{pattern} ({noise})" for noise, pattern in columns]
    lines = ["| " + " | ".join(["kernel", "weights", "coordinates", *heads, "near zero"]) + " |"]
    lines.append("|---" + "|---:" * (len(columns) + 3) + "|")
    for kernel in dict.fromkeys(fit.kernel for fit in fits):
        some = [fit for fit in fits if fit.kernel == kernel]
        cells = [kernel, str(some[0].weights), str(some[0].coordinates)]
        cells += [f"{100 * fit.residual:.2f}" for fit in some]
        lines.append("| " + " | ".join([*cells, f"{np.mean([f.near_zero for f in some]):.0%}"]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
