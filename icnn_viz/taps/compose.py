"""Taps of one layer after another: all ways from one unit back through them, the heaviest kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from icnn_viz.taps.layers import Layer
from icnn_viz.taps.trails import Link

MOST = 20_000
"""Points that are kept."""
_ROWS = 4_000_000  # products that are compared at a time


@dataclass
class Points:
    """Ways back, n of them.

    Attributes:
        at, regular: (n, 2): where they read, and where they would with every position on its slot.
        channel: (n,): input channel that they arrive in, -1 for all of them together.
        weight: (n,): the product of the magnitudes; of a single layer signed.
        slot, first: (n,): tap and input channel (-1: all) of the first layer.
        mask, share: (n,): by what modulation multiplies them, and which share of them falls into no border of zeros.
    """

    at: np.ndarray
    regular: np.ndarray
    channel: np.ndarray
    weight: np.ndarray
    slot: np.ndarray
    first: np.ndarray
    mask: np.ndarray
    share: np.ndarray

    @classmethod
    def of(cls, unit: np.ndarray) -> Points:
        """The unit itself."""
        none, one = np.full(1, -1), np.ones(1)
        return cls(unit[None], unit[None], np.zeros(1, int), one, none, none, one, one)

    def chosen(self, which: np.ndarray) -> Points:
        """Some of them."""
        return Points(**{name: values[which] for name, values in vars(self).items()})


@dataclass
class _Stage:
    """A layer as a table: R rows, one an output channel (or one for all), J columns: (R, J, K) weights."""

    layer: Layer
    weight: np.ndarray
    channel: np.ndarray
    shape: np.ndarray
    row_of: np.ndarray | None
    gain: np.ndarray


def compose(
    layers: Sequence[Layer], links: Sequence[Link], unit: np.ndarray, outputs: np.ndarray, most: int = MOST
) -> tuple[Points, float]:
    """The `most` heaviest ways from a unit of the first layer back through all, exactly; and the weight of all ways.

    Weights are magnitudes: ways that cancel count. Borders take away from the ways kept, not from those chosen.

    Args:
        layers: the one nearest to the output first.
        links: from the input of each but the last to the output of the next.
        unit: (2,), in the first layer's output.
        outputs: (C_out,): what of its output channels counts; one of them alone keeps its signs if there is one layer.
    """
    stages = _to_stages(layers, links, outputs)
    if all(len(layer.positions) == 1 for layer in layers):
        return _on_a_lattice(stages, links, unit, most), _total(stages)
    best, found = _best(stages), Points.of(unit)
    for number, stage in enumerate(stages):
        found = _step(found, stage, best[number], number == 0, most)
        if number + 1 < len(stages):
            found.at, found.regular = links[number](found.at), links[number](found.regular)
    return found, _total(stages)


def merged(points: Points) -> Points:
    """Ways of one slot that read at one place, as one."""
    first, which = _coincident(points)
    size = np.abs(points.weight)
    found, single = points.chosen(first), np.bincount(which) == 1
    found.weight = np.where(single, found.weight, np.bincount(which, size))
    found.first = np.where(single, found.first, -1)
    whole = np.maximum(np.bincount(which, size), 1e-300)
    found.mask, found.share = (np.bincount(which, size * v) / whole for v in (points.mask, points.share))
    return found


def _coincident(points: Points) -> tuple[np.ndarray, np.ndarray]:
    """The first of the points of one place and slot, and which of these each point is."""
    key = np.concatenate([points.at, points.regular, points.slot[:, None]], 1).round(4)
    _, first, which = np.unique(key, axis=0, return_index=True, return_inverse=True)
    return first, which.ravel()


def _to_stages(layers: Sequence[Layer], links: Sequence[Link], outputs: np.ndarray) -> list[_Stage]:
    chosen = np.flatnonzero(outputs)
    stages = []
    for number, layer in enumerate(layers):
        weight, channel, shape = layer.weight, layer.input_channels(), layer.shapes()
        weight = np.abs(weight) if number or len(layers) > 1 or len(chosen) > 1 else weight
        link = links[number - 1] if number else None
        if link is None and len(chosen) == 1:
            row = slice(chosen[0], chosen[0] + 1)
            stages.append(
                _Stage(layer, weight[row] * outputs[row, None, None], channel[row], shape[row], None, np.ones(1))
            )  # fmt: skip
        elif link is None or link.channel is None:
            share = outputs if link is None else np.full(len(weight), 1 / len(weight))
            gain = np.ones(1) if link is None else link.gain
            stages.append(_all_alike(layer, weight * share[:, None, None], channel, shape, gain))
        else:
            stages.append(_Stage(layer, weight, channel, shape, link.channel, link.gain))
    last = stages[-1]
    if len(last.layer.positions) == 1:  # which channel is read makes no difference
        summed = np.abs(last.weight).sum(1, keepdims=True) if last.weight.shape[1] > 1 else last.weight
        last.weight, last.shape = summed, last.shape[:, :1]
        last.channel = np.full_like(last.shape, -1)
    return stages


def _all_alike(
    layer: Layer, weight: np.ndarray, channel: np.ndarray, shape: np.ndarray, gain: np.ndarray
) -> _Stage:
    """All kernels as one row: added up where they share shapes, beside each other where each has its own."""
    if layer.shape_of.shape[0] > 1:
        return _Stage(
            layer, weight.reshape(1, -1, weight.shape[-1]), channel.reshape(1, -1), shape.reshape(1, -1), None, gain
        )  # fmt: skip
    summed = np.zeros((layer.channels, weight.shape[-1]))
    np.add.at(summed, channel, weight)
    return _Stage(layer, summed[None], np.arange(layer.channels)[None], layer.shape_of, None, gain)


def _best(stages: Sequence[_Stage]) -> list[np.ndarray]:
    """Of each stage by input channel, the heaviest way on; as many partial ways as are kept need no more."""
    found = [np.ones(stages[-1].layer.channels)]
    for stage in reversed(stages[1:]):
        rows = np.abs(stage.weight).max(2) * np.where(stage.channel < 0, 1, found[0][stage.channel])
        rows = rows.max(1)
        if stage.row_of is None:
            found.insert(0, stage.gain * rows[0])
        else:
            found.insert(0, stage.gain * np.where(stage.row_of < 0, 0, rows[stage.row_of]))
    return found


def _step(points: Points, stage: _Stage, best: np.ndarray, is_first: bool, most: int) -> Points:
    """Every way on through one layer, those kept from which the heaviest lead on."""
    rows = np.zeros(len(points.at), int) if stage.row_of is None else stage.row_of[points.channel]
    there = np.flatnonzero(rows >= 0)
    on = np.where(stage.channel < 0, 1.0, best[stage.channel])[..., None]
    bound, size = np.abs(stage.weight) * on, stage.weight[0].size
    kept: tuple[np.ndarray, np.ndarray, np.ndarray] = (np.empty(0, int), np.empty(0, int), np.empty(0))
    for part in np.array_split(there, max(1, -(-len(there) * size // _ROWS))):
        gain = points.weight[part] * (1.0 if is_first else stage.gain[points.channel[part]])
        heavy = gain[:, None] * bound[rows[part]].reshape(len(part), size)
        way, to = np.divmod(_largest(heavy.ravel(), most), size)
        both = (
            np.concatenate([kept[0], part[way]]),
            np.concatenate([kept[1], to]),
            np.concatenate([kept[2], heavy[way, to]]),
        )
        chosen = _largest(both[2], most)
        kept = (both[0][chosen], both[1][chosen], both[2][chosen])
    way, to = kept[0], kept[1]
    column, tap = np.divmod(to, stage.weight.shape[2])
    row = rows[way]
    before = points.chosen(way)
    layer, shape, channel = stage.layer, stage.shape[row, column], stage.channel[row, column]
    at, share = layer.input.inside(layer.places(before.at, shape, tap))
    gain = 1.0 if is_first else stage.gain[before.channel]
    return Points(
        at,
        layer.centres(before.regular) + layer.slots[tap],
        channel,
        before.weight * gain * stage.weight[row, column, tap],
        tap if is_first else before.slot,
        channel if is_first else before.first,
        before.mask * layer.modulation(before.at, shape, tap),
        before.share * share,
    )


def _largest(values: np.ndarray, most: int) -> np.ndarray:
    """Which are the largest, above 0, at most so many."""
    some = np.argpartition(-values, most - 1)[:most] if len(values) > most else np.arange(len(values))
    return some[values[some] > 0]


def _total(stages: Sequence[_Stage]) -> float:
    """The weight of all ways together."""
    flow = np.ones(1)
    for number, stage in enumerate(stages):
        if number and stage.row_of is None:
            flow = np.array([float(flow @ stage.gain)])
        elif number and stage.row_of is not None:
            there = stage.row_of >= 0
            rows = np.zeros(len(stage.weight))
            np.add.at(rows, stage.row_of[there], (flow * stage.gain)[there])
            flow = rows
        out = np.zeros(stage.layer.channels)
        through = flow[:, None] * np.abs(stage.weight).sum(2)
        if number + 1 == len(stages):
            return float(through.sum())
        np.add.at(out, stage.channel, through)
        flow = out
    raise AssertionError("no layer")


def _on_a_lattice(stages: Sequence[_Stage], links: Sequence[Link], unit: np.ndarray, most: int) -> Points:
    """The same where every layer has one shape: points of all channels at once."""
    found, flow = Points.of(unit), np.ones((1, 1))
    for number, stage in enumerate(stages):
        layer, taps = stage.layer, stage.weight.shape[2]
        if number and stage.row_of is None:
            flow = (flow @ stage.gain)[:, None]
        elif number and stage.row_of is not None:
            rows, there = np.zeros((len(flow), len(stage.weight))), stage.row_of >= 0
            np.add.at(rows.T, stage.row_of[there], (flow * stage.gain)[:, there].T)
            flow = rows
        tap, before = np.tile(np.arange(taps), len(flow)), found.chosen(np.repeat(np.arange(len(flow)), taps))
        shape = np.zeros(len(tap), int)
        flow = _through(stage, flow, number + 1 == len(stages)).reshape(len(tap), -1)
        at, share = layer.input.inside(layer.places(before.at, shape, tap))
        before.mask, before.share = (
            before.mask * layer.modulation(before.at, shape, tap),
            before.share * share,
        )
        before.at, before.regular = at, layer.centres(before.regular) + layer.slots[tap]
        before.slot, before.weight = tap if number == 0 else before.slot, np.abs(flow).sum(1)
        if flow.shape[1] == 1:
            before.weight = flow[:, 0]
        first, which = _coincident(before)
        found, sums = merged(before), np.zeros((len(first), flow.shape[1]))
        np.add.at(sums, which, flow)
        keep = _largest(np.abs(found.weight), most)
        found, flow = found.chosen(keep), sums[keep]
        if number + 1 < len(stages):
            found.at, found.regular = links[number](found.at), links[number](found.regular)
    return found


def _through(stage: _Stage, flow: np.ndarray, summed: bool) -> np.ndarray:
    """Flow (n, R) on through a layer: (n, K, C_in), or (n, K, 1) where its channels are added up."""
    if summed:
        return np.einsum("nr,rjk->nkj", flow, stage.weight, optimize=True).sum(-1, keepdims=True)
    found = np.zeros((len(flow), stage.weight.shape[2], stage.layer.channels))
    starts = np.flatnonzero(np.diff(stage.channel[:, 0], prepend=-1))
    for start, end in zip(starts, [*starts[1:], len(flow[0])], strict=True):  # a group of kernels at a time
        part = np.einsum("nr,rjk->nkj", flow[:, start:end], stage.weight[start:end], optimize=True)
        found[:, :, stage.channel[start]] += part
    return found
