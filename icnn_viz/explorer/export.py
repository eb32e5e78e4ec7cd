"""A frozen page: one image, the heatmaps of a grid of pixels computed beforehand, no server, nothing from outside."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from icnn_core.errors import ArgumentError
from icnn_viz.displays.pixels import Question
from icnn_viz.explorer.session import Session
from icnn_viz.figures.comparison import describe_question
from icnn_viz.figures.comparison_pages import draw_comparison_interactive
from icnn_viz.figures.comparison_parts import to_axis, to_parts
from icnn_viz.figures.maps import scale_of, to_difference
from icnn_viz.figures.measure_table import MeasureRow, answer_rows, measure_rows
from icnn_viz.figures.screen import shrink, to_data_url
from icnn_viz.figures.style import THEMES, get_look
from icnn_viz.figures.write import write_atomically
from icnn_viz.pictures import to_grey
from icnn_viz.records import PixelComparison

MOST_BYTES = 12_000_000
"""Of a page; the grid is chosen so that it fits."""
MOST_PIXELS = 600
"""Of the grid: each costs a pass through either network."""
MAP_PIXELS = 240 * 180
"""Of a map; larger ones are shrunk to the largest value of each block."""
_PROBES = 5
LEVELS = 31
"""Steps of a map's square root, as many as are seen in it: noise between them would be most of the page."""


@dataclass(frozen=True)
class FrozenPage:
    """What was written: the file, its bytes, and the grid that was chosen.

    Attributes:
        rows, columns: of the grid.
        spacing: pixels of the image between neighbours, (y, x), on average.
        block: side of the blocks of image pixels that are one pixel of a map.
    """

    path: Path
    bytes: int
    rows: int
    columns: int
    spacing: tuple[float, float]
    block: int

    def describe(self) -> str:
        """One line for the terminal."""
        y, x = self.spacing
        return (
            f"{self.path}: {self.bytes / 1e6:.1f} MB, heatmaps of {self.columns} × {self.rows} pixels, one every "
            f"{x:.1f} × {y:.1f} pixels of the image, "
            + ("at full size." if self.block == 1 else f"at 1/{self.block} of its size.")
        )


