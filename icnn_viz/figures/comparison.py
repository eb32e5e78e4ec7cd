"""What one pixel looks at, network beside network, on one scale: a column of the paper's figure 5."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from icnn_core.errors import ArgumentError
from icnn_viz.figures.comparison_words import describe_finding, explain_lines, warn_of_disagreement
from icnn_viz.figures.dumbbells import choose_rows, dumbbells_height, write_dumbbells
from icnn_viz.figures.maps import (
    contour_smoothing,
    draw_contours,
    draw_cross,
    draw_map,
    draw_outline,
    draw_photo,
    name_of,
    network_colours,
    scale_of,
    to_difference,
)
from icnn_viz.figures.measure_table import measure_rows
from icnn_viz.figures.outlines import Outline, lay_out_key, list_outlines, write_key
from icnn_viz.figures.panels import AXIS_LEFT, LINE, NARROW, PanelSheet, format_value
from icnn_viz.figures.sheet import CHARACTER, MARGIN, WIDTH, Sheet
from icnn_viz.figures.style import WHITE, shorten, use_theme
from icnn_viz.heatmaps import measure_heatmap
from icnn_viz.records import Heatmap, PixelComparison, PixelGradient

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_REDUCTIONS = {
    "max": "largest absolute value",
    "l2": "Euclidean norm",
    "sum": "sum of absolute values",
    "signed": "their sum, with its sign",
}
_NOTES = 6  # lines at most
_END = 28  # letters of either side of a difference


def draw_comparison(
    gradients: Sequence[PixelGradient],
    heatmaps: Sequence[Heatmap],
    *,
    measures: Sequence[Mapping[str, float]] | None = None,
    true_class: str = "",
    labels: np.ndarray | None = None,
    photo: bool = True,
    difference: str = "shares",
    gamma: float = 0.5,
    width: float = WIDTH,
    theme: str = "light",
) -> Figure:
    """The image, heatmaps of one pixel on one shared scale, and how the first two differ; what that says in a sentence.

    From left to right the second network, the first, further ones, and the first's difference from the second. In the
    image lie the outlines of the pixel's object by its label, and of what either network takes it for. Below stand four
    measures; a table of all is in the record and its files.

    Args:
        gradients: one per network, of the same image, pixel, class and method.
        heatmaps: of these gradients, reduced alike. One alone has no difference.
        measures: as `measure_heatmap` gives them, e.g. with masks; None = measured here, without masks.
        true_class: the pixel's true class, if known.
        labels: (H, W) true class ids of the image, if known.
        photo: False leaves the image out, where it may not be passed on: heatmaps and contours alone.
        difference: "shares": of maps divided by their energy, where either network looks more; "raw": of maps as they
            are.
        gamma: colours go with value ** gamma; 1 is linear, 0.5 lets faint parts be seen. The colour bars show it.
        width: of the figure in mm: 170 is a page, 80 a journal's column.
        theme: "light" or "dark".

    Returns:
        A figure `width` wide.

    Raises:
        ArgumentError: no map, or maps of different sizes, pixels, classes, methods or reductions.
        NameNotFoundError: no such difference.
    """
    check_comparable(gradients, heatmaps)
    found = [dict(m) for m in measures or map(measure_heatmap, heatmaps)]
    rows = choose_rows(measure_rows(PixelComparison(list(gradients), list(heatmaps), found)))
    networks, count = [h.network for h in heatmaps], len(heatmaps)
    scale, names = scale_of(heatmaps, gradients[0].method, gamma), name_panels(networks)
    made = _describe_maps(gradients, heatmaps, gamma)
    notes = _wrap(made, width - AXIS_LEFT - MARGIN, 6 / 7)[:_NOTES]
    with use_theme(theme) as look:
        colours = network_colours(look, count)
        outlines = list_outlines(gradients, true_class, labels, look) if photo else []
        lines = [
            (line, look.text) for line in _wrap(describe_finding(heatmaps, found, true_class), width - 6)
        ]
        warning = _wrap(warn_of_disagreement(gradients), width - 6)
        lines += [(line, look.accent) for line in warning]
        keys = lay_out_key(outlines, width)
        above = max(0.0, (len(lines) + (max((row for row, _ in keys), default=-1) + 1)) * LINE - 2.5)
        below = dumbbells_height(width, AXIS_LEFT, rows, networks) + (len(notes) + 1) * 2.9
        shape, panels = heatmaps[0].values.shape, count + (count > 1) + photo
        columns = 2 if width < NARROW and panels > 2 else None
        sheet = PanelSheet(panels, shape, below, look, columns, row=True, width=width, above=above)
        write_heading(sheet, gradients, true_class)
        _write_lines(sheet, lines, outlines, keys)
        if photo:
            ax = sheet.add_panel(names[0])
            draw_photo(ax, gradients[0].image)
            for outline in outlines:
                draw_outline(ax, outline.mask, outline.colour, "#000000", outline.dash)
            draw_cross(ax, heatmaps[0].pixel, look)
        for number, name in zip(order_maps(count), names[1:], strict=False):
            ax = sheet.add_panel(name, colours[number])
            draw_map(ax, heatmaps[number].shown, scale.norm(), scale.colours(look))
            draw_contours(ax, heatmaps[number], *(("#000000", WHITE) if scale.signed else (WHITE, "#000000")))
            draw_cross(ax, heatmaps[number].pixel, look)
        title = name_of(gradients[0].method, signed=scale.signed)
        sheet.add_colour_bar(
            scale.norm(), scale.colours(look), scale, title, under=(int(photo), count + photo - 1)
        )
        if count > 1:
            values, signed, title = to_difference(heatmaps[0], heatmaps[1], difference, scale)
            ax = sheet.add_panel(names[-1])
            draw_map(ax, values, signed.norm(), look.diverging)
            draw_cross(ax, heatmaps[0].pixel, look)
            sheet.add_colour_bar(signed.norm(), look.diverging, signed, title, under=(panels - 1, panels - 1))
        write_dumbbells(sheet, AXIS_LEFT, rows, networks, colours)
        sheet.write_footnote(made, left=AXIS_LEFT, most=_NOTES)
    return sheet.figure


def order_maps(count: int) -> list[int]:
    """In which order networks stand in a comparison: what the first is compared with, the first, then others."""
    return [1, 0, *range(2, count)] if count > 1 else [0]


def name_panels(networks: Sequence[str]) -> list[str]:
    """What stands over the panels of a comparison: the image, a map per network in the order of `order_maps`, the first
    two's difference if any, without what the second's name repeats of the first's."""
    ordered = [networks[number] for number in order_maps(len(networks))]
    ends = [shorten(other.removeprefix(f"{networks[0]}, "), _END) for other in networks[1:2]]
    return ["image", *ordered, *(f"{shorten(networks[0], _END)} − {end}" for end in ends)]


