"""Which views say something of a layer, and why the others do not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from icnn_viz.figures.field import FEWEST
from icnn_viz.figures.sheet import list_names
from icnn_viz.records import PositionCloud

if TYPE_CHECKING:
    from icnn_viz.displays.drawings import KernelOptions
    from icnn_viz.displays.kernels import KernelDisplay

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


def expand_views(views: Sequence[str], display: KernelDisplay) -> list[str]:
    """The views asked for, each once; "all" is all that can be drawn here, and nothing the default."""
    from icnn_viz.displays.kernels import LAYER_VIEWS, NETWORK_VIEWS, RUN_VIEWS

    if "all" in views:
        views = ("strip", *LAYER_VIEWS, *NETWORK_VIEWS, *(RUN_VIEWS if display.steps else ()))
    return list(dict.fromkeys(views)) or default_views(display.clouds)


def ill_suited(
    display: KernelDisplay, views: Sequence[str], formats: Sequence[str], options: KernelOptions
) -> tuple[str, str] | None:
    """The first option that would have no effect on a network's figures, and why, in words: an index of what
    kernels share, a kind of file that no view has, a view that is drawn in none of the kinds."""
    from icnn_viz.displays.drawings import draw_views

    sharings = {cloud.sharing for cloud in display.clouds}
    if options.kernel and "none" not in sharings:
        return "--kernel", "has no effect where kernels share their shapes."
    if options.channel and sharings == {"layer"}:
        return "--channel", "has no effect where channels share their shapes."
    suited = {
        view: {kind for drawing in draw_views(display, [view], options) for kind in drawing.kinds}
        for view in expand_views(views, display)
    }
    for kind in formats:
        if any(suited.values()) and not any(kind in suiting for suiting in suited.values()):
            return "--format", f"{kind} is no kind of file for {', '.join(suited)}: see --help."
    for view in dict.fromkeys(views):
        if formats and view != "all" and suited[view] and not suited[view] & set(formats):
            return "--view", f"{view} is drawn as {', '.join(sorted(suited[view]))}: add one by --format."
    return None


def default_views(clouds: Sequence[PositionCloud]) -> list[str]:
    """What is drawn of a network if nothing is asked for."""
    views = ["strip", "cloud", "zoo", "3d"]
    if any(not cloud.regular or len(cloud.slots) > MANY for cloud in clouds):
        views.insert(2, "histogram")
    return [view for view in views if suiting(view, clouds)]
