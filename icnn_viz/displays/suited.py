"""Which views say something of a layer, and why the others do not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from icnn_viz.figures.field import FEWEST
from icnn_viz.figures.sheet import list_names
from icnn_viz.records import PositionCloud

BY_SLOT = ("cloud", "field", "qq", "trajectory", "strip", "layers", "depth", "rose", "heat")
"""Views that set points against slots' regular places."""
BY_SHAPES = ("cloud", "qq", "field", "histogram", "layers", "depth", "rose", "heat")
"""Views of many shapes."""
MANY = 9
"""Slots above which a layer's positions are shown together, too."""


def why_not(view: str, cloud: PositionCloud) -> str:
    """Why a view says nothing of a layer, in words; empty if it does."""
    if view in BY_SLOT and not cloud.regular:
        return "no regular places"
    if view in BY_SHAPES and len(cloud.points) == 1:
        return "one shape alone"
    return f"fewer than {FEWEST} shapes" if view == "qq" and len(cloud.points) < FEWEST else ""


def suiting(view: str, clouds: Iterable[PositionCloud]) -> list[int]:
    """The numbers of the layers of which a view says something."""
    return [number for number, cloud in enumerate(clouds) if not why_not(view, cloud)]


def left_out(views: Iterable[str], clouds: Sequence[PositionCloud]) -> list[str]:
    """What is not drawn of which layers, and why, a sentence for each reason."""
    found: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for view in views:
        reasons = [why_not(view, cloud) for cloud in clouds]
        for reason in dict.fromkeys(filter(None, reasons)):
            layers = tuple(c.layer for c, why in zip(clouds, reasons, strict=True) if why == reason)
            found.setdefault((reason, layers), []).append(view)
    return [
        f"Left out: {', '.join(views)} of {'all layers' if len(layers) == len(clouds) else list_names(layers)} "
        f"({reason})."
        for (reason, layers), views in found.items()
    ]


def default_views(clouds: Sequence[PositionCloud]) -> list[str]:
    """What is drawn of a network if nothing is asked for."""
    views = ["strip", "cloud", "zoo", "3d"]
    if any(not cloud.regular or len(cloud.slots) > MANY for cloud in clouds):
        views.insert(2, "histogram")
    return [view for view in views if suiting(view, clouds)]
