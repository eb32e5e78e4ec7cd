"""Parts of the image that are marked in it, and their key: the pixel's object, and what networks take it for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from icnn_viz.figures.maps import network_colours, pad
from icnn_viz.figures.panels import LINE
from icnn_viz.figures.sheet import CHARACTER, MARGIN, Sheet
from icnn_viz.figures.style import WHITE, Look, shorten
from icnn_viz.masks import connected_part
from icnn_viz.records import PixelGradient

_DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1.5, 1.5)))
Lines = tuple[list[float | None], list[float | None]]
_SAMPLE, _SPACE = 6.0, 4.0  # mm


@dataclass(frozen=True)
class Outline:
    """A part of the image that is marked in it.

    Attributes:
        words: what it is.
        mask: (H, W) bool.
        colour, dash: of its line, as of matplotlib.
    """

    words: str
    mask: np.ndarray
    colour: str
    dash: Any


def list_outlines(
    gradients: Sequence[PixelGradient], true_class: str, labels: np.ndarray | None, look: Look
) -> list[Outline]:
    """What is marked in the image: the pixel's object by its label, if known, and the connected parts around the pixel
    that the first two networks take for one class."""
    pixel, found = gradients[0].pixel, list[Outline]()
    if labels is not None and true_class:
        found.append(
            Outline(f"true: {true_class}", connected_part(labels == labels[pixel], pixel), WHITE, _DASHES[0])
        )
    colours = network_colours(look, 2) if len(gradients) > 1 else [look.accent]
    for number, (gradient, colour) in enumerate(zip(gradients, colours, strict=False), 1):
        part = connected_part(gradient.prediction == gradient.prediction[pixel], pixel)
        found.append(
            Outline(
                f"{gradient.network}: {gradient.predicted_name}", part, _brighten(colour), _DASHES[number]
            )
        )
    return found


def describe_outlines(gradients: Sequence[PixelGradient], true_class: str) -> str:
    """The key in words, for a page."""
    known = f"white, the true object ({true_class}); " if true_class else ""
    dashes = zip(gradients[:2], ("dashed", "dotted"), strict=False)
    return "Outlines: " + known + "; ".join(f"{d}, {g.network} ({g.predicted_name})" for g, d in dashes) + "."


def trace(mask: np.ndarray) -> Lines:
    """The outline of a part (H, W) bool as a path, see `to_path`."""
    return to_path(*pad(mask), 0.5) if mask.any() else ([], [])


def to_path(xs: np.ndarray, ys: np.ndarray, values: np.ndarray, level: float) -> Lines:
    """x and y of all lines at a level of a map, in pixels to a tenth, with None between lines."""
    from contourpy import contour_generator

    path: Lines = ([], [])
    for line in contour_generator(xs, ys, values).lines(level):
        for axis, part in enumerate(path):
            part += [None] * bool(part) + np.asarray(line)[:, axis].round(1).tolist()
    return path


def lay_out_key(outlines: Sequence[Outline], width: float) -> list[tuple[int, float]]:
    """Row and place in mm of each entry of the key."""
    places, row, x = list[tuple[int, float]](), 0, MARGIN
    for outline in outlines:
        need = _SAMPLE + _SPACE + CHARACTER * len(_key_words(outline))
        if x > MARGIN and x + need > width - MARGIN:
            row, x = row + 1, MARGIN
        places.append((row, x))
        x += need
    return places


def _key_words(outline: Outline) -> str:
    return shorten(outline.words, 44)


def write_key(
    sheet: Sheet, outlines: Sequence[Outline], places: Sequence[tuple[int, float]], top: float
) -> None:
    """A piece of each line and its words, where `lay_out_key` says, the first row at `top` mm."""
    from matplotlib.lines import Line2D
    from matplotlib.patheffects import withStroke

    for outline, (row, x) in zip(outlines, places, strict=True):
        y = top - row * LINE
        xs, ys = [x / sheet.width, (x + _SAMPLE) / sheet.width], [y / sheet.height] * 2
        sample = Line2D(xs, ys, color=outline.colour, linewidth=1.1, linestyle=outline.dash)
        sample.set_path_effects([withStroke(linewidth=2.6, foreground="#000000", alpha=0.75)])
        sheet.figure.add_artist(sample)
        sheet.write(x + _SAMPLE + 1.5, y, _key_words(outline), va="center")


def _brighten(colour: str) -> str:
    """A network's colour as a line on a photograph: half-way to white, as its dark rim wants it."""
    from matplotlib.colors import to_hex, to_rgb

    red, green, blue = (0.55 * part + 0.45 for part in to_rgb(colour))
    return to_hex((red, green, blue))
