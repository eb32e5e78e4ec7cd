"""Position clouds in space, for print: over the channel, the weight, or as a surface of density."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from icnn_viz.figures.clouds import MAX_POINTS, count_hidden, describe
from icnn_viz.figures.marks import describe_factor, draw_key, tap_colours, view_half_width
from icnn_viz.figures.scales import facet_factor, spread_out, takes_facets
from icnn_viz.figures.sheet import Sheet
from icnn_viz.figures.style import Look, mix, use_theme
from icnn_viz.figures.third_axis import choose_third_axis, to_density, to_levels
from icnn_viz.records import PositionCloud

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHADES = 16  # of each colour, from the far side to the near one


def draw_cloud_3d(
    cloud: PositionCloud,
    *,
    third_axis: str = "auto",
    theme: str = "light",
    half_width: float | None = None,
    magnify: float = 1.0,
    scale: str = "auto",
) -> Figure:
    """A layer's positions in space, one colour per slot. A thin post stands on every slot; where slots mean nothing
    there are none. What lies outside the view is counted below.

    Args:
        third_axis: "weight" (the magnitude of the weight that lies there), "density" (a surface over all slots'
            points), "channel" (the index of the shape, as in figure 4a of the paper) or "auto": density of many
            shapes, else weight.
        theme: "light" or "dark".
        half_width: of the square view, in input pixels.
        magnify: draw every displacement from its slot so many times longer; the figure says so.
        scale: "true", "facets" (as long as the slots' distance allows) or "auto": of clouds too small to be seen.

    Raises:
        NameNotFoundError: another third axis or scale.
    """
    third_axis = choose_third_axis(third_axis, cloud)
    if magnify == 1 and half_width is None and takes_facets(scale, cloud):
        magnify = facet_factor(cloud)
    cloud = spread_out(cloud, magnify) if magnify != 1 else cloud
    half_width = half_width or view_half_width([cloud])
    with use_theme(theme) as look:
        sheet = Sheet(80, 93, look)
        ax: Any = sheet.add_axes(-1.6, 6.5, 73.6, 76.3, projection="3d", computed_zorder=False)
        if third_axis == "density":
            top, word = _draw_surface(ax, cloud, half_width, magnify, look), "points per px² and shape"
        else:
            top, word = _draw_points(ax, cloud, third_axis, half_width, look)
            if cloud.regular:
                draw_key(sheet, (66.2, 75.2, 11, 8), cloud.slots, look)
        for y, x in cloud.slots if cloud.regular else ():
            ax.plot(
                [x, x], [y, y], [0, top], color=look.muted, linewidth=0.5, alpha=0.8, zorder=0, gid="post"
            )
        _set_axes(ax, half_width, top, word, look)
        if third_axis == "channel":
            _set_counting(ax, len(cloud.points))
        sheet.write_heading(cloud.layer, describe(cloud) + describe_factor(magnify), wrap=True)
        limit = None if third_axis == "density" else MAX_POINTS  # a surface is made of all points
        sheet.write_notes(count_hidden(cloud, half_width, limit))
    return sheet.figure


def _draw_points(
    ax: Any, cloud: PositionCloud, third_axis: str, half_width: float, look: Look
) -> tuple[float, str]:
    """Points from the far side to the near one: these lie on top, larger and stronger in colour. Returns the top and
    the axis' name."""
    from matplotlib.colors import to_rgba_array

    levels, word = to_levels(cloud, third_axis)
    points, flat = cloud.points.reshape(-1, 2), levels.ravel()
    slot = np.tile(np.arange(len(cloud.slots)), len(levels))
    seen = np.flatnonzero((np.abs(points) <= half_width).all(-1) & np.isfinite(flat))
    seen = np.random.default_rng(0).permutation(seen)[:MAX_POINTS]
    seen = seen[np.argsort(points[seen] @ (1.0, 1.0), kind="stable")]
    tones = tap_colours(cloud, look)
    near = 0.5 + 0.25 * (points[seen] @ (1.0, 1.0)) / half_width  # 0 at the far corner, 1 at the near one
    shades = [
        to_rgba_array([mix(colour, "background", 0.55 * (1 - step / _SHADES), look) for colour in tones])
        for step in range(_SHADES + 1)
    ]
    colours = np.array(shades)[np.rint(_SHADES * near).astype(int), slot[seen]]
    ax.scatter(
        points[seen, 1],
        points[seen, 0],
        flat[seen],
        c=colours,
        s=float(np.clip(9000 / max(len(seen), 1), 0.8, 12)) * (0.5 + near) ** 2,
        alpha=float(np.clip(6000 / max(len(seen), 1), 0.4, 0.9)),
        linewidths=0,
        depthshade=False,
        rasterized=True,
        gid="points",
    )
    top = len(levels) - 1 if third_axis == "channel" else float(flat[seen].max(initial=0.0))
    return float(top) or 1.0, word


def _draw_surface(ax: Any, cloud: PositionCloud, half_width: float, magnify: float, look: Look) -> float:
    places, density = to_density(cloud, half_width, magnify=magnify)
    x, y = np.meshgrid(places, places)
    style = {"cmap": look.sequential, "linewidth": 0, "antialiased": False, "rasterized": True}
    ax.plot_surface(x, y, density, rcount=len(places), ccount=len(places), gid="density", **style)
    return float(density.max()) or 1.0


def _set_axes(ax: Any, half_width: float, top: float, word: str, look: Look) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.set(xlim=(-half_width, half_width), ylim=(half_width, -half_width), zlim=(0, top))
    ax.set_xlabel("x (px from centre)", labelpad=-6)
    ax.set_ylabel("y (px from centre)", labelpad=-6)
    ax.set_zlabel(word, labelpad=1)
    ax.tick_params(pad=-2.5)
    ax.tick_params(axis="z", pad=1)
    ax.set_box_aspect((1, 1, 1.05), zoom=0.9)
    ax.view_init(elev=22, azim=-58)
    for axis in (ax.xaxis, ax.yaxis, ax.zaxis):
        axis.set_pane_color(look.background)
        axis._axinfo["grid"].update(color=look.grid, linewidth=0.4)
    ticks = np.asarray(MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(-half_width, half_width))
    for axis in (ax.xaxis, ax.yaxis):  # the two meet in a corner: no label at their ends
        axis.set_ticks(ticks[np.abs(ticks) < 0.86 * half_width])
    ax.zaxis.set_major_locator(MaxNLocator(5))


def _set_counting(ax: Any, shapes: int) -> None:
    """Whole numbers, with commas, on the axis of shapes."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    ax.zaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.zaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    ax.tick_params(axis="z", pad=0 if shapes <= 10_000 else 2)
