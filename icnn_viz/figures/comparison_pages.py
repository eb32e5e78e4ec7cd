"""Heatmaps of one pixel side by side, to hover over, click in and zoom into together: for every front with a screen."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from icnn_viz.figures.comparison import check_comparable, describe_question, name_panels
from icnn_viz.figures.maps import SQRT, HeatScale, fit_scale, name_of, unit_of
from icnn_viz.figures.overlay import to_grey
from icnn_viz.figures.panels import format_value
from icnn_viz.figures.screen import shrink, to_colour_stops, to_cross, to_data_url
from icnn_viz.figures.style import Look, get_look, shorten, to_plotly_layout
from icnn_viz.records import Heatmap, PixelGradient

if TYPE_CHECKING:
    import plotly.graph_objects as go

MOST_SHOWN = 400_000
"""Pixels of a map that a browser is sent; larger ones are shown by the largest value of each block."""
_WIDTH = 460  # of a column, in CSS pixels, where the page does not say
_GAP_X, _GAP_Y = 0.05, 0.08
_MARGIN = {"l": 48, "r": 26, "t": 54, "b": 124}
_TITLE = 50


@dataclass(frozen=True)
class PageParts:
    """What of a page depends on the pixel that is looked at, to be put into a figure that stands already.

    Attributes:
        maps: values (H, W) per network, then their difference (the first minus the second).
        axes: of the maps' shared colour axis, and of the difference's, symmetric about 0: ends, ticks and title.
        pixel: (y, x).
        title: of the page.
        names: of the panels: the image, then as `maps`.
    """

    maps: list[np.ndarray]
    axes: tuple[dict[str, Any], dict[str, Any]]
    pixel: tuple[int, int]
    title: str
    names: list[str]


def draw_comparison_interactive(
    gradients: Sequence[PixelGradient],
    heatmaps: Sequence[Heatmap],
    *,
    gamma: float = SQRT,
    theme: str = "light",
    opacity: float = 1.0,
    revision: str = "",
    fluid: bool = False,
) -> go.Figure:
    """The image, a heatmap per network on one scale, and the first two's difference; hovering tells the values.

    Traces: for each panel the image or a heatmap, and a cross named "cross".

    Args:
        gradients, heatmaps, gamma, theme: as of `draw_comparison`.
        opacity: of the maps over the image in grey, 0 to 1.
        revision: of the image: a browser keeps its zoom as long as it stays.
        fluid: as large as the page makes it and without a title, for a page that has its own words; else of fixed
            size, and on the image lies something to click on, a heatmap named "click".

    Raises:
        ArgumentError: as of `draw_comparison`.
    """
    import plotly.graph_objects as go

    look, image = get_look(theme), gradients[0].image
    parts = to_parts(gradients, heatmaps, gamma=gamma)
    cells = _lay_out(len(parts.names))
    where = {"hovertemplate": "x %{x}, y %{y}<extra></extra>"} | _axes_of(0)
    data = [{"type": "image", "source": to_data_url(image), "name": "image"} | where]
    if not fluid:
        cover = {"type": "heatmap", "z": np.zeros(image.shape[:2], np.int8), "opacity": 0, "showscale": False}
        data += [cover | {"name": "click"} | where]
    data += [_to_map(parts, number, opacity) for number in range(1, len(cells))]
    data += [mark | _axes_of(number) for number in range(len(cells)) for mark in to_cross(parts.pixel, look)]
    layout = to_plotly_layout(look) | _to_axes(cells, image.shape, look)
    for number, (axis, cmap) in enumerate(zip(parts.axes, (look.sequential, look.diverging), strict=True)):
        scale = to_colour_stops(cmap, gamma=gamma, signed=number == 1)
        bar = _bar_at(number) | axis["colorbar"]
        layout[("coloraxis", "coloraxis2")[number]] = axis | {"colorscale": scale, "colorbar": bar}
    layout |= {
        "annotations": [_to_heading(name, cell, look) for name, cell in zip(parts.names, cells, strict=True)],
        "margin": _MARGIN,
        "showlegend": False,
        "dragmode": "zoom",
        "uirevision": revision,
    }
    if fluid:
        grey = to_data_url(to_grey(image))
        layout["images"] = [_to_background(grey, number, image.shape) for number in range(1, len(cells))]
    else:
        layout |= _fix_size(cells, image.shape)
        layout["title"] = {"text": parts.title, "x": 0.02, "y": 0.98, "yanchor": "top"}
    # In one go: plotly checks every update anew, which took longer than all the rest.
    return go.Figure({"data": data, "layout": layout})


def to_parts(
    gradients: Sequence[PixelGradient], heatmaps: Sequence[Heatmap], *, gamma: float = SQRT
) -> PageParts:
    """What changes on the page of `draw_comparison_interactive` when another pixel, class or method is looked at.

    Raises:
        ArgumentError: maps that cannot be compared.
    """
    check_comparable(gradients, heatmaps, fewest=2)
    maps = [heatmap.values for heatmap in heatmaps]
    difference, method = maps[0] - maps[1], gradients[0].method
    scale, signed = (fit_scale(some, gamma=gamma, unit=unit_of(method)) for some in (maps, [difference]))
    axes = _to_axis(scale, name_of(method)), _to_axis(signed, "difference", signed=True)
    names = [html.escape(name) for name in name_panels([shorten(h.network, 40) for h in heatmaps])]
    how = f"method: {method}; reduced by {heatmaps[0].reduction}"
    title = f"<b>{html.escape(describe_question(gradients[0]))}</b><br><sub>{how}</sub>"
    return PageParts([*maps, difference], axes, heatmaps[0].pixel, title, names)


def update_page(figure: Any, parts: PageParts) -> None:
    """Put another look into a page (a plotly Figure or FigureWidget) of the same image and networks."""
    maps = [trace for trace in figure.data if trace.type == "heatmap" and trace.name != "click"]
    y, x = parts.pixel
    with figure.batch_update():
        for trace, values in zip(maps, parts.maps, strict=True):
            trace.z = shrink(values, MOST_SHOWN)[0].astype(np.float32)
        for trace in figure.data:
            if trace.name == "cross":
                trace.x, trace.y = [x], [y]
        for annotation, name in zip(figure.layout.annotations, parts.names, strict=True):
            annotation.text = name
        figure.layout.title.text = parts.title
        for axis, changed in zip(
            (figure.layout.coloraxis, figure.layout.coloraxis2), parts.axes, strict=True
        ):
            axis.update(changed)


def _lay_out(panels: int) -> list[tuple[list[float], list[float]]]:
    """Of each panel the shares of width and height that it takes, row by row from the top."""
    columns = 2 if panels <= 4 else 3
    rows = -(-panels // columns)
    wide, tall = (1 - _GAP_X * (columns - 1)) / columns, (1 - _GAP_Y * (rows - 1)) / rows
    lefts = [number % columns * (wide + _GAP_X) for number in range(panels)]
    tops = [1 - number // columns * (tall + _GAP_Y) for number in range(panels)]
    return [([left, left + wide], [max(top - tall, 0.0), top]) for left, top in zip(lefts, tops, strict=True)]


def _fix_size(cells: list[tuple[list[float], list[float]]], shape: tuple[int, ...]) -> dict[str, Any]:
    """Width, height and margins at which every panel has the image's shape."""
    (left, right), (bottom, top) = cells[0]
    across = round(_WIDTH / (right - left))
    down = round(_WIDTH * shape[0] / shape[1] / (top - bottom))
    margin = _MARGIN | {"t": _MARGIN["t"] + _TITLE}
    sizes = {"width": across + margin["l"] + margin["r"], "height": down + margin["t"] + margin["b"]}
    return sizes | {"margin": margin}


