"""The first page's figure: the image, two heatmaps on one scale, and their signed difference, for a screen."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import numpy as np

from icnn_viz.figures.maps import SQRT, HeatScale, fit_scale, name_of, unit_of
from icnn_viz.figures.overlay import to_grey
from icnn_viz.figures.panels import format_value
from icnn_viz.figures.screen import to_colour_stops, to_cross, to_data_url
from icnn_viz.figures.style import Look, get_look, shorten, to_plotly_layout
from icnn_viz.records import PixelComparison

if TYPE_CHECKING:
    import plotly.graph_objects as go

MOST_SHOWN = 400_000
"""Pixels of a map that a browser is sent; larger ones are shown by the largest value of each block."""
_COLUMNS, _ROWS = ([0.0, 0.475], [0.525, 1.0]), ([0.54, 1.0], [0.0, 0.46])
_CELLS = {0: ("x", "y"), 1: ("x2", "y2"), 2: ("x3", "y3"), 3: ("x4", "y4")}


def draw_answer(
    answer: PixelComparison, *, opacity: float = 1.0, revision: str = "", theme: str = "light"
) -> go.Figure:
    """Image and difference on the left, the first two networks' maps on the right, under one another; zooms are shared.

    The maps lie over the image in grey. Colours go with the square root of the value; the colour bars are linear in
    the value.

    Args:
        opacity: of the maps, 0 to 1.
        revision: of the image: a browser keeps its zoom as long as it stays.
    """
    import plotly.graph_objects as go

    look = get_look(theme)
    first, second = answer.heatmaps[0].values, answer.heatmaps[1].values
    unit, name = unit_of(answer.gradients[0].method), name_of(answer.gradients[0].method)
    scale, signed = fit_scale([first, second], unit=unit), fit_scale([first - second], unit=unit)
    names = [shorten(h.network, 40) for h in answer.heatmaps[:2]]
    titles = ["image", names[0], f"{names[0]} − {names[1]}", names[1]]
    photo = {"type": "image", "source": to_data_url(answer.image), "name": "image"}
    data = [
        photo | {"hovertemplate": "x %{x}, y %{y}<extra></extra>"},
        _to_map(first, scale, 1, "coloraxis", names[0], opacity),
        _to_map(first - second, signed, 2, "coloraxis2", "difference", opacity),
        _to_map(second, scale, 3, "coloraxis", names[1], opacity),
    ]
    for x, y in _CELLS.values():
        data += [mark | {"xaxis": x, "yaxis": y} for mark in to_cross(answer.pixel, look)]
    grey = to_data_url(to_grey(answer.image))
    layout = to_plotly_layout(look) | _to_axes(first.shape, look)
    layout |= {
        "margin": {"l": 48, "r": 26, "t": 54, "b": 96},
        "annotations": [_to_title(title, cell, look) for cell, title in enumerate(titles)],
        "images": [_to_background(grey, cell, first.shape) for cell in (1, 2, 3)],
        "coloraxis": _to_scale(scale, look, name, left=0.54, signed=False),
        "coloraxis2": _to_scale(signed, look, "difference", left=0.02, signed=True),
        "showlegend": False,
        "dragmode": "zoom",
        "uirevision": revision,
    }
    # In one go: plotly checks every update anew, which took longer than all the rest.
    return go.Figure({"data": data, "layout": layout})


def shrink(values: np.ndarray, most: int = MOST_SHOWN) -> tuple[np.ndarray, int]:
    """A map of at most `most` pixels, and the side of the blocks of which each is the value of largest magnitude."""
    side = int(np.ceil(np.sqrt(values.size / most)))
    if side <= 1:
        return values, 1
    rows, columns = (-(-n // side) for n in values.shape)
    padded = np.zeros((rows * side, columns * side))
    padded[: values.shape[0], : values.shape[1]] = values
    blocks = padded.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(rows, columns, -1)
    largest = np.abs(blocks).argmax(-1)[..., None]
    return np.take_along_axis(blocks, largest, -1)[..., 0], side


def _to_map(
    values: np.ndarray, scale: HeatScale, cell: int, axis: str, name: str, opacity: float
) -> dict[str, Any]:
    shown, side = shrink(values)
    start = (side - 1) / 2
    x, y = _CELLS[cell]
    place = {"x0": start, "dx": side, "y0": start, "dy": side, "xaxis": x, "yaxis": y}
    hover = "x %{x:.0f}, y %{y:.0f}<br>%{z:.3g}<extra></extra>"
    looks = {"coloraxis": axis, "opacity": opacity, "name": name, "hovertemplate": hover}
    return {"type": "heatmap", "z": shown.astype(np.float32), **place, **looks}


def _to_scale(scale: HeatScale, look: Look, name: str, *, left: float, signed: bool) -> dict[str, Any]:
    ticks = [scale.top * part for part in ((-1, -0.5, 0, 0.5, 1) if signed else (0, 0.25, 0.5, 0.75, 1))]
    over = ["≤ ", "", "", "", "≥ "] if signed else ["", "", "", "", "≥ "]
    labels = [
        (mark if scale.beyond else "") + format_value(tick) for mark, tick in zip(over, ticks, strict=True)
    ]
    bar = {
        "orientation": "h",
        "x": left,
        "xanchor": "left",
        "len": 0.435,
        "y": 0,
        "yanchor": "top",
        "ypad": 44,
    }
    bar |= {"thickness": 12, "tickvals": ticks, "ticktext": labels, "outlinewidth": 0, "xpad": 0}
    title = {"text": f"{name} ({scale.unit})", "side": "bottom", "font": {"size": 11}}
    bar |= {"title": title, "tickfont": {"size": 11}, "ticks": "outside", "ticklen": 3}
    return {
        "cmin": -scale.top if signed else 0,
        "cmax": scale.top,
        "colorscale": to_colour_stops(
            look.diverging if signed else look.sequential, gamma=SQRT, signed=signed
        ),
        "colorbar": bar,
    }


def _to_title(text: str, cell: int, look: Look) -> dict[str, Any]:
    x, y = sum(_COLUMNS[cell % 2]) / 2, _ROWS[cell // 2][1]
    place = {"x": x, "y": y, "xref": "paper", "yref": "paper", "xanchor": "center", "yanchor": "bottom"}
    return place | {"text": html.escape(text), "showarrow": False, "font": {"size": 13, "color": look.text}}


def _to_background(source: str, cell: int, shape: tuple[int, ...]) -> dict[str, Any]:
    x, y = _CELLS[cell]
    place = {"xref": x, "yref": y, "x": -0.5, "y": -0.5, "sizex": shape[1], "sizey": shape[0]}
    return place | {"source": source, "sizing": "stretch", "layer": "below", "yanchor": "top"}


def _to_axes(shape: tuple[int, ...], look: Look) -> dict[str, Any]:
    """Axes in pixels over all four panels, y downwards; zooming into one zooms into all."""
    line = {"zeroline": False, "showgrid": False, "color": look.muted, "ticks": "outside", "ticklen": 3}
    line |= {"tickfont": {"size": 11}, "constrain": "domain"}
    bare = {"showticklabels": False, "ticks": ""}
    axes: dict[str, Any] = {}
    for cell in range(4):
        number = "" if cell == 0 else str(cell + 1)
        shared = {"matches": "x"} if cell else {}
        across = line | shared | {"range": [-0.5, shape[1] - 0.5], "domain": _COLUMNS[cell % 2]}
        across |= {"anchor": f"y{number}"} | (_to_name("x (pixels)") if cell > 1 else bare)
        shared = {"matches": "y"} if cell else {}
        down = line | shared | {"range": [shape[0] - 0.5, -0.5], "domain": _ROWS[cell // 2]}
        down |= {"anchor": f"x{number}", "scaleanchor": "x", "constraintoward": "top"}
        down |= bare if cell % 2 else _to_name("y (pixels)")
        axes |= {f"xaxis{number}": across, f"yaxis{number}": down}
    return axes


def _to_name(text: str) -> dict[str, Any]:
    return {"title": {"text": text, "font": {"size": 12}, "standoff": 4}}
