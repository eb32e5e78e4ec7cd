"""Heatmaps of one pixel side by side, to hover over and zoom into together: the page beside `draw_comparison`."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from icnn_viz.figures.comparison import check_comparable, describe_target
from icnn_viz.figures.maps import fit_scale, name_of, unit_of
from icnn_viz.figures.panels import format_value
from icnn_viz.figures.screen import to_colour_stops, to_cross, to_data_url
from icnn_viz.figures.style import Look, get_look, to_plotly_layout
from icnn_viz.records import Heatmap, PixelGradient

if TYPE_CHECKING:
    import plotly.graph_objects as go

_WIDTH = 420  # of a panel, in CSS pixels
_TOP, _BELOW, _GAP = 100, 90, 70


@dataclass(frozen=True)
class PageParts:
    """What of a page depends on the pixel that is looked at, to be put into a figure that stands already.

    Attributes:
        maps: values (H, W) per network, then their difference (the first minus the second).
        tops: the end of the maps' shared scale, and of the difference's, symmetric about 0.
        pixel: (y, x).
        title: of the page.
        names: of the panels: the image, then as `maps`.
        bars: what the two colour bars say.
    """

    maps: list[np.ndarray]
    tops: tuple[float, float]
    pixel: tuple[int, int]
    title: str
    names: list[str]
    bars: tuple[str, str]


def draw_comparison_interactive(
    gradients: Sequence[PixelGradient],
    heatmaps: Sequence[Heatmap],
    *,
    gamma: float = 0.5,
    theme: str = "light",
) -> go.Figure:
    """The image, a heatmap per network on one scale, and the first two's difference; hovering tells the values.

    Arguments and errors: as of `draw_comparison`. Traces: for each panel a heatmap that covers it, named "click" on the
    image, and a cross named "cross".
    """
    from plotly.subplots import make_subplots

    look = get_look(theme)
    parts = to_parts(gradients, heatmaps, gamma=gamma)
    panels = len(parts.names)
    columns = 2 if panels <= 4 else 3
    rows = -(-panels // columns)
    height, width = parts.maps[0].shape
    tall = rows * _WIDTH * height / width
    whole = tall + _TOP + _BELOW + (rows - 1) * _GAP
    figure: Any = make_subplots(
        rows,
        columns,
        subplot_titles=parts.names,
        horizontal_spacing=0.07,
        vertical_spacing=_GAP / (tall + (rows - 1) * _GAP) if rows > 1 else 0,
    )
    places = [(number // columns + 1, number % columns + 1) for number in range(panels)]
    for number, (row, column) in enumerate(places):
        for trace in _to_traces(number, parts, gradients[0].image, look):
            figure.add_trace(trace, row=row, col=column)
    axis = {"gridcolor": look.grid, "zeroline": False, "showgrid": False, "constrain": "domain"}
    figure.update_xaxes(axis | {"range": [-0.5, width - 0.5], "matches": "x"})
    figure.update_yaxes(axis | {"range": [height - 0.5, -0.5]})
    figure.update_xaxes(title_text="x (pixels)", title_standoff=4, row=rows)
    figure.update_yaxes(title_text="y (pixels)", title_standoff=4, col=1)
    figure.update_annotations(font_size=13)
    for number in range(panels):  # each panel's pixels are square, and all zoom together
        suffix = str(number + 1) if number else ""
        figure.layout[f"yaxis{suffix}"].update(scaleanchor=f"x{suffix}", matches="y" if number else None)
    figure.update_layout(
        to_plotly_layout(look)
        | {
            "title": {"text": parts.title, "x": 0.02, "y": 0.98, "yanchor": "top"},
            "coloraxis": _to_axis(parts, 0, look.sequential, gamma),
            "coloraxis2": _to_axis(parts, 1, look.diverging, gamma),
            "margin": {"l": 60, "r": 20, "t": _TOP, "b": _BELOW},
            "height": round(whole),
            "width": columns * (_WIDTH + 70),
            "showlegend": False,
            "dragmode": "zoom",
        }
    )
    return figure


def to_parts(
    gradients: Sequence[PixelGradient], heatmaps: Sequence[Heatmap], *, gamma: float = 0.5
) -> PageParts:
    """What changes on the page of `draw_comparison_interactive` when another pixel, class or method is looked at.

    Raises:
        ArgumentError: maps that cannot be compared.
    """
    check_comparable(gradients, heatmaps)
    maps = [heatmap.values for heatmap in heatmaps]
    difference = maps[0] - maps[1]
    tops = tuple(fit_scale(shown, gamma=gamma).top for shown in (maps, [difference]))
    models = [
        f"{html.escape(g.network)}: logit {format_value(g.logit)}, predicted {html.escape(g.predicted_name)}"
        for g in gradients
    ]
    names = ["image", *models, html.escape(f"{heatmaps[0].network} − {heatmaps[1].network}")]
    what = f"What {html.escape(describe_target(gradients[0]))} depends on"
    title = f"<b>{what}</b><br><sub>method: {gradients[0].method}; reduced by {heatmaps[0].reduction}</sub>"
    unit = html.escape(unit_of(gradients[0].method))
    bars = (f"{html.escape(name_of(gradients[0].method))} ({unit})", f"difference ({unit})")
    return PageParts([*maps, difference], (tops[0], tops[1]), heatmaps[0].pixel, title, names, bars)


def update_page(figure: Any, parts: PageParts) -> None:
    """Put another look into a page (a plotly Figure or FigureWidget) of the same image and networks."""
    maps = [trace for trace in figure.data if trace.type == "heatmap" and trace.name != "click"]
    y, x = parts.pixel
    with figure.batch_update():
        for trace, values in zip(maps, parts.maps, strict=True):
            trace.z = values.astype(np.float32)
        for trace in figure.data:
            if trace.name == "cross":
                trace.x, trace.y = [x], [y]
        for annotation, name in zip(figure.layout.annotations, parts.names, strict=True):
            annotation.text = name
        figure.layout.title.text = parts.title
        for axis, top, bar, low in zip(
            (figure.layout.coloraxis, figure.layout.coloraxis2), parts.tops, parts.bars, (0, -1), strict=True
        ):
            axis.update(cmin=low * top, cmax=top)
            axis.colorbar.title.text = bar


def _to_traces(number: int, parts: PageParts, image: np.ndarray, look: Look) -> list[Any]:
    """A panel's: the photo and something to click on, or a map; and on both the cross."""
    import plotly.graph_objects as go

    crosses = to_cross(parts.pixel, look)
    if number == 0:
        cover = np.zeros(image.shape[:2], np.int8)
        where = "x %{x}, y %{y}<extra></extra>"
        click = go.Heatmap(z=cover, opacity=0, showscale=False, name="click", hovertemplate=where)
        return [go.Image(source=to_data_url(image), hoverinfo="skip"), click, *crosses]
    shown = go.Heatmap(
        z=parts.maps[number - 1].astype(np.float32),
        coloraxis="coloraxis2" if number == len(parts.maps) else "coloraxis",
        name="map",
        hovertemplate="x %{x}, y %{y}<br>%{z:.3g}<extra></extra>",
    )
    return [shown, *crosses]


def _to_axis(parts: PageParts, number: int, cmap: str, gamma: float) -> dict[str, Any]:
    """The first (maps) or second (difference) colour axis, its colours by value ** gamma, its bar below the panels."""
    top, signed = parts.tops[number], number == 1
    bar = {"orientation": "h", "x": (0.24, 0.76)[number], "len": 0.44, "thickness": 10}
    bar |= {"yref": "container", "y": 0.02, "yanchor": "bottom", "exponentformat": "power", "nticks": 5}
    bar["title"] = {"text": parts.bars[number], "side": "bottom"}
    scale = to_colour_stops(cmap, gamma=gamma, signed=signed)
    return {"colorscale": scale, "cmin": -top if signed else 0, "cmax": top, "colorbar": bar}
