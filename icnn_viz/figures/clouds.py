"""Position clouds in the plane: points, slots, Gaussian ellipses, marginal densities (figure 4 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from icnn_core.text import counted
from icnn_viz.figures.marks import (
    choose_slots,
    describe_factor,
    draw_centres,
    draw_ellipses,
    draw_key,
    draw_slots,
    ellipse_reach,
    finite_points,
    magnified,
    set_view,
    view_half_width,
)
from icnn_viz.figures.scales import takes_facets
from icnn_viz.figures.sheet import Sheet
from icnn_viz.figures.style import Look, emphasise, slot_colours, use_theme
from icnn_viz.records import SHARING, GaussianFit, PositionCloud

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_POINTS = 60_000
"""More points than this are thinned, evenly and reproducibly, and the figure says so."""


def draw_cloud(
    cloud: PositionCloud,
    fit: GaussianFit,
    *,
    theme: str = "light",
    half_width: float | None = None,
    magnify: float = 1.0,
    subtitle: str | None = None,
    slots: Sequence[int] | None = None,
    scale: str = "auto",
    ax: Axes | None = None,
) -> Figure:
    """A layer's positions, one colour per slot, with slots, centres, 1- and 2-sigma ellipses and marginal densities.

    Where clouds are too small to be seen on the grid, `draw_facets` draws each slot's on axes of its own.

    Args:
        fit: the cloud's Gaussians.
        theme: "light" or "dark".
        half_width: of the square view, in input pixels; by default all but far outliers are seen.
        magnify: draw every displacement from its slot so many times longer; the figure says so.
        subtitle: the line below the layer's name; by default what kernel it is.
        slots: show these in colour and the others in grey; by default all.
        scale: "auto", "true" (one plane) or "facets"; a `half_width`, `magnify` or `ax` makes "auto" true.
        ax: draw into these axes of a figure of your own, without title, marginals and keys.

    Returns:
        A figure one column (80 mm) wide, or the figure of `ax`. What is not drawn or lies outside is counted in it.

    Raises:
        NameNotFoundError: another scale. ArgumentError: no such slot; facets of slots that have no places.
    """
    plain = half_width is None and magnify == 1 and ax is None
    if takes_facets("true" if scale == "auto" and not plain else scale, cloud):
        from icnn_viz.figures.facets import draw_facets

        return draw_facets(cloud, fit, theme=theme, subtitle=subtitle, slots=slots)
    cloud, fit = magnified(cloud, fit, magnify)
    half_width = half_width or view_half_width([cloud], [fit])
    fit = fit if slots is None else choose_slots(fit, slots)
    with use_theme(theme) as look:
        if ax is not None:
            _draw_main(ax, cloud, fit, half_width, look)
            return ax.get_figure(root=True)  # type: ignore[return-value]
        sheet = Sheet(80, 93, look)
        main = sheet.add_axes(12, 21, 53, 53)
        _draw_main(main, cloud, fit, half_width, look)
        _draw_marginals(main, cloud, half_width, _colours(cloud, fit, look))
        style = {"fontsize": 5.5, "color": look.muted, "va": "top"}
        sheet.write(12, 85.4, "density along x", **style)
        sheet.write(75.4, 74, "density along y", rotation=90, **style)
        draw_key(sheet, (66.2, 75.2, 11, 8), cloud.slots, look)
        words = describe(cloud) if subtitle is None else subtitle
        sheet.write_heading(cloud.layer, words + describe_factor(magnify))
        _draw_legend(sheet, look)
        sheet.write_notes([*describe_ellipses(fit, half_width), *count_hidden(cloud, half_width)])
    return sheet.figure


def thin(cloud: PositionCloud, limit: int = MAX_POINTS) -> tuple[np.ndarray, np.ndarray]:
    """Finite points (n, 2) and their slots (n,), in a fixed random order; at most `limit`, spread over all shapes."""
    points = cloud.points.reshape(-1, 2)
    slots = np.tile(np.arange(len(cloud.slots)), len(cloud.points))
    keep = np.flatnonzero(np.isfinite(points).all(-1))
    keep = np.random.default_rng(0).permutation(keep)[:limit]
    return points[keep], slots[keep]


def count_hidden(cloud: PositionCloud, half_width: float, limit: int | None = MAX_POINTS) -> list[str]:
    """What a view of this half-width does not show, in words; empty if it shows all."""
    points = finite_points(cloud)
    total = cloud.points[..., 0].size
    outside = int((np.abs(points) > half_width).any(-1).sum())
    notes = [f"{outside:,} of {total:,} points lie outside the view"] if outside else []
    if len(points) < total:
        notes.append(f"{total - len(points):,} of {total:,} are not finite")
    if limit is not None and len(points) > limit:
        notes.append(f"{limit:,} of {total:,} drawn")
    return notes


def describe_ellipses(fit: GaussianFit, half_width: float) -> list[str]:
    """Which slots have no ellipse and why, and whose reaches out of the view, in words; empty if all is seen."""
    states = dict.fromkeys(str(state) for state in fit.state if state != "ok")
    words = [f"no ellipse for {_name_slots(fit.state == state)}: {state}" for state in states]
    cut = (ellipse_reach(fit) > half_width) & (fit.state == "ok")
    return words + [f"the ellipse of {_name_slots(cut)} reaches out of the view"] * bool(cut.any())


def _name_slots(chosen: np.ndarray) -> str:
    slots = [str(slot) for slot in np.flatnonzero(chosen)]
    return "all slots" if chosen.all() else f"slot{'s' * (len(slots) > 1)} {', '.join(slots)}"


def describe(cloud: PositionCloud) -> str:
    """One line for a figure: how many shapes of what kernel."""
    kernels, channels = cloud.positions.shape[:2]
    shapes = SHARING[cloud.sharing].total.format(
        kernels=counted(kernels, "kernel"), channels=counted(channels, "channel")
    )
    size, dilation = ("×".join(map(str, pair)) for pair in (cloud.kernel_size, cloud.dilation))
    return f"{shapes}, {size}, dilation {dilation if len(set(cloud.dilation)) > 1 else cloud.dilation[0]}"


def _colours(cloud: PositionCloud, fit: GaussianFit, look: Look) -> list[str]:
    """The slots' colours, but grey for those not chosen."""
    pairs = zip(slot_colours(cloud.slots), fit.state, strict=True)
    return [look.grid if state == "not chosen" else colour for colour, state in pairs]


