"""The figures of the page, still to be drawn: which, with which words, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from icnn_viz.displays.heatmaps import HeatmapDisplay
from icnn_viz.records import PixelComparison
from icnn_viz.report.findings import Findings
from icnn_viz.report.pictures import Budget, Picture, make_picture
from icnn_viz.report.words import FIGURES, Words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from icnn_viz.displays import KernelDisplay

_NETWORK_VIEWS = ("layers", "rose", "depth", "heat")  # the wide ones first
_WIDE = 430  # CSS pixels: more do not fit beside another figure


@dataclass(frozen=True)
class Panel:
    """A figure on the page. `kind` is its key in FIGURES."""

    kind: str
    words: Words
    picture: Picture
    title: str = ""

    @property
    def is_wide(self) -> bool:
        """Whether it takes a row of its own."""
        return self.picture.width > _WIDE


@dataclass(frozen=True)
class _Sketch:
    """A panel still to be drawn."""

    kind: str
    draw: Callable[[str], Figure]
    alt: str
    title: str = ""
    dark: bool = True

    def finish(self, budget: Budget) -> Panel:
        picture = make_picture(self.draw, budget, self.alt, dark=self.dark)
        return Panel(self.kind, FIGURES[self.kind], picture, self.title)


@dataclass(frozen=True)
class Panels:
    """All panels: of every layer, of all layers together, of the run, of each pixel and of all of them."""

    layers: tuple[tuple[Panel, ...], ...]
    network: tuple[Panel, ...]
    run: tuple[Panel, ...]
    pixels: tuple[Panel, ...]
    grids: tuple[Panel, ...]


def count_others(findings: Findings) -> int:
    """How many panels there are beside those of single layers."""
    looks = findings.looks
    return len(_NETWORK_VIEWS) + (findings.run is not None) + len(looks) + len(_in_grids(looks))


def draw_panels(findings: Findings, budget: Budget, on_drawn: Callable[[int, int], object]) -> Panels:
    """Draw everything; `on_drawn(done, all)` is called after each panel."""
    display, looks = findings.display, findings.looks
    groups: list[list[_Sketch]] = [
        _of_layer(display, number, budget) for number in range(len(display.clouds))
    ]
    groups.append([_of_network(findings, view) for view in _NETWORK_VIEWS])
    groups.append([_of_run(findings.run)] if findings.run else [])
    groups.append([_of_pixel(look, findings.photo) for look in looks])
    groups.append(list(_of_pixels(looks, findings.photo)))
    total, done = sum(map(len, groups)), 0
    drawn: list[tuple[Panel, ...]] = []
    for group in groups:
        panels = []
        for sketch in group:
            panels.append(sketch.finish(budget))
            done += 1
            on_drawn(done, total)
        drawn.append(tuple(panels))
    *layers, network, run, pixels, grids = drawn
    return Panels(tuple(layers), network, run, pixels, grids)


def _of_layer(display: KernelDisplay, number: int, budget: Budget) -> list[_Sketch]:
    layer = display.clouds[number].layer
    return [
        _Sketch(
            view,
            lambda theme, view=view: display.draw(view, number, theme=theme),
            f"{FIGURES[view].title}: layer {layer}",
            dark=budget.dark,
        )
        for view in budget.views
    ]


def _of_network(findings: Findings, view: str) -> _Sketch:
    display = findings.display
    extra = {"seed": findings.seed} if view == "depth" else {}
    alt = f"{FIGURES[view].title}: {len(display.clouds)} layers"
    return _Sketch(view, lambda theme: display.draw(view, theme=theme, **extra), alt)


def _of_run(run: KernelDisplay) -> _Sketch:
    """Of the layer that moved most."""
    number = run.most_moved()
    named = f"layer {run.clouds[number].layer}, iterations {run.steps[0]} to {run.steps[-1]}"
    alt = f"{FIGURES['trajectory'].title}: {named}"
    return _Sketch("trajectory", lambda theme: run.draw("trajectory", number, theme=theme), alt)


def _of_pixel(look: PixelComparison, photo: bool) -> _Sketch:
    from icnn_viz.figures.comparison import describe_target

    (y, x), display = look.pixel, HeatmapDisplay([look])
    title = f"“{look.gradients[0].class_name}” at x = {x}, y = {y}" + f" in {look.source}" * bool(look.source)
    alt = f"Heatmaps of what {describe_target(look.gradients[0])} depends on"
    draw = partial(display.draw, "comparison", photo=photo)
    return _Sketch("heatmap", lambda theme: draw(theme=theme), alt, title)


def _of_pixels(looks: Sequence[PixelComparison], photo: bool) -> Iterator[_Sketch]:
    for part in _in_grids(looks):
        draw = partial(part.draw, "grid", photo=photo)
        alt = f"Heatmaps of {len(part.records)} pixels"
        yield _Sketch("grid", lambda theme, draw=draw: draw(theme=theme), alt)


def _in_grids(looks: Sequence[PixelComparison]) -> list[HeatmapDisplay]:
    return HeatmapDisplay(looks).in_grids() if looks else []
