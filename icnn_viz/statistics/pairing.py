"""Which layer and which slot of one network are those of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from icnn_core.errors import ShapeError
from icnn_viz.records import PositionCloud

SAME, REORDERED, RESCALED, NUMBERED = (
    "same slots",
    "slots in another order",
    "slots of another spacing",
    "by number",
)
_TOLERANCE = 0.02  # of the distance of neighbouring slots: what half precision takes off a place


def pair_layers(
    first: Sequence[PositionCloud], second: Sequence[PositionCloud]
) -> tuple[list[tuple[PositionCloud, PositionCloud]], list[str], list[str]]:
    """Layers of one name, in the first's order; the names that only the first has, and only the second.

    Where each side is a single layer, the two are a pair, whatever they are called.
    """
    if len(first) == len(second) == 1:
        return [(first[0], second[0])], [], []
    others = {cloud.layer: cloud for cloud in second}
    names = {cloud.layer for cloud in first}
    pairs = [(cloud, others[cloud.layer]) for cloud in first if cloud.layer in others]
    alone = [cloud.layer for cloud in first if cloud.layer not in others]
    return pairs, alone, [name for name in others if name not in names]


def pair_slots(first: PositionCloud, second: PositionCloud) -> tuple[np.ndarray, str]:
    """The second's slot for each of the first's, by their places, and how they were found: SAME, REORDERED, RESCALED
    (the same grid of another spacing), or NUMBERED where one of the two has no regular positions.

    Raises:
        ShapeError: other numbers of slots, or slots of another grid.
    """
    who = f"comparison of {first.layer} and {second.layer}"
    if len(first.slots) != len(second.slots):
        raise ShapeError(
            who, needed="as many slots on both sides", got=f"{len(first.slots)} and {len(second.slots)}",
            fix="Compare layers of one kernel size: name them with --layer.",
        )  # fmt: skip
    by_number = np.arange(len(first.slots))
    if not (first.regular and second.regular):
        return by_number, NUMBERED
    order = _match(first.slots, second.slots)
    if order is not None:
        return order, SAME if (order == by_number).all() else REORDERED
    order = _match(first.slots / first.spacing, second.slots / second.spacing)
    if order is not None:
        return order, RESCALED
    raise ShapeError(
        who,
        needed="slots of one grid",
        got="slots at other places",
        fix="Compare layers of one kernel (--layer).",
    )


def to_slots_of(first: PositionCloud, second: PositionCloud) -> PositionCloud:
    """The second cloud as if it had grown from the first's slots: its slots in the first's order, its displacements
    from there. Without regular positions it stays as it is.

    Raises:
        ShapeError: as of `pair_slots`.
    """
    order, found = pair_slots(first, second)
    if found == NUMBERED:
        return second
    moved = second.positions[:, :, order] - second.slots[order]
    return replace(
        second,
        slots=first.slots,
        positions=moved + first.slots,
        weights=second.weights[:, :, order],
        dilation=first.dilation,
        kernel_size=first.kernel_size,
    )


def _match(first: np.ndarray, second: np.ndarray) -> np.ndarray | None:
    """For each place the one of the second list that is equal to it, each taken once; None if there is none."""
    distance = np.linalg.norm(first[:, None] - second, axis=-1)
    order = distance.argmin(1)
    apart = np.linalg.norm(first[:, None] - first, axis=-1)[~np.eye(len(first), dtype=bool)]
    near = distance.min(1).max() <= _TOLERANCE * apart.min(initial=1.0)
    return order if near and len(set(order)) == len(order) else None
