"""Which pixels of a labelled data set to look at: seeded, and spread evenly over strata."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from icnn_core.errors import ArgumentError, check_name

FACTORS = ("class", "boundary", "elongation")
BOUNDARY_EDGES = (3.0, 12.0)
ELONGATION_EDGES = (2.0, 4.0)
SMALLEST_OBJECT = 64


@dataclass(frozen=True)
class LabelledPixel:
    """A pixel that may be looked at.

    Attributes:
        image: index in the data set.
        pixel: (y, x).
        label: class id.
        boundary: distance in pixels from its centre to the nearest border between pixels of different labels.
        elongation: of its object, the connected part of its label: ratio of the extents along its principal axes.
        area: of its object, in pixels.
    """

    image: int
    pixel: tuple[int, int]
    label: int
    boundary: float
    elongation: float
    area: int

    def stratum(self, factor: str, classes: Sequence[str] = ()) -> str:
        """The stratum that it lies in, in words. Factors: `FACTORS`."""
        names = strata_of(factor, classes)
        if factor == "class":
            return names[self.label] if self.label < len(names) else str(self.label)
        if factor == "boundary":
            return names[int(np.digitize(self.boundary, BOUNDARY_EDGES, right=True))]
        return names[int(np.digitize(self.elongation, ELONGATION_EDGES))]


def strata_of(factor: str, classes: Sequence[str] = ()) -> tuple[str, ...]:
    """The names of a factor's strata in their natural order."""
    if factor == "class":
        return tuple(classes)
    if factor == "boundary":
        low, high = BOUNDARY_EDGES
        return (
            f"boundary within {low:g} px",
            f"boundary at {low:g}–{high:g} px",
            f"boundary beyond {high:g} px",
        )
    low, high = ELONGATION_EDGES
    return (f"elongation below {low:g}", f"elongation {low:g}–{high:g}", f"elongation from {high:g}")


def find_pixels(image: int, labels: np.ndarray, ignore_index: int, seed: int = 0) -> list[LabelledPixel]:
    """Candidates in one image: of every object one random pixel in each range of distances to the boundary.

    Args:
        image: its index, which also seeds the choice.
        labels: (H, W) class ids.
        ignore_index: void: no object, though its border is a boundary.

    Objects of fewer than 64 pixels are left out.
    """
    rng = np.random.default_rng((seed, image))
    distance = _boundary_distance(labels)
    found = []
    for label, ys, xs in _objects(labels, ignore_index):
        stretch = _elongation(ys, xs)
        ranges = np.digitize(distance[ys, xs], BOUNDARY_EDGES, right=True)
        for wanted in np.flatnonzero(np.bincount(ranges)):
            pick = rng.choice(np.flatnonzero(ranges == wanted))
            y, x = int(ys[pick]), int(xs[pick])
            found.append(LabelledPixel(image, (y, x), label, float(distance[y, x]), stretch, len(ys)))
    return found


def choose_pixels(
    candidates: Iterable[LabelledPixel], count: int, factors: Sequence[str] = ("class",), seed: int = 0
) -> list[LabelledPixel]:
    """`count` candidates, as many from every stratum as can be; strata are the combinations of `factors`.

    A stratum with too few gives all it has, and the others make up for it. The order is that of images.

    Raises:
        NameNotFoundError: an unknown factor.
        ArgumentError: no candidates, or count below 1.
    """
    for factor in factors:
        check_name("choose_pixels", "a known factor", factor, FACTORS)
    pools: dict[tuple[str, ...], list[LabelledPixel]] = {}
    for candidate in candidates:
        pools.setdefault(tuple(candidate.stratum(f) for f in factors), []).append(candidate)
    if not pools or count < 1:
        needed = "at least one labelled object, and a count of 1 or more"
        got = f"{sum(map(len, pools.values()))} candidates, count {count}"
        fix = "Take another split, or ask for more pixels."
        raise ArgumentError("choose_pixels", needed=needed, got=got, fix=fix)
    rng = np.random.default_rng(seed)
    queues = [[pool[i] for i in rng.permutation(len(pool))] for _, pool in sorted(pools.items())]
    chosen: list[LabelledPixel] = []
    while queues and len(chosen) < count:
        order = rng.permutation(len(queues))[: count - len(chosen)]
        chosen += [queues[i].pop() for i in order]
        queues = [queue for queue in queues if queue]
    return sorted(chosen, key=lambda c: (c.image, c.pixel))


def _objects(labels: np.ndarray, ignore_index: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Label, rows and columns of every connected part that is large enough."""
    from scipy import ndimage

    labels = labels.astype(np.int64)
    for label, box in enumerate(ndimage.find_objects(np.maximum(labels, -1) + 1)):
        if box is None or label == ignore_index:
            continue
        inside = labels[box] == label
        parts = np.zeros(inside.shape, np.int32)
        ndimage.label(inside, output=parts)
        for number, part in enumerate(ndimage.find_objects(parts), 1):
            ys, xs = np.nonzero(parts[part] == number)
            if len(ys) >= SMALLEST_OBJECT:
                top, left = (outer.start + inner.start for outer, inner in zip(box, part, strict=True))
                yield label, ys + top, xs + left


def _boundary_distance(labels: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    # On a grid twice as fine, pixels' centres lie at odd places and the ends and middles of their borders at even ones;
    # of a border no other point is ever the nearest.
    edge = np.zeros((2 * labels.shape[0] + 1, 2 * labels.shape[1] + 1), bool)
    down, across = np.nonzero(labels[1:] != labels[:-1]), np.nonzero(labels[:, 1:] != labels[:, :-1])
    for step in range(3):
        edge[2 * down[0] + 2, 2 * down[1] + step] = True
        edge[2 * across[0] + step, 2 * across[1] + 2] = True
    if not edge.any():
        return np.full(labels.shape, np.inf)
    distance = np.empty(edge.shape)
    ndimage.distance_transform_edt(~edge, distances=distance)
    return distance[1::2, 1::2] / 2


def _elongation(ys: np.ndarray, xs: np.ndarray) -> float:
    y, x = ys - ys.mean(), xs - xs.mean()
    # A pixel is a square of side 1, which adds 1/12 to each variance: a line one pixel wide has a finite elongation.
    # Of a large object `y @ y` would wake BLAS's threads, which take fifty times as long as these sums.
    mixed = (y * x).mean()
    moment = np.array([[(y * y).mean(), mixed], [mixed, (x * x).mean()]]) + np.eye(2) / 12
    minor, major = np.linalg.eigvalsh(moment)
    return float(np.sqrt(major / minor))
