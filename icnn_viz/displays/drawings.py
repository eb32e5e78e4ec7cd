"""Figures still to be drawn, and their files: of kernels, of a comparison of two networks, of pixels."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icnn_core.devices import count_processors

if TYPE_CHECKING:
    from icnn_viz.displays.heatmaps import HeatmapDisplay
    from icnn_viz.displays.kernels import KernelDisplay
    from icnn_viz.records import PixelComparison, PositionCloud

_WORTH_PROCESSES = 40  # figures: as long as a process takes to start, one draws a dozen
STILL, PAGE, FILM = ("png", "svg", "pdf"), ("html",), ("gif", "mp4")
Track = Callable[[Sequence[Any]], Iterable[Any]]
"""Goes through a sequence and shows how far it is: `iter` shows nothing."""


@dataclass(frozen=True)
class Drawing:
    """A figure still to be drawn: its file's name without suffix, how, and the kinds of file that suit it."""

    stem: str
    draw: Callable[[], Any]
    kinds: tuple[str, ...] = STILL


@dataclass(frozen=True)
class KernelOptions:
    """What the user chose about the figures. `slots` empty: all."""

    theme: str = "light"
    channel: int = 0
    kernel: int = 0
    slots: tuple[int, ...] = ()
    third_axis: str = "auto"
    magnify: float = 1.0
    scale: str = "auto"
    seed: int = 0

    def of(self, view: str, cloud: PositionCloud) -> dict[str, Any]:
        """Those that a view of a layer takes: what a layer shares it has only one of."""
        chosen: dict[str, Any] = {"theme": self.theme}
        if view == "inspect":
            chosen["channel"] = 0 if cloud.sharing == "layer" else self.channel
            chosen["kernel"] = self.kernel if cloud.sharing == "none" else 0
        if view == "3d":
            chosen["third_axis"] = self.third_axis
        if view in ("cloud", "3d"):
            chosen["magnify"] = self.magnify
        if view in ("cloud", "zoo", "3d", "field", "inspect"):
            chosen["scale"] = self.scale
        if view in ("cloud", "qq") and self.slots:
            chosen["slots"] = self.slots
        return chosen


def draw_views(
    display: KernelDisplay, views: Sequence[str], options: KernelOptions = KernelOptions()
) -> list[Drawing]:
    """The views of a network: one figure for all layers, or one a layer; "3d" adds a page of all layers, "zoo" one row
    of all single shapes. Layers of which a view says nothing are left out: see `left_out`.

    "trajectory" is a comet plot, a page with a slider and a film of every layer.
    """
    from icnn_viz.displays.kernels import LAYER_VIEWS
    from icnn_viz.displays.suited import suiting
    from icnn_viz.figures.cloud_pages import draw_cloud_interactive

    stems = to_file_names(cloud.layer for cloud in display.clouds)
    drawings = []
    for view in views:
        chosen = suiting(view, display.clouds)
        if view == "3d":
            style = {"third_axis": options.third_axis, "scale": options.scale, "theme": options.theme}
            drawings.append(Drawing("clouds", partial(draw_cloud_interactive, display.clouds, **style), PAGE))
        if view == "zoo" and (single := display.single_shapes()):
            chosen = [number for number in chosen if len(display.clouds[number].points) > 1]
            draw = partial(display.draw, view, single[0].layer, theme=options.theme, scale=options.scale)
            drawings.append(Drawing("shapes", draw))
        if view in LAYER_VIEWS:
            drawings += [
                Drawing(
                    f"{stems[number]}.{view}",
                    partial(display.draw, view, number, **options.of(view, display.clouds[number])),
                )
                for number in chosen
            ]
        elif view == "trajectory":
            drawings += [
                one for n in chosen for one in _draw_trajectories(display, n, f"{stems[n]}.{view}", options)
            ]
        elif chosen:
            extra: dict[str, Any] = {"seed": options.seed}
            if view == "layers":
                extra = {"magnify": options.magnify, "scale": options.scale}
            drawings.append(Drawing(view, partial(display.draw, view, theme=options.theme, **extra)))
    return drawings


def _draw_trajectories(
    display: KernelDisplay, number: int, stem: str, options: KernelOptions
) -> list[Drawing]:
    from icnn_viz.figures.trajectory import draw_frames, draw_trajectory, draw_trajectory_interactive

    ways = ((draw_trajectory, STILL), (draw_trajectory_interactive, PAGE), (draw_frames, FILM))
    path = display.path_of(number)
    style = {"theme": options.theme, "scale": options.scale}
    return [Drawing(stem, partial(draw, path, display.steps, **style), kinds) for draw, kinds in ways]


