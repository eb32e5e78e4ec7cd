"""Many pixels at once, as in the paper's figure 5: a column per pixel, a row per network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from icnn_core.errors import ArgumentError
from icnn_viz.figures.comparison import check_comparable
from icnn_viz.figures.maps import draw_contours, draw_cross, draw_map, draw_photo, scale_of, unit_of
from icnn_viz.figures.panels import format_value
from icnn_viz.figures.sheet import CHARACTER, MARGIN, WIDTH, Sheet
from icnn_viz.figures.style import WHITE, shorten, use_theme
from icnn_viz.records import Heatmap, PixelGradient

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_COLUMNS = 8
_LEFT, _RIGHT, _GAP = 8.0, 3.0, 2.5
_HEADING, _TITLE, _ROW_GAP, _BAR, _NOTE = 10.0, 11.0, 2.0, 8.0, 8.0
_MOST_ROW, _MOST_HEIGHT = 60.0, 270.0


def draw_grid(
    gradients: Sequence[Sequence[PixelGradient]],
    heatmaps: Sequence[Sequence[Heatmap]],
    *,
    photo: bool = True,
    gamma: float = 0.5,
    theme: str = "light",
) -> Figure:
    """Images over heatmaps: a column for every pixel, a row for every network, one scale within each column.

    Args:
        gradients: per pixel, one per network, as `draw_comparison` takes them; images may differ between pixels.
        heatmaps: of these.
        photo: False leaves out the row of images.
        gamma: colours go with value ** gamma.
        theme: "light" or "dark".

    Raises:
        ArgumentError: no pixel or more than 8, or maps of one column that cannot be compared.
    """
    from matplotlib.cm import ScalarMappable

    if not 0 < len(heatmaps) <= MOST_COLUMNS or len({len(column) for column in heatmaps}) != 1:
        needed = f"1 to {MOST_COLUMNS} pixels, each with the same networks"
        got = f"{len(heatmaps)} pixels with {sorted({len(c) for c in heatmaps})} networks"
        raise ArgumentError("draw_grid", needed=needed, got=got, fix="Draw several grids.")
    for column_gradients, column in zip(gradients, heatmaps, strict=True):
        check_comparable(column_gradients, column)
    columns, rows = len(heatmaps), len(heatmaps[0]) + photo
    ratios = [column[0].values.shape[0] / column[0].values.shape[1] for column in heatmaps]
    width = (WIDTH - _LEFT - _RIGHT - (columns - 1) * _GAP) / columns
    most = min(_MOST_ROW, (_MOST_HEIGHT - _HEADING - _TITLE - _BAR - _NOTE) / rows - _ROW_GAP)
    width = min(width, most / max(ratios))
    row = width * max(ratios) + _ROW_GAP
    height = _HEADING + _TITLE + rows * row + _BAR + _NOTE
    left = _LEFT + (WIDTH - _LEFT - _RIGHT - columns * width - (columns - 1) * _GAP) / 2

    with use_theme(theme) as look:
        sheet = Sheet(WIDTH, height, look)
        sheet.write_heading(
            "What pixels look at",
            f"method: {gradients[0][0].method} · columns: pixels, with the class whose logit was differentiated",
            left=MARGIN,
        )
        for number, (column_gradients, column) in enumerate(zip(gradients, heatmaps, strict=True)):
            scale = scale_of(column, column_gradients[0].method, gamma)
            tall = width * ratios[number]
            x, top = left + number * (width + _GAP), height - _HEADING - _TITLE
            names = (["image"] if photo else []) + [h.network for h in column]
            for place, name in enumerate(names):
                ax = sheet.add_axes(x, top - place * row - (row - _ROW_GAP + tall) / 2, width, tall)
                _strip(ax, column[0].values.shape)
                if photo and place == 0:
                    draw_photo(ax, column_gradients[0].image)
                else:
                    heatmap = column[place - photo]
                    draw_map(ax, heatmap.shown, scale.norm(), scale.colours(look))
                    rims = ("#000000", WHITE) if scale.signed else (WHITE, "#000000")
                    draw_contours(ax, heatmap, *rims, 0.6)
                draw_cross(ax, column[0].pixel, look, size=4.5)
                if place == 0:
                    ax.set_title(
                        _column_title(column_gradients, width), pad=2.5, fontsize=6.5, linespacing=1.1
                    )
                if number == 0:
                    ax.set_ylabel(shorten(name, max(6, int(tall / CHARACTER))), labelpad=2)
            bar = sheet.figure.colorbar(
                ScalarMappable(scale.norm(), scale.colours(look)),
                cax=sheet.add_axes(x, top - rows * row - 2.8, width, 1.8),
                orientation="horizontal",
                extend=("both" if scale.signed else "max") if scale.beyond else "neither",
            )
            low = -scale.top if scale.signed else 0
            bar.set_ticks([low, scale.top], labels=[format_value(low), format_value(scale.top)])
            bar.ax.minorticks_off()
            bar.ax.get_xticklabels()[0].set_horizontalalignment("left")
            bar.ax.get_xticklabels()[1].set_horizontalalignment("right")
            bar.outline.set_visible(False)  # type: ignore[operator]
        sheet.write_footnote(_describe_scales(gradients[0][0], gamma))
    return sheet.figure


def _strip(ax: Axes, shape: tuple[int, ...]) -> None:
    ax.set(xlim=(-0.5, shape[1] - 0.5), ylim=(shape[0] - 0.5, -0.5), xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set_visible(False)


def _column_title(gradients: Sequence[PixelGradient], width: float) -> str:
    y, x = gradients[0].pixel
    room = max(8, int(width / CHARACTER))
    return "\n".join([shorten(gradients[0].followed, room), f"x={x}, y={y}"])


def _describe_scales(first: PixelGradient, gamma: float) -> str:
    power = "" if gamma == 1 else f", colours by value to the power {gamma:g}"
    return (
        f"Under each column its scale, in {unit_of(first.method)}{power}: maps of one column may be compared. "
        "Contours: 50\u00a0% (solid) and 90\u00a0% (dashed) of the energy of the blurred map."
    )
