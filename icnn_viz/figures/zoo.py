"""Single shapes side by side: those of a layer that changed most, or one of each layer that has but one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from icnn_core.errors import ArgumentError
from icnn_viz.figures.clouds import describe
from icnn_viz.figures.marks import describe_factor, draw_keys
from icnn_viz.figures.scales import facet_factor, is_tight, spread_out
from icnn_viz.figures.sheet import Panel, Sheet, distinct_names
from icnn_viz.figures.style import Look, slot_colours, use_theme
from icnn_viz.records import PositionCloud

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COUNT = 24
"""Shapes in a zoo."""
_SIZE = 24.0
_AREA = 80.0  # pt², of the largest weight's disc in a panel of _SIZE


def most_changed(cloud: PositionCloud, count: int = COUNT) -> list[tuple[int, int]]:
    """(kernel, channel) of the shapes whose weights were moved most: by the sum of displacement times |weight|, and
    of |weight| alone where positions have no regular places.

    Shapes with a position that is not finite come last.
    """
    lengths = np.hypot(*np.moveaxis(cloud.displacements, -1, 0))
    change = (np.where(cloud.regular | ~np.isfinite(lengths), lengths, 1.0) * cloud.point_weights).sum(-1)
    order = np.argsort(-np.where(np.isfinite(change), change, -1.0), kind="stable")[:count]
    return [divmod(int(shape), cloud.positions.shape[1]) for shape in order]


def draw_zoo(
    cloud: PositionCloud, *, count: int = COUNT, scale: str = "auto", theme: str = "light"
) -> Figure:
    """The shapes of a layer that changed most, each a glyph on its slots: discs where the weights lie, lines from their
    slots. Colour is the slot, area the magnitude; weights below zero are hollow. All glyphs have one scale.

    Args:
        count: how many.
        scale: "true", or "facets": displacements drawn longer by the factor that is stated; "auto" where they are
            too short to be seen.
    """
    chosen = most_changed(cloud, count)
    factor = _factor([cloud], scale)
    drawn = spread_out(cloud, factor)
    columns = min(6, len(chosen))
    rows = -(-len(chosen) // columns)
    with use_theme(theme) as look:
        sheet = Sheet(max(80.0, 8 + columns * (_SIZE + 2.6)), 24 + rows * (_SIZE + 4.5), look)
        left = (sheet.width - columns * (_SIZE + 2.6) + 2.6) / 2
        shown = np.stack([drawn.positions[one] for one in chosen])
        half_width = glyph_half_width(drawn.slots if cloud.regular else None, shown)
        place: dict[str, Any] = {"left": left, "bottom": 9.5, "size": _SIZE, "gap": (2.6, 4.5)}
        panels = sheet.add_panels(len(chosen), columns, reach=half_width, **place)
        top = float(np.nanmax(np.abs([cloud.weights[one] for one in chosen]), initial=0.0)) or 1.0
        for panel, (kernel, channel) in zip(panels, chosen, strict=True):
            places, weights = drawn.positions[kernel, channel], cloud.weights[kernel, channel]
            slots = cloud.slots if cloud.regular else None
            draw_glyph(panel, slots, places, weights / top, look)
            name = f"kernel {kernel}, ch {channel}" if cloud.sharing == "none" else f"channel {channel}"
            farthest = np.hypot(*(cloud.positions[kernel, channel] - cloud.slots).T)
            words = f"{name} · {np.nanmax(farthest, initial=0.0):.2f} px" if cloud.regular else name
            panel.write_title(words, fontsize=5.5)
        clear = draw_keys(sheet, [cloud], look) if cloud.regular else 2
        some = len(chosen) < len(cloud.points)
        of = f"{len(chosen)} of {len(cloud.points):,} shapes" if some else "all shapes"
        order = "most displacement × |weight| first" if cloud.regular else "largest weights first"
        words = f"{describe(cloud)}: {of}, {order}{describe_factor(factor)}"
        sheet.write_heading(cloud.layer, words, left=4, right=clear, wrap=True)
        told = (
            ["px: the farthest weight's displacement"] if cloud.regular else [f"panels: ±{half_width:.1f} px"]
        )
        sheet.write_notes([*_explain(cloud.weights, cloud.regular), *told], top=6.5)
    return sheet.figure


def draw_single_shapes(
    clouds: Sequence[PositionCloud], *, scale: str = "auto", theme: str = "light"
) -> Figure:
    """A row of kernels, one of each layer that has one shape for all channels, in network order, all on one scale in
    grid spacings: from every slot a line to the disc where its weight lies; discs as in `draw_zoo`.

    Raises:
        ArgumentError: no layers, or one with several shapes.
    """
    if not clouds or any(len(cloud.points) != 1 for cloud in clouds):
        got, fix = f"{[len(cloud.points) for cloud in clouds]} shapes", "Draw the others with draw_zoo."
        raise ArgumentError("draw_single_shapes", needed="layers with one shape each", got=got, fix=fix)
    factor = _factor(clouds, scale)
    columns = min(6, len(clouds))
    rows = -(-len(clouds) // columns)
    places = [spread_out(cloud, factor).points[0] / cloud.spacing for cloud in clouds]
    slots = [cloud.slots / cloud.spacing for cloud in clouds]
    half_width = max(glyph_half_width(s, p[None]) for s, p in zip(slots, places, strict=True))
    with use_theme(theme) as look:
        width = 80.0 if columns <= 2 else 170.0
        size = min((width - 8 - 3 * (columns - 1)) / columns, 40.0)
        sheet = Sheet(width, 24 + rows * (size + 7.5), look)
        left = (width - columns * (size + 3) + 3) / 2
        axes = sheet.add_grid(len(clouds), columns, left=left, bottom=9.5, size=size, gap=(3, 7.5))
        names = distinct_names([cloud.layer for cloud in clouds], int(size / 1.15))
        for ax, cloud, name, of, at in zip(axes, clouds, names, slots, places, strict=True):
            weights = np.abs(cloud.weights[0, 0])
            _frame(ax, half_width, look)
            draw_glyph(ax, of, at, cloud.weights[0, 0] / (np.nanmax(weights) or 1.0), look, size=size)
            farthest = float(np.nanmax(np.hypot(*cloud.displacements[0].T), initial=0.0))
            dilation = "×".join(f"{step}" for step in dict.fromkeys(cloud.dilation))
            words = f"{name}\ndilation {dilation} · farthest {farthest:.2f} px"
            ax.set_title(words, fontsize=5.5, pad=2, linespacing=1.15)
        clear = draw_keys(sheet, clouds, look)
        words = f"one for all channels of a layer; steps of the grid are alike{describe_factor(factor)}"
        sheet.write_heading("The shape of each layer", words, left=4, right=clear, wrap=True)
        sheet.write_notes(_explain(np.concatenate([cloud.weights.ravel() for cloud in clouds])), top=6.5)
    return sheet.figure


def draw_glyph(
    ax: Axes | Panel,
    slots: np.ndarray | None,
    places: np.ndarray,
    weights: np.ndarray,
    look: Look,
    *,
    size: float = _SIZE,
) -> None:
    """One shape: a disc at each place (K, 2), its area as of |weight| (K,), 1 being the largest; hollow below zero. The
    largest lie lowest, so that none is hidden. A line leads from each slot (a small cross) to its weight; without
    slots all are of one colour, and the cross is the kernel's centre."""
    from matplotlib.collections import LineCollection

    count = len(places)
    colours = np.array(slot_colours(slots) if slots is not None else [look.accent] * count)
    free, slots = slots is None, np.zeros((1, 2)) if slots is None else slots
    few = count <= 25
    style = {"facecolors": "none", "edgecolors": look.muted, "linewidths": 0.5, "zorder": 1}
    _scatter(ax, "+", slots, [9 if few else 3], gid="slots", **style)
    known = np.flatnonzero(np.isfinite(places).all(-1) & np.isfinite(weights))
    known = known[np.argsort(-np.abs(weights[known]), kind="stable")]
    if not free:
        lines = np.stack([slots[known], places[known]], 1)[..., ::-1]
        style = {"colors": colours[known], "linewidths": 0.9 if few else 0.5, "zorder": 2, "gid": "moves"}
        ax.add_collection(LineCollection(list(lines), transform=ax.transData, **style), autolim=False)
    area = _AREA * (size / _SIZE) ** 2 * min(1.0, 9 / count) * np.abs(weights[known])
    negative = weights[known] < 0
    faces = np.where(negative, look.background, colours[known])
    edges = np.where(negative, colours[known], look.text)
    _scatter(
        ax, "o", places[known], 1.5 + area, facecolors=list(faces), edgecolors=list(edges),
        linewidths=np.where(negative, 0.9, 0.35).tolist(), alpha=0.92, zorder=3, gid="weights",
    )  # fmt: skip