def _axes_of(number: int) -> dict[str, str]:
    suffix = str(number + 1) if number else ""
    return {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"}


def _to_map(parts: PageParts, number: int, opacity: float) -> dict[str, Any]:
    shown, side = shrink(parts.maps[number - 1], MOST_SHOWN)
    start, last = (side - 1) / 2, number == len(parts.maps)
    place = {"x0": start, "dx": side, "y0": start, "dy": side} | _axes_of(number)
    hover = "x %{x:.0f}, y %{y:.0f}<br>%{z:.3g}<extra></extra>"
    looks = {"coloraxis": "coloraxis2" if last else "coloraxis", "opacity": opacity, "hovertemplate": hover}
    return {"type": "heatmap", "name": "map", "z": shown.astype(np.float32), **place, **looks}


def _to_axis(scale: HeatScale, name: str, *, signed: bool = False) -> dict[str, Any]:
    """Ends, ticks and title of a colour axis; what lies beyond its ends is said at them."""
    ticks = [scale.top * part for part in ((-1, 0, 1) if signed else (0, 0.5, 1))]  # three fit on a telephone
    marks = ["≤ " if signed else "", "", "≥ "] if scale.beyond else [""] * 3
    texts = [mark + format_value(tick) for mark, tick in zip(marks, ticks, strict=True)]
    unit = "<br>".join(textwrap.wrap(scale.unit, 22))
    title = {"text": f"{html.escape(name)}<br>({unit})", "side": "bottom", "font": {"size": 11}}
    bar = {"tickvals": ticks, "ticktext": texts, "title": title}
    return {"cmin": -scale.top if signed else 0, "cmax": scale.top, "colorbar": bar}


def _bar_at(number: int) -> dict[str, Any]:
    """Where the first or second colour bar lies, and how it looks: below the panels."""
    place = {"orientation": "h", "x": (0.01, 0.59)[number], "xanchor": "left", "len": 0.4, "xpad": 0}
    place |= {"y": 0, "yanchor": "top", "ypad": 44, "thickness": 12, "outlinewidth": 0}
    return place | {"tickfont": {"size": 11}, "tickangle": 0, "ticks": "outside", "ticklen": 3}


def _to_heading(text: str, cell: tuple[list[float], list[float]], look: Look) -> dict[str, Any]:
    (left, right), (_, top) = cell
    place = {"x": (left + right) / 2, "y": top, "xref": "paper", "yref": "paper"}
    place |= {"xanchor": "center", "yanchor": "bottom", "showarrow": False}
    return place | {"text": text, "font": {"size": 13, "color": look.text}}


def _to_background(source: str, number: int, shape: tuple[int, ...]) -> dict[str, Any]:
    x, y = _axes_of(number).values()
    place = {"xref": x, "yref": y, "x": -0.5, "y": -0.5, "sizex": shape[1], "sizey": shape[0]}
    return place | {"source": source, "sizing": "stretch", "layer": "below", "yanchor": "top"}


def _to_axes(
    cells: list[tuple[list[float], list[float]]], shape: tuple[int, ...], look: Look
) -> dict[str, Any]:
    """Axes in pixels over all panels, y downwards; zooming into one zooms into all."""
    line = {"zeroline": False, "showgrid": False, "color": look.muted, "ticks": "outside", "ticklen": 3}
    line |= {"tickfont": {"size": 11}, "constrain": "domain"}
    bare = {"showticklabels": False, "ticks": ""}
    axes: dict[str, Any] = {}
    for number, (across, down) in enumerate(cells):
        x, y = _axes_of(number).values()
        lowest = not any(below[1] < down and below[0] == across for below in cells)
        axes[f"xaxis{x[1:]}"] = line | {
            "range": [-0.5, shape[1] - 0.5],
            "domain": across,
            "anchor": y,
            **({"matches": "x"} if number else {}),
            **(_to_name("x (pixels)") if lowest else bare),
        }
        axes[f"yaxis{y[1:]}"] = line | {
            "range": [shape[0] - 0.5, -0.5],
            "domain": down,
            "anchor": x,
            "constraintoward": "top",
            **({"matches": "y"} if number else {"scaleanchor": "x"}),
            **(bare if across[0] else _to_name("y (pixels)")),
        }
    return axes


def _to_name(text: str) -> dict[str, Any]:
    return {"title": {"text": text, "font": {"size": 12}, "standoff": 4}}
