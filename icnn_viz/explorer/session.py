"""What the explorer knows and computes: networks loaded once, one pass at a time through each, gradients remembered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from icnn_core.errors import CheckpointError
from icnn_viz.displays.pixels import Looker, Network, Question, ask, to_comparison
from icnn_viz.displays.taps import TapDisplay, watch_all
from icnn_viz.explorer.memory import Memory, StaleError, Turns
from icnn_viz.explorer.shelf import Shelf, ShelfImage
from icnn_viz.records import PixelComparison, PixelGradient, PositionCloud

History = tuple[list[int], list[list[PositionCloud]]]
"""Iterations, and the clouds of each."""


class Session:
    """Everything that the pages ask.

    Args:
        networks: two or more, of which the first one's prediction is the class for all; none where only positions are
            known, which have no heatmaps.
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
        read_run: Callable[[], History] | None = None,
        *,
        seed: int = 0,
        room: int = 256 * 2**20,
    ) -> None:
        self.networks, self.shelf, self.clouds = list(networks), shelf, list(clouds)
        self.classes = self.networks[0].classes if self.networks else ()
        self.turns = Turns()
        self._seed, self._read_run = seed, read_run
        self._run: History | None = None
        self._locks = [threading.Lock() for _ in self.networks]
        self._run_lock, self._tap_lock = threading.Lock(), threading.Lock()
        self._tapped = [network for network in self.networks[:2] if isinstance(network, Network)]
        self._watched: tuple[str, list[Any]] | None = None
        self._memory = Memory(room)

    def answer(self, question: Question, is_stale: Callable[[], bool] = lambda: False) -> PixelComparison:
        """Both networks' maps and measures.

        Args:
            is_stale: asked before each network; what is no longer wanted is not computed.

        Raises:
            StaleError: it said so.
            IcnnError: no such image, pixel, class or method; a method that a network does not allow.
        """
        if not self.networks:
            fix = "Start the explorer with a checkpoint; kernels and trajectories need none."
            raise CheckpointError("heatmaps", needed="a network", got="positions alone", fix=fix)
        held = self.shelf.get(question.image)
        started = time.perf_counter()
        gradients: list[PixelGradient] = []
        for number in range(len(self.networks)):
            asked = replace(question, class_id=gradients[0].class_id) if gradients else question
            gradients.append(self._look(number, held, asked, is_stale))
        seconds = time.perf_counter() - started
        is_ours = held.classes in ((), tuple(self.classes))
        return to_comparison(
            gradients,
            question.reduction,
            question.smoothing,
            held.labels if is_ours else None,
            source=held.name,
            seconds=seconds,
        )

    @property
    def has_run(self) -> bool:
        """Whether there are snapshots, readable or not."""
        return self._read_run is not None

    @property
    def has_taps(self) -> bool:
        """Whether its networks are there to be followed."""
        return bool(self._tapped)

    def taps(self, image: str, pixel: tuple[int, int]) -> TapDisplay:
        """Where the taps of the first two networks land; of an image seen last it needs no other pass.

        Raises:
            IcnnError: no such image or pixel, or a network whose places cannot be followed.
        """
        held = self.shelf.get(image)
        with self._tap_lock:
            if self._watched is None or self._watched[0] != held.key:
                with ExitStack() as alone:  # one pass at a time through each
                    for lock in self._locks[:2]:
                        alone.enter_context(lock)
                    self._watched = held.key, watch_all(self._tapped, held.image)
            learnt, *others = self._watched[1]
        return TapDisplay(learnt, others[0] if others else None, pixel=pixel, depth=1)

    def read_run(self) -> History | None:
        """The training's snapshots, read once; None if there are none.

        Raises:
            CheckpointError: they cannot be read.
        """
        with self._run_lock:
            if self._run is None and self._read_run is not None:
                self._run = self._read_run()
            return self._run

    def _look(
        self, number: int, held: ShelfImage, asked: Question, is_stale: Callable[[], bool]
    ) -> PixelGradient:
        key = (number, held.key, asked.pixel, asked.method, asked.class_id)
        known = self._memory.get(key)
        if known is not None:
            return known
        with self._locks[number]:
            if is_stale():
                raise StaleError
            gradient = ask(self.networks[number], held.image, asked, self._seed)
        self._memory.put(key, gradient)
        return gradient
