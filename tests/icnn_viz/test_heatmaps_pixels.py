"""Which pixels are chosen: true strata, even shares, the same for the same seed."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from icnn_core.errors import ArgumentError, NameNotFoundError
from icnn_viz.heatmaps import LabelledPixel, choose_pixels, find_pixels, pixels


def make_labels() -> np.ndarray:
    """Ground (0) with a square of 1, a bar of 2, a speck of 3 too small to count, and void at the bottom."""
    labels = np.zeros((80, 120), np.int64)
    labels[10:40, 10:40] = 1
    labels[20:24, 50:110] = 2
    labels[50:54, 50:54] = 3
    labels[70:] = 255
    return labels


def test_candidates_are_described_truly() -> None:
    labels = make_labels()
    found = [c for seed in range(30) for c in find_pixels(4, labels, 255, seed)]
    assert {c.image for c in found} == {4}
    assert {c.label for c in found} == {0, 1, 2}
    ys, xs = np.indices(labels.shape)
    for candidate in found:
        y, x = candidate.pixel
        assert labels[y, x] == candidate.label
        other = labels != candidate.label
        away = [np.maximum(np.abs(each[other] - at) - 0.5, 0) for each, at in ((ys, y), (xs, x))]
        assert candidate.boundary == pytest.approx(
            np.hypot(*away).min(), abs=1e-12
        )  # to the other pixels' squares
    bar = [c for c in found if c.label == 2]
    assert {c.pixel[0] for c in bar} == {20, 21, 22, 23}
    for (y, x), boundary in ((c.pixel, c.boundary) for c in bar):
        assert boundary == min(y - 19, 24 - y, x - 49, 110 - x) - 0.5
    for (y, x), boundary in ((c.pixel, c.boundary) for c in found if c.label == 1):
        assert boundary == min(y - 9, 40 - y, x - 9, 40 - x) - 0.5
    shapes = {c.label: (c.area, c.elongation) for c in found}
    assert shapes[1] == (900, pytest.approx(1))
    assert shapes[2] == (240, pytest.approx(15))
    square = {c.stratum("boundary") for c in found if c.label == 1}
    assert len(square) == 3
    assert {c.stratum("boundary") for c in found if c.label == 2} == {"boundary within 3 px"}
    assert {c.stratum("elongation") for c in found if c.label == 2} == {"elongation from 4"}
    assert {c.stratum("class", ("ground", "square", "bar")) for c in found} == {"ground", "square", "bar"}


def test_each_object_gives_one_pixel_per_range_of_distance() -> None:
    counts = Counter((c.label, c.stratum("boundary")) for c in find_pixels(0, make_labels(), 255))
    assert set(counts.values()) == {1}


def test_an_image_of_one_label_has_no_boundary() -> None:
    (candidate,) = find_pixels(0, np.full((30, 40), 2), 255)
    assert candidate.boundary == np.inf
    assert candidate.stratum("boundary") == "boundary beyond 12 px"


def pool(numbers: dict[int, int]) -> list[LabelledPixel]:
    return [
        LabelledPixel(image, (image % 7, 3), label, 5.0, 1.0, 100)
        for label, number in numbers.items()
        for image in range(number)
    ]


def test_strata_get_even_shares_and_make_up_for_the_poor() -> None:
    chosen = choose_pixels(pool({0: 500, 1: 60, 2: 5}), 65)
    counts = Counter(c.label for c in chosen)
    assert counts == {0: 30, 1: 30, 2: 5}
    assert len(set(chosen)) == 65
    assert chosen == sorted(chosen, key=lambda c: (c.image, c.pixel))
    assert len({c.image for c in chosen if c.label == 0}) == 30
    assert len(choose_pixels(pool({0: 3, 1: 2}), 65)) == 5


def test_the_same_seed_gives_the_same_pixels() -> None:
    candidates = pool({0: 50, 1: 60})
    assert choose_pixels(candidates, 20, seed=1) == choose_pixels(candidates, 20, seed=1)
    assert choose_pixels(candidates, 20, seed=1) != choose_pixels(candidates, 20, seed=2)
    labels = make_labels()
    assert find_pixels(3, labels, 255, 1) == find_pixels(3, labels, 255, 1)
    assert find_pixels(3, labels, 255, 1) != find_pixels(3, labels, 255, 2)


def test_what_is_refused() -> None:
    with pytest.raises(NameNotFoundError, match="Did you mean boundary"):
        choose_pixels(pool({0: 5}), 2, ("boundery",))
    with pytest.raises(ArgumentError, match="0 candidates"):
        choose_pixels([], 2)
    with pytest.raises(ArgumentError, match="count 0"):
        choose_pixels(pool({0: 5}), 0)


def test_labels_of_8_bits_give_the_same_pixels():
    labels = make_labels()
    assert find_pixels(3, labels.astype(np.uint8), 255) == find_pixels(3, labels, 255)


def test_the_boundary_is_exactly_as_far_as_the_nearest_square_of_another_label() -> None:
    """Diagonal edges, where the way to the own side of the boundary is too long."""
    y, x = np.indices((23, 31))
    labels = (x + y > 25) + 2 * ((y - 15) ** 2 + (x - 6) ** 2 < 20)
    got = pixels._boundary_distance(labels)
    for at, distance in np.ndenumerate(got):
        other = labels != labels[at]
        away = [
            np.maximum(np.abs(each[other] - here) - 0.5, 0) for each, here in zip((y, x), at, strict=True)
        ]
        assert distance == pytest.approx(np.hypot(*away).min(), abs=1e-12)
