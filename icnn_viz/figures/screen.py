"""What figures for a screen have in common: colour maps as stops, images as data, the cross on a pixel."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np

from icnn_viz.figures.style import Look, register_maps
from icnn_viz.pictures import to_picture


@cache
def to_colour_stops(
    cmap: str, *, gamma: float = 1.0, signed: bool = False, steps: int = 64
) -> tuple[tuple[float, str], ...]:
    """A matplotlib colour map as plotly's stops: (place in [0, 1], hex), so that colours go with value ** gamma.

    Args:
        signed: the middle of the map stands for 0, and colours go with the magnitude on either side of it.
    """
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    register_maps()
    shades = np.linspace(0, 1, steps + 1)
    centred = 2 * shades - 1
    mirrored = (1 + np.sign(centred) * np.abs(centred) ** (1 / gamma)) / 2
    places = mirrored if signed else shades ** (1 / gamma)
    return tuple((float(p), to_hex(colormaps[cmap](float(s)))) for p, s in zip(places, shades, strict=True))


def fade(stops: Sequence[tuple[float, str]], *, signed: bool = False, most: float = 0.85) -> list[list[Any]]:
    """The stops of `to_colour_stops`, each as opaque as its colour is strong: not at all at 0, `most` at the end."""
    last = len(stops) - 1
    faded: list[list[Any]] = []
    for number, (place, colour) in enumerate(stops):
        strength = abs(2 * number / last - 1) if signed else number / last
        red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
        faded.append([place, f"rgba({red},{green},{blue},{most * strength:.3f})"])
    return faded


def to_data_url(image: np.ndarray) -> str:
    """An image, as people see it, as a JPEG in a data URL."""
    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(to_picture(image)).save(buffer, "JPEG", quality=92, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def to_cross(pixel: tuple[int, int], look: Look) -> list[dict[str, Any]]:
    """Traces of a red cross with a white and a dark rim, seen on anything, by anyone; whole at the border, too."""
    common = {"type": "scatter", "mode": "markers", "x": [pixel[1]], "y": [pixel[0]], "name": "cross"}
    common |= {"hoverinfo": "skip", "cliponaxis": False}
    return [
        common | {"marker": {"symbol": "x-thin", "size": size, "line": {"width": rim, "color": colour}}}
        for colour, rim, size in (("#000000", 6, 15), ("#ffffff", 4, 14), (look.cross, 2, 13))
    ]


def shrink(values: np.ndarray, most: int) -> tuple[np.ndarray, int]:
    """A map of at most `most` pixels, and the side of the blocks of which each is the value of largest magnitude."""
    side = int(np.ceil(np.sqrt(values.size / most)))
    if side <= 1:
        return values, 1
    rows, columns = (-(-n // side) for n in values.shape)
    padded = np.zeros((rows * side, columns * side))
    padded[: values.shape[0], : values.shape[1]] = values
    blocks = padded.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(rows, columns, -1)
    largest = np.abs(blocks).argmax(-1)[..., None]
    return np.take_along_axis(blocks, largest, -1)[..., 0], side


def choose_evenly(count: int, most: int) -> np.ndarray:
    """Numbers of at most `most` of `count` things, evenly spread, the first and the last among them."""
    return np.linspace(0, count - 1, min(count, max(most, 1))).round().astype(int)


def to_policy(scripts: Iterable[str]) -> str:
    """A Content-Security-Policy under which the scripts given run, and nothing else is run or fetched."""
    hashes = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts)
    allowed = " ".join(f"'sha256-{one}'" for one in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
