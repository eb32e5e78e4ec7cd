"""Model + image + pixel -> PixelTaps: where every tap of a layer, or of several one after another, lands."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from icnn_core.checkpoint import unwrap
from icnn_core.errors import ArgumentError, NameNotFoundError, UnsupportedError, nearest_names
from icnn_core.preparation import Preparation, preparation_of
from icnn_viz.gradients.model import NetworkView, forward, left_as_found, reference_tensor, to_input
from icnn_viz.gradients.targets import Rectangle, check_class, check_pixel
from icnn_viz.pictures import to_picture
from icnn_viz.records import PixelTaps
from icnn_viz.taps.compose import MOST, Points, compose, merged
from icnn_viz.taps.layers import Layer
from icnn_viz.taps.offsets import OffsetSource
from icnn_viz.taps.owners import attached
from icnn_viz.taps.trace import Trace, named
from icnn_viz.taps.trails import Link, Trail

_WHO = "taps"


@dataclass(eq=False)
class Watched:
    """A network that has seen an image: what is asked of its pixels needs no other pass.

    Attributes:
        network: its name.
        image: (H, W, 3) uint8.
        layers: its convolutions in the order of their calls.
        trail: what the logits on the image's window are made of.
        prediction: (h, w) class ids over the window.
        window: (top, left, height, width).
        classes: names by class id.
    """

    network: str
    image: np.ndarray
    layers: list[Layer]
    trail: Trail
    prediction: np.ndarray
    window: Rectangle
    classes: tuple[str, ...] = field(default=())

    def predicted(self, pixel: tuple[int, int]) -> int:
        """The class id at a pixel (y, x) of the image.

        Raises:
            ArgumentError: the network does not see it.
        """
        check_pixel(pixel, self.window, "--pixel")
        return int(self.prediction[pixel[0] - self.window[0], pixel[1] - self.window[1]])

    def names(self) -> list[str]:
        """Of the layers that look anywhere but straight back, in the order of their first call."""
        return list(dict.fromkeys(layer.name for layer in self.layers if layer.is_spatial))

    def taps(
        self,
        pixel: tuple[int, int],
        layer: str | None = None,
        *,
        depth: int = 1,
        class_id: int | None = None,
        most: int = MOST,
        snapped: bool = False,
    ) -> PixelTaps:
        """Where the taps of a layer land for one pixel, and of the layers before it if `depth` is above 1.

        A pixel between units, which the network mixes, has the mean of their taps' places.

        Args:
            pixel: (y, x), 0-based, in pixels of the image.
            layer: its name, or the end of it; None = the last one with places of its own, else the last that looks
                around.
            depth: how many layers one after another; those that look at one place are passed through, and of a sum or a
                concatenation the part of the latest layer is followed.
            class_id: whose weights count, None = those of the class predicted at the pixel. They count as far as
                nothing but convolutions of one place lies between the layer and the logits.
            most: points kept, the heaviest.
            snapped: every tap on its slot instead, and without a mask.

        Raises:
            ArgumentError: a pixel that the network does not see, or a layer that it does not depend on.
            NameNotFoundError: no such layer or class.
            UnsupportedError: an operation behind which places are not known; it is named.
        """
        check_pixel(pixel, self.window, "--pixel")
        at = np.array(pixel, float) - self.window[:2]
        chosen = self._find(layer)
        unit = _reach(self.trail, at, chosen, set())
        if unit is None:
            lost = chosen.input.lost or self.trail.lost
            raise ArgumentError(
                _WHO, needed=f"logits that depend on {chosen.name}",
                got=f"places that are lost in {lost}" if lost else "none that do",
                fix="Choose another layer with --layer.",
            )  # fmt: skip
        number = self.predicted(pixel) if class_id is None else class_id
        outputs = self._outputs(chosen, number)
        layers, links, notes = _chain(chosen, depth)
        of_class = outputs is not None
        outputs = np.ones(len(chosen.weight)) if outputs is None else outputs
        if snapped:
            layers = [each.snapped() for each in layers]
        points, total = compose(layers, links, unit, outputs, most)
        passed = tuple(each.name for each in layers if each.is_spatial)
        if len(passed) < depth:
            notes.append(f"there are only {len(passed)} layers from here to the image")
        return self._record(points, total, layers, passed, pixel, number if of_class else None, notes)

    def _find(self, name: str | None) -> Layer:
        around = [layer for layer in self.layers if layer.is_spatial]
        if name is None:
            own = [layer for layer in around if layer.kind != "regular"]
            reached = [
                layer
                for layer in (own or around)
                if _reach(self.trail, np.zeros(2), layer, set()) is not None
            ]
            if not reached:
                raise _lost(
                    next(
                        (t for t in (self.trail, *(n.input for n in self.layers[::-1])) if t.lost), self.trail
                    )
                )
            return reached[-1]
        named = [layer for layer in self.layers if layer.name == name]
        ending = [layer for layer in around if f".{layer.name}".endswith(f".{name}")]
        if named or len({layer.name for layer in ending}) == 1:
            return (named or ending)[-1]
        fix = nearest_names(name, self.names()) if self.names() else "It has none that is called."
        raise NameNotFoundError("--layer", needed="a convolution that ran", got=repr(name), fix=fix)

    def _outputs(self, layer: Layer, class_id: int) -> np.ndarray | None:
        """(C_out,): how much each of its output channels counts for a class; None if other layers look around after."""
        count = len(self.trail.links[0].gain) if self.trail.links else 0
        check_class(class_id, count, "--class")
        flow, link = np.eye(1, count, class_id)[0], self.trail.links[0]
        while link.source is not None:
            source = link.source
            if link.channel is None:
                flow = np.full(len(source.weight), float((flow * link.gain).sum()) / len(source.weight))
            else:
                there, known = np.zeros(len(source.weight)), link.channel >= 0
                np.add.at(there, link.channel[known], (flow * link.gain)[known])
                flow = there
            if source is layer:
                return flow
            if source.is_spatial or not source.input.links:
                return None
            through = np.zeros(source.channels)
            np.add.at(through, source.input_channels(), flow[:, None] * np.abs(source.weight).sum(2))
            flow, link = through, source.input.links[0]
        return None

    def _record(
        self, points: Points, total: float, layers: Sequence[Layer], passed: tuple[str, ...],
        pixel: tuple[int, int], class_id: int | None, notes: list[str],
    ) -> PixelTaps:  # fmt: skip
        first, last = layers[0], layers[-1]
        size = np.abs(points.weight * points.mask)
        beyond = float((size * (1 - points.share)).sum() / max(size.sum(), 1e-300))
        held = float(np.abs(points.weight).sum() / total) if total else 0.0
        points = points.chosen((points.share > 0) & np.isfinite(points.at).all(1))
        if all(len(layer.positions) == 1 for layer in layers):
            points = merged(points)
        at, regular = (_to_image(last.input, places) for places in (points.at, points.regular))
        return PixelTaps(
            network=self.network, image=self.image, pixel=pixel, layers=passed, kind=first.kind,
            slots=first.slots, at=at, regular=regular, slot=points.slot, channel=points.first,
            weight=points.weight * points.mask * points.share, held=min(held, 1.0), beyond=beyond,
            class_id=class_id, classes=self.classes, notes=tuple(notes),
        )  # fmt: skip


def watch(
    model: nn.Module,
    image: np.ndarray,
    *,
    network: str = "network",
    classes: Sequence[str] = (),
    size: tuple[int, int] | None = None,
    crop: Rectangle | None = None,
    preparation: Preparation | None = None,
    offsets: OffsetSource | None = None,
) -> Watched:
    """Show a network an image, once, and keep where its convolutions read. It is left as it was found.

    Args:
        model, image, network, classes, size, crop, preparation: as of `pixel_gradients`.
        offsets: of a module that is no convolution of PyTorch's, torchvision's or this package's.

    Raises:
        ArgumentError: offsets that do not fit. IcnnError: as of `pixel_gradients`.
    """
    preparation = preparation or preparation_of(model)
    view = NetworkView(preparation, size, crop, binary=len(classes) == 2)
    like, inner = reference_tensor(model, None), unwrap(model)
    with torch.inference_mode(False), torch.no_grad(), left_as_found(model), _eagerly():
        x = to_input(np.asarray(image)[None], preparation, like)
        trace = Trace(x)
        with named(trace, inner), attached(trace, inner, offsets), trace:
            logits, _ = forward(model, x, view, like)
    trail = trace.of(logits)
    if trail is None:
        fix = "Do not leave PyTorch (for NumPy, or a compiled graph) within the network's forward."
        got = "logits of which that is not known"
        raise UnsupportedError(_WHO, needed="a forward that can be followed", got=got, fix=fix)
    prediction = logits[0].argmax(0).cpu().numpy()
    window = view.window(*np.asarray(image).shape[:2])
    return Watched(network, to_picture(image), trace.layers, trail, prediction, window, tuple(classes))


def pixel_taps(
    model: nn.Module, image: np.ndarray, pixel: tuple[int, int], layer: str | None = None, **options: Any
) -> PixelTaps:
    """`watch` and `Watched.taps` in one; options of both."""
    of_taps = {
        name: options.pop(name) for name in ("depth", "class_id", "most", "snapped") if name in options
    }
    return watch(model, image, **options).taps(pixel, layer, **of_taps)


def _reach(trail: Trail, at: np.ndarray, layer: Layer, seen: set[int]) -> np.ndarray | None:
    """Where a place in a tensor lies in the output of a layer, by kernels' centres; None if there is no way."""
    for link in trail.links:
        source = link.source
        if source is None or source.number in seen or source.number < layer.number:
            continue
        seen.add(source.number)
        place = np.clip(link(at), 0, np.array(source.size) - 1)
        if source is layer:
            return place
        found = _reach(source.input, source.centres(place), layer, seen)
        if found is not None:
            return found
    return None


