"""Geometry and antialiased drawing of curved strokes, for the synthetic set. Points are (y, x) in pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_STEP, _LONG_STEP = 4.0, 8.0  # pixels between the points of a curve, and of one that hardly bends
_LONG = 60.0  # a fork of this length has room for a third prong


@dataclass(frozen=True)
class Raster:
    """A stroke on its own small grid. All arrays are (h, w) float32.

    Attributes:
        distance: pixels from the stroke's centre line.
        along: arc length, in pixels, of the nearest point of the centre line.
        radius: half the stroke's width.
    """

    distance: np.ndarray
    along: np.ndarray
    radius: float

    @property
    def inside(self) -> np.ndarray:
        """(h, w) bool: the exact label mask."""
        return self.distance <= self.radius

    @property
    def coverage(self) -> np.ndarray:
        """(h, w) in [0, 1]: the antialiased share of each pixel that the stroke covers."""
        return np.clip(self.radius + 0.5 - self.distance, 0, 1)


def to_raster(curves: list[np.ndarray], radius: float, pad: float) -> Raster:
    """Distance and arc length of every pixel near some polylines, each (n, 2).

    The grid is the smallest one that leaves `pad` pixels around the strokes.
    """
    lowest = np.min([c.min(axis=0) for c in curves], axis=0) - (radius + pad)
    starts = np.concatenate([c[:-1] for c in curves]) - lowest
    spans = np.concatenate([np.diff(c, axis=0) for c in curves])
    lengths = np.linalg.norm(spans, axis=1)
    before = np.concatenate([np.cumsum(n) - n for n in _split_like(lengths, curves)])
    starts, spans, lengths, before = (a.astype(np.float32) for a in (starts, spans, lengths, before))
    height, width = np.ceil((starts + np.maximum(spans, 0)).max(axis=0) + radius + pad).astype(int)
    dy = np.arange(height, dtype=np.float32)[None, :, None] - starts[:, 0, None, None]  # (S, h, 1)
    dx = np.arange(width, dtype=np.float32)[None, None, :] - starts[:, 1, None, None]  # (S, 1, w)
    unit = spans / np.maximum(lengths, 1e-3)[:, None]
    uy, ux = unit[:, 0, None, None], unit[:, 1, None, None]
    along = dy * uy + dx * ux  # (S, h, w): along each segment, then clipped to it
    beyond = along.copy()
    np.maximum(along, 0, out=along)
    np.minimum(along, lengths[:, None, None], out=along)
    beyond -= along
    squared = dx * uy - dy * ux
    squared *= squared
    beyond *= beyond
    squared += beyond
    nearest = squared.reshape(len(lengths), -1).argmin(axis=0)
    pixel = np.arange(height * width)
    distance = np.sqrt(squared.reshape(len(lengths), -1)[nearest, pixel])
    along = along.reshape(len(lengths), -1)[nearest, pixel] + before[nearest]
    return Raster(distance.reshape(height, width), along.reshape(height, width), radius)


def _split_like(values: np.ndarray, curves: list[np.ndarray]) -> list[np.ndarray]:
    return np.split(values, np.cumsum([len(c) - 1 for c in curves])[:-1])


def _walk(start: np.ndarray, headings: np.ndarray, length: float) -> np.ndarray:
    """The curve that leaves `start` and follows `headings` (n,) in radians in n equal steps: (n + 1, 2)."""
    steps = np.stack([np.sin(headings), np.cos(headings)], axis=1) * (length / len(headings))
    return np.concatenate([start[None], start + np.cumsum(steps, axis=0)])


def _shares(length: float, step: float) -> np.ndarray:
    """(n,): the middles of the equal steps that a curve is walked in, as shares of its length."""
    count = max(3, round(length / step))
    return (np.arange(count) + 0.5) / count


def to_rod(rng: np.random.Generator, length: float, heading: float) -> list[np.ndarray]:
    """A straight or gently bent stroke: it turns by at most 50 degrees in all."""
    share = _shares(length, _LONG_STEP)
    bend, wave = rng.uniform(-0.8, 0.8), rng.uniform(-0.2, 0.2)
    return [_walk(np.zeros(2), heading + bend * share + wave * np.sin(2 * np.pi * share), length)]


def to_hook(rng: np.random.Generator, length: float, heading: float) -> list[np.ndarray]:
    """A rod whose end turns back, by 130 to 230 degrees."""
    share = _shares(length, _STEP)
    begin = rng.uniform(0.25, 0.55)
    turn = np.radians(rng.uniform(130, 230)) * (1 if rng.random() < 0.5 else -1)
    bend = rng.uniform(-0.3, 0.3)
    turned = np.clip((share - begin) / (0.95 - begin), 0, 1)
    return [_walk(np.zeros(2), heading + bend * share + turn * turned, length)]


def to_fork(rng: np.random.Generator, length: float, heading: float) -> list[np.ndarray]:
    """A stem that splits into two or three prongs."""
    count = 3 if rng.random() < 0.4 and length > _LONG else 2
    stem_length = length * rng.uniform(0.3, 0.45)
    prong_length = (length - stem_length) / count
    stem_share = _shares(stem_length, _LONG_STEP)
    stem = _walk(np.zeros(2), heading + rng.uniform(-0.4, 0.4) * (1 - stem_share), stem_length)
    spread = np.radians(rng.uniform(30, 60))
    curves = [stem]
    for i in range(count):
        side = 2 * i / (count - 1) - 1
        share = _shares(prong_length, _LONG_STEP)
        bend = rng.uniform(-0.5, 0.3) * side if side else rng.uniform(-0.3, 0.3)
        own = prong_length * rng.uniform(0.85, 1.15)
        curves.append(_walk(stem[-1], heading + side * spread + bend * share, own))
    return curves


def to_ring(rng: np.random.Generator, length: float, heading: float) -> list[np.ndarray]:
    """A closed loop: an ellipse, a little out of true."""
    angle = np.linspace(0, 2 * np.pi, round(length / _STEP) + 1)
    flat, dent, phase = rng.uniform(0.62, 1.0), rng.uniform(0, 0.1), rng.uniform(0, 2 * np.pi)
    radius = 1 + dent * np.cos(3 * angle + phase)
    loop = np.stack([radius * np.sin(angle) * flat, radius * np.cos(angle)], axis=1)
    turn = np.array([[np.cos(heading), -np.sin(heading)], [np.sin(heading), np.cos(heading)]])
    loop = loop @ turn
    return [loop * (length / np.linalg.norm(np.diff(loop, axis=0), axis=1).sum())]
