"""Which figures `kernels` makes of which layers, under which file names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from matplotlib.figure import Figure

    from icnn_viz.records import GaussianFit, PositionCloud


@dataclass(frozen=True)
class Picture:
    """A figure still to be drawn: its file's name without suffix, and how to draw it."""

    stem: str
    draw: Callable[[], Figure | go.Figure]
    is_page: bool = False


def list_pictures(clouds: Sequence[PositionCloud], fits: Sequence[GaussianFit], theme: str) -> list[Picture]:
    """The clouds of every layer, in the plane and in space, and one page of them all."""
    from icnn_viz.figures.clouds import draw_cloud
    from icnn_viz.figures.clouds_3d import draw_cloud_3d, draw_cloud_interactive

    pictures = [Picture("clouds", lambda: draw_cloud_interactive(clouds, theme=theme), is_page=True)]
    for cloud, fit, name in zip(clouds, fits, to_file_names(cloud.layer for cloud in clouds), strict=True):
        pictures.append(Picture(f"{name}.cloud", lambda c=cloud, f=fit: draw_cloud(c, f, theme=theme)))
        pictures.append(Picture(f"{name}.cloud3d", lambda c=cloud: draw_cloud_3d(c, theme=theme)))
    return pictures


def write_pictures(pictures: Iterable[Picture], kinds: Sequence[str], folder: Path) -> list[Path]:
    """Draw and write each picture in the kinds of file that suit it, with a progress bar."""
    from icnn_core.cli.app import make_progress
    from icnn_viz.figures.write import write_figure

    wanted = [
        (picture, suiting)
        for picture in pictures
        if (suiting := [kind for kind in dict.fromkeys(kinds) if (kind == "html") == picture.is_page])
    ]
    written = []
    with make_progress() as progress:
        for picture, suiting in progress.track(wanted, description="drawing"):
            figure = picture.draw()
            written += [write_figure(figure, folder / f"{picture.stem}.{kind}") for kind in suiting]
    return written


def choose_to_open(written: Sequence[Path]) -> Path:
    """The file that shows most: a page, else a picture, else a table."""
    order = {".html": 0, ".png": 1, ".svg": 2, ".pdf": 3}
    return min(written, key=lambda path: order.get(path.suffix, 9))


def to_file_names(layers: Iterable[str]) -> list[str]:
    """A safe, distinct file name for every layer: letters, digits, dots, dashes and underscores, at most 80 long."""
    names: list[str] = []
    taken: set[str] = set()
    for layer in layers:
        base = re.sub(r"[^A-Za-z0-9._-]+", "_", layer).strip(".")[-80:].strip(".") or "layer"
        name, number = base, 2
        while name.lower() in taken:
            name, number = f"{base}-{number}", number + 1
        taken.add(name.lower())
        names.append(name)
    return names