def _draw_main(ax: Axes, cloud: PositionCloud, fit: GaussianFit, half_width: float, look: Look) -> None:
    colours = _colours(cloud, fit, look)
    points, slots = thin(cloud)
    ax.scatter(
        points[:, 1],
        points[:, 0],
        c=np.array(colours)[slots],
        s=float(np.clip(9000 / max(len(points), 1), 0.9, 14)),
        alpha=float(np.clip(4000 / max(len(points), 1), 0.3, 0.9)),
        linewidths=0,
        rasterized=True,
        gid="points",
    )
    draw_ellipses(ax, fit, colours, look)
    draw_slots(ax, cloud.slots, look)
    draw_centres(ax, fit, colours, look)
    set_view(ax, half_width)


def _draw_marginals(ax: Axes, cloud: PositionCloud, half_width: float, colours: Sequence[str]) -> None:
    """Each slot's density along x above the axes, and along y to the right of them, in a band of 9/53 of their side."""
    from matplotlib.collections import LineCollection, PolyCollection

    grid = np.linspace(-half_width, half_width, 401)
    for axis, transform in ((1, ax.get_xaxis_transform()), (0, ax.get_yaxis_transform())):
        fills, lines = [], []
        for slot in range(len(colours)):
            points = cloud.points[:, slot]
            density = _density(points[np.isfinite(points).all(-1), axis], grid)
            height = (54.2 + 9 * density / 1.05) / 53  # of the axes' side
            curve = np.stack([grid, height], 1)[:, :: 1 if axis else -1]
            base = [(half_width, 54.2 / 53), (-half_width, 54.2 / 53)]
            fills.append(np.concatenate([curve, np.array(base)[:, :: 1 if axis else -1]]))
            lines.append(np.where(density[:, None] > 0.005, curve, np.nan))
        style = {"transform": transform, "clip_on": False}
        faces = PolyCollection(fills, facecolors=list(colours), alpha=0.3, linewidths=0, **style)
        ax.add_collection(faces, autolim=False)
        ax.add_collection(LineCollection(lines, colors=list(colours), linewidths=0.6, **style), autolim=False)


def _density(values: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """A Gaussian kernel density on an even grid, Scott's bandwidth but at least one step; its highest value is 1."""
    step = grid[1] - grid[0]
    counts, _ = np.histogram(values, np.append(grid, grid[-1] + step) - step / 2)
    width = max(float(values.std()) * max(len(values), 1) ** -0.2 if len(values) else 0.0, step) / step
    reach = np.arange(-len(grid), len(grid) + 1)
    density = np.convolve(counts, np.exp(-0.5 * (reach / width) ** 2), mode="same")
    density = density[(len(density) - len(grid)) // 2 :][: len(grid)]
    return density / max(density.max(), 1e-12)


def _draw_legend(sheet: Sheet, look: Look) -> None:
    from matplotlib.lines import Line2D

    tone = emphasise("#808080", look)
    style = {"color": tone, "linewidth": 0.9}
    handles = [
        Line2D([], [], linestyle="", marker="+", color=look.text, markersize=5, label="slot"),
        Line2D([], [], linestyle="", marker="o", color=tone, markersize=3, label="centre"),
        Line2D([], [], label="1σ", **style),  # type: ignore[arg-type]
        Line2D([], [], label="2σ", linestyle=(0, (4, 2)), **style),  # type: ignore[arg-type]
    ]
    place = {"loc": "lower center", "bbox_to_anchor": (38.5 / sheet.width, 6.8 / sheet.height)}
    sheet.figure.legend(handles=handles, **place, ncols=4, borderpad=0, columnspacing=1.6, handletextpad=0.5)
