"""What one pixel looks at, network beside network, on one scale: a column of the paper's figure 5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from icnn_core.errors import ArgumentError
from icnn_viz.figures.maps import (
    contour_smoothing,
    draw_contours,
    draw_cross,
    draw_map,
    draw_photo,
    fit_scale,
    name_of,
    unit_of,
)
from icnn_viz.figures.measure_table import answer_rows, measure_rows, table_height, write_table
from icnn_viz.figures.panels import AXIS_LEFT, LINE, PanelSheet, format_value
from icnn_viz.figures.sheet import MARGIN, Sheet
from icnn_viz.figures.style import shorten, use_theme
from icnn_viz.heatmaps import measure_heatmap
from icnn_viz.records import Heatmap, PixelComparison, PixelGradient

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NOTES = 3  # lines
_REDUCTIONS = {"max": "largest absolute value", "l2": "Euclidean norm", "sum": "sum of absolute values"}


def draw_comparison(
    gradients: Sequence[PixelGradient],
    heatmaps: Sequence[Heatmap],
    *,
    measures: Sequence[Mapping[str, float]] | None = None,
    true_class: str = "",
    photo: bool = True,
    gamma: float = 0.5,
    theme: str = "light",
) -> Figure:
    """The image, heatmaps of one pixel on one shared scale, the first two's signed difference, a table of measures.

    Args:
        gradients: one per network, of the same image, pixel, class and method.
        heatmaps: of these gradients, reduced alike. The difference is the first minus the second; one alone has
            none.
        measures: as `measure_heatmap` gives them, e.g. with masks; None = measured here, without masks.
        true_class: the pixel's true class, if known.
        photo: False leaves the image out, where it may not be passed on: heatmaps and contours alone.
        gamma: colours go with value ** gamma; 1 is linear, 0.5 lets faint parts be seen. The colour bars show it.
        theme: "light" or "dark".

    Returns:
        A figure one page (170 mm) wide.

    Raises:
        ArgumentError: no map, or maps of different sizes, pixels, classes, methods or reductions.
    """
    check_comparable(gradients, heatmaps)
    found = [dict(m) for m in measures or map(measure_heatmap, heatmaps)]
    record = PixelComparison(list(gradients), list(heatmaps), found)
    rows = [
        [row.title, *(shorten(text, 24) for text in row.texts)]
        for row in (*answer_rows(record), *measure_rows(record))
    ]
    shape = heatmaps[0].values.shape
    count = len(heatmaps) + (len(heatmaps) > 1) + photo
    networks = [h.network for h in heatmaps]
    names = name_panels(networks)
    below = table_height(rows, networks) + _NOTES * LINE
    scale = fit_scale([h.values for h in heatmaps], gamma=gamma, unit=unit_of(gradients[0].method))
    with use_theme(theme) as look:
        sheet = PanelSheet(count, shape, below, look)
        write_heading(sheet, gradients, true_class)
        if photo:
            ax = sheet.add_panel(names[0])
            draw_photo(ax, gradients[0].image)
            draw_cross(ax, heatmaps[0].pixel, look)
        for heatmap, name in zip(heatmaps, names[1:], strict=False):
            ax = sheet.add_panel(name)
            draw_map(ax, heatmap.values, scale.norm(), look.sequential)
            draw_contours(ax, heatmap, "#ffffff", "#000000")
            draw_cross(ax, heatmap.pixel, look)
        sheet.add_colour_bar(scale.norm(), look.sequential, scale, name_of(gradients[0].method))
        for other in heatmaps[1:2]:
            difference = heatmaps[0].values - other.values
            signed = fit_scale([difference], gamma=gamma, unit=scale.unit)
            ax = sheet.add_panel(names[-1])
            draw_map(ax, difference, signed.signed_norm(), look.diverging)
            draw_cross(ax, heatmaps[0].pixel, look)
            sheet.add_colour_bar(signed.signed_norm(), look.diverging, signed, "difference")
        write_table(sheet, rows, networks)
        sheet.write_footnote(_describe_maps(gradients, heatmaps, gamma), left=AXIS_LEFT, most=_NOTES)
    return sheet.figure


def name_panels(networks: Sequence[str]) -> list[str]:
    """What stands over the panels of a comparison: the image, a map per network, the first two's difference if any."""
    return ["image", *networks, *(f"{networks[0]} − {other}" for other in networks[1:2])]


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
    """Two lines at the top of a sheet: what was differentiated, and how."""
    second = f"method: {gradients[0].method}"
    if true_class:
        second = f"true class: {true_class} · {second}"
    sheet.write_heading(describe_question(gradients[0]), second, left=MARGIN)


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
    return "; ".join(notes) + "."
