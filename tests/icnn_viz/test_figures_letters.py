"""Text from copied letters looks like matplotlib's own, and gives way to it wherever it would not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter

from icnn_viz.figures import letters
from icnn_viz.figures.letters import Canvas

needs_letters = pytest.mark.skipif(not letters._is_trusted(), reason="this matplotlib draws all text itself")


def draw(
    canvas: type[FigureCanvasAgg], text: str = "Kernel 12 – Åg", x: float = 0.31, **style: Any
) -> np.ndarray:
    """(H, W) ink of a line of text, 0 to 1."""
    figure = Figure(figsize=(2.0, 1.5), dpi=140)
    figure.text(x, 0.22, text, **style)
    drawn = canvas(figure)
    drawn.draw()
    return 1 - np.asarray(drawn.buffer_rgba())[..., 0] / 255.0


@needs_letters
@pytest.mark.parametrize("rotation", [0, 90])
@pytest.mark.parametrize("x", [0.31, 0.3137, 0.3171])
def test_letters_lie_where_matplotlibs_do(rotation: int, x: float) -> None:
    own, plain = (draw(kind, x=x, rotation=rotation) for kind in (Canvas, FigureCanvasAgg))
    assert not np.array_equal(own, plain)  # they were copied
    assert own.sum() == pytest.approx(plain.sum(), rel=0.03)
    places = [[np.average(np.arange(n), weights=ink.sum(1 - axis)) for axis, n in enumerate(ink.shape)]
              for ink in (own, plain)]  # fmt: skip
    assert np.abs(np.subtract(places[0], places[1])).max() < 0.6
    assert np.abs(gaussian_filter(own, 2.0) - gaussian_filter(plain, 2.0)).max() < 0.12


@pytest.mark.parametrize("style", [{"rotation": 30}, {"text": "$x^2$"}, {"antialiased": False}])
def test_other_text_is_matplotlibs(style: dict[str, Any]) -> None:
    own, plain = (draw(kind, **style) for kind in (Canvas, FigureCanvasAgg))
    assert np.array_equal(own, plain)


def test_a_matplotlib_that_renders_letters_otherwise_draws_all_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(*args: Any) -> tuple[np.ndarray, int, int]:
        return np.full((3, 3), 255, np.uint8), 0, 3

    def none(*args: Any) -> None:
        raise AttributeError("no such thing")

    for render in (other, none):
        monkeypatch.setattr(letters, "_render", render)
        assert not letters._is_trusted.__wrapped__()
    monkeypatch.setattr(letters, "_is_trusted", lambda: False)
    assert np.array_equal(draw(Canvas), draw(FigureCanvasAgg))


@needs_letters
def test_the_same_text_is_laid_out_once_a_size() -> None:
    letters._lay_out.cache_clear()
    for x in (0.2, 0.3):
        draw(Canvas, "said twice", x=x)
    assert letters._lay_out.cache_info().misses == 1
    draw(Canvas, "said twice", fontsize=23)
    assert letters._lay_out.cache_info().misses == 2
