"""One picture of the synthetic set: a ground, pebbles and hairs on it, then cords where they find room."""

from __future__ import annotations

import numpy as np

from icnn_core.datasets import _strokes
from icnn_core.datasets._strokes import Raster

_SHAPES = (_strokes.to_rod, _strokes.to_hook, _strokes.to_fork, _strokes.to_ring)  # classes 1 to 4
_LENGTHS, _SHORT, _DOT = (46.0, 92.0), (8.0, 20.0), (0.2, 1.5)  # arc lengths in pixels
_RADII = (2.2, 3.6)  # half widths of all cords, in pixels
_THIRDS = np.array([0, 1 / 3, 2 / 3])  # hues of red, green and blue
_SOFT = 2.5  # width of a shadow's edge, in pixels
_TRIES = 12  # places tried for one thing
_OVERLAP = 0.02  # the share of a cord that may lie on, or close by, an earlier one


def draw_scene(rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """One image, (H, W, 3) uint8, and its exact mask, (H, W) int64 with class ids 0 to 4.

    All classes and the short distractors share the distributions of width, colour and texture; the classes
    share that of length too. Sizes are meant for 120 × 160 pixels and scale with the image.
    """
    scene = _Scene(rng, size)
    for _ in range(rng.integers(0, 5)):
        scene.add_pebble()
    scene.add_hairs(int(rng.integers(0, 26)))
    for i in range(rng.integers(3, 6)):
        label = int(rng.integers(1, 5))
        scene.add_cord(_SHAPES[label - 1], rng.uniform(*_LENGTHS), label, must=i == 0)
    for _ in range(rng.integers(2, 9)):
        scene.add_cord(_strokes.to_rod, rng.uniform(*(_SHORT if rng.random() < 0.7 else _DOT)), label=0)
    return scene.image(), scene.mask


class _Scene:
    def __init__(self, rng: np.random.Generator, size: tuple[int, int]) -> None:
        self.rng, self.size = rng, size
        self.scale = min(size[0] / 120, size[1] / 160)
        self.ground = _ground_colour(rng)
        self.paint = _draw_ground(rng, size, self.ground)  # (H, W, 3) float32, 0 to 255
        self.mask = np.zeros(size, np.int64)
        self.taken = np.zeros(size, bool)

    def image(self) -> np.ndarray:
        grain = self.rng.standard_normal((*self.size, 1), np.float32) * np.float32(self.rng.uniform(2, 7))
        return np.clip(self.paint + grain, 0, 255).astype(np.uint8)

    def add_pebble(self) -> None:
        core = _strokes.to_rod(self.rng, self.rng.uniform(2, 14), self._heading())
        pebble = self._raster(core, self.rng.uniform(4, 10))
        self._draw(pebble, self._place(pebble)[0], self._colour(contrast=20))

    def add_hairs(self, count: int) -> None:
        """Fine straight lines, all of one length: clutter with as many edges as the cords have."""
        half = max(2, round(7 * self.scale))
        grid = np.arange(-half, half + 1, dtype=np.float32)
        headings = self.rng.uniform(0, np.pi, (count, 1, 1)).astype(np.float32)
        along = np.abs(grid[:, None] * np.sin(headings) + grid * np.cos(headings))
        across = np.abs(grid[:, None] * np.cos(headings) - grid * np.sin(headings))
        cover = np.clip(1 - across, 0, 1) * np.clip(half - along, 0, 1)  # (count, side, side)
        corners = self.rng.integers(0, np.array(self.size) - 2 * half, (count, 2))
        tone = self.rng.uniform(-45, 45, (count, 1, 1, 1)).astype(np.float32)
        for (y, x), strand in zip(corners, cover[..., None] * tone, strict=True):
            self.paint[y : y + 2 * half + 1, x : x + 2 * half + 1] += strand

    def add_cord(self, shape, length: float, label: int, must: bool = False) -> None:
        """Draw a cord where it is free; without such a place, and unless it must, leave it out."""
        raster = self._raster(shape(self.rng, length, self._heading()), self.rng.uniform(*_RADII))
        corner, overlap = self._place(raster)
        if overlap > _OVERLAP and not must:
            return
        self._draw(raster, corner, self._colour(contrast=55), texture=True)
        window, here = self._windows(raster, corner)
        self.mask[window][raster.inside[here]] = label
        self.taken[window] |= (raster.distance <= raster.radius + 3 * self.scale)[here]

    def _heading(self) -> float:
        return self.rng.uniform(0, 2 * np.pi)

    def _raster(self, curves: list[np.ndarray], radius: float) -> Raster:
        """The curves in this picture's scale, with room for the soft edge and the shadow."""
        curves = [c * self.scale for c in curves]
        return _strokes.to_raster(curves, max(0.8, radius * self.scale), pad=_SOFT * self.scale + 3)

    def _place(self, raster: Raster) -> tuple[tuple[int, int], float]:
        """The freest of some random places: its corner (y, x), and the share of the cord taken there."""
        room = np.maximum(np.array(self.size) - raster.distance.shape, 0) + 1
        inside, best, least = raster.inside, (0, 0), np.inf
        for y, x in self.rng.integers(0, room, (_TRIES, 2)).tolist():
            window, here = self._windows(raster, (y, x))
            share = (self.taken[window] & inside[here]).sum() / max(1, inside.sum())
            if share < least:
                best, least = (y, x), share
            if least == 0:
                break
        return best, float(least)

    def _windows(
        self, raster: Raster, corner: tuple[int, int]
    ) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """Where the raster lies in the picture, and the part of it that does (all, but in tiny pictures)."""
        ends = [min(c + n, s) for c, n, s in zip(corner, raster.distance.shape, self.size, strict=True)]
        picture = tuple(slice(c, e) for c, e in zip(corner, ends, strict=True))
        return picture, tuple(slice(0, e - c) for c, e in zip(corner, ends, strict=True))

    def _colour(self, contrast: float) -> np.ndarray:
        """A random colour that differs from the ground's by at least `contrast` (quadratic mean of RGB)."""
        hue, light, strength = self.rng.uniform((0, 40, 0.2), (1, 225, 0.9), (12, 3)).T[..., None]
        colours = np.clip(light + 95 * strength * np.cos(2 * np.pi * (hue + _THIRDS)), 8, 250)
        apart = np.sqrt(np.mean((colours - self.ground) ** 2, axis=1)) >= contrast
        return colours[apart.argmax()] if apart.any() else 255 - self.ground

    def _draw(
        self, raster: Raster, corner: tuple[int, int], colour: np.ndarray, texture: bool = False
    ) -> None:
        """Paint a stroke with its shadow, rounded by shading; a textured one is banded along its length."""
        window, here = self._windows(raster, corner)
        distance, soft = raster.distance[here], max(1.0, _SOFT * self.scale)
        shadow = np.zeros_like(distance)  # lit from the upper left, two rows and a column away
        shadow[2:, 1:] = 0.4 * np.clip((raster.radius + soft - distance[:-2, :-1]) / soft, 0, 1)
        light = 1.08 - 0.4 * np.minimum(distance / raster.radius, 1) ** 2
        if texture:
            period, depth, phase = self.rng.uniform((6, -0.12, 0), (16, 0.22, 2 * np.pi)).tolist()
            light *= 1 - max(0, depth) * (
                1 + np.sin(raster.along[here] * (2 * np.pi / period / self.scale) + phase)
            )
        cover = raster.coverage[here][..., None]
        below = self.paint[window] * (1 - shadow[..., None])
        self.paint[window] = below + cover * (light[..., None] * colour.astype(np.float32) - below)


def _ground_colour(rng: np.random.Generator) -> np.ndarray:
    """A muted colour (3,): sand, slate, moss, snow."""
    light, hue, strength = rng.uniform((60, 0, 4), (215, 1, 26))
    return np.clip(light + strength * np.cos(2 * np.pi * (hue + _THIRDS)), 0, 255)


def _draw_ground(rng: np.random.Generator, size: tuple[int, int], colour: np.ndarray) -> np.ndarray:
    """The ground (H, W, 3) float32: its colour, lit from one side, with soft patches of two sizes."""
    light = np.zeros(size, np.float32)
    for cells, strength in (((2, 2), 22), ((6, 8), 9), ((24, 32), 7)):
        coarse = rng.uniform(-strength, strength, cells).astype(np.float32)
        light += _interpolation(size[0], cells[0]) @ coarse @ _interpolation(size[1], cells[1]).T
    return light[..., None] + colour.astype(np.float32)


def _interpolation(count: int, cells: int) -> np.ndarray:
    """(count, cells): linear interpolation from a coarse grid, corners on corners."""
    place = np.linspace(0, cells - 1, count, dtype=np.float32)[:, None]
    return np.clip(1 - np.abs(place - np.arange(cells, dtype=np.float32)), 0, 1)
