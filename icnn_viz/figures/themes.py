"""A figure in both themes, built and drawn once: a light one is drawn dark as well, each colour by the dark theme's."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from icnn_viz.figures.letters import Canvas
from icnn_viz.figures.style import dark_colours, get_look

if TYPE_CHECKING:
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.figure import Figure

_COLOURS: dict[str, tuple[int, ...]] = {
    "draw_path": (2,),
    "draw_markers": (4,),
    "draw_path_collection": (5, 6),
    "draw_quad_mesh": (6, 8),
    "draw_image": (),
    "draw_text": (),
}
"""The calls by which matplotlib draws, and which of their arguments behind the first are colours."""


def is_exchangeable(figure: Figure) -> bool:
    """Whether a light figure has no colour map but the one that themes share: other maps' colours have no dark ones.
    Contours have fixed colours."""
    from matplotlib.contour import ContourSet

    artists = (one for ax in figure.axes for one in (*ax.images, *ax.collections))
    maps = {one.get_cmap().name for one in artists if not isinstance(one, ContourSet)}
    return maps <= {get_look("dark").sequential}


def exchange_lines(svg: str) -> str:
    """A light figure's SVG as the dark theme has it."""
    table = dark_colours()
    return re.sub(r"#[0-9a-f]{6}(?=[;\"])", lambda found: table.get(found[0], found[0]), svg)


class TwinCanvas(Canvas):
    """Draws a light figure and, as `dark`, the same in the dark theme."""

    def make_renderer(self, width: float, height: float, dpi: float) -> RendererAgg:
        light, self.dark = (Canvas.make_renderer(self, width, height, dpi) for _ in range(2))
        exchange = _Exchange(dark_colours())
        for name, places in _COLOURS.items():
            draw = _draw_both(getattr(light, name), getattr(self.dark, name), places, exchange)
            setattr(light, name, draw)
        return light


def _draw_both(
    light: Callable[..., Any], dark: Callable[..., Any], places: Sequence[int], exchange: _Exchange
) -> Callable[..., None]:
    """A renderer's method that calls another's with other colours as well."""

    def draw(gc: Any, *given: Any, **named: Any) -> None:
        light(gc, *given, **named)
        rgb = gc.get_rgb()
        gc.set_foreground(exchange(rgb), isRGBA=True)
        args = [exchange(one) if place in places else one for place, one in enumerate(given)]
        dark(gc, *args, **{name: exchange(one) if name == "rgbFace" else one for name, one in named.items()})
        gc.set_foreground(rgb, isRGBA=True)

    return draw


class _Exchange:
    """Colours of the light theme to those of the dark one: a colour, an array (n, 3 or 4) of them, or None."""

    def __init__(self, table: Mapping[str, str]) -> None:
        from matplotlib.colors import to_rgb

        pairs = {int(light[1:], 16): to_rgb(dark) for light, dark in table.items()}
        self._pairs, self._known = pairs, np.array(sorted(pairs))
        self._dark = np.array([pairs[key] for key in sorted(pairs)])

    def __call__(self, colours: Any) -> Any:
        if colours is None or not len(colours):
            return colours
        if np.ndim(colours) == 1:
            one: tuple[float, ...] = tuple(colours)
            red, green, blue = (round(255 * float(part)) for part in one[:3])
            return (*self._pairs.get(red << 16 | green << 8 | blue, one[:3]), *one[3:])
        exchanged = np.array(colours, dtype=float)
        keys = np.rint(255 * exchanged[:, :3]).astype(int) @ (1 << 16, 1 << 8, 1)
        at = np.searchsorted(self._known, keys).clip(max=len(self._known) - 1)
        found = self._known[at] == keys
        exchanged[found, :3] = self._dark[at[found]]
        return exchanged
