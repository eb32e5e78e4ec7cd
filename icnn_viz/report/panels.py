"""The figures of the page, still to be drawn: which, with which words, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from icnn_viz.displays.heatmaps import HeatmapDisplay
from icnn_viz.displays.suited import suiting, why_not
from icnn_viz.records import PixelComparison, PositionCloud
from icnn_viz.report.findings import Findings
from icnn_viz.report.pictures import VECTOR, Budget, Picture, make_picture
from icnn_viz.report.words import FIGURES, Words, words_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from icnn_viz.displays import KernelDisplay

_NETWORK_VIEWS = ("strip", "layers")
_WIDE = 430  # CSS pixels: more do not fit beside another figure


@dataclass(frozen=True)
class Panel:
    """A figure on the page. `kind` is its key in FIGURES; `turns`: whether what is in space can be turned."""

    kind: str
    words: Words
    picture: Picture
    title: str = ""
    turns: bool = True

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
    vector: bool = False
    has_slots: bool = True

    def finish(self, budget: Budget) -> Panel:
        picture = make_picture(self.draw, budget, self.alt, dark=self.dark, vector=self.vector)
        return Panel(self.kind, words_of(self.kind, self.has_slots), picture, self.title, budget.turns)


@dataclass(frozen=True)
class Panels:
    """All panels: of every layer, of all layers together, of the run, of each pixel and of all of them."""

    layers: tuple[tuple[Panel, ...], ...]
    network: tuple[Panel, ...]
    run: tuple[Panel, ...]
    pixels: tuple[Panel, ...]
    grids: tuple[Panel, ...]
    first: tuple[Panel, ...]
    """Those that are shown at once, too: the cloud that changed most, and a pixel or else the whole network."""


def count_others(findings: Findings) -> int:
    """How many panels there are beside those of single layers, by the bytes that they may take: of those that
    are shown twice, twice as many as of others."""
    comparisons, views = findings.comparisons, _list_network_views(findings.display)
    vector = ("strip" in views) * (VECTOR - 1)
    again = 2 + (2 if comparisons else max(2, 1 + vector))
    grids = len(_in_grids(comparisons)) + len(_of_taps(findings))
    return len(views) + vector + (findings.run is not None) + len(comparisons) + grids + again


def draw_panels(findings: Findings, budget: Budget, on_drawn: Callable[[int, int], object]) -> Panels:
    """Draw everything; `on_drawn(done, all)` is called after each panel."""
    display, comparisons = findings.display, findings.comparisons
    groups: list[list[_Sketch]] = [
        _of_layer(display, number, budget) for number in range(len(display.clouds))
    ]
    groups.append([_of_network(findings, view) for view in _list_network_views(findings.display)])
    groups.append([_of_run(findings.run)] if findings.run else [])
    groups.append([_of_pixel(look, findings.photo) for look in comparisons])
    groups.append([*_of_taps(findings), *_of_pixels(comparisons, findings.photo)])
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
    first = layers[display.most_moved()][:1] + (pixels or network)[:1]
    return Panels(tuple(layers), network, run, pixels, grids, first)


def _list_network_views(display: KernelDisplay) -> list[str]:
    """Those that say something; and the single shapes of layers that have no more."""
    views = [view for view in _NETWORK_VIEWS if suiting(view, display.clouds)]
    return [*views, *(["shapes"] if display.single_shapes() else [])]


def _list_layer_views(cloud: PositionCloud, views: Sequence[str]) -> list[str]:
    """Those that say something of a layer; what takes the place of its cloud where it has none comes first."""
    single = len(cloud.points) == 1
    chosen = [view for view in views if not why_not(view, cloud) and not (single and view == "zoo")]
    instead = "inspect" if single else "histogram"
    return chosen if "cloud" in chosen or "cloud" not in views else [instead, *chosen]


def _of_layer(display: KernelDisplay, number: int, budget: Budget) -> list[_Sketch]:
    cloud = display.clouds[number]
    return [
        _Sketch(
            view,
            lambda theme, view=view: display.draw(view, number, theme=theme),
            f"{words_of(view, cloud.regular).title}: layer {cloud.layer}",
            dark=budget.dark,
            has_slots=cloud.regular,
        )
        for view in _list_layer_views(cloud, budget.views)
    ]


def _of_network(findings: Findings, view: str) -> _Sketch:
    display = findings.display
    count = len(display.clouds)
    alt = f"{FIGURES[view].title}: {count} layer{'s' * (count > 1)}"
    if view == "shapes":
        layer = display.single_shapes()[0].layer
        return _Sketch(view, lambda theme: display.draw("zoo", layer, theme=theme), alt)
    extra = {"seed": findings.seed} if view == "strip" else {}
    return _Sketch(view, lambda theme: display.draw(view, theme=theme, **extra), alt, vector=view == "strip")


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


def _of_taps(findings: Findings) -> list[_Sketch]:
    """On the image, where that may be shown."""
    taps = findings.taps
    if taps is None or not findings.photo:
        return []
    return [_Sketch("taps", lambda theme: taps.draw(theme=theme), FIGURES["taps"].title)]


def _of_pixels(comparisons: Sequence[PixelComparison], photo: bool) -> Iterator[_Sketch]:
    for part in _in_grids(comparisons):
        draw = partial(part.draw, "grid", photo=photo)
        alt = f"Heatmaps of {len(part.records)} pixels"
        yield _Sketch("grid", lambda theme, draw=draw: draw(theme=theme), alt)


def _in_grids(comparisons: Sequence[PixelComparison]) -> list[HeatmapDisplay]:
    return HeatmapDisplay(comparisons).in_grids() if comparisons else []
