"""How positions moved during training: comets for print, a page with a slider, and the frames of a film."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from icnn_core.errors import ArgumentError
from icnn_core.text import counted
from icnn_viz.figures.clouds import describe, draw_cloud
from icnn_viz.figures.facets import draw_facets, lay_out_facets
from icnn_viz.figures.marks import describe_factor, draw_key, draw_slots, set_view, view_half_width
from icnn_viz.figures.scales import facet_factor, facet_reach, spread_out, takes_facets
from icnn_viz.figures.screen import choose_evenly
from icnn_viz.figures.sheet import Sheet
from icnn_viz.figures.style import Look, emphasise, get_look, slot_colours, to_plotly_layout, use_theme
from icnn_viz.records import SHARING, PositionCloud
from icnn_viz.statistics.gaussian import fit_gaussians

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_COMETS = 120
"""Shapes whose paths are drawn; more would hide each other, and the figure says so."""
PAGE_BYTES = 1_150_000
"""What the positions of all snapshots may take in a page; shapes are thinned to fit."""


def draw_trajectory(
    clouds: Sequence[PositionCloud], steps: Sequence[int], *, theme: str = "light", scale: str = "auto"
) -> Figure:
    """Comets: the path of a position from first to last snapshot, thin and pale at first; the head is where it is. A
    path is broken where its position was not finite; a centre is that of the finite positions of its snapshot.

    Args:
        clouds: snapshots of one layer, in order. steps: their iterations.
        scale: "true", "facets" (each slot on axes of its own) or "auto", by the last snapshot: see `draw_cloud`.

    Raises:
        ArgumentError: fewer than two snapshots, or of different layers.
    """
    _check(clouds, steps)
    if takes_facets(scale, clouds[-1]):
        return _draw_in_facets(clouds, steps, theme)
    first, last = clouds[0], clouds[-1]
    half_width = view_half_width([first, last])
    paths = np.stack([cloud.points for cloud in clouds])  # (snapshots, shapes, K, 2)
    chosen = _choose(paths)
    with use_theme(theme) as look:
        sheet = Sheet(80, 88, look)
        ax = sheet.add_axes(12, 17, 55, 55)
        for slot, colour in enumerate(slot_colours(last.slots)):
            _draw_comets(ax, paths[:, chosen, slot], colour, slot)
            _draw_centre_path(ax, paths[:, :, slot], emphasise(colour, look), look, slot)
        draw_slots(ax, last.slots, look)
        set_view(ax, half_width)
        draw_key(sheet, (67.5, 76, 9, 7), last.slots, look)
        sheet.write_heading(last.layer, _describe_run(steps), right=14)
        sheet.write_notes(_explain(chosen, last) + _count_unseen(paths, half_width), top=7)
    return sheet.figure


def _draw_in_facets(clouds: Sequence[PositionCloud], steps: Sequence[int], theme: str) -> Figure:
    last, reach = clouds[-1], facet_reach([clouds[0], clouds[-1]])
    paths = np.stack([cloud.displacements for cloud in clouds])
    chosen = _choose(paths)
    with use_theme(theme) as look:
        sheet, axes = lay_out_facets(last, reach, look, _describe_run(steps))
        for slot, (ax, colour) in enumerate(zip(axes, slot_colours(last.slots), strict=True)):
            _draw_comets(ax, paths[:, chosen, slot], colour, slot)
            _draw_centre_path(ax, paths[:, :, slot], emphasise(colour, look), look, slot)
        sheet.write_notes(_explain(chosen, last) + _count_unseen(paths, reach), top=5.6)
    return sheet.figure


def _choose(paths: np.ndarray) -> np.ndarray:
    """Shapes whose paths (snapshots, shapes, K, 2) are drawn."""
    return np.sort(np.random.default_rng(0).permutation(paths.shape[1])[:MAX_COMETS])


def _describe_run(steps: Sequence[int]) -> str:
    return f"iterations {steps[0]:,} to {steps[-1]:,}, {counted(len(steps), 'snapshot')}"


def _explain(chosen: np.ndarray, cloud: PositionCloud) -> list[str]:
    thinned = len(chosen) < len(cloud.points)
    drawn = [f"{len(chosen):,} of {len(cloud.points):,} shapes drawn"] if thinned else []
    return ["bold line: path of the slot's centre", *drawn]


def draw_frames(
    clouds: Sequence[PositionCloud], steps: Sequence[int], *, theme: str = "light", scale: str = "auto"
) -> Iterator[Figure]:
    """One figure a snapshot, as of `draw_cloud`, all on one scale: the frames of `write_film`.

    Raises:
        ArgumentError: fewer than two snapshots, or of different layers.
    """
    _check(clouds, steps)
    facets, ends = takes_facets(scale, clouds[-1]), [clouds[0], clouds[-1]]
    half_width, reach = view_half_width(ends), facet_reach(ends)
    for cloud, step in zip(clouds, steps, strict=True):
        style: dict[str, Any] = {"theme": theme, "subtitle": f"iteration {step:,} of {steps[-1]:,}"}
        if facets:
            yield draw_facets(cloud, fit_gaussians(cloud), reach=reach, **style)
        else:
            yield draw_cloud(cloud, fit_gaussians(cloud), half_width=half_width, scale="true", **style)


def draw_trajectory_interactive(
    clouds: Sequence[PositionCloud], steps: Sequence[int], *, theme: str = "light", scale: str = "auto"
) -> go.Figure:
    """A page with a slider over the snapshots and a button to play them; hovering names channel, slot and position.
    Displacements too small to be seen on the grid are drawn longer, and the title says so.

    Raises:
        ArgumentError: fewer than two snapshots, or of different layers.
    """
    import plotly.graph_objects as go

    _check(clouds, steps)
    factor = facet_factor(clouds[-1], facet_reach([clouds[-1]])) if takes_facets(scale, clouds[-1]) else 1.0
    clouds = [spread_out(cloud, factor) for cloud in clouds] if factor > 1 else clouds
    look, last = get_look(theme), clouds[-1]
    taps = len(last.slots)
    most = max(PAGE_BYTES // (11 * taps * len(clouds)), 1)
    shapes = choose_evenly(len(last.points), most)
    frames = [
        go.Frame(data=[go.Scatter(**_to_place(cloud, shapes))], traces=[0], name=f"{step:,}")
        for cloud, step in zip(clouds, steps, strict=True)
    ]
    points = go.Scatter(
        **_to_place(clouds[0], shapes), **_to_marks(last, shapes, factor), mode="markers", showlegend=False
    )
    cross = {"symbol": "cross-thin", "size": 9, "line": {"width": 1.5, "color": look.text}}
    slots = go.Scatter(
        x=last.slots[:, 1], y=last.slots[:, 0], mode="markers", marker=cross, name="slot", hoverinfo="skip"
    )
    figure = go.Figure(data=[points, slots], frames=frames, layout=to_plotly_layout(look))
    figure.update_layout(_to_page(clouds, steps, len(shapes), factor, look))
    return figure


def _check(clouds: Sequence[PositionCloud], steps: Sequence[int]) -> None:
    shapes = {cloud.positions.shape for cloud in clouds}
    if len(clouds) < 2 or len(clouds) != len(steps) or len(shapes) != 1:
        raise ArgumentError(
            "a trajectory", needed="two or more snapshots of one layer, each with its iteration",
            got=f"{len(clouds)} snapshots of shapes {sorted(shapes)}, {len(steps)} iterations",
            fix="Keep snapshots while training.",
        )  # fmt: skip


def _count_unseen(paths: np.ndarray, half_width: float) -> list[str]:
    """What of the paths (snapshots, shapes, K, 2) a view does not show, in any snapshot, in words."""
    finite = np.asarray(np.isfinite(paths).all(-1))
    outside = np.asarray((np.abs(paths) > half_width).any(-1) & finite)
    notes, total = [], f"{finite[0].size:,}"
    if left := int(outside.any(0).sum()):
        notes.append(f"{left:,} of {total} paths leave the view")
    if broken := int((~finite).any(0).sum()):
        notes.append(f"{broken:,} of {total} paths are not finite in some snapshot and broken there")
    return notes


def _draw_comets(ax: Axes, paths: np.ndarray, colour: str, slot: int) -> None:
    """Paths (snapshots, shapes, 2) of one slot, growing in width and opacity."""
    from matplotlib.collections import LineCollection
    from matplotlib.colors import to_rgba

    paths = paths[..., ::-1]
    age = np.arange(1, len(paths)) / (len(paths) - 1)  # the last segment is drawn in full, be it the only one
    segments = np.stack([paths[:-1], paths[1:]], 2)  # (snapshots - 1, shapes, 2, 2)
    known = np.isfinite(segments).all((2, 3))
    old = np.broadcast_to(age[:, None], known.shape)[known]
    colours = np.array([to_rgba(colour, 0.1 + 0.6 * part) for part in old]).reshape(-1, 4)
    style = {"colors": colours, "linewidths": 0.2 + 0.5 * old, "gid": f"comets {slot}", "rasterized": True}
    ax.add_collection(LineCollection(list(segments[known]), **style), autolim=False)
    heads = paths[-1][np.isfinite(paths[-1]).all(-1)]
    ax.scatter(*heads.T, s=2.0, color=colour, linewidths=0, zorder=3, gid=f"heads {slot}", rasterized=True)


def _draw_centre_path(ax: Axes, paths: np.ndarray, colour: str, look: Look, slot: int) -> None:
    finite = np.isfinite(paths).all(-1, keepdims=True)
    count = finite.sum(1)
    if (count > 0).any():
        y, x = (np.where(finite, paths, 0.0).sum(1) / np.where(count > 0, count, np.nan)).T
        ax.plot(x, y, color=look.background, linewidth=2.0, zorder=5)
        ax.plot(x, y, color=colour, linewidth=1.1, zorder=6, gid=f"centre {slot}")


def _to_place(cloud: PositionCloud, shapes: np.ndarray) -> dict[str, Any]:
    points = cloud.points[shapes].reshape(-1, 2).astype(np.float32)
    return {"x": points[:, 1], "y": points[:, 0]}


def _to_marks(cloud: PositionCloud, shapes: np.ndarray, factor: float) -> dict[str, Any]:
    """Colour by slot, and what hovering says; the same in all frames."""
    taps, channels = len(cloud.slots), cloud.positions.shape[1]
    colours = slot_colours(cloud.slots)
    edges = np.linspace(0, 1, taps + 1)
    scale = [[float(edges[i + end]), colour] for i, colour in enumerate(colours) for end in (0, 1)]
    kernel, channel = np.divmod(np.repeat(shapes, taps), channels)
    slot = np.tile(np.arange(taps), len(shapes))
    marker = {"color": slot.astype(np.int16), "colorscale": scale, "cmin": -0.5, "cmax": taps - 0.5}
    who = f"{SHARING[cloud.sharing].hover}<br>"
    where = "<br>y %{y:.3f}<br>x %{x:.3f}" if factor == 1 else ""  # longer ones are no positions
    return {
        "marker": marker | {"size": 4, "opacity": 0.8},
        "customdata": np.stack([kernel, channel, slot], 1).astype(np.int32),
        "hovertemplate": who + "slot %{customdata[2]}" + where + "<extra></extra>",
    }


def _to_page(
    clouds: Sequence[PositionCloud], steps: Sequence[int], shown: int, factor: float, look: Look
) -> dict[str, Any]:
    """Title, square axes with y downwards, slider and play button."""
    last = clouds[-1]
    half_width = view_half_width([clouds[0], last])
    axis = {"gridcolor": look.grid, "zerolinecolor": look.grid, "linecolor": look.muted}
    across = axis | {"range": [-half_width, half_width], "title": {"text": "x (px from centre)"}}
    down = axis | {"range": [half_width, -half_width], "title": {"text": "y (px from centre)"}}
    notes = [f"{shown:,} of {len(last.points):,} shapes shown"] if shown < len(last.points) else []
    notes += _count_unseen(np.stack([cloud.points for cloud in clouds]), half_width)
    said = describe_factor(factor) + "".join(f"; {note}" for note in notes)
    go_on = {"frame": {"duration": 120, "redraw": False}, "transition": {"duration": 0}, "fromcurrent": True}
    jump = {"mode": "immediate", "frame": {"duration": 0, "redraw": False}, "transition": {"duration": 0}}
    marks = [{"label": f"{step:,}", "method": "animate", "args": [[f"{step:,}"], jump]} for step in steps]
    buttons = [
        {"label": "play", "method": "animate", "args": [None, go_on]},
        {"label": "pause", "method": "animate", "args": [[None], jump]},
    ]
    return {
        "title": {"text": f"<b>{html.escape(last.layer)}</b><br><sub>{describe(last)}{said}</sub>"},
        "xaxis": across | {"constrain": "domain"},
        "yaxis": down | {"scaleanchor": "x", "constrain": "domain"},
        "margin": {"l": 70, "r": 20, "t": 90, "b": 40},
        "sliders": [{"steps": marks, "currentvalue": {"prefix": "iteration "}, "pad": {"t": 45, "l": 150}}],
        "updatemenus": [
            {"type": "buttons", "direction": "left", "buttons": buttons, "x": 0, "y": 0, "xanchor": "left",
             "yanchor": "top", "pad": {"t": 60}, "bgcolor": look.grid, "showactive": False}
        ],
    }  # fmt: skip
