"""What the explorer remembers: as many of the latest gradients as there is room for, however long it runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from icnn_viz.explorer.memory import Memory
from icnn_viz.records import PixelGradient

SIZE = 24 * 37 * (3 * 4 + 8)  # bytes of a gradient and its predictions


@pytest.mark.parametrize("room", [1, 2, 5])
def test_the_latest_that_fit_are_kept_after_any_number(
    room: int, make_gradient: Callable[..., PixelGradient]
) -> None:
    gradient = make_gradient()
    assert gradient.gradient.nbytes + gradient.prediction.nbytes == SIZE
    memory = Memory(room * SIZE + 100)
    for number in range(12):
        memory.put((number,), gradient)
        kept = [n for n in range(number + 1) if memory.get((n,)) is not None]
        assert kept == list(range(number + 1))[-room:]


def test_what_is_kept_again_takes_its_room_once(make_gradient: Callable[..., PixelGradient]) -> None:
    memory = Memory(2 * SIZE + 100)
    memory.put(("first",), make_gradient())
    for _ in range(9):
        memory.put(("second",), make_gradient())
    assert memory.get(("first",)) is not None
    memory.put(("third",), make_gradient())
    assert memory.get(("second",)) is None  # "first" was asked for since


def test_one_that_is_too_large_is_kept_alone(make_gradient: Callable[..., PixelGradient]) -> None:
    memory = Memory(10)
    for key in ("a", "b"):
        memory.put((key,), make_gradient())
    assert memory.get(("a",)) is None
    assert memory.get(("b",)) is not None
