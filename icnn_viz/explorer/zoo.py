"""The second page's choice of shapes: those of a layer that changed most, side by side, to be clicked on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from icnn_viz.explorer.kernel_figures import plane_factor
from icnn_viz.figures.marks import describe_factor, tap_colours
from icnn_viz.figures.scales import spread_out
from icnn_viz.figures.style import get_look, to_plotly_layout
from icnn_viz.figures.zoo import glyph_half_width, most_changed
from icnn_viz.records import SHARING, PositionCloud

if TYPE_CHECKING:
    import plotly.graph_objects as go

_COLUMNS = 6
_LARGEST = 9.0  # of a disc, in CSS pixels


def draw_choice(cloud: PositionCloud, channel: int, kernel: int, *, theme: str = "light") -> go.Figure:
    """The shapes of `draw_zoo` in one plane, the one that is looked at in a frame; `customdata` is [kernel, channel].

    Glyphs are those of `draw_glyph`: area is |weight|, colour the slot, weights below zero are hollow. A way that
    leaves its glyph's frame ends there, without a disc.
    """
    import plotly.graph_objects as go

    look, shapes = get_look(theme), most_changed(cloud)
    factor = plane_factor(cloud)
    drawn = spread_out(cloud, factor)
    slots = drawn.slots if cloud.regular else np.zeros((1, 2))
    places = np.stack([drawn.positions[one] for one in shapes])
    half = glyph_half_width(slots if cloud.regular else None, places)
    at = np.stack(np.divmod(np.arange(len(shapes)), _COLUMNS), 1) * np.array([2.9, 2.3]) * half
    moves = places - slots
    with np.errstate(divide="ignore", invalid="ignore"):  # the share of a way that lies in the glyph's frame
        inside = ((half - slots * np.sign(moves)) / np.abs(moves)).min(-1).clip(max=1.0)
        ends = slots + inside[..., None] * moves + at[:, None]
    figure = go.Figure(layout=to_plotly_layout(look))
    who = [[kernel, channel] for kernel, channel in shapes]
    names = [f"{one[0]}, {one[1]}" if cloud.sharing == "none" else f"{one[1]}" for one in who]
    figure.add_scatter(  # something to click on wherever a glyph has no disc
        x=at[:, 1], y=at[:, 0], mode="markers", customdata=who,
        hovertemplate=SHARING[cloud.sharing].hover + "<extra></extra>",
        marker={"symbol": "square", "size": 34, "opacity": 0},
    )  # fmt: skip
    figure.add_scatter(
        x=at[:, 1], y=at[:, 0] - 1.05 * half, mode="text", text=names, textposition="top center",
        textfont={"size": 9, "color": look.muted}, hoverinfo="skip",
    )  # fmt: skip
    crosses = (slots + at[:, None]).reshape(-1, 2)
    size = 4 if len(slots) <= 25 else 2
    mark = {"symbol": "cross-thin", "size": size, "line": {"width": 1, "color": look.muted}}
    figure.add_scatter(x=crosses[:, 1], y=crosses[:, 0], mode="markers", marker=mark, hoverinfo="skip")
    if cloud.regular:
        starts = np.broadcast_to(slots + at[:, None], ends.shape)
        lines = np.stack([starts, ends, np.full_like(ends, np.nan)], 2).reshape(-1, 2)
        line = {"color": look.muted, "width": 1}
        figure.add_scatter(x=lines[:, 1], y=lines[:, 0], mode="lines", line=line, hoverinfo="skip")
    seen = np.where((inside < 1)[..., None], np.nan, ends)
    figure.add_scatter(**_discs(cloud, shapes, seen, theme), hoverinfo="skip")
    tones = [look.accent if one == [kernel, channel] else look.grid for one in who]
    frames = [_frame(place, half, tone) for place, tone in zip(at, tones, strict=True)]
    order = "most changed first" if cloud.regular else "largest weights first"
    title = f"{len(who)} of {len(cloud.points):,} shapes, {order}{describe_factor(factor)}"
    bare = {"visible": False, "fixedrange": True, "constrain": "domain"}
    figure.update_layout(
        title={"text": title, "font": {"size": 12}, "x": 0.02, "y": 0.97},
        margin={"l": 8, "r": 8, "t": 34, "b": 8}, showlegend=False, shapes=frames, hovermode="closest",
    )  # fmt: skip
    figure.update_xaxes(range=[-1.2 * half, (2.3 * (_COLUMNS - 1) + 1.2) * half], **bare)
    figure.update_yaxes(range=[at[:, 0].max() + 1.2 * half, -1.9 * half], scaleanchor="x", **bare)
    return figure


def _discs(
    cloud: PositionCloud, shapes: list[tuple[int, int]], ends: np.ndarray, theme: str
) -> dict[str, Any]:
    """A disc for every weight, those of a glyph from the largest down, so that none is hidden."""
    look, taps = get_look(theme), ends.shape[1]
    weights = np.nan_to_num(np.stack([cloud.weights[one] for one in shapes]))
    order = np.argsort(-np.abs(weights), axis=1, kind="stable")
    weights = np.take_along_axis(weights, order, 1).ravel()
    ends = np.take_along_axis(ends, order[..., None], 1)
    colours = np.array(tap_colours(cloud, look))[order.ravel()]
    below, top = weights < 0, float(np.abs(weights).max()) or 1.0
    largest = _LARGEST * min(1.0, 3 / np.sqrt(taps))
    return {
        "x": ends[..., 1].ravel(),
        "y": ends[..., 0].ravel(),
        "mode": "markers",
        "marker": {
            "size": 1.5 + largest * np.sqrt(np.abs(weights) / top),
            "color": np.where(below, look.background, colours).tolist(),
            "line": {"width": 1, "color": np.where(below, colours, look.background).tolist()},
            "opacity": 1,
        },
    }


def _frame(at: np.ndarray, half: float, colour: str) -> dict[str, Any]:
    (y0, x0), (y1, x1) = at - half, at + half
    corners = {"x0": x0, "x1": x1, "y0": y0, "y1": y1}
    return {"type": "rect", **corners, "layer": "below", "line": {"width": 1, "color": colour}}
