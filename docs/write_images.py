"""Draws the pictures of docs/kernels.md, of the built-in network in both themes: `python docs/write_images.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from icnn_viz.displays import KernelDisplay
from icnn_viz.displays.sources import read_display
from icnn_viz.figures.style import THEMES
from icnn_viz.figures.write import write_figure

FOLDER = Path(__file__).parent / "images"
PICTURES: dict[str, dict[str, Any]] = {
    "strip": {},
    "cloud": {},
    "facets": {"view": "cloud", "scale": "facets"},
    "zoo": {},
    "3d": {},
    "field": {},
    "layers": {},
    "depth": {},
    "rose": {},
    "heat": {},
    "qq": {},
    "inspect": {"channel": 51},
    "histogram": {},
}
"""Options of `KernelDisplay.plot` by the name of a picture, which is its view unless that is given."""


def main() -> None:
    """Write kernels-NAME.png and kernels-NAME-dark.png."""
    display = read_display([])
    assert isinstance(display, KernelDisplay)
    for name, options in PICTURES.items():
        for theme in THEMES:
            figure = display.draw(**{"view": name} | options, theme=theme)
            suffix = "" if theme == "light" else f"-{theme}"
            write_figure(figure, FOLDER / f"kernels-{name}{suffix}.png", dpi=200)


if __name__ == "__main__":
    main()
