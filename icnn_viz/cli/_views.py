"""Which figures `kernels` makes of which layers, under which file names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from icnn_viz.cli._sources import Sources
    from icnn_viz.displays import KernelDisplay
    from icnn_viz.records import PositionCloud

PICTURE, PAGE, FILM = ("png", "svg", "pdf"), ("html",), ("gif", "mp4")


@dataclass(frozen=True)
class Picture:
    """A figure still to be drawn: its file's name without suffix, how, and the kinds of file that suit it."""

    stem: str
    draw: Callable[[], Any]
    kinds: tuple[str, ...] = PICTURE


@dataclass(frozen=True)
class ViewOptions:
    """What the user chose about the figures. `slots` empty: all."""

    theme: str = "light"
    channel: int = 0
    kernel: int = 0
    slots: tuple[int, ...] = ()
    height: str = "channel"
    magnify: float = 1.0
    seed: int = 0

    def of(self, view: str, cloud: PositionCloud) -> dict[str, Any]:
        """Those that a view of a layer takes: what a layer shares it has only one of."""
        chosen: dict[str, Any] = {"theme": self.theme}
        if view == "inspect":
            chosen["channel"] = 0 if cloud.sharing == "layer" else self.channel
            chosen["kernel"] = self.kernel if cloud.sharing == "none" else 0
        if view == "3d":
            chosen["height"] = self.height
        if view in ("cloud", "3d"):
            chosen["magnify"] = self.magnify
        if view in ("cloud", "qq") and self.slots:
            chosen["slots"] = self.slots
        return chosen


def list_pictures(display: KernelDisplay, views: Sequence[str], options: ViewOptions) -> list[Picture]:
    """The views of a network: one picture for all layers, or one a layer; "3d" adds a page of all layers."""
    from icnn_viz.displays import LAYER_VIEWS
    from icnn_viz.figures.cloud_pages import draw_cloud_interactive

    names = to_file_names(cloud.layer for cloud in display.clouds)
    pictures = []
    for view in views:
        if view == "3d":
            page = partial(draw_cloud_interactive, display.clouds, height=options.height, theme=options.theme)
            pictures.append(Picture("clouds", page, PAGE))
        if view in LAYER_VIEWS:
            pictures += [
                Picture(f"{name}.{view}", partial(display.draw, view, number, **options.of(view, cloud)))
                for number, (name, cloud) in enumerate(zip(names, display.clouds, strict=True))
            ]
        else:
            extra = {"magnify": options.magnify} if view == "layers" else {"seed": options.seed}
            pictures.append(Picture(view, partial(display.draw, view, theme=options.theme, **extra)))
    return pictures


def list_trajectories(sources: Sources, theme: str) -> list[Picture]:
    """A comet plot, a page with a slider and a film of every layer."""
    from icnn_viz.figures.trajectory import draw_frames, draw_trajectory, draw_trajectory_interactive

    pictures = []
    for number, name in enumerate(to_file_names(cloud.layer for cloud in sources.clouds)):
        run = [clouds[number] for clouds in sources.snapshots]
        for draw, kinds in (
            (draw_trajectory, PICTURE),
            (draw_trajectory_interactive, PAGE),
            (draw_frames, FILM),
        ):
            pictures.append(
                Picture(f"{name}.trajectory", partial(draw, run, sources.steps, theme=theme), kinds)
            )
    return pictures


def list_comparison(sources: Sources, theme: str) -> list[Picture]:
    """The layers that two runs have in common on one sheet."""
    from icnn_viz.figures.runs import draw_runs
    from icnn_viz.statistics.gaussian import fit_gaussians
    from icnn_viz.statistics.pairing import pair_layers, to_slots_of

    pairs, *_ = pair_layers(sources.clouds, sources.other or ())
    clouds = [first for first, _ in pairs]
    first = [fit_gaussians(cloud) for cloud in clouds]
    second = [fit_gaussians(to_slots_of(cloud, other)) for cloud, other in pairs]
    names = (str(sources.paths[0]), str(sources.paths[1]))
    return [Picture("runs", partial(draw_runs, clouds, first, second, names=names, theme=theme))]


def write_pictures(pictures: Iterable[Picture], kinds: Sequence[str], folder: Path) -> list[Path]:
    """Draw and write each picture in those of the kinds that suit it, with a progress bar."""
    from icnn_core.cli.app import make_progress
    from icnn_viz.figures.write import write_figure, write_film

    suiting = [
        (picture, [kind for kind in dict.fromkeys(kinds) if kind in picture.kinds]) for picture in pictures
    ]
    wanted = [(picture, kinds) for picture, kinds in suiting if kinds]
    written = []
    with make_progress() as progress:
        for picture, kinds in progress.track(wanted, description="drawing"):
            figure = picture.draw()
            frames = list(figure) if picture.kinds == FILM else []
            for kind in kinds:
                path = folder / f"{picture.stem}.{kind}"
                written.append(write_film(frames, path) if frames else write_figure(figure, path))
    return written


def choose_to_open(written: Sequence[Path]) -> Path:
    """The file that shows most: a page, else a picture, else a table."""
    order = {".html": 0, ".png": 1, ".svg": 2, ".pdf": 3, ".gif": 4, ".mp4": 5}
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
