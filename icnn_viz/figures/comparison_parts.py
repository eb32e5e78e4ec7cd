"""What of a page of heatmaps depends on the pixel that is looked at: values, scales, lines and words."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from icnn_viz.figures.comparison import check_comparable, describe_question, name_panels, order_maps
from icnn_viz.figures.comparison_words import describe_finding, explain_lines, warn_of_disagreement
from icnn_viz.figures.maps import CONTOURS, SQRT, HeatScale, find_levels, name_of, scale_of, to_difference
from icnn_viz.figures.outlines import Lines, describe_outlines, list_outlines, to_path, trace
from icnn_viz.figures.panels import format_value
from icnn_viz.figures.style import get_look, shorten
from icnn_viz.heatmaps import measure_heatmap
from icnn_viz.records import Heatmap, PixelGradient

OUTLINES = 3
"""In the image: the true object, and what two networks take it for."""
_LINE = 150  # letters of a line under the title


@dataclass(frozen=True)
class PageParts:
    """What of a page depends on the pixel that is looked at, to be put into a figure that stands already.

    Attributes:
        maps: values (H, W) of each panel: per network in the order of `order_maps`, then how the first differs from the
            second.
        axes: of the maps' shared colour axis, and of the difference's, symmetric about 0: ends, ticks and title.
        pixel: (y, x).
        signed: whether the maps are.
        words: what was found.
        title: of the page, with these words, as HTML.
        names: of the panels: the image, then as `maps`.
        lines: x and y of what is drawn over the panels: three outlines in the image, two contours a network.
    """

    maps: list[np.ndarray]
    axes: tuple[dict[str, Any], dict[str, Any]]
    pixel: tuple[int, int]
    signed: bool
    words: str
    title: str
    names: list[str]
    lines: list[Lines]


def to_parts(
    gradients: Sequence[PixelGradient],
    heatmaps: Sequence[Heatmap],
    *,
    measures: Sequence[Mapping[str, float]] | None = None,
    true_class: str = "",
    labels: np.ndarray | None = None,
    difference: str = "shares",
    gamma: float = SQRT,
) -> PageParts:
    """What changes on the page of `draw_comparison_interactive` when another pixel, class or method is looked at.

    Raises:
        ArgumentError: maps that cannot be compared.
    """
    check_comparable(gradients, heatmaps, fewest=2)
    method, ordered = gradients[0].method, [heatmaps[number] for number in order_maps(len(heatmaps))]
    scale = scale_of(heatmaps, method, gamma)
    values, signed, called = to_difference(heatmaps[0], heatmaps[1], difference, scale)
    axes = to_axis(scale, name_of(method, signed=scale.signed)), to_axis(signed, called)
    names = [html.escape(name) for name in name_panels([shorten(h.network, 40) for h in heatmaps])]
    how = f"method: {method}; reduced by {heatmaps[0].reduction}"
    words = say(gradients, heatmaps, measures=measures, true_class=true_class)
    below = [html.escape(line) for line in textwrap.wrap(f"{words} ({how})", _LINE)]
    title = f"<b>{html.escape(describe_question(gradients[0]))}</b><br><sub>{'<br>'.join(below)}</sub>"
    maps = [*(heatmap.shown for heatmap in ordered), values]
    lines = _trace(gradients, ordered, true_class, labels)
    return PageParts(maps, axes, heatmaps[0].pixel, scale.signed, words, title, names, lines)


def say(
    gradients: Sequence[PixelGradient],
    heatmaps: Sequence[Heatmap],
    *,
    measures: Sequence[Mapping[str, float]] | None = None,
    true_class: str = "",
) -> str:
    """What a page says of a comparison: the finding, the warning if networks disagree, the outlines' key, and why maps
    have dark lines where they have."""
    found = measures or [measure_heatmap(heatmap) for heatmap in heatmaps]
    said = describe_finding(heatmaps, found, true_class), warn_of_disagreement(gradients)
    lines = explain_lines(heatmaps)
    said = [*said, describe_outlines(gradients, true_class), lines + "." * bool(lines)]
    return " ".join(filter(None, said))


def _trace(
    gradients: Sequence[PixelGradient], ordered: Sequence[Heatmap], true_class: str, labels: np.ndarray | None
) -> list[Lines]:
    outlines = list_outlines(gradients, true_class, labels, get_look("light"))
    lines = [trace(outline.mask) for outline in outlines]
    lines = [([], [])] * (OUTLINES - len(lines)) + lines
    for heatmap in ordered:
        contours = [to_path(xs, ys, padded, level) for _, level, xs, ys, padded in find_levels(heatmap)]
        lines += contours + [([], [])] * (len(CONTOURS) - len(contours))
    return lines


def to_axis(scale: HeatScale, name: str) -> dict[str, Any]:
    """Ends, ticks and title of a colour axis; what lies beyond its ends is said at them."""
    # Three fit on a telephone:
    ticks = [scale.top * part for part in ((-1, 0, 1) if scale.signed else (0, 0.5, 1))]
    marks = ["≤ " if scale.signed else "", "", "≥ "] if scale.beyond else [""] * 3
    texts = [mark + format_value(tick) for mark, tick in zip(marks, ticks, strict=True)]
    unit = "<br>".join(textwrap.wrap(scale.unit, 22))
    title = {"text": f"{html.escape(name)}<br>({unit})", "side": "bottom", "font": {"size": 11}}
    bar = {"tickvals": ticks, "ticktext": texts, "title": title}
    return {"cmin": -scale.top if scale.signed else 0, "cmax": scale.top, "colorbar": bar}
