"""A convolution as a forward pass met it: which weights it has, and where each of them reads its input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from icnn_viz.taps.trails import Trail


@dataclass(eq=False)
class Layer:
    """One call of a convolution. Places are (y, x) in elements of its input; units are places in its output.

    Attributes:
        name: dotted name of the module that called it.
        number: how many convolutions were called before.
        kind: "regular", "irregular", "deformable" or "dcls".
        input: what its input is made of.
        weight: (C_out, C_in/groups, K), signed.
        groups: as of conv2d.
        slots: (K, 2), the regular places from the kernel's centre.
        stride, centre: a unit u has its kernel's centre at stride·u + centre of the input.
        size: (height, width) of its output.
        positions: (S, K, 2) from the kernel's centre, one a shape.
        shape_of: (C_out, C_in/groups), the shape of every weight; where all kernels share shapes (1, C_in), that of
            every input channel.
        offsets: (S, K, 2, height, width), added to the positions, where they depend on the unit.
        mask: (S, K, height, width) of a modulated deformable convolution, or None.
    """

    name: str
    number: int
    kind: str
    input: Trail
    weight: np.ndarray
    groups: int
    slots: np.ndarray
    stride: np.ndarray
    centre: np.ndarray
    size: tuple[int, int]
    positions: np.ndarray
    shape_of: np.ndarray
    offsets: np.ndarray | None = None
    mask: np.ndarray | None = None

    @classmethod
    def regular(
        cls,
        name: str,
        number: int,
        trail: Trail,
        weight: np.ndarray,
        kernel_size: Sequence[int],
        stride: Any,
        padding: Any,
        dilation: Any,
        groups: int,
        size: tuple[int, int],
    ) -> Layer:
        """A convolution by its arguments, every tap on its slot; one number, or (y, x), as PyTorch takes them."""
        step, spacing = (np.broadcast_to(value, 2).astype(float) for value in (stride, dilation))
        sides = np.array(kernel_size)
        span = spacing * (sides - 1)
        if isinstance(padding, str):
            padding = np.floor(span / 2) if padding == "same" else 0
        slots = (np.indices(tuple(kernel_size)).reshape(2, -1).T - (sides - 1) / 2) * spacing
        shape_of = np.zeros((1, weight.shape[1] * groups), int)
        return cls(
            name, number, "regular", trail, weight, groups, slots, step, span / 2 - np.broadcast_to(padding, 2), size,
            slots[None], shape_of,
        )  # fmt: skip

    def snapped(self) -> Layer:
        """With its taps on their slots."""
        one = np.zeros((1, self.channels), int)
        changes = {
            "kind": "regular",
            "positions": self.slots[None],
            "shape_of": one,
            "offsets": None,
            "mask": None,
        }
        return replace(self, **changes)

    @property
    def channels(self) -> int:
        """Of the input."""
        return self.weight.shape[1] * self.groups

    @property
    def is_spatial(self) -> bool:
        """Whether it looks anywhere but at the unit's own place."""
        return len(self.slots) > 1 or bool(self.positions.any()) or self.offsets is not None

    def input_channels(self) -> np.ndarray:
        """(C_out, C_in/groups): the input channel of every weight."""
        kernels, inner, _ = self.weight.shape
        group = np.arange(kernels) // (kernels // self.groups)
        return group[:, None] * inner + np.arange(inner)

    def shapes(self) -> np.ndarray:
        """(C_out, C_in/groups): the shape of every weight."""
        if self.shape_of.shape[0] == 1:
            return self.shape_of[0][self.input_channels()]
        return self.shape_of

    def centres(self, units: np.ndarray) -> np.ndarray:
        """Where kernels' centres lie in the input, (…, 2)."""
        return units * self.stride + self.centre

    def places(self, units: np.ndarray, shapes: np.ndarray, taps: np.ndarray) -> np.ndarray:
        """Where taps read the input, (n, 2), of units (n, 2), each with a shape and a tap (n,)."""
        found = self.centres(units) + self.positions[shapes, taps]
        return found if self.offsets is None else found + _between(self.offsets, units, shapes, taps)

    def modulation(self, units: np.ndarray, shapes: np.ndarray, taps: np.ndarray) -> np.ndarray:
        """By what the mask multiplies taps, (n,): 1 without one."""
        if self.mask is None:
            return np.ones(len(units))
        return _between(self.mask[:, :, None], units, shapes, taps)[:, 0]


def _between(maps: np.ndarray, units: np.ndarray, shapes: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """Maps (S, K, v, height, width) at units, bilinearly, as the mean over the units around: (n, v)."""
    size = np.array(maps.shape[-2:])
    at = np.clip(units, 0, size - 1)
    low = np.minimum(np.floor(at).astype(int), np.maximum(size - 2, 0))
    share = at - low
    found = np.zeros((len(units), maps.shape[2]))
    for dy in (0, 1):
        for dx in (0, 1):
            y, x = np.minimum(low + np.array([dy, dx]), size - 1).T
            part = np.abs(1 - dy - share[:, 0]) * np.abs(1 - dx - share[:, 1])
            found += part[:, None] * maps[shapes, taps, :, y, x]
    return found
