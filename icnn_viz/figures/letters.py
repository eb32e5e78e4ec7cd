"""Text on pixels: each letter is rendered once and then copied, where matplotlib renders it anew wherever it stands,
which takes most of a figure's time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg, get_hinting_flag
from matplotlib.font_manager import FontProperties, fontManager, get_font
from matplotlib.ft2font import FT2Font

_PARTS = 4  # of a pixel, at which a letter may begin


class Canvas(FigureCanvasAgg):
    """matplotlib's canvas of pixels, whose text is drawn from copied letters if matplotlib's own text is the same."""

    _made_for: tuple[float, ...] = ()

    def get_renderer(self) -> RendererAgg:
        width, height = self.get_width_height(physical=True)
        wanted = (width, height, self.figure.dpi)
        if self._made_for != wanted:
            self.renderer, self._made_for = self.make_renderer(*wanted), wanted
        return self.renderer

    def make_renderer(self, width: float, height: float, dpi: float) -> RendererAgg:
        """What draws on so many pixels."""
        return (_Renderer if _is_trusted() else RendererAgg)(width, height, dpi)


class _Renderer(RendererAgg):
    """Lying and upright text begins at quarters of a pixel along its line, and stands on whole pixels."""

    def get_text_width_height_descent(
        self, s: str, prop: FontProperties, ismath: Any
    ) -> tuple[float, float, float]:
        if ismath:
            return super().get_text_width_height_descent(s, prop, ismath)
        return self._lay_out(s, prop).size

    def draw_text(
        self, gc: Any, x: float, y: float, s: str, prop: FontProperties, angle: float, ismath: Any = False,
        mtext: Any = None,
    ) -> None:  # fmt: skip
        special = mtext is not None and (mtext.get_fontfeatures() or mtext.get_language())
        if ismath or angle not in (0, 90) or special or not gc.get_antialiased():
            super().draw_text(gc, x, y, s, prop, angle, ismath, mtext)
            return
        line, up = self._lay_out(s, prop), self.height - y
        for font, glyph, dx, dy in line.letters:
            at = (x - dy, up + dx) if angle else (x + dx, up + dy)
            along = round(_PARTS * at[angle == 90])
            left, top = (round(at[0]), along // _PARTS) if angle else (along // _PARTS, round(at[1]))
            ink, right, above = _render(font, glyph, *line.key, along % _PARTS, angle == 90)
            row = int(self.height) - top - above + len(ink)
            self._renderer.draw_text_image(ink, left + right, row, 0, gc)

    def _lay_out(self, s: str, prop: FontProperties) -> _Line:
        font = get_font(fontManager._find_fonts_by_props(prop))  # type: ignore[attr-defined]
        return _lay_out(font, s, prop.get_size_in_points(), self.dpi, get_hinting_flag())


@dataclass(frozen=True)
class _Line:
    """A line of text: font, number, x and y (upwards) of each letter; width, height and descent; all in pixels.

    `key`: size of letters, dots per inch and hinting.
    """

    letters: Sequence[tuple[FT2Font, int, float, float]]
    size: tuple[float, float, float]
    key: tuple[float, float, Any]


@lru_cache(maxsize=2048)
def _lay_out(font: FT2Font, text: str, *key: Any) -> _Line:
    font.set_size(*key[:2])
    font.set_text(text, 0.0, flags=key[2])
    width, height = font.get_width_height()
    size = width / 64, height / 64, font.get_descent() / 64
    letters = [(one.ft_object, one.glyph_index, one.x, one.y) for one in font._layout(text, key[2])]  # type: ignore[attr-defined]
    return _Line(letters, size, key)


@lru_cache(maxsize=8192)
def _render(
    font: FT2Font, glyph: int, size: float, dpi: float, flags: Any, part: int, upright: bool
) -> tuple[np.ndarray, int, int]:
    """A letter's ink, and where it lies: pixels to the right and upwards of where the letter stands."""
    from matplotlib.ft2font import RenderMode  # since matplotlib 3.11

    turn: Any = [[0x10000, 0], [0, 0x10000]]
    begin = [64 * part // _PARTS, 0]
    if upright:
        turn, begin = [[0, -0x10000], [0x10000, 0]], begin[::-1]
    font.set_size(size, dpi)
    font._set_transform(turn, begin)  # type: ignore[attr-defined]
    bitmap = font._render_glyph(glyph, flags, RenderMode.NORMAL)  # type: ignore[attr-defined]
    return np.array(bitmap.buffer), bitmap.left, bitmap.top


@cache
def _is_trusted() -> bool:
    """Whether this matplotlib lays letters out and renders them as this file expects; it promises nothing of it."""
    drawn = []
    try:
        for kind in (RendererAgg, _Renderer):
            renderer = kind(60, 60, 100)
            for angle in (0, 90):
                renderer.draw_text(renderer.new_gc(), 20, 40, "Ag", FontProperties(), angle)
            drawn.append(np.array(renderer.buffer_rgba()))
    except Exception:
        return False
    return bool((drawn[0] == drawn[1]).all())
