"""The first page's figure: the image, two heatmaps on one scale, and their signed difference, for a screen."""

from __future__ import annotations

import base64
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from icnn_viz.explorer.session import Answer
from icnn_viz.figures.maps import HeatScale, fit_scale, name_of, unit_of
from icnn_viz.figures.overlay import to_grey
from icnn_viz.figures.panels import format_value
from icnn_viz.figures.style import Look, get_look, shorten, to_plotly_layout

if TYPE_CHECKING:
    import plotly.graph_objects as go

MOST_SHOWN = 400_000
"""Pixels of a map that a browser is sent; larger ones are shown by the largest value of each block."""
_STOPS = 65
_CELLS = {0: ("x", "y"), 1: ("x2", "y2"), 2: ("x3", "y3"), 3: ("x4", "y4")}


def draw_answer(answer: Answer, *, opacity: float = 1.0, theme: str = "light") -> go.Figure:
    """Image and difference on the left, the first two networks' maps on the right, under one another; zooms are shared.

    The maps lie over the image in grey. Colours go with the square root of the value; the colour bars are linear in
    the value.

    Args:
        opacity: of the maps, 0 to 1.
    """
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    look = get_look(theme)
    first, second = answer.heatmaps[0].values, answer.heatmaps[1].values
    height, width = first.shape
    unit = unit_of(answer.gradients[0].method)
    scale, signed = fit_scale([first, second], unit=unit), fit_scale([first - second], unit=unit)
    names = [shorten(h.model, 40) for h in answer.heatmaps[:2]]
    titles = ["image", names[0], f"{names[0]} − {names[1]}", names[1]]
    figure = make_subplots(2, 2, subplot_titles=titles, horizontal_spacing=0.16, vertical_spacing=0.09)
    figure.update_layout(to_plotly_layout(look) | {"margin": {"l": 48, "r": 12, "t": 28, "b": 36}})
    photo = {"dx": 1, "dy": 1, "hovertemplate": "x %{x}, y %{y}<extra></extra>"}
    figure.add_trace(go.Image(source=to_data_url(answer.picture.image), name="image", **photo), 1, 1)
    figure.add_trace(_to_map(first, scale, "coloraxis", names[0], opacity), 1, 2)
    figure.add_trace(_to_map(first - second, signed, "coloraxis2", "difference", opacity), 2, 1)
    figure.add_trace(_to_map(second, scale, "coloraxis", names[1], opacity), 2, 2)
    grey = to_data_url(to_grey(answer.picture.image))
    for cell in (1, 2, 3):
        figure.add_layout_image(_to_background(grey, cell, width, height))
    for cell in range(4):
        for trace in _to_cross(answer.gradients[0].pixel, cell, look):
            figure.add_trace(trace)
    name = name_of(answer.gradients[0].method)
    figure.update_layout(
        coloraxis=_to_scale(scale, look, name, left=1.005, signed=False),
        coloraxis2=_to_scale(signed, look, "difference", left=0.425, signed=True),
        showlegend=False,
        dragmode="zoom",
        uirevision=answer.picture.key,
    )
    _set_axes(figure, width, height, look)
    return figure


def to_data_url(image: np.ndarray) -> str:
    """(H, W, 3) uint8 as a JPEG in a data URL."""
    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=92, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


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


@cache
def to_colorscale(name: str, *, signed: bool) -> list[list[Any]]:
    """A matplotlib colour map as plotly's stops, so that colours go with the square root of the value."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    parts = np.linspace(-1 if signed else 0, 1, 2 * _STOPS - 1 if signed else _STOPS)
    values = np.sign(parts) * parts**2
    places, shades = ((values + 1) / 2, (parts + 1) / 2) if signed else (values, parts)
    return [[float(p), to_hex(colormaps[name](float(s)))] for p, s in zip(places, shades, strict=True)]


def _to_map(values: np.ndarray, scale: HeatScale, axis: str, name: str, opacity: float) -> go.Heatmap:
    import plotly.graph_objects as go

    shown, side = shrink(values)
    start = (side - 1) / 2
    return go.Heatmap(
        z=shown.astype(np.float32),
        x0=start,
        dx=side,
        y0=start,
        dy=side,
        coloraxis=axis,
        opacity=opacity,
        name=name,
        hovertemplate="x %{x:.0f}, y %{y:.0f}<br>%{z:.3g}<extra></extra>",
    )


def _to_scale(scale: HeatScale, look: Look, name: str, *, left: float, signed: bool) -> dict[str, Any]:
    ticks = [scale.top * part for part in ((-1, -0.5, 0, 0.5, 1) if signed else (0, 0.25, 0.5, 0.75, 1))]
    over = ["≤ ", "", "", "", "≥ "] if signed else ["", "", "", "", "≥ "]
    labels = [
        (mark if scale.beyond else "") + format_value(tick) for mark, tick in zip(over, ticks, strict=True)
    ]
    unit = "<br>".join(f"{name} ({scale.unit})".replace(" per ", "<br>per ").split("<br>"))
    bar = {"x": left, "xanchor": "left", "y": 0.215 if signed else 0.5, "len": 0.43 if signed else 0.9}
    bar |= {"thickness": 12, "tickvals": ticks, "ticktext": labels, "outlinewidth": 0, "ticks": "outside"}
    bar |= {"title": {"text": unit, "side": "right", "font": {"size": 11}}, "tickfont": {"size": 11}}
    return {
        "cmin": -scale.top if signed else 0,
        "cmax": scale.top,
        "colorscale": to_colorscale(look.diverging if signed else look.sequential, signed=signed),
        "colorbar": bar,
    }


def _to_background(source: str, cell: int, width: int, height: int) -> dict[str, Any]:
    x, y = _CELLS[cell]
    place = {"xref": x, "yref": y, "x": -0.5, "y": -0.5, "sizex": width, "sizey": height}
    return place | {"source": source, "sizing": "stretch", "layer": "below", "yanchor": "top"}


def _to_cross(pixel: tuple[int, int], cell: int, look: Look) -> list[go.Scatter]:
    """A red cross with a white and a dark rim, so that it is seen on anything, by anyone."""
    import plotly.graph_objects as go

    x, y = _CELLS[cell]
    return [
        go.Scatter(
            x=[pixel[1]],
            y=[pixel[0]],
            xaxis=x,
            yaxis=y,
            mode="markers",
            marker={"symbol": "x-thin", "size": size, "line": {"width": rim, "color": colour}},
            hoverinfo="skip",
            cliponaxis=False,
        )
        for colour, rim, size in (("#000000", 6, 15), ("#ffffff", 4, 14), (look.cross, 2, 13))
    ]


def _set_axes(figure: go.Figure, width: int, height: int, look: Look) -> None:
    line = {"zeroline": False, "showgrid": False, "color": look.muted, "ticks": "outside", "ticklen": 3}
    line |= {"tickfont": {"size": 11}, "title_font": {"size": 12}, "title_standoff": 4, "constrain": "domain"}
    figure.update_xaxes(range=[-0.5, width - 0.5], matches="x", **line)
    figure.update_yaxes(range=[height - 0.5, -0.5], matches="y", scaleanchor="x", **line)
    figure.update_xaxes(matches=None, row=1, col=1)
    figure.update_yaxes(matches=None, row=1, col=1)
    figure.update_xaxes(title_text="x (pixels)", row=2)
    figure.update_yaxes(title_text="y (pixels)", col=1)
    figure.update_annotations(font={"size": 13, "color": look.text})
