"""Heatmaps of one pixel side by side, to hover over, click in and zoom into together: for every front with a screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from icnn_viz.figures.comparison_parts import OUTLINES, PageParts, to_parts
from icnn_viz.figures.maps import CONTOURS, SQRT
from icnn_viz.figures.outlines import list_outlines
from icnn_viz.figures.screen import fade, shrink, to_colour_stops, to_cross, to_data_url
from icnn_viz.figures.style import Look, get_look, to_plotly_layout
from icnn_viz.pictures import to_grey
from icnn_viz.records import Heatmap, PixelGradient

if TYPE_CHECKING:
    import plotly.graph_objects as go

MOST_SHOWN = 400_000
"""Pixels of a map that a browser is sent; larger ones are shown by the largest value of each block."""
_OVERLAY = "inferno"  # of maps that lie over the image, as in `draw_overlay`
_WIDTH = 460  # of a column, in CSS pixels, where the page does not say
_GAP_X, _GAP_Y = 0.05, 0.08
_MARGIN = {"l": 48, "r": 26, "t": 54, "b": 124}
_TITLE = 96


def draw_comparison_interactive(
    gradients: Sequence[PixelGradient],
    heatmaps: Sequence[Heatmap],
    *,
    measures: Sequence[Mapping[str, float]] | None = None,
    true_class: str = "",
    labels: np.ndarray | None = None,
    difference: str = "shares",
    gamma: float = SQRT,
    theme: str = "light",
    opacity: float = 1.0,
    revision: str = "",
    fluid: bool = False,
) -> go.Figure:
    """The image, a heatmap per network on one scale, and the first two's difference; hovering tells the values.

    Traces: for each panel the image or a heatmap, and a cross named "cross"; lines named "line", whose `meta` is their
    number in `PageParts.lines`.

    Args:
        gradients, heatmaps, measures, true_class, labels, difference, gamma, theme: as of `draw_comparison`.
        opacity: of the maps over the image in grey, 0 to 1; below that they are as opaque as they are strong, as in
            `draw_overlay`.
        revision: of the image: a browser keeps its zoom as long as it stays.
        fluid: as large as the page makes it and without a title, for a page that has its own words; else of fixed size,
            and on the image lies something to click on, a heatmap named "click".

    Raises:
        ArgumentError: as of `draw_comparison`.
    """
    import plotly.graph_objects as go

    look, image = get_look(theme), gradients[0].image
    known = {"measures": measures, "true_class": true_class, "labels": labels}
    parts = to_parts(gradients, heatmaps, difference=difference, gamma=gamma, **known)
    cells = _lay_out(len(parts.names))
    where = {"hovertemplate": "x %{x}, y %{y}<extra></extra>"} | _axes_of(0)
    data = [{"type": "image", "source": to_data_url(image), "name": "image"} | where]
    if not fluid:
        cover = {"type": "heatmap", "z": np.zeros(image.shape[:2], np.int8), "opacity": 0, "showscale": False}
        data += [cover | {"name": "click"} | where]
    data += [_to_map(parts, number, opacity) for number in range(1, len(cells))]
    data += _to_lines(parts, [one.colour for one in list_outlines(gradients, "", None, look)])
    data += [mark | _axes_of(number) for number in range(len(cells)) for mark in to_cross(parts.pixel, look)]
    layout = to_plotly_layout(look) | _to_axes(cells, image.shape, look)
    scales = _to_scales(look, gamma, signed=parts.signed)
    for number, (axis, scale) in enumerate(zip(parts.axes, scales, strict=True)):
        bar = _bar_at(number) | axis["colorbar"]
        layout[("coloraxis", "coloraxis2")[number]] = axis | {"colorscale": scale, "colorbar": bar}
    layout |= {
        "annotations": [_to_heading(name, cell, look) for name, cell in zip(parts.names, cells, strict=True)],
        "margin": _MARGIN,
        "showlegend": False,
        "dragmode": "zoom",
        "uirevision": revision,
        "meta": {"theme": theme, "gamma": gamma},
    }
    grey = to_data_url(to_grey(image))
    layout["images"] = [_to_background(grey, number, image.shape) for number in range(1, len(cells))]
    if not fluid:
        layout |= _fix_size(cells, image.shape)
        layout["title"] = {"text": parts.title, "x": 0.02, "y": 0.98, "yanchor": "top"}
    # In one go: plotly checks every update anew, which took longer than all the rest.
    return go.Figure({"data": data, "layout": layout})


def _to_lines(parts: PageParts, colours: Sequence[str]) -> list[dict[str, Any]]:
    """The outlines in the image, each on a dark rim, and the contours in the maps."""
    common = {"type": "scatter", "mode": "lines", "name": "line", "hoverinfo": "skip"}
    traces: list[dict[str, Any]] = []
    for number, (x, y) in enumerate(parts.lines):
        path = common | {"x": x, "y": y, "meta": number}
        if number < OUTLINES:
            line = {
                "color": ("#ffffff", *colours)[number],
                "width": 1.6,
                "dash": ("solid", "dash", "dot")[number],
            }
            path |= _axes_of(0)
            traces.append(path | {"line": {"color": "#000000", "width": 3.2}, "opacity": 0.5})
        else:
            panel, dash = divmod(number - OUTLINES, len(CONTOURS))
            line = {"color": _contour_colour(parts), "width": 1.2, "dash": ("solid", "dash")[dash]}
            path |= _axes_of(panel + 1)
        traces.append(path | {"line": line})
    return traces


def update_page(figure: Any, parts: PageParts) -> None:
    """Put another look into a page (a plotly Figure or FigureWidget) of the same image and networks."""
    maps = [drawn for drawn in figure.data if drawn.type == "heatmap" and drawn.name != "click"]
    y, x = parts.pixel
    with figure.batch_update():
        for drawn, values in zip(maps, parts.maps, strict=True):
            drawn.z = shrink(values, MOST_SHOWN)[0].astype(np.float32)
        for drawn in figure.data:
            if drawn.name == "cross":
                drawn.x, drawn.y = [x], [y]
            elif drawn.name == "line":
                drawn.x, drawn.y = parts.lines[int(drawn.meta)]
                if drawn.meta >= OUTLINES:
                    drawn.line.color = _contour_colour(parts)
        for annotation, name in zip(figure.layout.annotations, parts.names, strict=True):
            annotation.text = name
        figure.layout.title.text = parts.title
        for axis, changed in zip(
            (figure.layout.coloraxis, figure.layout.coloraxis2), parts.axes, strict=True
        ):
            axis.update(changed)
        style = figure.layout.meta
        scales = _to_scales(get_look(style["theme"]), style["gamma"], signed=parts.signed)
        figure.layout.coloraxis.colorscale, figure.layout.coloraxis2.colorscale = scales


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


def _contour_colour(parts: PageParts) -> str:
    return "#000000" if parts.signed else "#ffffff"


def _to_scales(look: Look, gamma: float, *, signed: bool) -> list[list[Any]]:
    """Colours of the maps' axis and of the difference's."""
    scales = [(look.diverging if signed else _OVERLAY, signed), (look.diverging, True)]
    return [fade(to_colour_stops(cmap, gamma=gamma, signed=signed), signed=signed) for cmap, signed in scales]


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
