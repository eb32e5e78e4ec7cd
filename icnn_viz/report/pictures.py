"""matplotlib figures as WebP inside the page, and how many bytes each may take so that the page stays small."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

from icnn_core.text import counted
from icnn_viz.figures.style import MM
from icnn_viz.figures.write import save_lines, to_image, to_twins

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image

LIMIT = 15_000_000
"""Bytes that a report may have."""
LAYER_VIEWS = ("cloud", "3d", "zoo", "qq", "field")
TURNED_LAYERS = 12
"""More layers are not to be turned by hand: their points, and what draws them, would take the room of pictures."""
_ENOUGH = 56_000  # bytes with which a picture of a layer is still clear
_MOST = 160_000
VECTOR = 4
"""Pictures whose bytes one of lines alone may take."""
_QUALITIES = (85, 68, 52)
_CSS_PER_MM = 5.0  # on the screen; 7 pt text becomes 12 px


@dataclass
class Budget:
    """How pictures are made.

    Attributes:
        views: of every layer.
        dark: whether layers are drawn for the dark theme too.
        most: bytes a picture may take; and what earlier ones left of theirs, up to as much again.
        turns: whether what is in space can be turned by hand.
        dpi: dots per inch.
        notes: what was left out to keep the page small, in words.
        left: bytes that the pictures made so far left.
    """

    views: tuple[str, ...]
    dark: bool
    most: int
    turns: bool = True
    dpi: int = 200
    notes: tuple[str, ...] = ()
    left: int = 0

    def encode(self, image: Image.Image) -> bytes:
        """The picture as WebP, counted."""
        picture = _to_webp(image, self.most + min(self.left, self.most))
        self.left += self.most - len(picture)
        return picture


@dataclass(frozen=True)
class Picture:
    """A figure in the page: data URIs (`dark` is "" where there is one theme only), size in CSS pixels, words."""

    light: str
    dark: str
    width: int
    height: int
    alt: str


def make_budget(layers: int, others: int, taken: int, limit: int = LIMIT) -> Budget:
    """The richest way of drawing that leaves every picture enough bytes.

    Args:
        layers: how many have pictures of their own.
        others: pictures that are drawn in both themes whatever comes.
        taken: bytes of all else on the page.
    """
    room = max(limit - taken, 0) * 3 // 4  # base64 makes four letters of three bytes
    two = ("cloud", "zoo")
    ways = (
        (LAYER_VIEWS, True, ""),
        (LAYER_VIEWS, False, "figures of single layers are drawn for a light ground alone"),
        (two, True, "of single layers only two figures are shown"),
        (two, False, "of single layers only two figures are shown, drawn for a light ground alone"),
        (("cloud",), False, "of single layers only the cloud is shown, drawn for a light ground alone"),
    )
    turns = layers <= TURNED_LAYERS
    for views, dark, left_out in ways:
        most = room // max(2 * others + layers * len(views) * (1 + dark), 1)
        if most >= _ENOUGH or views == ("cloud",):
            parts = [left_out] * bool(left_out) + ["no cloud can be turned by hand"] * (not turns)
            said = ", and ".join(parts)
            page = f"a page of {counted(layers, 'layer')} stays below {limit / 1e6:.0f} MB"
            note = f"{said[:1].upper()}{said[1:]}, so that {page}."
            return Budget(views, dark, min(most, _MOST), turns, notes=(note,) * bool(said))
    raise AssertionError("the last way is taken whatever it leaves")


def make_picture(
    draw: Callable[[str], Figure], budget: Budget, alt: str, *, dark: bool = True, vector: bool = False
) -> Picture:
    """Draw a figure once a theme: `draw("light")`, `draw("dark")`; `vector` as lines where that takes no more bytes."""
    from icnn_viz.figures.themes import is_exchangeable

    figure = draw("light")
    width, height = (round(float(size) / MM * _CSS_PER_MM) for size in figure.get_size_inches())
    pictures = vector and _to_lines(figure, budget, dark=dark)
    if not pictures and dark and is_exchangeable(figure):
        pictures = [_to_uri("webp", budget.encode(image)) for image in to_twins(figure, budget.dpi)]
    if not pictures:
        figures = [figure, draw("dark")] if dark else [figure]
        pictures = [_to_uri("webp", budget.encode(to_image(one, budget.dpi))) for one in figures]
    return Picture(pictures[0], pictures[1] if dark else "", width, height, alt)


def _to_lines(figure: Figure, budget: Budget, *, dark: bool) -> list[str]:
    """The figure as SVG, sharp at any size, by theme; none if it takes more bytes than `VECTOR` pictures may, or its
    colours cannot be exchanged."""
    from icnn_viz.figures.themes import exchange_lines, is_exchangeable

    if not is_exchangeable(figure):
        return []
    buffer = BytesIO()
    save_lines(figure, buffer)
    if buffer.tell() > VECTOR * budget.most:
        return []
    light = buffer.getvalue().decode()
    return [_to_uri("svg+xml", text.encode()) for text in (light, *([exchange_lines(light)] if dark else []))]


def _to_uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _to_webp(image: Image.Image, most: int) -> bytes:
    """The best quality that fits; if none does, ever smaller pictures."""
    while True:
        for quality in _QUALITIES:
            buffer = BytesIO()
            image.save(buffer, "WEBP", quality=quality, method=2)
            if buffer.tell() <= most or min(image.size) < 64:
                return buffer.getvalue()
        image = image.resize((image.width * 4 // 5, image.height * 4 // 5))