def describe_question(gradient: PixelGradient) -> str:
    """What is looked at, as every front heads it: "What the logit of … at x = 60, y = 40 depends on"."""
    return f"What {describe_target(gradient)} depends on"


def describe_target(gradient: PixelGradient) -> str:
    """In words, what was differentiated where: "the logit of “ring” at x = 60, y = 40"; of a difference "the logit of
    “ring” minus that of “bar” at …"."""
    y, x = gradient.pixel
    what = f" ({gradient.target})" if gradient.target not in ("", "class given") else ""
    minus = f" minus that of “{gradient.against_name}”" if gradient.against_name else ""
    return f"the logit of “{gradient.class_name}”{minus}{what} at x = {x}, y = {y}"


def check_comparable(
    gradients: Sequence[PixelGradient], heatmaps: Sequence[Heatmap], fewest: int = 1
) -> None:
    """Raises: ArgumentError: too few maps, or of different sizes, pixels, classes, methods, reductions."""
    kinds = {
        "size": {h.values.shape for h in heatmaps},
        "pixel": {h.pixel for h in heatmaps} | {g.pixel for g in gradients},
        "class": {g.class_id for g in gradients},
        "method": {g.method for g in gradients},
        "reduction": {(h.reduction, h.smoothing) for h in heatmaps},
    }
    wrong = [name for name, found in kinds.items() if len(found) != 1]
    if len(heatmaps) < fewest or len(heatmaps) != len(gradients) or wrong:
        raise ArgumentError(
            "draw_comparison",
            needed=f"heatmaps that can be compared, {fewest} or more, each with its gradient",
            got=f"{len(heatmaps)} heatmaps, {len(gradients)} gradients"
            + (f", not of one {', '.join(wrong)}" if wrong else ""),
            fix="Give maps of the same image, pixel, class and method, reduced alike.",
        )


def write_heading(sheet: Sheet, gradients: Sequence[PixelGradient], true_class: str) -> None:
    """Two lines at the top of a sheet: what was differentiated, and how; on a narrow one the first in fewer words."""
    second = f"method: {gradients[0].method}"
    if true_class:
        second = f"true class: {true_class} · {second}"
    (y, x), first = gradients[0].pixel, describe_question(gradients[0])
    if sheet.width < NARROW:
        first = f"{gradients[0].followed} at x = {x}, y = {y}"
    second = shorten(second, int((sheet.width - 2 * MARGIN) / CHARACTER))
    sheet.write_heading(first, second, left=MARGIN)


def _describe_maps(gradients: Sequence[PixelGradient], heatmaps: Sequence[Heatmap], gamma: float) -> str:
    """How the maps were made and coloured."""
    blur = contour_smoothing(heatmaps[0].values.shape)
    notes = [
        f"Colour channels reduced by {_REDUCTIONS[heatmaps[0].reduction]}; one scale for all maps"
        + ("" if gamma == 1 else f", colours by value to the power {gamma:g}"),
        f"contours of 50 % (solid) and 90 % (dashed) of the energy of maps blurred by σ = {format_value(blur)} pixels",
        *dict.fromkeys(note for heatmap in heatmaps for note in heatmap.notes),
    ]
    if gradients[0].method in ("deconvnet", "guided"):
        notes.append(f"“{gradients[0].method}” is partly an edge detector")
    return ". ".join(["; ".join(notes), *filter(None, [explain_lines(heatmaps)])]) + "."


def _wrap(text: str, room: float, size: float = 1.0) -> list[str]:
    """Lines that fit into `room` mm, of letters `size` times those of 7 pt."""
    return textwrap.wrap(text, max(20, int(room / (CHARACTER * size))))


def _write_lines(
    sheet: Sheet,
    lines: Sequence[tuple[str, str]],
    outlines: Sequence[Outline],
    keys: Sequence[tuple[int, float]],
) -> None:
    """Below the heading: sentences in their colours, and the key of the outlines."""
    top = sheet.height - 9.2
    for number, (line, colour) in enumerate(lines):
        sheet.write(MARGIN, top - number * LINE, line, color=colour, va="center")
    write_key(sheet, outlines, keys, top - len(lines) * LINE)