def draw_pixels(
    display: HeatmapDisplay,
    *,
    overlay: bool = False,
    photo: bool = True,
    difference: str = "shares",
    gamma: float = 0.5,
    width: float = 170.0,
    theme: str = "light",
) -> list[Drawing]:
    """Per pixel the comparison and, if they were asked for, overlay and sampling; then grids of all pixels."""
    draw, grids = partial(display.draw, gamma=gamma, theme=theme), display.in_grids()
    drawings = []
    for number, record in enumerate(display.records):
        stem = stem_of(record)
        of_one = {"photo": photo, "difference": difference, "width": width}
        drawings.append(Drawing(stem, partial(draw, "comparison", number, **of_one)))
        more = ("overlay",) * overlay + ("sampling",) * bool(record.densities)
        drawings += [Drawing(f"{stem}-{view}", partial(draw, view, number)) for view in more]
    for number, part in enumerate(grids, 1):
        stem = "grid" if len(grids) == 1 else f"grid-{number}"
        drawings.append(Drawing(stem, partial(part.draw, "grid", gamma=gamma, theme=theme, photo=photo)))
    return drawings


def stem_of(record: PixelComparison) -> str:
    """The name of a pixel's files, without suffix."""
    return "heatmap-x{1}-y{0}".format(*record.pixel)


def write_drawings(
    drawings: Iterable[Drawing],
    kinds: Sequence[str],
    folder: Path,
    track: Track = iter,
    *,
    processes: int = 1,
    meanwhile: Callable[[], object] = lambda: None,
) -> list[Path]:
    """Draw and write each figure in those of the kinds that suit it.

    Args:
        meanwhile: done while processes draw, or else before anything is drawn.
        processes: that draw where figures are many. They are spawned, so the program's main module is imported anew:
            of a script, what it does must stand behind `if __name__ == "__main__"`.
    """
    suiting = [(one, [kind for kind in dict.fromkeys(kinds) if kind in one.kinds]) for one in drawings]
    todo = [pair for pair in suiting if pair[1]]
    if processes == 1 or len(todo) < _WORTH_PROCESSES:
        meanwhile()
        return [path for drawing, wanted in track(todo) for path in _write(drawing, wanted, folder)]
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    given = {"mp_context": get_context("spawn"), "initializer": _keep, "initargs": (todo, folder)}
    with ProcessPoolExecutor(min(processes, len(todo)), **given) as pool:
        try:
            found = pool.map(_write_kept, range(len(todo)))
            meanwhile()
            return [path for _, paths in zip(track(todo), found, strict=True) for path in paths]
        except BaseException:  # Ctrl-C too
            pool.shutdown(cancel_futures=True)
            raise


def count_processes() -> int:
    """How many may draw here: one for each processor this process may use, four at most, as each needs memory."""
    return min(count_processors(), 4)


def _write(drawing: Drawing, kinds: Sequence[str], folder: Path) -> list[Path]:
    from icnn_viz.figures.write import write_figure, write_film

    figure = drawing.draw()
    frames = list(figure) if drawing.kinds == FILM else []
    paths = [folder / f"{drawing.stem}.{kind}" for kind in kinds]
    return [write_film(frames, path) if frames else write_figure(figure, path) for path in paths]


_kept: list[tuple[Sequence[tuple[Drawing, list[str]]], Path]] = []
"""Of a process that draws: all drawings, sent once, for they share what they draw."""


def _keep(todo: Sequence[tuple[Drawing, list[str]]], folder: Path) -> None:
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that waits for the figures answers it
    _kept[:] = [(todo, folder)]


def _write_kept(number: int) -> list[Path]:
    ((todo, folder),) = _kept
    return _write(*todo[number], folder)


def write_gradients(record: PixelComparison, path: Path) -> Path:
    """The raw gradients: `irregular`, `regular` (3, H, W) float32, further ones as `other_2`, …; `pixel` (y, x);
    `class_id`; `models`, the networks' names in this order; `method`.
    """
    import numpy as np

    from icnn_viz.figures.write import write_atomically

    names = ["irregular", "regular", *(f"other_{n}" for n in range(2, len(record.gradients)))]
    arrays: dict[str, Any] = {n: g.gradient for n, g in zip(names, record.gradients, strict=True)}
    first = record.gradients[0]
    arrays |= {"pixel": np.array(first.pixel), "class_id": np.array(first.class_id)}
    arrays |= {"method": np.array(first.method), "models": np.array(record.networks)}
    return write_atomically(path, lambda temporary: np.savez_compressed(temporary, **arrays))


def choose_to_open(written: Sequence[Path]) -> Path:
    """The file that shows most: a page, else a picture, else a table."""
    order = {".html": 0, ".png": 1, ".svg": 2, ".pdf": 3, ".gif": 4, ".mp4": 5}
    return min(written, key=lambda path: order.get(path.suffix, 9))


_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)", re.IGNORECASE)


def to_file_names(layers: Iterable[str]) -> list[str]:
    """A safe, distinct file name for every layer: letters, digits, dots, dashes and underscores, at most 80 long; none
    that Windows keeps for a device (aux.0, whatever follows the dot)."""
    names: list[str] = []
    taken: set[str] = set()
    for layer in layers:
        base = re.sub(r"[^A-Za-z0-9._-]+", "_", layer).strip(".")[-80:].strip(".") or "layer"
        base = f"_{base}" if _DEVICE.match(base) else base
        name, number = base, 2
        while name.lower() in taken:
            name, number = f"{base}-{number}", number + 1
        taken.add(name.lower())
        names.append(name)
    return names
