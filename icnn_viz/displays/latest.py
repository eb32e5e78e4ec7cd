"""Answer the latest wish only: clicks that come while the networks work are not worked off one by one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from typing import Any

_PAUSE = 0.05  # seconds: a kernel hands over the clicks that have queued meanwhile, one a turn of its loop


class LatestOnly:
    """Collects what is wished for and answers it once, when the event loop has handed over all that was waiting.

    Of wishes for the same thing the latest wins. Where no event loop runs, each is answered at once.

    Args:
        answer: called with the wishes.
    """

    def __init__(self, answer: Callable[[Mapping[str, Any]], None]) -> None:
        self._answer = answer
        self._wishes: dict[str, Any] = {}
        self._due = False
        self._lock = threading.Lock()  # a kernel may serve widgets in one thread and cells in another

    def ask(self, **wishes: Any) -> None:
        """Wish for something; soon it is answered, or a later wish instead of it."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._answer(wishes)
            return
        with self._lock:
            self._wishes |= wishes
            due, self._due = self._due, True
        if not due:
            loop.call_later(_PAUSE, self._answer_all)

    def _answer_all(self) -> None:
        with self._lock:
            wishes, self._wishes, self._due = self._wishes, {}, False
        self._answer(wishes)
