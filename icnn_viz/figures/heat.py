"""A measure of every slot in every layer as a grid of colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from icnn_core.errors import NameNotFoundError, nearest_names
from icnn_viz.figures.marks import robust_top
from icnn_viz.figures.sheet import Sheet, distinct_names
from icnn_viz.figures.style import Look, shorten, text_on, use_theme

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_UNITS = {"elongation": "1 = round", "orientation": "degrees", "points": "number"} | dict.fromkeys(
    ("area", "var_y", "var_x", "cov_yx"), "px²"
)
_CELL_HEIGHT, _CELL_WIDTH = 4.0, 6.4


def draw_heat(shapes: pd.DataFrame, measure: str = "elongation", *, theme: str = "light") -> Figure:
    """One row a layer, in the order of the table, one column a slot. Cells without a value are hatched; colours
    stop where a few values that ran away would flatten the rest, numbers do not.

    Args:
        shapes: one row a layer and slot, as `to_shapes` gives, of all layers.
        measure: a numeric column of it.

    Raises:
        NameNotFoundError: the table has no such column.
    """
    if measure not in shapes.columns:
        raise NameNotFoundError(
            "draw_heat",
            needed="a column of the table",
            got=repr(measure),
            fix=nearest_names(measure, shapes.columns),
        )
    layers = list(dict.fromkeys(shapes["layer"]))
    slot = shapes["slot"].to_numpy(dtype=int)
    row = np.array([layers.index(layer) for layer in shapes["layer"]])
    slots = int(slot.max()) + 1
    values = np.full((len(layers), slots), np.nan)
    values[row, slot] = shapes[measure].to_numpy(dtype=float, na_value=np.nan)
    labels = [shorten(name, 26) for name in distinct_names(layers)]
    left = 4 + 1.3 * max(len(label) for label in labels)
    cell = min(_CELL_WIDTH, (166 - left) / slots)
    width = max(80.0, left + cell * slots + 4)
    with use_theme(theme) as look:
        height = _CELL_HEIGHT * len(layers)
        sheet = Sheet(width, height + 31, look)
        ax = sheet.add_axes(left, 20, cell * slots, height)
        _draw(ax, values, look, numbers=cell >= 5)
        ax.set_yticks(range(len(layers)), labels, fontsize=5.5)
        ax.set_xticks(range(slots), [str(slot) for slot in range(slots)], fontsize=5.5 if cell > 4 else 4)
        ax.set_xlabel("slot")
        bar = sheet.add_axes(left, 8, cell * slots, 2.2)
        above = "max" if np.nanmax(values, initial=-np.inf) > ax.images[0].norm.vmax else "neither"  # type: ignore[operator]
        scale = sheet.figure.colorbar(ax.images[0], cax=bar, orientation="horizontal", extend=above)
        scale.outline.set_linewidth(0.4)  # type: ignore[operator]
        bar.set_xlabel(f"{measure.replace('_', ' ')} ({_UNITS.get(measure, 'px')})", labelpad=1)
        sheet.write_heading(measure.replace("_", " ").capitalize() + " of every slot", left=min(left, 12))
    return sheet.figure


def _draw(ax: Axes, values: np.ndarray, look: Look, *, numbers: bool) -> None:
    from matplotlib.colors import to_hex
    from matplotlib.patches import Rectangle

    image = ax.imshow(np.ma.masked_invalid(values), cmap=look.sequential, aspect="auto", interpolation="none")
    finite = values[np.isfinite(values)]
    if not finite.size:
        image.set_clim(0, 1)
    elif (finite >= 0).all():
        image.set_clim(float(finite.min()), robust_top(finite))
    colours = image.to_rgba(np.nan_to_num(values))
    for row, column in np.ndindex(*values.shape):
        value = values[row, column]
        if np.isfinite(value) and numbers:
            ground = to_hex(tuple(colours[row, column].tolist()))
            style = {"fontsize": 4.8, "color": text_on(ground), "ha": "center", "va": "center"}
            ax.text(column, row, _short(value), **style)  # type: ignore[arg-type]
        elif not np.isfinite(value):
            box = Rectangle((column - 0.5, row - 0.5), 1, 1, hatch="//////", linewidth=0, gid="missing")
            box.set(facecolor=look.background, edgecolor=look.grid)
            ax.add_patch(box)
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)


def _short(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"
