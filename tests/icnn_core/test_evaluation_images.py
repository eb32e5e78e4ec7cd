"""Counts of each image, and intervals over images that are made of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from icnn_core.errors import ArgumentError, DataError
from icnn_core.evaluation import evaluate
from icnn_core.evaluation.images import ImageCounts, resample_images


class Guess(nn.Module):
    """Three classes by thresholds of the red channel."""

    def forward(self, x):
        red = x[:, :1]
        return torch.cat([0.3 - red, red * 0, red - 0.6], 1)


def samples(count):
    generator = torch.Generator().manual_seed(3)
    for _ in range(count):
        image = torch.rand(3, 18, 23, generator=generator)
        yield image, torch.randint(0, 3, (18, 23), generator=generator)


def test_the_sums_of_images_are_the_data_sets_and_are_read_as_written(tmp_path):
    found = evaluate(
        Guess(), samples(5), classes=("a", "b", "c"), ignore_index=255, boundary=0.05, by_image=True
    )
    np.testing.assert_array_equal(found.images.confusion.sum(0), found.confusion)
    np.testing.assert_array_equal(found.images.intersection.sum(0), found.boundary.intersection)
    both, union = found.images.shares()
    np.testing.assert_allclose(both.sum(0) / union.sum(0), list(found.iou.values()))
    found.images.write(tmp_path / "images.npz")
    again = ImageCounts.read(tmp_path / "images.npz")
    np.testing.assert_array_equal(again.confusion, found.images.confusion)
    np.testing.assert_array_equal(again.union, found.images.union)
    plain = evaluate(Guess(), samples(2), classes=("a", "b", "c"), ignore_index=255, by_image=True)
    assert plain.images.union.shape == (0, 3)
    assert evaluate(Guess(), samples(2), classes=("a", "b", "c"), ignore_index=255).images is None
    (tmp_path / "images.npz").write_bytes(b"PK nothing")
    with pytest.raises(DataError, match="Remove it"):
        ImageCounts.read(tmp_path / "images.npz")


def one_class(shares):
    """Images of 100 pixels of one class, of which so many are right."""
    right = np.asarray(shares)
    confusion = np.zeros((len(right), 2, 2), np.int64)
    confusion[:, 0, 0], confusion[:, 0, 1] = right, 100 - right
    return ImageCounts(confusion, np.zeros((0, 2), np.int64), np.zeros((0, 2), np.int64))


def test_the_interval_of_equal_images_is_that_of_their_mean():
    rng = np.random.default_rng(0)
    base, gain = rng.integers(20, 60, 150), rng.normal(5, 8, 150).round().astype(int)
    pair = (one_class(base + gain), one_class(base))
    found, low, high = resample_images([pair], [0])
    assert found == pytest.approx(gain.mean() / 100)
    half = 1.96 * gain.std() / 150**0.5 / 100
    assert (low, high) == pytest.approx((found - half, found + half), abs=0.08 * half)
    assert resample_images([pair, pair], [0]) == pytest.approx((found, low, high)), "seeds are no images"
    assert resample_images([pair[:1] * 2], [0, 1]) == (0, 0, 0)
    mixed, low, high = resample_images([pair, pair[::-1]], [0])
    assert (mixed, low, high) == pytest.approx((0, 0, 0)), "the same images for all"


def test_classes_that_do_not_occur_are_in_no_mean():
    counts = one_class([40, 60])
    zero = np.zeros_like(counts.confusion)
    wide = ImageCounts(np.pad(counts.confusion, ((0, 0), (0, 1), (0, 1))), counts.union, counts.union)
    none = ImageCounts(np.pad(zero, ((0, 0), (0, 1), (0, 1))), counts.union, counts.union)
    found, _, _ = resample_images([(wide, none)], [0, 2])
    assert found == pytest.approx(0.5)


def test_counts_of_other_images_are_refused():
    for pairs in ([], [(one_class([1, 2]), one_class([1, 2, 3]))], [(one_class([]), one_class([]))]):
        with pytest.raises(ArgumentError, match="same images"):
            resample_images(pairs, [0])
