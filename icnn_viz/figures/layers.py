"""The ellipses of all layers on one sheet, in network order and on one scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from icnn_core.errors import ArgumentError
from icnn_viz.figures.marks import (
    describe_factor,
    draw_centres,
    draw_ellipses,
    draw_keys,
    draw_slots,
    ellipse_reach,
    magnified,
    set_view,
)
from icnn_viz.figures.scales import facet_factor, takes_facets
from icnn_viz.figures.sheet import Sheet, choose_columns, distinct_names, list_names
from icnn_viz.figures.style import Look, slot_colours, use_theme
from icnn_viz.records import GaussianFit, PositionCloud

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_UNITS = {"spacings": "grid spacings; 1 = from slot to slot", "pixels": "input pixels"}


def draw_layers(
    clouds: Sequence[PositionCloud],
    fits: Sequence[GaussianFit],
    *,
    unit: str = "spacings",
    magnify: float = 1.0,
    scale: str = "auto",
    theme: str = "light",
) -> Figure:
    """Slots, centres and 1- and 2-sigma ellipses of every layer: small multiples with the same axes. Displacements of
    layers whose clouds are too small to be seen are drawn longer, by the factor over the panel.

    Args:
        clouds, fits: of the same layers, in network order.
        unit: "spacings" divides by each layer's grid spacing, so that layers compare; "pixels" does not.
        magnify: draw every displacement from its slot so many times longer; the figure says so.
        scale: "auto", "true" (no factor but `magnify`) or "facets" (all as long as their slots' distance allows).

    Raises:
        ArgumentError: no layers, or an unknown unit. NameNotFoundError: another scale.
    """
    if not clouds or unit not in _UNITS:
        raise ArgumentError(
            "draw_layers", needed="layers, and the unit spacings or pixels", got=f"{len(clouds)} layers, {unit!r}",
            fix="Read a checkpoint with irregular layers.",
        )  # fmt: skip
    small = [magnify == 1 and takes_facets(scale, cloud) for cloud in clouds]
    factors = [facet_factor(cloud) if tight else magnify for cloud, tight in zip(clouds, small, strict=True)]
    fits = [magnified(cloud, fit, by)[1] for cloud, fit, by in zip(clouds, fits, factors, strict=True)]
    divisors = [cloud.spacing if unit == "spacings" else np.ones(2) for cloud in clouds]
    slots = [cloud.slots / divisor for cloud, divisor in zip(clouds, divisors, strict=True)]
    fits = [rescale(fit, divisor) for fit, divisor in zip(fits, divisors, strict=True)]
    half_width, cut = common_half_width(slots, fits)
    with use_theme(theme) as look:
        marks = [f" ×{by:g}" if tight else "" for by, tight in zip(factors, small, strict=True)]
        sheet, axes, clear = lay_out(clouds, half_width, unit, look, marks)
        for ax, places, fit in zip(axes, slots, fits, strict=True):
            colours = slot_colours(places)
            draw_ellipses(ax, fit, colours, look, width=0.7)
            draw_slots(ax, places, look, size=5, width=0.5)
            draw_centres(ax, fit, colours, look, size=4)
            _name_state(ax, fit, look.muted)
        words = f"in network order; solid 1σ, dashed 2σ{describe_factor(magnify)}"
        sheet.write_heading("Shapes of all layers", words, left=11, right=clear)
        notes = ["×: displacements drawn so many times longer"] if any(small) else []
        sheet.write_notes(notes + describe_cut(clouds, cut), top=5)
    return sheet.figure


def lay_out(
    clouds: Sequence[PositionCloud], half_width: float, unit: str, look: Look, marks: Sequence[str]
) -> tuple[Sheet, list[Axes], float]:
    """A sheet with a square panel for each layer, named and marked, all with the same axes in `unit`, and a key of the
    slots for each kind of kernel; and the mm that the keys take of the heading."""
    columns = choose_columns(len(clouds))
    width = 80.0 if columns == 1 else 170.0
    size = min((width - 14 - 3 * (columns - 1)) / columns, 60)
    rows = -(-len(clouds) // columns)
    sheet = Sheet(width, rows * (size + 4.5) + 29, look)
    axes = sheet.add_grid(len(clouds), columns, left=11, bottom=15, size=size, gap=(3, 4.5))
    room = int(size / 1.05) - max(map(len, marks))
    names = distinct_names([cloud.layer for cloud in clouds], room)
    for number, (ax, name, mark) in enumerate(zip(axes, names, marks, strict=True)):
        set_view(ax, half_width, labels=False)
        ax.set_title(name + mark, fontsize=5, pad=2, loc="left")
        left, below = number % columns == 0, number + columns >= len(clouds)
        ax.tick_params(labelsize=5.5, labelleft=left, labelbottom=below)
    clear = draw_keys(sheet, clouds, look)
    middle = 15 + rows * (size + 4.5) / 2
    sheet.write(width / 2, 8.2, f"x ({_UNITS[unit]})", ha="center", va="center")
    sheet.write(2.4, middle, f"y ({_UNITS[unit]})", ha="center", va="center", rotation=90)
    return sheet, axes, clear


def describe_cut(clouds: Sequence[PositionCloud], cut: Sequence[int]) -> list[str]:
    """Which layers do not fit their panels, in words."""
    names = distinct_names([cloud.layer for cloud in clouds])
    far = [names[number] for number in cut]
    return [f"ellipses reach out of the panel: {list_names(far)}"] if cut else []


def rescale(fit: GaussianFit, divisor: np.ndarray) -> GaussianFit:
    """The fit with (y, x) divided by `divisor`."""
    return GaussianFit(
        fit.layer, fit.count, fit.mean / divisor, fit.covariance / np.outer(divisor, divisor), fit.state
    )


def common_half_width(slots: Sequence[np.ndarray], fits: Sequence[GaussianFit]) -> tuple[float, list[int]]:
    """A half-width for all panels, and the layers that do not fit: one that has run away must not flatten the rest.

    The slots of all layers fit, however large their kernels.
    """
    places = np.array([np.abs(s).max(initial=0) * 1.15 for s in slots])
    reach = np.maximum(places, [ellipse_reach(fit).max() for fit in fits])
    half_width = max(float(reach[reach <= 1.6 * np.median(reach)].max()), float(places.max()), 0.5) * 1.05
    return half_width, np.flatnonzero(reach > half_width).tolist()


def _name_state(ax: Axes, fit: GaussianFit, colour: str) -> None:
    """A word where a whole layer has no ellipses."""
    if not (fit.state == "ok").any():
        words = ", ".join(dict.fromkeys(str(state) for state in fit.state))
        ax.text(0.5, 0.03, words, transform=ax.transAxes, fontsize=5, color=colour, ha="center")
