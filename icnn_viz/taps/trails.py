"""Where an element of a tensor lies in what it was computed from: a scale and an offset along each axis."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from icnn_viz.taps.layers import Layer


@dataclass(frozen=True, eq=False)
class Link:
    """Element e of a tensor lies at scale·e + offset of the output of `source` (None: of the image).

    Attributes:
        source: the last layer before the tensor.
        scale, offset: (2,), along y and x.
        channel: (C,): the source's channel that each of the tensor's is, -1 for none of it; None where they are mixed.
        gain: (C,): by what it is multiplied since, in magnitude.
    """

    source: Layer | None
    scale: np.ndarray
    offset: np.ndarray
    channel: np.ndarray | None
    gain: np.ndarray

    def __call__(self, places: np.ndarray) -> np.ndarray:
        """Places (…, 2) in the tensor, in the source."""
        return places * self.scale + self.offset

    def moved(self, scale: np.ndarray, offset: np.ndarray) -> Link:
        """Of a tensor whose element e lies at scale·e + offset of this link's."""
        return replace(self, scale=self.scale * scale, offset=self(offset))

    def mixed(self, channels: int) -> Link:
        """Of a tensor each of whose channels may depend on all."""
        return replace(self, channel=None, gain=np.ones(channels))

    @property
    def number(self) -> int:
        return -1 if self.source is None else self.source.number


@dataclass(frozen=True, eq=False)
class Trail:
    """What a tensor is made of.

    Attributes:
        links: the latest layer first; none where the way was lost.
        axes: which of its dimensions, counted from the last (-1), are rows and columns.
        low, high: (2,): elements before and after hold nothing but padding.
        edge: what of: "constant" for zeros, else as of `torch.nn.functional.pad`.
        lost: the operation behind which places are not known, or "".
    """

    links: tuple[Link, ...]
    axes: tuple[int, int]
    low: np.ndarray
    high: np.ndarray
    edge: str = "constant"
    lost: str = ""

    @property
    def channel_axis(self) -> int:
        return -3 if -3 not in self.axes else -1

    def moved(self, scale: np.ndarray, offset: np.ndarray, size: np.ndarray) -> Trail:
        """Of a tensor of another size whose element e lies at scale·e + offset of this one."""
        links = tuple(link.moved(scale, offset) for link in self.links)
        return replace(self, links=links, low=np.zeros(2), high=size - 1.0, edge="constant")

    def padded(self, before: np.ndarray, size: np.ndarray, edge: str) -> Trail:
        """Of a tensor with so many rows and columns before this one's."""
        found = self.moved(np.ones(2), -before, size)
        low, high = np.maximum(self.low + before, 0), np.minimum(self.high + before, found.high)
        return replace(found, low=low, high=high, edge=edge)

    def taken(self, channels: np.ndarray) -> Trail:
        """Of a tensor that has these channels, -1 for one of something else."""
        there = channels >= 0
        links = tuple(
            replace(
                link,
                channel=None if link.channel is None else np.where(there, link.channel[channels], -1),
                gain=np.where(there, link.gain[channels], 0),
            )
            for link in self.links
        )
        return replace(self, links=links)

    def mixed(self, channels: int) -> Trail:
        """The same without knowing which channel is which."""
        return replace(self, links=tuple(link.mixed(channels) for link in self.links))

    def inside(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where places (n, 2) read, and which share of each reads something: in a border of zeros there is nothing."""
        width = self.high - self.low
        if self.edge == "replicate":
            return np.clip(places, self.low, self.high), np.ones(len(places))
        if self.edge == "reflect":
            turned = np.abs((places - self.low) % np.maximum(2 * width, 1e-9))
            return self.low + np.minimum(turned, 2 * width - turned), np.ones(len(places))
        if self.edge == "circular":
            return self.low + (places - self.low) % (width + 1), np.ones(len(places))
        beyond = np.maximum(np.maximum(self.low - places, places - self.high), 0)
        return places, np.prod(np.clip(1 - beyond, 0, 1), axis=-1)


def joined(trails: Iterable[Trail]) -> Trail:
    """Of the sum of several tensors of one size."""
    first, *others = trails
    links: dict[object, Link] = {}
    for trail in (first, *others):
        for link in trail.links:
            key = (link.number, *link.scale, *link.offset)
            links[key] = _both(links[key], link) if key in links else link
    ordered = sorted(links.values(), key=lambda link: -link.number)
    known = next((t for t in (first, *others) if t.links), first)
    return replace(known, links=tuple(ordered), lost="" if ordered else first.lost)


def _both(first: Link, second: Link) -> Link:
    """Of two tensors of one source: channels beside each other, or one of two ways that differ in nothing."""
    if first.channel is None or second.channel is None:
        return first.mixed(len(first.gain))
    there = first.channel >= 0
    channel = np.where(there, first.channel, second.channel)
    return replace(first, channel=channel, gain=np.where(there, first.gain, second.gain))