def _chain(layer: Layer, depth: int) -> tuple[list[Layer], list[Link], list[str]]:
    """The layer and those before it, `depth` of which look around; what joins them; and what is left out, in words."""
    layers, links, notes = [layer], [], []
    while sum(each.is_spatial for each in layers) < depth:
        trail = layers[-1].input
        if not trail.links or trail.links[0].source is None:
            break
        link = trail.links[0]
        assert link.source is not None
        if len(trail.links) > 1:
            notes.append(f"of what {layers[-1].name} takes, the part of {link.source.name} is followed")
        if link.channel is None:
            notes.append(f"behind {link.source.name} channels are mixed, and count alike")
        links.append(link)
        layers.append(link.source)
    while len(layers) > 1 and not layers[-1].is_spatial:
        layers.pop()
        links.pop()
    return layers, links, notes


def _to_image(trail: Trail, places: np.ndarray) -> np.ndarray:
    """Places in a tensor in pixels of the image, by kernels' centres, the shortest way: a detour by coarse features, as
    U-Nets have them, may end some pixels beside it.

    Raises:
        UnsupportedError: an operation on the way that is not known.
    """
    while True:
        if not trail.links:
            raise _lost(trail)
        link = trail.links[-1]
        places = link(places)
        if link.source is None:
            return places
        places, trail = link.source.centres(places), link.source.input


def _lost(trail: Trail) -> UnsupportedError:
    return UnsupportedError(
        _WHO, needed="operations behind which places are known", got=trail.lost or "a part that is not followed",
        fix="Choose another layer with --layer.",
    )  # fmt: skip


def _eagerly() -> AbstractContextManager[None]:
    """Modules run as they are written. What is compiled has loaded the compiler; to load it takes seconds."""
    if "torch._dynamo" not in sys.modules:
        return nullcontext()
    return torch.compiler.set_stance("force_eager")
