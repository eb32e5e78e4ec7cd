"""Position clouds in space on a page to turn and hover over, a menu to choose the layer."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from icnn_core.errors import ArgumentError
from icnn_viz.figures.clouds import count_hidden, describe
from icnn_viz.figures.marks import view_half_width
from icnn_viz.figures.screen import choose_evenly
from icnn_viz.figures.style import Look, get_look, shorten, slot_colours, to_plotly_layout
from icnn_viz.figures.third_axis import check_third_axis, to_density, to_levels
from icnn_viz.records import SHARING, PositionCloud

if TYPE_CHECKING:
    import plotly.graph_objects as go

PAGE_BYTES = 1_400_000
"""What a page may hold beyond plotly.js itself; layers are thinned to fit."""
_CELLS = 56


def draw_cloud_interactive(
    clouds: Sequence[PositionCloud], *, third_axis: str = "channel", theme: str = "light"
) -> go.Figure:
    """The clouds of all layers on one page; hovering names channel, slot and position.

    A click on a slot in the legend hides it, a double click shows it alone. Layers with more points than their share
    of `PAGE_BYTES` are thinned by whole shapes, and the title says so.

    Args:
        third_axis: the third axis: "channel", "weight" or, as a surface over all slots, "density".

    Raises:
        ArgumentError: no clouds. NameNotFoundError: another third axis.
    """
    import plotly.graph_objects as go

    check_third_axis(third_axis)
    if not clouds:
        raise ArgumentError(
            "draw_cloud_interactive",
            needed="at least one cloud",
            got="none",
            fix="Read a checkpoint with irregular layers.",
        )
    look = get_look(theme)
    figure = go.Figure(layout=to_plotly_layout(look))
    shares = _share_out(clouds, third_axis)
    owners: list[int] = []
    for number, (cloud, share) in enumerate(zip(clouds, shares, strict=True)):
        traces = (
            [_to_surface(cloud, look)] if third_axis == "density" else _to_traces(cloud, share, third_axis)
        )
        for trace in traces:
            trace.visible = number == 0
        owners += [number] * len(traces)
        figure.add_traces(traces)
    views = [_to_view(cloud, share, third_axis, look) for cloud, share in zip(clouds, shares, strict=True)]
    legend = {"title": {"text": "slot: (y, x)"}, "itemsizing": "constant", "x": 1.0, "xanchor": "right"}
    figure.update_layout(views[0] | {"legend": legend})
    if len(clouds) > 1:
        figure.update_layout(updatemenus=[_to_menu(clouds, owners, views, look)])
    return figure


def _to_menu(
    clouds: Sequence[PositionCloud], owners: Sequence[int], views: Sequence[dict[str, Any]], look: Look
) -> dict[str, Any]:
    """A menu of layers: each shows its own traces, with its title and axes."""
    buttons = [
        {
            "label": html.escape(shorten(cloud.layer, 44)),
            "method": "update",
            "args": [{"visible": [owner == number for owner in owners]}, view],
        }
        for number, (cloud, view) in enumerate(zip(clouds, views, strict=True))
    ]
    place = {"x": 0.0, "xanchor": "left", "y": 1.0, "yanchor": "top"}
    return {"buttons": buttons, **place, "bgcolor": look.grid, "showactive": True, "font": {"size": 12}}


def _share_out(clouds: Sequence[PositionCloud], third_axis: str) -> list[int]:
    """How many shapes of each layer fit on the page: all of the small layers', as many of each large one's."""
    sizes = [len(cloud.points) for cloud in clouds]
    if third_axis == "density":
        return sizes
    traces = sum(len(cloud.slots) for cloud in clouds)
    left = max(PAGE_BYTES - 600 * traces - (7 * traces + 1600) * len(clouds), PAGE_BYTES // 10)
    costs = [len(cloud.slots) * _bytes(cloud, third_axis) for cloud in clouds]
    shares = [0] * len(clouds)
    order = sorted(range(len(clouds)), key=lambda number: sizes[number] * costs[number])
    for rank, number in enumerate(order):
        shares[number] = max(min(sizes[number], left // (len(order) - rank) // costs[number]), 1)
        left -= shares[number] * costs[number]
    return shares


def _bytes(cloud: PositionCloud, third_axis: str) -> int:
    """What a point takes as base64: three numbers, and its kernel and channel where the third does not say them."""
    return 22 if third_axis == "weight" or cloud.sharing == "none" else 14


def _to_traces(cloud: PositionCloud, share: int, third_axis: str) -> list[go.Scatter3d]:
    """One trace a slot, over evenly chosen shapes."""
    import plotly.graph_objects as go

    levels, word = to_levels(cloud, third_axis)
    shown = choose_evenly(len(levels), share)
    named = third_axis == "weight" or cloud.sharing == "none"
    what = SHARING[cloud.sharing].hover if named else word + " %{z}"
    what += "<br>" + word + " %{z:.3g}" if third_axis == "weight" else ""
    small = third_axis == "channel" and len(levels) <= 32_767
    traces = []
    for slot, (colour, place) in enumerate(zip(slot_colours(cloud.slots), cloud.slots, strict=True)):
        finite = np.isfinite(cloud.points[shown, slot]).all(-1)
        index = shown[finite]
        points = cloud.points[index, slot].astype(np.float32)
        name = f"{slot}: ({place[0]:g}, {place[1]:g})"
        origin = np.stack(np.divmod(index, cloud.positions.shape[1]), 1).astype(np.int16) if named else None
        traces.append(
            go.Scatter3d(
                x=points[:, 1],
                y=points[:, 0],
                z=levels[index, slot].astype(np.int16 if small else np.float32),
                mode="markers",
                marker={"size": 1.7 if share > 400 else 3.0, "color": colour, "opacity": 0.85},
                name=name,
                customdata=origin,
                hovertemplate=f"{what}<br>slot {name}<br>y %{{y:.3f}}<br>x %{{x:.3f}}<extra></extra>",
            )
        )
    return traces


def _to_surface(cloud: PositionCloud, look: Look) -> go.Surface:
    import plotly.graph_objects as go

    places, density = to_density(cloud, view_half_width([cloud]), _CELLS)
    return go.Surface(
        x=places.astype(np.float32),
        y=places.astype(np.float32),
        z=density.astype(np.float32),
        colorscale=look.sequential,
        showscale=False,
        hovertemplate="y %{y:.2f}<br>x %{x:.2f}<br>density %{z:.3g}<extra></extra>",
    )


def _to_view(cloud: PositionCloud, share: int, third_axis: str, look: Look) -> dict[str, Any]:
    """Title and axes of a layer, in the flat form that a menu button takes."""
    half_width = view_half_width([cloud])
    shapes = len(cloud.points)
    thinned = [f"{share:,} of {shapes:,} shapes shown"] if share < shapes else []
    notes = "".join(f"; {note}" for note in [*thinned, *count_hidden(cloud, half_width, limit=None)])
    axis = {"color": look.text, "gridcolor": look.grid, "zerolinecolor": look.muted}
    axis["backgroundcolor"] = look.background
    upwards: dict[str, Any] = {"title": {"text": "points per px² and shape"}, "rangemode": "tozero"}
    if third_axis != "density":
        upwards["title"] = {"text": to_levels(cloud, third_axis)[1]}
    if third_axis == "channel":
        upwards["range"] = [-0.5, max(shapes - 0.5, 0.5)]
        upwards |= {"dtick": 1} if shapes <= 10 else {}
    return {
        "title.text": f"<b>{html.escape(cloud.layer)}</b><br><sub>{describe(cloud)}{notes}</sub>",
        "scene": {
            "xaxis": axis | {"title": {"text": "x (px from centre)"}, "range": [-half_width, half_width]},
            "yaxis": axis | {"title": {"text": "y (px from centre)"}, "range": [half_width, -half_width]},
            "zaxis": axis | upwards,
            "aspectmode": "manual",
            "aspectratio": {"x": 1, "y": 1, "z": 1.05},
            "camera": {"eye": {"x": 0.75, "y": -1.85, "z": 0.95}, "center": {"x": 0, "y": 0, "z": -0.12}},
        },
    }
