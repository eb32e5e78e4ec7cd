"""Heatmaps of many pixels, centred on these, added up: what pixels depend on on average."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from icnn_viz.heatmaps.spread import distance_energy
from icnn_viz.records import Heatmap

REACH = 400
"""Offsets from the pixel that are kept, in pixels along each axis; the distance-energy curve has no end."""


@dataclass
class AverageMap:
    """A sum of maps, each as shares of its energy; a pixel of which any network's map is zero everywhere adds nothing.

    Attributes:
        networks: how many.
        ids: of the pixels that were added, also of those that added nothing.
        pixels: how many added something.
        sums: (networks, 2·reach + 1, 2·reach + 1), of shares by offset (y, x) from the pixel.
        counts: (2·reach + 1, 2·reach + 1), how many pixels have an offset inside their images.
        curves: (networks, n), sums of the shares within 0, 1, …, n - 1 pixels of the pixel.
    """

    networks: int
    ids: set[int] = field(default_factory=set)
    pixels: int = 0
    sums: np.ndarray = field(default_factory=lambda: np.zeros((0, 1, 1)))
    counts: np.ndarray = field(default_factory=lambda: np.zeros((1, 1)))
    curves: np.ndarray = field(default_factory=lambda: np.zeros((0, 1)))

    def __post_init__(self) -> None:
        if not len(self.sums):
            self.sums, self.curves = np.zeros((self.networks, 1, 1)), np.zeros((self.networks, 1))

    @property
    def reach(self) -> int:
        """The largest offset that is kept."""
        return len(self.counts) // 2

    def add(self, number: int, heatmaps: Sequence[Heatmap]) -> None:
        """Add one pixel's maps, one per network; `number` is its id."""
        self.ids.add(number)
        if not all(heatmap.values.any() for heatmap in heatmaps):
            return
        (height, width), (y, x) = heatmaps[0].values.shape, heatmaps[0].pixel
        self._grow(min(REACH, max(y, x, height - 1 - y, width - 1 - x)))
        top, left, reach = max(y - self.reach, 0), max(x - self.reach, 0), self.reach
        bottom, right = min(y + reach + 1, height), min(x + reach + 1, width)
        there = np.s_[top - y + reach : bottom - y + reach, left - x + reach : right - x + reach]
        self.counts[there] += 1
        for number, heatmap in enumerate(heatmaps):
            self.sums[number][there] += (heatmap.values / heatmap.values.sum())[top:bottom, left:right]
        curves = [distance_energy(heatmap)[1] for heatmap in heatmaps]
        self._lengthen(len(curves[0]))
        for total, curve in zip(self.curves, curves, strict=True):
            total += np.pad(curve, (0, len(total) - len(curve)), constant_values=1.0)
        self.pixels += 1

    def merge(self, other: AverageMap) -> None:
        """Add what another sum of the same networks holds."""
        self._grow(other.reach)
        other._grow(self.reach)
        self._lengthen(other.curves.shape[1])
        other._lengthen(self.curves.shape[1])
        self.sums, self.counts = self.sums + other.sums, self.counts + other.counts
        self.curves, self.pixels = self.curves + other.curves, self.pixels + other.pixels
        self.ids |= other.ids

    def mean(self) -> np.ndarray:
        """(networks, 2·reach + 1, 2·reach + 1): the mean share by offset, over the pixels whose images hold it; 0 where
        none does."""
        return self.sums / np.maximum(self.counts, 1)

    def mean_curves(self) -> np.ndarray:
        """(networks, n): the mean share within 0, 1, … pixels of the pixel; NaN before anything was added."""
        return self.curves / self.pixels if self.pixels else np.full(self.curves.shape, np.nan)

    def _grow(self, reach: int) -> None:
        if (more := reach - self.reach) > 0:
            self.sums = np.pad(self.sums, ((0, 0), (more, more), (more, more)))
            self.counts = np.pad(self.counts, more)

    def _lengthen(self, length: int) -> None:
        if (more := length - self.curves.shape[1]) > 0:  # beyond its corners an image has no energy
            tail = np.full((self.networks, more), float(self.pixels))
            self.curves = np.concatenate([self.curves, tail], axis=1)
