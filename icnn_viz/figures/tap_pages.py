"""The taps of every layer on the image, to go through in a browser: layer by layer, from regular to learnt places."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from icnn_core.errors import ArgumentError
from icnn_viz.figures.screen import to_cross, to_data_url
from icnn_viz.figures.style import get_look, shorten, slot_colours, to_plotly_layout
from icnn_viz.pictures import to_grey
from icnn_viz.records import PixelTaps

if TYPE_CHECKING:
    import plotly.graph_objects as go

MOST_SHOWN = 1500
"""Points of a layer that a browser is sent, the heaviest."""
_STEPS = 5  # from regular to learnt
_DIAMETER, _WHOLE = 26, 60  # px of the largest dot, as long as all together are no more than so many of it


def draw_taps_interactive(layers: Sequence[PixelTaps], chosen: int = 0, *, theme: str = "light") -> go.Figure:
    """One slider goes through layers, one moves their taps from the regular places to the learnt ones.

    Args:
        layers: of one pixel and image, in the network's order.
        chosen: the one to begin with.

    Raises:
        ArgumentError: no layer.
    """
    import plotly.graph_objects as go

    if not layers:
        raise ArgumentError(
            "draw_taps_interactive", needed="taps of a layer", got="none", fix="Choose another pixel."
        )
    look, image = get_look(theme), layers[0].image
    shown = [_heaviest(taps) for taps in layers]
    traces = [_to_trace(taps, number == chosen) for number, taps in enumerate(shown)]
    marks = [f"{100 * step // _STEPS} %" for step in range(_STEPS + 1)]
    frames = [
        {"name": mark, "data": [_to_places(taps, step / _STEPS) for taps in shown], "traces": list(range(len(shown)))}
        for step, mark in enumerate(marks)
    ]  # fmt: skip
    height, width = image.shape[:2]
    line = {"zeroline": False, "showgrid": False, "color": look.muted, "ticks": "outside"}
    line |= {"constrain": "domain"}
    grey = {"source": to_data_url(to_grey(image)), "sizing": "stretch", "layer": "below"}
    grey |= {"xref": "x", "yref": "y"}
    crosses = [mark | {"mode": "markers"} for mark in to_cross(layers[0].pixel, look)]
    layout: dict[str, Any] = to_plotly_layout(look) | {
        "title": {"text": _title(layers[chosen]), "font": {"size": 14}},
        "images": [grey | {"x": -0.5, "y": -0.5, "sizex": width, "sizey": height, "yanchor": "top"}],
        "xaxis": line | {"range": [-0.5, width - 0.5], "title": {"text": "x (pixels)"}},
        "yaxis": line | {"range": [height - 0.5, -0.5], "scaleanchor": "x", "title": {"text": "y (pixels)"}},
        "margin": {"l": 60, "r": 20, "t": 80, "b": 190},
        "showlegend": False,
        "sliders": [_to_layers(shown, chosen, len(crosses)), _to_morph(marks)],
    }
    return go.Figure({"data": [*traces, *crosses], "layout": layout, "frames": frames})


def _heaviest(taps: PixelTaps) -> PixelTaps:
    from dataclasses import replace

    order = np.argsort(-np.abs(taps.weight), kind="stable")[:MOST_SHOWN]
    parts = ("at", "regular", "slot", "channel", "weight")
    return replace(taps, **{name: getattr(taps, name)[order] for name in parts})


def _to_places(taps: PixelTaps, share: float) -> dict[str, Any]:
    at = (taps.regular + share * (taps.at - taps.regular)).astype(np.float32)
    return {"type": "scatter", "x": at[:, 1], "y": at[:, 0]}


def _to_trace(taps: PixelTaps, visible: bool) -> dict[str, Any]:
    size = np.abs(taps.weight) / max(np.abs(taps.weight).max(initial=0.0), 1e-300)
    colours = np.array(slot_colours(taps.slots))[taps.slot]
    hollow = taps.weight < 0
    line = {"width": np.where(hollow, 1.5, 0.6), "color": np.where(hollow, colours, "#ffffff").tolist()}
    symbol, unit = np.where(hollow, "circle-open", "circle"), max(1.0, size.sum() / _WHOLE) / _DIAMETER**2
    marker = {"color": colours.tolist(), "symbol": symbol.tolist(), "line": line}
    marker |= {"size": size.astype(np.float32), "sizemode": "area", "sizeref": unit, "sizemin": 1.5}
    marker["opacity"] = 0.9
    return _to_places(taps, 1.0) | {
        "mode": "markers", "marker": marker, "visible": visible, "name": html.escape(taps.layers[0]),
        "customdata": np.stack([taps.slot, taps.channel, taps.weight], 1).astype(np.float32),
        "hovertemplate": "x %{x:.1f}, y %{y:.1f}<br>slot %{customdata[0]}, channel %{customdata[1]}<br>"
        "weight %{customdata[2]:.3g}<extra></extra>",
    }  # fmt: skip


def _title(taps: PixelTaps) -> str:
    y, x = taps.pixel
    area = f"|weight for “{taps.class_name}”|" if taps.class_name else "size of the weight"
    return f"<b>Where taps land for x = {x}, y = {y}</b><br><sub>area: {html.escape(area)}</sub>"


def _to_layers(layers: Sequence[PixelTaps], chosen: int, crosses: int) -> dict[str, Any]:
    """Shows one layer, and says what its areas mean, which is not the same for all."""
    steps = []
    for number, taps in enumerate(layers):
        visible = [other == number for other in range(len(layers))] + [True] * crosses
        args = [{"visible": visible}, {"title.text": _title(taps)}]
        steps.append({"label": html.escape(shorten(taps.layers[0], 30)), "method": "update", "args": args})
    place = {"pad": {"t": 45}, "active": chosen, "currentvalue": {"prefix": "layer "}}
    return {"steps": steps, **place, "tickcolor": "rgba(0,0,0,0)", "font": {"size": 11}}


def _to_morph(marks: Sequence[str]) -> dict[str, Any]:
    move = {"mode": "immediate", "frame": {"duration": 250, "redraw": False}, "transition": {"duration": 250}}
    steps = [{"label": mark, "method": "animate", "args": [[mark], move]} for mark in marks]
    value = {"prefix": "from regular to learnt places: "}
    place = {"pad": {"t": 130}, "active": len(marks) - 1, "currentvalue": value}
    return {"steps": steps, **place, "font": {"size": 11}}
