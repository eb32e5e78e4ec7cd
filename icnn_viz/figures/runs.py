"""Two runs, two epochs: the ellipses of both on one sheet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from icnn_core.errors import ArgumentError
from icnn_viz.figures.layers import common_half_width, describe_cut, lay_out, rescale
from icnn_viz.figures.marks import draw_slots, ellipse_reach, make_ellipse
from icnn_viz.figures.scales import ROUND_FACTORS, TIGHT, stretch
from icnn_viz.figures.style import Look, emphasise, shorten, slot_colours, use_theme
from icnn_viz.records import GaussianFit, PositionCloud

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_runs(
    clouds: Sequence[PositionCloud],
    first: Sequence[GaussianFit],
    second: Sequence[GaussianFit],
    *,
    names: tuple[str, str] = ("first", "second"),
    theme: str = "light",
) -> Figure:
    """One panel a layer, all on one scale in grid spacings: 1-sigma ellipses and centres of the first run solid, of the
    second dashed and hollow, a line from centre to centre. Displacements too small to be seen are drawn longer, by the
    factor over the panel.

    Args:
        clouds: of either run, for slots and names. first, second: the fits of the same layers.

    Raises:
        ArgumentError: no layers, or layers that do not match.
    """
    matched = [a.mean.shape == b.mean.shape for a, b in zip(first, second, strict=False)]
    if not clouds or not len(clouds) == len(first) == len(second) or not all(matched):
        got = f"{len(first)} and {len(second)} layers, or other kernels"
        fix = "Compare runs of one architecture, or choose layers with --layer."
        raise ArgumentError("draw_runs", needed="the same layers of two runs", got=got, fix=fix)
    divisors = [cloud.spacing for cloud in clouds]
    slots = [cloud.slots / divisor for cloud, divisor in zip(clouds, divisors, strict=True)]
    pairs = [
        (rescale(a, divisor), rescale(b, divisor))
        for a, b, divisor in zip(first, second, divisors, strict=True)
    ]
    factors = [_factor(of, pair) for of, pair in zip(slots, pairs, strict=True)]
    pairs = [
        (stretch(a, of, factor), stretch(b, of, factor))
        for of, (a, b), factor in zip(slots, pairs, factors, strict=True)
    ]
    half_width, cut = common_half_width(slots + slots, [a for a, _ in pairs] + [b for _, b in pairs])
    with use_theme(theme) as look:
        marks = [f" ×{factor:g}" if factor > 1 else "" for factor in factors]
        sheet, axes, clear = lay_out(clouds, half_width, "spacings", look, marks)
        for ax, places, pair in zip(axes, slots, pairs, strict=True):
            draw_slots(ax, places, look, size=5, width=0.5)
            _draw_pair(ax, *pair, slot_colours(places), look)
        room = 12 if len(clouds) == 1 else 30
        subtitle = f"1σ; solid: {shorten(names[0], room)}, dashed: {shorten(names[1], room)}"
        sheet.write_heading("Two runs", subtitle, left=11, right=clear)
        notes = ["×: displacements drawn so many times longer"] if any(marks) else []
        notes += describe_cut(clouds, sorted({number % len(clouds) for number in cut}))
        sheet.write_notes(notes, top=5)
    return sheet.figure


def _factor(slots: np.ndarray, fits: Sequence[GaussianFit]) -> float:
    """How many times longer displacements of both runs are drawn: 1 unless all ellipses and centres are too small."""
    reach = max(float(ellipse_reach(stretch(fit, slots, 1.0, about=True)).max(initial=0.0)) for fit in fits)
    if not 1e-4 < reach < TIGHT:
        return 1.0
    return max([1.0, *(step for step in ROUND_FACTORS if step <= 0.42 / reach)])


def _draw_pair(ax: Axes, first: GaussianFit, second: GaussianFit, colours: Sequence[str], look: Look) -> None:
    for slot, colour in enumerate(colours):
        tone = emphasise(colour, look)
        for run, (fit, style) in enumerate(((first, "-"), (second, (0, (3, 1.5))))):
            if fit.state[slot] == "ok":
                spread, directions = (part[slot] for part in fit.axes())
                outline = {"edgecolor": tone, "linewidth": 0.8, "linestyle": style}
                ax.add_patch(
                    make_ellipse(
                        fit.mean[slot], spread, directions[0], gid=f"run {run} slot {slot}", **outline
                    )
                )
        if first.count[slot] and second.count[slot]:
            (y0, x0), (y1, x1) = first.mean[slot], second.mean[slot]
            ax.plot([x0, x1], [y0, y1], color=tone, linewidth=0.6, gid=f"move {slot}")
            ax.plot(x0, y0, "o", color=tone, markersize=1.8)
            ax.plot(
                x1, y1, "o", color=tone, markerfacecolor=look.background, markersize=2.2, markeredgewidth=0.6
            )
