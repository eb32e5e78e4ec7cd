"""The figure of one_kernel.py: every pattern, the kernels fitted to it, and what each of them misses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import matplotlib.pyplot as plt
import numpy as np

from icnn_viz.figures.style import PAGE, Look, use_theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KINDS = {"white": "■", "natural": "●"}
SHOWN = 5  # pixels from the centre


class Fitted(Protocol):
    """What is drawn of a fit, see one_kernel.Fit."""

    noise: str
    pattern: str
    kernel: str
    residual: float
    taps: list[tuple[float, float, float]]


def draw(patterns: Mapping[str, np.ndarray], fits: Sequence[Fitted], theme: str = "light") -> Figure:
    """A row per pattern: the pattern, then the kernels fitted on white images, one dot per weight; colours are weights.

    Above each kernel is what it misses, on white and on natural images.
    """
    kernels = [k for k in dict.fromkeys(fit.kernel for fit in fits) if "summed" not in k]  # equals the first
    with use_theme(theme) as look:
        figure, axes = plt.subplots(
            len(patterns),
            len(kernels) + 1,
            figsize=(PAGE, PAGE / (len(kernels) + 1) * len(patterns) * 1.35 + 0.7),
            layout="constrained",
            squeeze=False,
        )
        limit = max(abs(w) for fit in fits if fit.noise == "white" for *_, w in fit.taps)
        limit = min(limit, 2 * max(float(np.abs(p).max()) for p in patterns.values()))
        for row, (name, pattern) in zip(axes, patterns.items(), strict=True):
            _draw_pattern(row[0], pattern, limit, look)
            row[0].set_ylabel(name)
            for ax, kernel in zip(row[1:], kernels, strict=True):
                some = {f.noise: f for f in fits if (f.pattern, f.kernel) == (name, kernel)}
                _draw_pattern(ax, pattern, limit, look, faint=True)
                _draw_taps(ax, some["white"].taps, limit, look)
                ax.set_title("\n".join(f"{KINDS[n]} {100 * f.residual:.1f} %" for n, f in some.items()))
        for ax, title in zip(
            axes[-1], ["pattern", *(k.replace(" 3×3, ", "\n3×3, ") for k in kernels)], strict=True
        ):
            ax.set_xlabel(title)
        bar = figure.colorbar(
            axes[0, 0].images[0], ax=axes, location="right", shrink=0.5, aspect=30, extend="both"
        )
        bar.set_label("weight")
        figure.suptitle(
            "What a kernel misses of the pattern's answer, in % of its mean square: ■ white, ● natural images",
            fontsize=8,
        )
    return figure


def _draw_pattern(ax: Axes, pattern: np.ndarray, limit: float, look: Look, *, faint: bool = False) -> None:
    reach = pattern.shape[0] / 2
    extent = (-reach, reach, reach, -reach)
    ax.imshow(
        pattern, cmap=look.diverging, vmin=-limit, vmax=limit, extent=extent, alpha=0.35 if faint else 1.0
    )
    ax.set(xticks=[], yticks=[], xlim=(-SHOWN, SHOWN), ylim=(SHOWN, -SHOWN))
    for spine in ax.spines.values():
        spine.set_visible(True)
        spine.set_color(look.grid)


def _draw_taps(ax: Axes, taps: Sequence[tuple[float, float, float]], limit: float, look: Look) -> None:
    y, x, w = np.array(taps).T
    size = 2 + 22 * np.clip(np.abs(w) / limit, 0, 1)
    ax.scatter(
        x, y, s=size, c=w, cmap=look.diverging, vmin=-limit, vmax=limit, edgecolors=look.text, linewidths=0.4
    )