def write_page(
    session: Session,
    path: Path,
    on_progress: Callable[[int, int], object] = lambda done, total: None,
    *,
    most_bytes: int = MOST_BYTES,
    most_pixels: int = MOST_PIXELS,
) -> FrozenPage:
    """Look at a grid of pixels of the session's first image and write the page.

    Args:
        on_progress: told pixels done, and of how many.
        most_bytes, most_pixels: limits of the file and of the grid.

    Raises:
        ArgumentError: not even a grid of one pixel fits.
        DataError: the file cannot be written.
    """
    key = next(iter(session.shelf.names()))
    picture = session.shelf.get(key)
    height, width = picture.image.shape[:2]

    def look(pixel: tuple[int, int]) -> tuple[dict[str, Any], int]:
        return freeze(session.answer(Question(key, pixel)))

    probes = [look(pixel)[0] for pixel in grid_of(height, width, _PROBES)[0]]
    cost = max(len(json.dumps(probe)) for probe in probes) + 200
    base = len(render(session, picture.name, picture.image, probes[:1], 1)) + 10_000
    count = min(most_pixels, (most_bytes - base) // cost)
    if count < 1:
        raise ArgumentError(
            "--export", needed="room for one pixel", got=f"{cost + base} bytes", fix="Take a smaller image."
        )
    while True:
        pixels, rows, columns = grid_of(height, width, count)
        frozen, block = [], 1
        for done, pixel in enumerate(pixels):
            on_progress(done, len(pixels))
            found, block = look(pixel)
            frozen.append(found)
        on_progress(len(pixels), len(pixels))
        text = render(session, picture.name, picture.image, frozen, block)
        size = len(text.encode())
        if size <= most_bytes or count == 1:
            break
        count = max(1, min(count - 1, count * most_bytes // size))  # the probes' maps packed better than most
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return FrozenPage(path, size, rows, columns, (height / rows, width / columns), block)


def grid_of(height: int, width: int, count: int) -> tuple[list[tuple[int, int]], int, int]:
    """At most `count` pixels (y, x) evenly over an image, row by row; how many rows; how many columns."""
    pitch = max(np.sqrt(height * width / count), 1.0)
    near = {min(max(int(np.floor(height / pitch)) + k, 1), count, height) for k in (0, 1)}
    shapes = [(rows, min(count // rows, width)) for rows in sorted(near)]
    rows, columns = min(shapes, key=lambda shape: abs(np.log(height / shape[0] * shape[1] / width)))
    ys, xs = (((np.arange(k) + 0.5) * n / k).astype(int) for k, n in ((rows, height), (columns, width)))
    return [(int(y), int(x)) for y in ys for x in xs], rows, columns


def freeze(answer: PixelComparison) -> tuple[dict[str, Any], int]:
    """A pixel as the page holds it, and the side of its maps' blocks.

    `maps` are two maps of bytes, deflated, in base64: a byte b stands for top · (b / LEVELS)²; `energies` are
    the whole maps' sums, of which their difference shows shares; `axes` are the colours' of the maps and of either
    difference.
    """
    known = {"measures": answer.measures[:2], "true_class": answer.true_class}
    parts = to_parts(answer.gradients[:2], answer.heatmaps[:2], labels=answer.labels, **known)
    top, shrunk = parts.axes[0]["cmax"], [shrink(h.values, MAP_PIXELS) for h in answer.heatmaps[:2]]
    bytes_ = [np.rint(LEVELS * np.sqrt(np.clip(v / top, 0, 1))).astype(np.uint8) for v, _ in shrunk]
    maps = [base64.b64encode(zlib.compress(b.tobytes(), 9)).decode("ascii") for b in bytes_]
    y, x = answer.pixel
    scale = scale_of(answer.heatmaps[:2], answer.gradients[0].method)
    _, raw, called = to_difference(answer.heatmaps[0], answer.heatmaps[1], "raw", scale)
    return {
        "x": x,
        "y": y,
        "maps": maps,
        "top": top,
        "energies": [float(h.values.sum()) or 1.0 for h in answer.heatmaps[:2]],
        "axes": {"maps": parts.axes[0], "shares": parts.axes[1], "raw": to_axis(raw, called)},
        "lines": parts.lines,
        "words": f"{describe_question(answer.gradients[0])}. {parts.words}",
        "measures": [row.texts[:2] for row in _rows(answer)],
    }, shrunk[0][1]


def render(session: Session, name: str, image: np.ndarray, frozen: list[dict[str, Any]], block: int) -> str:
    """The page's HTML. Names are escaped wherever they stand."""
    from jinja2 import Environment, PackageLoader
    from plotly.offline import get_plotlyjs

    found = session.answer(Question(next(iter(session.shelf.names())), (frozen[0]["y"], frozen[0]["x"])))
    height, width = image.shape[:2]
    method = found.gradients[0].method
    content = {
        "width": width,
        "height": height,
        "block": block,
        "levels": LEVELS,
        "models": [h.network for h in found.heatmaps[:2]],
        "rows": [row.title for row in _rows(found)],
        "pixels": frozen,
        "figures": {theme: _to_figure(found, theme) for theme in THEMES},
        "photo": to_data_url(image),
        "grey": to_data_url(to_grey(image)),
    }
    looks = {theme: get_look(theme) for theme in THEMES}
    environment = Environment(loader=PackageLoader("icnn_viz.explorer"), autoescape=True)
    template = environment.get_template("frozen.html")
    shown = {"content": content, "looks": looks, "block": block, "method": method}
    return template.render(name=name, plotly=get_plotlyjs(), **shown)


def _rows(answer: PixelComparison) -> list[MeasureRow]:
    return [*answer_rows(answer), *measure_rows(answer)]


def _to_figure(answer: PixelComparison, theme: str) -> dict[str, Any]:
    """The comparison without what the page holds once (the image, by either name) and for each pixel (maps)."""
    pair = answer.gradients[:2], answer.heatmaps[:2]
    figure = draw_comparison_interactive(*pair, theme=theme, fluid=True).to_dict()
    for trace in figure["data"]:
        for held_once in ("z", "source"):
            trace.pop(held_once, None)
        if trace.get("name") == "line":
            trace |= {"x": [], "y": []}
    for picture in figure["layout"]["images"]:
        picture.pop("source")
    figure["layout"].pop("template", None)
    return figure
