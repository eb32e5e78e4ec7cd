"""What a session remembers: gradients, as far as there is room, and which question of a browser tab is the latest."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from icnn_viz.records import PixelGradient


class StaleError(Exception):
    """A newer question of the same tab has come: nobody waits for this answer."""


class Turns:
    """Which question of every browser tab is the latest."""

    def __init__(self) -> None:
        self._latest: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, tab: str, number: int) -> Callable[[], bool]:
        """Announce question `number` of a tab. Returns what tells whether a newer one has come since."""
        with self._lock:
            self._latest[tab] = max(number, self._latest.get(tab, number))
            self._latest.move_to_end(tab)
            while len(self._latest) > 512:
                self._latest.popitem(last=False)
        return lambda: self._latest.get(tab, number) > number


class Memory:
    """Gradients by question, the least recently used forgotten first.

    Args:
        room: bytes.
    """

    def __init__(self, room: int) -> None:
        self._room, self._used = room, 0
        self._kept: OrderedDict[tuple[object, ...], PixelGradient] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[object, ...]) -> PixelGradient | None:
        """The gradient, or None."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: tuple[object, ...], gradient: PixelGradient) -> None:
        """Keep a gradient."""
        with self._lock:
            self._used -= _size(self._kept.pop(key, None))
            self._kept[key] = gradient
            self._used += _size(gradient)
            while self._used > self._room and len(self._kept) > 1:
                self._used -= _size(self._kept.popitem(last=False)[1])


def _size(gradient: PixelGradient | None) -> int:
    return 0 if gradient is None else gradient.gradient.nbytes + gradient.prediction.nbytes
