"""The second page's figures: a layer's positions in the plane and in space, and one shape, for a screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from icnn_viz.explorer.states import parse_brush
from icnn_viz.figures.cloud_pages import draw_cloud_interactive
from icnn_viz.figures.marks import X_LABEL, Y_LABEL, describe_factor, tap_colours, view_half_width
from icnn_viz.figures.scales import facet_factor, spread_out, takes_facets
from icnn_viz.figures.screen import choose_evenly, to_colour_stops
from icnn_viz.figures.style import Look, get_look, to_plotly_layout
from icnn_viz.figures.third_axis import to_levels
from icnn_viz.records import SHARING, PositionCloud

if TYPE_CHECKING:
    import plotly.graph_objects as go

_CAMERA = {"eye": {"x": 0.95, "y": -2.1, "z": 1.1}, "center": {"x": 0, "y": 0, "z": -0.16}}
MOST_POINTS = 6_000
"""Points drawn in the plane; larger layers are thinned by whole shapes. Brushing counts all of them."""


def plane_factor(cloud: PositionCloud) -> float:
    """How many times longer displacements are drawn in the plane and in space: 1 unless the grid would hide them."""
    return facet_factor(cloud) if takes_facets("auto", cloud) else 1.0


def select(cloud: PositionCloud, brush: str, slot: int | None) -> np.ndarray:
    """(shapes, K) bool: the finite points inside a brush (see `parse_brush`; "": anywhere), where they are drawn in the
    plane (see `plane_factor`), of one slot or of all."""
    chosen = np.asarray(np.isfinite(cloud.points).all(-1))
    if slot is not None:
        chosen &= np.arange(len(cloud.slots)) == slot
    if brush:
        from matplotlib.path import Path

        flat = spread_out(cloud, plane_factor(cloud)).points.reshape(-1, 2)[:, ::-1]
        inside = Path(np.array(parse_brush(brush))).contains_points(np.nan_to_num(flat, nan=np.inf))
        chosen &= inside.reshape(chosen.shape)
    return chosen


def draw_plane(cloud: PositionCloud, slot: int | None, brush: str, *, theme: str = "light") -> go.Figure:
    """Positions in the plane, one colour a slot, to be brushed with a box or a lasso. `customdata` is the shape. Where
    the grid would hide displacements they are drawn longer, and the figure says so. Where slots mean nothing there are
    none.

    Always as a list: Dash looks a clicked point's customdata up in the figure as it was sent, and finds nothing there
    in an array, which is sent as base64.
    """
    import plotly.graph_objects as go

    look = get_look(theme)
    shapes = choose_evenly(len(cloud.points), MOST_POINTS // len(cloud.slots))
    factor = plane_factor(cloud)
    drawn = spread_out(cloud, factor)
    figure = go.Figure(layout=to_plotly_layout(look))
    where = cloud.displacements if cloud.regular else cloud.points
    told = "{:+.3f} down, {:+.3f} right of its slot" if cloud.regular else "y {:.3f}, x {:.3f}"
    for number, colour in enumerate(tap_colours(cloud, look)):
        points, moves = drawn.points[shapes, number], where[shapes, number]
        figure.add_scatter(
            x=points[:, 1],
            y=points[:, 0],
            mode="markers",
            marker={"size": 5 if len(shapes) < 300 else 4, "color": colour, "opacity": 0.8},
            unselected={"marker": {"opacity": 0.12}},
            customdata=shapes.tolist(),
            name="{}: ({:g}, {:g})".format(number, *cloud.slots[number]),
            visible=slot is None or slot == number,
            text=[told.format(y, x) for y, x in moves],
            hovertemplate=f"shape %{{customdata}}<br>{'slot' if cloud.regular else 'weight'} {number}"
            "<br>%{text} (px)<extra></extra>",
        )
    _add_slots(figure, cloud, look)
    width = view_half_width([drawn])
    notes = [describe_factor(factor).removeprefix("; ")] if factor > 1 else []
    if len(shapes) < len(cloud.points):
        notes.append(f"{len(shapes):,} of {len(cloud.points):,} shapes drawn")
    figure.update_layout(
        title={"text": "; ".join(notes), "font": {"size": 12, "color": look.muted}, "x": 0.02, "y": 0.985},
        margin={"l": 52, "r": 8, "t": 34, "b": 42},
        dragmode="select",
        showlegend=False,
        selections=_to_selections(brush),
        newselection={"line": {"color": look.text, "width": 1.5}},
    )
    _set_plane(figure, width, look)
    return figure


def draw_space(
    cloud: PositionCloud, slot: int | None, brush: str, *, third_axis: str = "weight", theme: str = "light"
) -> go.Figure:
    """The cloud in space as on the pages that `icnn-viz kernels` writes, brushed points large, the others pale."""
    import plotly.graph_objects as go

    look = get_look(theme)
    factor = plane_factor(cloud)
    figure = draw_cloud_interactive([cloud], third_axis=third_axis, theme=theme)
    figure.update_layout(title=None, showlegend=False, margin={"l": 0, "r": 0, "t": 30, "b": 0})
    figure.update_layout(uirevision=f"{cloud.layer} {third_axis}", scene_camera=_CAMERA)
    small = {"tickfont": {"size": 10}, "title_font": {"size": 11}}
    figure.update_scenes(xaxis=small, yaxis=small, zaxis=small)
    if third_axis == "density":
        return figure
    figure.for_each_trace(_list_custom_data)
    figure.update_traces(opacity=0.15 if brush else 1.0)
    if slot is not None:
        figure.update_traces(visible=False)
        figure.update_traces(visible=True, selector=slot)
    if brush:
        chosen = select(cloud, brush, slot)
        shape, taps = np.nonzero(chosen)
        kept = choose_evenly(len(shape), MOST_POINTS)
        shape, taps = shape[kept], taps[kept]
        points = spread_out(cloud, factor).points[shape, taps]
        levels, _ = to_levels(cloud, third_axis)
        who = SHARING[cloud.sharing].hover
        figure.add_trace(
            go.Scatter3d(
                x=points[:, 1],
                y=points[:, 0],
                z=levels[shape, taps],
                mode="markers",
                marker={
                    "size": 4.5,
                    "color": np.array(tap_colours(cloud, look))[taps],
                    "line": {"width": 1, "color": look.text},
                },
                customdata=np.stack(np.divmod(shape, cloud.positions.shape[1]), 1).tolist(),
                name="brushed",
                hovertemplate=who
                + ("<br>y %{y:.3f}<br>x %{x:.3f}" if factor == 1 else "")
                + "<extra></extra>",
            )
        )
    return figure


def draw_one(cloud: PositionCloud, channel: int, kernel: int, *, theme: str = "light") -> go.Figure:
    """One shape: discs where its weights lie, by number of slot, thin lines from the slots (crosses).

    Colour is the weight, diverging where weights have a sign of their own, else the norm of those that share a place.
    """
    import plotly.graph_objects as go

    look = get_look(theme)
    factor = plane_factor(cloud)
    now, weights = spread_out(cloud, factor).positions[kernel, channel], cloud.weights[kernel, channel]
    signed = cloud.sharing == "none"
    top = float(np.nanmax(np.abs(weights), initial=0.0)) or 1.0
    figure = go.Figure(layout=to_plotly_layout(look))
    if cloud.regular:
        lines = np.stack([cloud.slots, now, np.full_like(now, np.nan)], 1).reshape(-1, 2)
        line = {"color": look.muted, "width": 1}
        figure.add_scatter(x=lines[:, 1], y=lines[:, 0], mode="lines", line=line, hoverinfo="skip")
    named = "weight" if signed else "norm of the weights"
    bar = {"thickness": 12, "title": {"text": named, "side": "right", "font": {"size": 11}}}
    figure.add_scatter(
        x=now[:, 1],
        y=now[:, 0],
        mode="markers+text",
        text=[str(slot) for slot in range(len(now))],
        textposition="top center",
        textfont={"size": 11, "color": look.text},
        marker={
            "size": 7 + 17 * np.sqrt(np.abs(np.nan_to_num(weights)) / top),
            "color": weights,
            "colorscale": to_colour_stops(look.diverging if signed else look.sequential, steps=32),
            "cmin": -top if signed else 0,
            "cmax": top,
            "line": {"width": 1, "color": look.text},
            "opacity": 1,  # else paler than the bar says
            "colorbar": bar | {"outlinewidth": 0, "tickfont": {"size": 11}},
        },
        customdata=(cloud.positions[kernel, channel] - cloud.slots).tolist(),
        hovertemplate=(
            "slot %{text}<br>%{customdata[0]:+.3f} px down, %{customdata[1]:+.3f} right of it"
            if cloud.regular
            else "weight %{text}<br>y %{y:.3f}, x %{x:.3f} px"
        )
        + "<br>%{marker.color:.3g}<extra></extra>",
    )
    _add_slots(figure, cloud, look)
    title = SHARING[cloud.sharing].one.format(kernel=kernel, channel=channel) + describe_factor(factor)
    figure.update_layout(
        title={"text": title, "font": {"size": 12}, "x": 0.02, "y": 0.97},
        margin={"l": 52, "r": 8, "t": 34, "b": 42},
        showlegend=False,
    )
    _set_plane(figure, view_half_width([spread_out(cloud, factor)]), look)
    return figure


def _set_plane(figure: go.Figure, half_width: float, look: Look) -> None:
    line = {"color": look.muted, "gridcolor": look.grid, "zeroline": False, "constrain": "domain"}
    line |= {"title_font": {"size": 12}, "title_standoff": 4, "tickfont": {"size": 11}}
    short = " (px from centre)"
    figure.update_xaxes(range=[-half_width, half_width], title_text=X_LABEL.split(" (")[0] + short, **line)
    figure.update_yaxes(range=[half_width, -half_width], title_text=Y_LABEL.split(" (")[0] + short, **line)
    figure.update_yaxes(scaleanchor="x")


def _add_slots(figure: go.Figure, cloud: PositionCloud, look: Look) -> None:
    for colour, rim in ((look.background, 4), (look.text, 1.5)) if cloud.regular else ():
        figure.add_scatter(
            x=cloud.slots[:, 1],
            y=cloud.slots[:, 0],
            mode="markers",
            marker={"symbol": "cross-thin", "size": 9, "line": {"width": rim, "color": colour}},
            unselected={"marker": {"opacity": 1}},
            hoverinfo="skip",
        )


def _to_selections(brush: str) -> list[dict[str, Any]]:
    if not brush:
        return []
    corners = parse_brush(brush)
    if brush.startswith("box"):
        (x0, y0), (x1, y1) = corners[0], corners[2]
        return [{"type": "rect", "x0": x0, "y0": y0, "x1": x1, "y1": y1, "xref": "x", "yref": "y"}]
    path = "M" + "L".join(f"{x},{y}" for x, y in corners) + "Z"
    return [{"type": "path", "path": path, "xref": "x", "yref": "y"}]


def _list_custom_data(trace: Any) -> None:
    """Arrays are sent as base64, in which Dash does not find the data of the point that was clicked."""
    if trace.customdata is not None:
        listed = trace.customdata.tolist()
        trace.customdata = None  # plotly keeps what it has if what is set is equal to it
        trace.customdata = listed
