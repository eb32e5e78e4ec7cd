"""A measure of every slot in every layer as colours on the layer's own grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from icnn_core.errors import check_name
from icnn_viz.figures.marks import robust_top
from icnn_viz.figures.sheet import Sheet, distinct_names
from icnn_viz.figures.style import Look, text_on, use_theme
from icnn_viz.records import GaussianFit, PositionCloud
from icnn_viz.statistics.gaussian import to_shapes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

_UNITS = {"elongation": "1 = round", "orientation": "degrees", "points": "number"} | dict.fromkeys(
    ("area", "var_y", "var_x", "cov_yx"), "px²"
)
_TILE, _GAP, _TITLE = 18.0, 2.6, 3.6


def draw_heat(
    clouds: Sequence[PositionCloud],
    fits: Sequence[GaussianFit],
    measure: str = "elongation",
    *,
    theme: str = "light",
) -> Figure:
    """One tile a layer, in the order given: a cell where each slot lies. Cells without a value are hatched; colours
    begin at 1 for an elongation, and stop where a few values that ran away would flatten the rest; numbers do not.

    Args:
        clouds, fits: of the same layers.
        measure: a numeric column of `to_shapes`.

    Raises:
        NameNotFoundError: there is no such column.
    """
    tables = [to_shapes(fit) for fit in fits]
    check_name("draw_heat", "a column of the table of shapes", measure, tables[0].columns)
    values = [table[measure].to_numpy(dtype=float, na_value=np.nan) for table in tables]
    columns = next(n for n in range(1, len(clouds) + 1) if n * n >= 1.6 * len(clouds) or n == len(clouds))
    columns = min(columns, 8)
    rows = -(-len(clouds) // columns)
    width = 80.0 if columns <= 3 else 170.0
    tile = min((width - 8 - (columns - 1) * _GAP) / columns, 26.0 if columns <= 3 else _TILE)
    with use_theme(theme) as look:
        from matplotlib.cm import ScalarMappable

        sheet = Sheet(width, 27 + rows * (tile + _TITLE + _GAP), look)
        every = np.concatenate(values)
        norm = _choose_norm(every[np.isfinite(every)], measure)
        shades = ScalarMappable(norm, look.sequential)
        left = (width - columns * (tile + _GAP) + _GAP) / 2
        axes = sheet.add_grid(
            len(clouds), columns, left=left, bottom=17, size=tile, gap=(_GAP, _GAP + _TITLE)
        )
        names = distinct_names([cloud.layer for cloud in clouds], int(tile))
        for ax, cloud, of, name in zip(axes, clouds, values, names, strict=True):
            _draw_tile(ax, cloud.slots, of, shades, tile, look)
            ax.set_title(name, fontsize=5, pad=2)
        bar = sheet.add_axes(8, 8, min(width - 16, 90), 2.2)
        top = float(norm.vmax or 0.0)
        above = "max" if every[np.isfinite(every)].max(initial=-np.inf) > top else "neither"
        scale = sheet.figure.colorbar(shades, cax=bar, orientation="horizontal", extend=above)
        scale.outline.set_linewidth(0.4)  # type: ignore[operator]
        bar.set_xlabel(f"{measure.replace('_', ' ')} ({_UNITS.get(measure, 'px')})", labelpad=1)
        subtitle = "a cell where each slot lies; hatched: nothing to measure"
        sheet.write_heading(measure.replace("_", " ").capitalize() + " of every slot", subtitle, left=4)
    return sheet.figure


def _choose_norm(finite: np.ndarray, measure: str) -> Any:
    from matplotlib.colors import Normalize

    if not finite.size:
        return Normalize(1.0, 2.0) if measure == "elongation" else Normalize(0.0, 1.0)
    low = 1.0 if measure == "elongation" else float(finite.min())
    top = robust_top(finite) if (finite >= 0).all() else float(finite.max())
    return Normalize(low, top if top > low else low + 1.0)


def _draw_tile(
    ax: Axes, slots: np.ndarray, values: np.ndarray, shades: ScalarMappable, tile: float, look: Look
) -> None:
    """A square cell on each slot, as large as the nearest slots allow, with its value if there is room."""
    from matplotlib.colors import to_hex
    from matplotlib.patches import Rectangle

    ys, xs = (np.unique(slots[:, axis].round(4)) for axis in (0, 1))
    row, column = np.searchsorted(ys, slots[:, 0].round(4)), np.searchsorted(xs, slots[:, 1].round(4))
    across, down = len(xs), len(ys)
    side = max(across, down)
    size = tile / side * 2.83  # pt
    for y, x, value in zip(row, column, values, strict=True):
        known = np.isfinite(value)
        box = Rectangle((x + 0.02, y + 0.02), 0.96, 0.96, linewidth=0, gid="cell" if known else "missing")
        ax.add_patch(box)
        if not known:
            box.set(hatch="//////", facecolor=look.background, edgecolor=look.grid)
            continue
        colour = to_hex(tuple(shades.to_rgba(np.array([value]))[0].tolist()))
        box.set_facecolor(colour)
        if size >= 9:
            style = {"fontsize": min(5.5, size / 2.6), "color": text_on(colour), "ha": "center"}
            ax.text(x + 0.5, y + 0.52, _short(float(value)), va="center", **style)  # type: ignore[arg-type]
    ax.set(xlim=((across - side) / 2, (across + side) / 2), ylim=((down + side) / 2, (down - side) / 2))
    ax.set_box_aspect(1)
    ax.axis("off")


def _short(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"
