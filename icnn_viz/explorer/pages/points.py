"""Which shape a click on page 2 means, and what is said of brushed points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash import html
from dash.exceptions import PreventUpdate

from icnn_viz.explorer.kernel_figures import select
from icnn_viz.explorer.pages.parts import table
from icnn_viz.figures.style import slot_colours
from icnn_viz.records import PositionCloud


def clicked_shape(
    cloud: PositionCloud, point: dict[str, Any], in_space: bool, third_axis: str
) -> tuple[int, int]:
    """Channel and kernel of a point that was clicked on.

    Raises:
        PreventUpdate: it belongs to no shape (a slot's cross, a surface).
    """
    data = point.get("customdata")
    if isinstance(data, Sequence) and not isinstance(data, str) and len(data) == 2:
        kernel, channel = int(data[0]), int(data[1])
    elif isinstance(data, int | float) and not in_space:
        kernel, channel = divmod(int(data), cloud.positions.shape[1])
    elif in_space and third_axis == "channel" and isinstance(point.get("z"), int | float):
        kernel, channel = divmod(int(point["z"]), cloud.positions.shape[1])
    else:
        raise PreventUpdate
    return channel, kernel


def to_table(cloud: PositionCloud, brush: str, slot: int | None) -> tuple[Any, str]:
    """Counts, centres and spreads of the brushed points, by slot where these mean something; their number in words."""
    chosen = select(cloud, brush, slot)
    rows, colours = [], slot_colours(cloud.slots)
    groups = [cloud.points[chosen[:, tap], tap] for tap in range(chosen.shape[1])]
    for tap, points in enumerate(groups if cloud.regular else [cloud.points[chosen]]):
        if not len(points) or slot not in (None, tap):
            continue
        centre, spread = points.mean(0), points.std(0)
        values = [f"{value:.3f}".replace("-", "−") for value in (*centre, *spread)]
        swatch = html.Span("■ ", style={"color": colours[tap]}, **{"aria-hidden": "true"})  # type: ignore[arg-type]
        name = [swatch, f"{tap}: ({cloud.slots[tap, 0]:g}, {cloud.slots[tap, 1]:g})"]
        rows.append([name if cloud.regular else "all weights", f"{len(points):,}", *values])
    total = int(chosen.sum())
    words = f"{total:,} of {chosen.size:,} points {'brushed' if brush else 'shown'}"
    head = ["slot (y, x)" if cloud.regular else "", "points", "mean y", "mean x", "sd y", "sd x"]
    return table(head, rows, f"{words}; px from the kernel's centre"), words
