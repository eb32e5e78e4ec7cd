"""What the explorer knows and computes: networks loaded once, one pass at a time through each, gradients remembered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from icnn_viz.displays.looks import measure, name_class
from icnn_viz.explorer.memory import Memory, StaleError, Turns
from icnn_viz.explorer.pictures import Picture, Shelf
from icnn_viz.heatmaps import to_heatmap
from icnn_viz.records import Heatmap, PixelGradient, PositionCloud

if TYPE_CHECKING:
    from icnn_viz.gradients import Target

Run = tuple[list[int], list[list[PositionCloud]]]
"""Iterations, and the clouds of each."""


class Looker(Protocol):
    """A network that can be asked for gradients."""

    @property
    def label(self) -> str: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    def look(
        self, image: np.ndarray, targets: Sequence[Target], method: str, seed: int
    ) -> list[PixelGradient]: ...


@dataclass(frozen=True)
class Question:
    """What is looked at.

    Attributes:
        image: a key of the shelf.
        pixel: (y, x).
        method: of attribution.
        class_id: None = the class that the first network predicts at the pixel.
        smoothing: of the maps, in pixels.
    """

    image: str
    pixel: tuple[int, int]
    method: str = "gradient"
    class_id: int | None = None
    smoothing: float = 0.0


@dataclass(frozen=True)
class Answer:
    """What the networks say.

    Attributes:
        gradients, heatmaps, measures: one per network.
        picture: the image.
        label: the pixel's true class, or "" if unknown.
        seconds: spent in the networks, waiting for them included; 0 if all was remembered.
    """

    gradients: list[PixelGradient]
    heatmaps: list[Heatmap]
    measures: list[dict[str, float]]
    picture: Picture
    label: str
    seconds: float


class Session:
    """Everything that the pages ask.

    Args:
        networks: two or more; the first one's prediction is the class for all.
        shelf: the images.
        clouds: the irregular layers of the first network, perhaps none.
        read_run: reads the snapshots of its training, or None if there are none.
        seed: of smoothgrad's noise.
        room: bytes for gradients to be remembered.
    """

    def __init__(
        self,
        networks: Sequence[Looker],
        shelf: Shelf,
        clouds: Sequence[PositionCloud] = (),
        read_run: Callable[[], Run] | None = None,
        *,
        seed: int = 0,
        room: int = 256 * 2**20,
    ) -> None:
        self.networks, self.shelf, self.clouds = list(networks), shelf, list(clouds)
        self.classes = self.networks[0].classes
        self.turns = Turns()
        self._seed, self._read_run = seed, read_run
        self._run: Run | None = None
        self._locks = [threading.Lock() for _ in self.networks]
        self._run_lock = threading.Lock()
        self._memory = Memory(room)

    def answer(self, question: Question, is_stale: Callable[[], bool] = lambda: False) -> Answer:
        """Both networks' maps and measures.

        Args:
            is_stale: asked before each network; what is no longer wanted is not computed.

        Raises:
            StaleError: it said so.
            IcnnError: no such image, pixel, class or method; a method that a network does not allow.
        """
        picture = self.shelf.get(question.image)
        started = time.perf_counter()
        gradients: list[PixelGradient] = []
        for number in range(len(self.networks)):
            class_id = gradients[0].class_id if gradients else question.class_id
            gradients.append(self._look(number, picture, question, class_id, is_stale))
        seconds = time.perf_counter() - started
        heatmaps = [to_heatmap(gradient, "max", question.smoothing) for gradient in gradients]
        measures = [measure(heatmap, picture.labels, self.classes) for heatmap in heatmaps]
        label = "" if picture.labels is None else self.name_of(int(picture.labels[question.pixel]))
        return Answer(gradients, heatmaps, measures, picture, label, seconds)

    def name_of(self, class_id: int) -> str:
        """A class's name, its number if the networks know no names, or "void"."""
        return name_class(class_id, self.classes)

    def read_run(self) -> Run | None:
        """The training's snapshots, read once; None if there are none.

        Raises:
            CheckpointError: they cannot be read.
        """
        with self._run_lock:
            if self._run is None and self._read_run is not None:
                self._run = self._read_run()
            return self._run

    def _look(
        self,
        number: int,
        picture: Picture,
        question: Question,
        class_id: int | None,
        is_stale: Callable[[], bool],
    ) -> PixelGradient:
        from icnn_viz.gradients.targets import Target, check_pixel

        key = (number, picture.key, question.pixel, question.method, class_id)
        known = self._memory.get(key)
        if known is not None:
            return known
        check_pixel(question.pixel, (0, 0, *picture.image.shape[:2]), "pixel")
        with self._locks[number]:
            if is_stale():
                raise StaleError
            target = Target(question.pixel, class_id)
            [gradient] = self.networks[number].look(picture.image, [target], question.method, self._seed)
        self._memory.put(key, gradient)
        return gradient