def _scatter(ax: Axes | Panel, marker: str, places: np.ndarray, areas: Any, **style: Any) -> None:
    """Marks at places (n, 2), as `Axes.scatter` draws them."""
    from matplotlib.collections import PathCollection
    from matplotlib.markers import MarkerStyle
    from matplotlib.transforms import IdentityTransform

    mark = MarkerStyle(marker)
    path = mark.get_path().transformed(mark.get_transform())
    marks = PathCollection([path], areas, offsets=places[:, ::-1], offset_transform=ax.transData, **style)
    marks.set_transform(IdentityTransform())
    ax.add_collection(marks, autolim=False)


def _frame(ax: Axes, half_width: float, look: Look) -> None:
    ax.set(xlim=(-half_width, half_width), ylim=(half_width, -half_width), xticks=[], yticks=[])
    ax.set_box_aspect(1)
    for spine in ax.spines.values():
        spine.set(visible=True, color=look.grid)


def _factor(clouds: Sequence[PositionCloud], scale: str) -> float:
    """By how much displacements are lengthened, in layers that share a sheet."""
    tight = all(is_tight(cloud, fewest=1) for cloud in clouds)
    wanted = scale == "facets" or (scale == "auto" and tight)
    regular = [cloud for cloud in clouds if cloud.regular]
    return min((facet_factor(cloud) for cloud in regular), default=1.0) if wanted else 1.0


def glyph_half_width(slots: np.ndarray | None, places: np.ndarray) -> float:
    """Half the side of a view of all slots and nearly all places of glyphs."""
    far = np.abs(places[np.isfinite(places).all(-1)]).max(-1, initial=0.0)
    most = 1.12 * float(far.max(initial=0.5))
    if slots is None:
        return most
    reach = max(float(np.abs(slots).max(initial=0.0)), 0.5)
    return max(1.3 * reach, min(most, 1.7 * reach))


def _explain(weights: np.ndarray, regular: bool = True) -> list[str]:
    signed = bool((weights < 0).any())
    return [
        "area: |weight|" if signed else "area: weight",
        *(["hollow: below zero"] if signed else []),
        "+ slot" if regular else "+ the kernel's centre",
    ]
