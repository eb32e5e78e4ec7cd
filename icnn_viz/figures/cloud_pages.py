"""Position clouds in space on a page to turn and hover over, a menu to choose the layer."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from icnn_core.errors import ArgumentError
from icnn_viz.figures.clouds import count_hidden, describe
from icnn_viz.figures.marks import describe_factor, tap_colours, view_half_width
from icnn_viz.figures.scales import facet_factor, spread_out, takes_facets
from icnn_viz.figures.screen import choose_evenly
from icnn_viz.figures.style import Look, get_look, shorten, to_plotly_layout
from icnn_viz.figures.third_axis import choose_third_axis, to_density, to_levels
from icnn_viz.records import SHARING, PositionCloud

if TYPE_CHECKING:
    import plotly.graph_objects as go

PAGE_BYTES = 1_400_000
"""What a page may hold beyond plotly.js itself; layers are thinned to fit."""
_CELLS = 56


def draw_cloud_interactive(
    clouds: Sequence[PositionCloud], *, third_axis: str = "auto", scale: str = "auto", theme: str = "light"
) -> go.Figure:
    """The clouds of all layers on one page; hovering names channel, slot and position.

    A click on a slot in the legend hides it, a double click shows it alone. Layers with more points than their share
    of `PAGE_BYTES` are thinned by whole shapes, and the title says so.

    Args:
        third_axis: "weight", "density" (a surface over all slots), "channel", or "auto": of each layer density if it
            has many shapes, else weight.
        scale: of displacements, as of `draw_cloud_3d`.

    Raises:
        ArgumentError: no clouds. NameNotFoundError: another third axis or scale.
    """
    import plotly.graph_objects as go

    if not clouds:
        fix = "Read a checkpoint with irregular layers."
        raise ArgumentError("draw_cloud_interactive", needed="at least one cloud", got="none", fix=fix)
    look = get_look(theme)
    figure = go.Figure(layout=to_plotly_layout(look))
    axes = [choose_third_axis(third_axis, cloud) for cloud in clouds]
    factors = [facet_factor(cloud) if takes_facets(scale, cloud) else 1.0 for cloud in clouds]
    clouds = [spread_out(cloud, by) if by > 1 else cloud for cloud, by in zip(clouds, factors, strict=True)]
    shares = _share_out(clouds, axes)
    owners: list[int] = []
    for number, (cloud, share, axis, factor) in enumerate(zip(clouds, shares, axes, factors, strict=True)):
        flat = axis == "density"
        traces = [_to_surface(cloud, look, factor)] if flat else _to_traces(cloud, share, axis, factor, look)
        traces += [_to_posts(cloud, axis, traces, look)] if cloud.regular else []
        for trace in traces:
            trace.visible = number == 0
        owners += [number] * len(traces)
        figure.add_traces(traces)
    views = [_to_view(*of, look) for of in zip(clouds, shares, axes, factors, strict=True)]
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


def _share_out(clouds: Sequence[PositionCloud], axes: Sequence[str]) -> list[int]:
    """How many shapes of each layer fit on the page: all of the small layers', as many of each large one's."""
    sizes = [len(cloud.points) for cloud in clouds]
    surface = [axis == "density" for axis in axes]
    traces = sum(1 if flat else len(cloud.slots) + 2 for cloud, flat in zip(clouds, surface, strict=True))
    left = max(PAGE_BYTES - 600 * traces - (7 * traces + 1600) * len(clouds), PAGE_BYTES // 10)
    left -= sum(surface) * 6 * _CELLS**2
    costs = [len(cloud.slots) * _bytes(cloud, axis) for cloud, axis in zip(clouds, axes, strict=True)]
    shares = list(sizes)
    order = sorted(
        (n for n, flat in enumerate(surface) if not flat), key=lambda number: sizes[number] * costs[number]
    )
    for rank, number in enumerate(order):
        shares[number] = max(min(sizes[number], left // (len(order) - rank) // costs[number]), 1)
        left -= shares[number] * costs[number]
    return shares


def _bytes(cloud: PositionCloud, third_axis: str) -> int:
    """What a point takes as base64: three numbers, and its kernel and channel where the third does not say them."""
    return 22 if third_axis == "weight" or cloud.sharing == "none" else 14


def _to_traces(cloud: PositionCloud, share: int, third_axis: str, factor: float, look: Look) -> list[Any]:
    """One trace a slot, over evenly chosen shapes."""
    import plotly.graph_objects as go

    levels, word = to_levels(cloud, third_axis)
    shown = choose_evenly(len(levels), share)
    named = third_axis == "weight" or cloud.sharing == "none"
    what = SHARING[cloud.sharing].hover if named else word + " %{z}"
    what += "<br>" + word + " %{z:.3g}" if third_axis == "weight" else ""
    where = "<br>y %{y:.3f}<br>x %{x:.3f}" if factor == 1 else ""  # longer ones are no positions
    small = third_axis == "channel" and len(levels) <= 32_767
    traces = []
    for slot, (colour, place) in enumerate(zip(tap_colours(cloud, look), cloud.slots, strict=True)):
        finite = np.isfinite(cloud.points[shown, slot]).all(-1)
        index = shown[finite]
        points = cloud.points[index, slot].astype(np.float32)
        name = f"{slot}: ({place[0]:g}, {place[1]:g})"
        which = f"slot {name}" if cloud.regular else f"weight {slot}"
        origin = np.stack(np.divmod(index, cloud.positions.shape[1]), 1).astype(np.int16) if named else None
        traces.append(
            go.Scatter3d(
                x=points[:, 1],
                y=points[:, 0],
                z=levels[index, slot].astype(np.int16 if small else np.float32),
                mode="markers",
                marker={"size": 1.7 if share > 400 else 3.0, "color": colour, "opacity": 0.85},
                name=name,
                showlegend=cloud.regular,
                customdata=origin,
                hovertemplate=f"{what}<br>{which}{where}<extra></extra>",
            )
        )
    return traces


def _to_posts(cloud: PositionCloud, third_axis: str, traces: Sequence[Any], look: Look) -> go.Scatter3d:
    """A thin line upwards from every slot."""
    import plotly.graph_objects as go

    known = [np.asarray(trace.z)[np.isfinite(trace.z)] for trace in traces]
    ends = [0.0, max((float(one.max()) for one in known if one.size), default=1.0), np.nan]
    y, x = (np.repeat(cloud.slots[:, axis], 3) for axis in (0, 1))
    return go.Scatter3d(
        x=x.astype(np.float32),
        y=y.astype(np.float32),
        z=np.tile(ends, len(cloud.slots)).astype(np.float32),
        mode="lines",
        line={"color": look.muted, "width": 1.5},
        name="slots",
        showlegend=False,
        hoverinfo="skip",
    )


def _to_surface(cloud: PositionCloud, look: Look, factor: float) -> go.Surface:
    import plotly.graph_objects as go

    places, density = to_density(cloud, view_half_width([cloud]), _CELLS, magnify=factor)
    return go.Surface(
        x=places.astype(np.float32),
        y=places.astype(np.float32),
        z=density.astype(np.float32),
        colorscale=look.sequential,
        showscale=False,
        hovertemplate=("y %{y:.2f}<br>x %{x:.2f}<br>" if factor == 1 else "")
        + "density %{z:.3g}<extra></extra>",
    )


def _to_view(cloud: PositionCloud, share: int, third_axis: str, factor: float, look: Look) -> dict[str, Any]:
    """Title and axes of a layer, in the flat form that a menu button takes."""
    half_width = view_half_width([cloud])
    shapes = len(cloud.points)
    thinned = [f"{share:,} of {shapes:,} shapes shown"] if share < shapes else []
    told = [*thinned, *count_hidden(cloud, half_width, limit=None)]
    notes = describe_factor(factor) + "".join(f"; {note}" for note in told)
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
