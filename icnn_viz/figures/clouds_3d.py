"""Position clouds in space, the channel as the third axis: a still picture, and a page to turn and to hover over."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from icnn_core.errors import ArgumentError
from icnn_viz.figures.clouds import MAX_POINTS, count_hidden, describe
from icnn_viz.figures.marks import draw_key, view_half_width
from icnn_viz.figures.sheet import Sheet
from icnn_viz.figures.style import Look, get_look, shorten, slot_colours, to_plotly_layout, use_theme
from icnn_viz.records import PositionCloud

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from matplotlib.figure import Figure

PAGE_BYTES = 1_400_000
"""What a page may hold beyond plotly.js itself; layers are thinned to fit."""


def draw_cloud_3d(cloud: PositionCloud, *, theme: str = "light", half_width: float | None = None) -> Figure:
    """A layer's positions, one colour per slot, over the index of their shape (the input channel, in the paper's
    sharing). A thin post stands on every slot. What lies outside the view is counted below.

    Args:
        theme: "light" or "dark".
        half_width: of the square view, in input pixels.
    """
    half_width = half_width or view_half_width([cloud])
    with use_theme(theme) as look:
        sheet = Sheet(80, 93, look)
        ax = sheet.add_axes(-1.6, 6.5, 73.6, 76.3, projection="3d", computed_zorder=False)
        _draw_points(ax, cloud, half_width, look)
        _set_axes(ax, cloud, half_width, look)
        draw_key(sheet.add_axes(66.2, 75.2, 11, 8), cloud.slots, look)
        sheet.write_heading(cloud.layer, describe(cloud))
        sheet.write_notes(count_hidden(cloud, half_width))
    return sheet.figure


def draw_cloud_interactive(clouds: Sequence[PositionCloud], *, theme: str = "light") -> go.Figure:
    """The clouds of all layers on one page, a menu to choose the layer; hovering names channel, slot and position.

    A click on a slot in the legend hides it, a double click shows it alone. Layers with more points than their
    share of `PAGE_BYTES` are thinned by whole shapes, and the title says so.

    Raises:
        ArgumentError: no clouds.
    """
    import plotly.graph_objects as go

    if not clouds:
        raise ArgumentError(
            "draw_cloud_interactive",
            needed="at least one cloud",
            got="none",
            fix="Read a checkpoint with irregular layers.",
        )
    look = get_look(theme)
    figure = go.Figure(layout=to_plotly_layout(look))
    shares = _share_out(clouds)
    owners: list[int] = []
    for number, (cloud, share) in enumerate(zip(clouds, shares, strict=True)):
        traces = _to_traces(cloud, share, visible=number == 0)
        owners += [number] * len(traces)
        figure.add_traces(traces)
    views = [_to_view(cloud, share, look) for cloud, share in zip(clouds, shares, strict=True)]
    figure.update_layout(views[0])
    figure.update_layout(
        legend={"title": {"text": "slot: (y, x)"}, "itemsizing": "constant", "x": 1.0, "xanchor": "right"}
    )
    if len(clouds) > 1:
        buttons = [
            {
                "label": shorten(cloud.layer, 44),
                "method": "update",
                "args": [{"visible": [owner == number for owner in owners]}, view],
            }
            for number, (cloud, view) in enumerate(zip(clouds, views, strict=True))
        ]
        menu = {
            "buttons": buttons,
            "x": 0.0,
            "xanchor": "left",
            "y": 1.0,
            "yanchor": "top",
            "bgcolor": look.grid,
        }
        figure.update_layout(updatemenus=[menu | {"showactive": True, "font": {"size": 12}}])
    return figure


def _draw_points(ax: Any, cloud: PositionCloud, half_width: float, look: Look) -> None:
    """Points from the far side to the near one, so that the near ones lie on top."""
    shapes = len(cloud.points)
    points = cloud.points.reshape(-1, 2)
    index, slot = (a.ravel() for a in np.indices(cloud.points.shape[:2]))
    seen = np.flatnonzero((np.abs(points) <= half_width).all(-1))
    seen = np.random.default_rng(0).permutation(seen)[:MAX_POINTS]
    seen = seen[np.argsort(points[seen] @ (1.0, 1.0), kind="stable")]
    for y, x in cloud.slots:
        ax.plot(
            [x, x], [y, y], [0, max(shapes - 1, 1)], color=look.muted, linewidth=0.5, alpha=0.8, gid="post"
        )
    ax.scatter(
        points[seen, 1],
        points[seen, 0],
        index[seen],
        c=np.array(slot_colours(cloud.slots))[slot[seen]],
        s=float(np.clip(9000 / max(len(seen), 1), 0.8, 12)),
        alpha=float(np.clip(6000 / max(len(seen), 1), 0.4, 0.9)),
        linewidths=0,
        depthshade=False,
        rasterized=True,
        gid="points",
    )


def _set_axes(ax: Any, cloud: PositionCloud, half_width: float, look: Look) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    shapes = len(cloud.points)
    ax.set(xlim=(-half_width, half_width), ylim=(half_width, -half_width), zlim=(0, max(shapes - 1, 1)))
    ax.set_xlabel("x (px from centre)", labelpad=-6)
    ax.set_ylabel("y (px from centre)", labelpad=-6)
    ax.set_zlabel(_shape_word(cloud), labelpad=1)
    ax.tick_params(pad=-2.5)
    ax.set_box_aspect((1, 1, 1.05), zoom=0.9)
    ax.view_init(elev=22, azim=-58)
    for axis in (ax.xaxis, ax.yaxis, ax.zaxis):
        axis.set_pane_color(look.background)
        axis._axinfo["grid"].update(color=look.grid, linewidth=0.4)
    ticks = np.asarray(MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(-half_width, half_width))
    for axis in (ax.xaxis, ax.yaxis):  # the two meet in a corner: no label at their ends
        axis.set_ticks(ticks[np.abs(ticks) < 0.86 * half_width])
    ax.zaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    ax.tick_params(axis="z", pad=0 if shapes <= 10_000 else 2)
    ax.zaxis.set_major_locator(MaxNLocator(5, integer=True))


def _shape_word(cloud: PositionCloud) -> str:
    return {"layer": "shape", "channel": "input channel", "none": "kernel × channel"}[cloud.sharing]


def _share_out(clouds: Sequence[PositionCloud]) -> list[int]:
    """How many shapes of each layer fit on the page: all of the small layers', as many of each large one's."""
    traces = sum(len(cloud.slots) for cloud in clouds)
    left = max(PAGE_BYTES - 600 * traces - (7 * traces + 1600) * len(clouds), PAGE_BYTES // 10)
    # base64 of two float32, an index, and where the layer shares nothing its kernel and channel too
    costs = [len(cloud.slots) * (22 if cloud.sharing == "none" else 14) for cloud in clouds]
    sizes = [len(cloud.points) for cloud in clouds]
    shares = [0] * len(clouds)
    order = sorted(range(len(clouds)), key=lambda number: sizes[number] * costs[number])
    for rank, number in enumerate(order):
        shares[number] = max(min(sizes[number], left // (len(order) - rank) // costs[number]), 1)
        left -= shares[number] * costs[number]
    return shares


def _to_traces(cloud: PositionCloud, share: int, *, visible: bool) -> list[go.Scatter3d]:
    """One trace a slot, over evenly chosen shapes."""
    import plotly.graph_objects as go

    shapes = len(cloud.points)
    shown = np.linspace(0, shapes - 1, share).round().astype(int)
    channels = cloud.positions.shape[1]
    full = cloud.sharing == "none"
    what = "kernel %{customdata[0]}, channel %{customdata[1]}" if full else _shape_word(cloud) + " %{z}"
    traces = []
    for slot, (colour, (slot_y, slot_x)) in enumerate(
        zip(slot_colours(cloud.slots), cloud.slots, strict=True)
    ):
        points = cloud.points[shown, slot]
        finite = np.isfinite(points).all(-1)
        index = shown[finite]
        name = f"{slot}: ({slot_y:g}, {slot_x:g})"
        traces.append(
            go.Scatter3d(
                x=points[finite, 1].astype(np.float32),
                y=points[finite, 0].astype(np.float32),
                z=index.astype(np.int32 if shapes > 32_767 else np.int16),
                mode="markers",
                marker={"size": 1.7 if len(shown) > 400 else 3.0, "color": colour, "opacity": 0.85},
                name=name,
                customdata=np.stack(np.divmod(index, channels), 1).astype(np.int16) if full else None,
                hovertemplate=f"{what}<br>slot {name}<br>y %{{y:.3f}}<br>x %{{x:.3f}}<extra></extra>",
                visible=visible,
            )
        )
    return traces


def _to_view(cloud: PositionCloud, share: int, look: Look) -> dict[str, Any]:
    """Title and axes of a layer, in the flat form that a menu button takes."""
    half_width = view_half_width([cloud])
    shapes = len(cloud.points)
    thinned = [f"{share:,} of {shapes:,} shapes shown"] if share < shapes else []
    notes = "".join(f"; {note}" for note in [*thinned, *count_hidden(cloud, half_width, limit=None)])
    axis = {
        "color": look.text,
        "gridcolor": look.grid,
        "zerolinecolor": look.muted,
        "backgroundcolor": look.background,
    }
    return {
        "title.text": f"<b>{html.escape(cloud.layer)}</b><br><sub>{describe(cloud)}{notes}</sub>",
        "scene": {
            "xaxis": axis | {"title": {"text": "x (px from centre)"}, "range": [-half_width, half_width]},
            "yaxis": axis | {"title": {"text": "y (px from centre)"}, "range": [half_width, -half_width]},
            "zaxis": axis
            | {
                "title": {"text": _shape_word(cloud)},
                **({"dtick": 1} if shapes <= 10 else {}),
                "range": [-0.5, max(shapes - 0.5, 0.5)],
            },
            "aspectmode": "manual",
            "aspectratio": {"x": 1, "y": 1, "z": 1.05},
            "camera": {"eye": {"x": 0.75, "y": -1.85, "z": 0.95}, "center": {"x": 0, "y": 0, "z": -0.12}},
        },
    }
