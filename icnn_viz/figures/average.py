"""What pixels depend on on average: maps centred on their pixels, their ratio, and how the energy falls off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from icnn_core.errors import ArgumentError
from icnn_viz.figures.maps import draw_cross, fit_scale, network_colours
from icnn_viz.figures.panels import format_alike, format_value
from icnn_viz.figures.sheet import CHARACTER, MARGIN, WIDTH, Sheet
from icnn_viz.figures.style import shorten, use_theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    from icnn_viz.heatmaps import AverageMap

_SHOWN = 0.95  # of the energy lies within what is shown
_FAINT = 0.01  # of the largest mean; where either is less there is no ratio
_LEFT, _GAP = 12.0, 5.0
_SIDE = (WIDTH - _LEFT - MARGIN - 2 * _GAP) / 3
_TOP, _BARS, _CURVE, _BELOW = 20.0, 24.0, 34.0, 20.0


def draw_average(
    average: AverageMap,
    first: str,
    second: str,
    *,
    places: tuple[int, int] = (0, 1),
    title: str = "",
    gamma: float = 0.5,
    theme: str = "light",
) -> Figure:
    """The second network's mean map, the first's on the same scale, and the first over the second on a logarithmic one;
    below, the mean share of the energy within each distance of the pixel.

    Args:
        average: of a survey.
        first, second: the networks' names.
        places: their numbers in `average`.
        title: what was looked at, e.g. the data set.
        gamma: colours go with value ** gamma.
        theme: "light" or "dark".

    Raises:
        ArgumentError: no pixel whose maps have energy.
    """
    if not average.pixels:
        fix = "Look at more pixels, or at another class."
        raise ArgumentError("draw_average", needed="a pixel whose maps have energy", got="none", fix=fix)
    curves = average.mean_curves()[list(places)]
    reach = min(average.reach, max(2, int(np.argmax((curves >= _SHOWN).all(0)))))
    middle = np.s_[average.reach - reach : average.reach + reach + 1]
    one, other = (mean[middle, middle] for mean in average.mean()[list(places)])
    blur = max(1.0, 0.01 * reach)
    scale = fit_scale([one, other], gamma=gamma, unit="share of the energy")
    names = [shorten(name, int(_SIDE / CHARACTER) - 2) for name in (second, first)]
    with use_theme(theme) as look:
        height = _TOP + _SIDE + _BARS + _CURVE + _BELOW
        sheet = Sheet(WIDTH, height, look)
        sheet.write_heading(f"What pixels look at on average: {first} and {second}", title, left=MARGIN)
        sheet.write(MARGIN, height - 10.0, _describe(curves, first, second), va="center")
        colours = network_colours(look, 2)
        bottom = height - _TOP - _SIDE
        ratio, norm = _divide(one, other, blur)
        for number, (values, name, colour) in enumerate(
            zip((other, one, ratio), (*names, "ratio"), (colours[1], colours[0], look.text), strict=True)
        ):
            ax = sheet.add_axes(_LEFT + number * (_SIDE + _GAP), bottom, _SIDE, _SIDE)
            way = (norm, look.diverging) if number == 2 else (scale.norm(), look.sequential)
            _draw_map(ax, values, reach, *way)
            draw_cross(ax, (0, 0), look, size=5)
            ax.set_title(name, loc="left", pad=2.5, color=colour)
            if number:
                ax.tick_params(left=False, labelleft=False)
            else:
                ax.set_ylabel("y from the pixel", labelpad=1)
        means, ratios = "mean share of the energy, a pixel", f"{names[1]} / {names[0]}"
        wide, last = 2 * _SIDE + _GAP, _LEFT + 2 * (_SIDE + _GAP)
        _add_bar(sheet, _LEFT, wide, bottom, scale.norm(), look.sequential, means, scale.beyond)
        _add_bar(sheet, last, _SIDE, bottom, norm, look.diverging, ratios, True)
        ax = sheet.add_axes(_LEFT, _BELOW, WIDTH - _LEFT - MARGIN, _CURVE)
        for curve, name, colour, dash in zip(curves[::-1], names, colours[::-1], ("--", "-"), strict=True):
            ax.plot(np.arange(len(curve)), curve, color=colour, linestyle=dash, label=name, linewidth=1.3)
        ax.axhline(0.5, color=look.grid, linewidth=0.6, zorder=0)
        ax.set(xlim=(0, reach), ylim=(0, 1), yticks=[0, 0.5, 1])
        ax.set_xlabel("distance from the pixel (pixels)", labelpad=1)
        ax.set_ylabel("energy within", labelpad=1)
        ax.legend(loc="lower right")
        sheet.write_footnote(
            f"Maps as shares of their energy, centred on their pixels; means of {average.pixels:,} pixels, of each "
            "offset over the images that hold it. "
            f"Shown up to the distance within which {_SHOWN:.0%} of the energy of both lie. "
            f"Ratio: of means blurred by σ = {format_value(blur)} pixels, left out where either is below "
            f"{_FAINT:.0%} of its largest."
        )
    return sheet.figure


def _describe(curves: np.ndarray, first: str, second: str) -> str:
    """Within which distance half of the energy lies, in a sentence."""
    radii = format_alike([float(np.argmax(curve >= 0.5)) for curve in curves])
    names = [shorten(name, 40) for name in (first, second)]
    return f"Half of the energy lies within {radii[0]} pixels in {names[0]}, within {radii[1]} in {names[1]}."


def _divide(one: np.ndarray, other: np.ndarray, blur: float) -> tuple[np.ndarray, Normalize]:
    """The ratio of blurred means, NaN where there is too little, and its logarithmic scale about 1."""
    from matplotlib.colors import LogNorm
    from scipy.ndimage import gaussian_filter

    smooth = [gaussian_filter(part, blur, mode="nearest") for part in (one, other)]
    known = np.logical_and(*(part > _FAINT * part.max() for part in smooth))
    ratio = np.where(known, smooth[0] / np.where(known, smooth[1], 1.0), np.nan)
    sizes = np.abs(np.log2(ratio[known])) if known.any() else np.zeros(1)
    top = 2.0 ** min(max(0.5 * np.ceil(2 * np.quantile(sizes, 0.99)), 0.5), 4.0)
    return ratio, LogNorm(1 / top, top, clip=True)


def _draw_map(ax: Axes, values: np.ndarray, reach: int, norm: Normalize, cmap: str) -> None:
    from matplotlib.ticker import MaxNLocator

    edge = reach + 0.5
    ax.imshow(values, norm=norm, cmap=cmap, interpolation="nearest", extent=(-edge, edge, edge, -edge))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10], integer=True))
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.set_xlabel("x from the pixel", labelpad=1)


def _add_bar(
    sheet: Sheet, left: float, width: float, top: float, norm: Normalize, cmap: str, name: str, beyond: bool
) -> None:
    from matplotlib.cm import ScalarMappable

    low, high = float(norm.vmin or 0), float(norm.vmax or 1)
    bar = sheet.figure.colorbar(
        ScalarMappable(norm, cmap),
        cax=sheet.add_axes(left + 3, top - 12.4, width - 6, 2.4),
        orientation="horizontal",
        extend=("both" if low > 0 else "max") if beyond else "neither",
    )
    ticks = [low, 1.0, high] if low > 0 else [0.0, high / 4, high]
    texts = [format_value(tick) for tick in ticks]
    bar.set_ticks(ticks, labels=[f"1/{format_value(high)}", "1", texts[2]] if low > 0 else texts)
    bar.ax.minorticks_off()
    bar.set_label(name, labelpad=1.5)
    bar.outline.set_linewidth(0.4)  # type: ignore[operator]
