"""The synthetic set: deterministic, exact, and told apart by shape alone."""

import itertools

import numpy as np
import pytest
import torch
from scipy import ndimage

from icnn_core.datasets import _strokes
from icnn_core.datasets.shapes import ShapesDataset
from icnn_core.errors import ArgumentError

SIZE = (90, 131)


def test_an_image_depends_on_seed_split_and_index_alone():
    first = ShapesDataset("train", size=SIZE, seed=3)
    _ = first[9]
    again = ShapesDataset("train", length=7, size=SIZE, seed=3)
    for a, b in zip(first[5], again[5], strict=True):
        assert torch.equal(a, b)
    others = [
        first[6],
        ShapesDataset("train", size=SIZE, seed=4)[5],
        ShapesDataset("val", size=SIZE, seed=3)[5],
    ]
    for image, _ in others:
        assert not torch.equal(image, first[5][0])


def test_images_and_masks_are_what_they_claim():
    data = ShapesDataset("test", size=SIZE)
    assert len(data) == 400
    assert len(data.palette) == len(data.classes) == 5
    seen = set()
    for i in range(12):
        image, mask = data[i]
        assert image.shape == (3, *SIZE)
        assert image.dtype == torch.uint8
        assert mask.shape == SIZE
        assert mask.dtype == torch.int64
        assert image.is_contiguous()
        assert (mask > 0).any()
        seen |= set(mask.unique().tolist())
    assert seen == set(range(5))


def test_the_range_of_indices_ends():
    data = ShapesDataset("val", length=3, size=(40, 52))
    assert torch.equal(data[-1][0], data[2][0])
    assert len(list(data)) == 3
    with pytest.raises(IndexError):
        data[3]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"split": "trian"}, "train"),
        ({"split": "val", "length": -1}, "-1"),
        ({"split": "val", "size": (120, 20)}, "(120, 20)"),
    ],
)
def test_bad_arguments_are_named(arguments, said):
    with pytest.raises(ArgumentError) as caught:
        ShapesDataset(**arguments)
    assert said in str(caught.value)


def test_distance_and_arc_length_equal_a_dense_walk_along_the_curve():
    curve = np.array([[0.0, 0.0], [3.0, 9.0], [14.0, 7.0]])
    raster = _strokes.to_raster([curve], radius=2.05, pad=3.95)
    share = np.linspace(0, 1, 1501)[:, None]
    legs = [a + share * (b - a) for a, b in itertools.pairwise(curve)]
    dense = np.concatenate(legs) - (curve.min(axis=0) - 6)
    walked = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(dense, axis=0), axis=1))])
    pixels = np.stack(np.indices(raster.distance.shape), axis=-1).reshape(-1, 1, 2)
    apart = np.linalg.norm(pixels - dense, axis=-1)
    np.testing.assert_allclose(raster.distance.ravel(), apart.min(axis=1), atol=2e-3)
    near = apart.min(axis=1) < 1.5
    np.testing.assert_allclose(raster.along.ravel()[near], walked[apart.argmin(axis=1)][near], atol=0.02)
    np.testing.assert_array_equal(raster.inside.ravel(), apart.min(axis=1) <= 2.05)


def test_a_second_curve_counts_its_own_length():
    curves = [np.array([[0.0, 0.0], [0.0, 10.0]]), np.array([[8.0, 0.0], [8.0, 6.0]])]
    raster = _strokes.to_raster(curves, radius=1.0, pad=2.0)
    assert raster.distance.shape == (14, 16)
    assert raster.along[3, 7] == pytest.approx(4)
    assert raster.along[11, 7] == pytest.approx(4)


def _turn(curve):
    heading = np.unwrap(np.arctan2(*np.diff(curve, axis=0).T))
    return np.degrees(np.ptp(heading))


@pytest.mark.parametrize("seed", range(8))
def test_each_class_has_its_shape_and_all_have_the_length_asked_for(seed):
    rng = np.random.default_rng(seed)
    rod, hook, ring = (f(rng, 70.0, 1.0) for f in (_strokes.to_rod, _strokes.to_hook, _strokes.to_ring))
    fork = _strokes.to_fork(rng, 70.0, 1.0)
    for curves in (rod, hook, ring, fork):
        total = sum(np.linalg.norm(np.diff(c, axis=0), axis=1).sum() for c in curves)
        assert total == pytest.approx(70, rel=0.11 if curves is fork else 1e-6)
    assert _turn(rod[0]) < 75
    assert 110 < _turn(hook[0]) < 250
    assert len(fork) in (3, 4)
    assert all(np.array_equal(fork[0][-1], prong[0]) for prong in fork[1:])
    holes = []
    for curves in (rod, hook, fork, ring):
        outside = ~_strokes.to_raster(curves, radius=1.0, pad=3.0).inside
        holes.append(ndimage.label(outside, np.ones((3, 3)))[1] - 1)
    assert holes == [0, 0, 0, 1]


def test_classes_differ_neither_in_colour_nor_in_number():
    data = ShapesDataset("train", length=150, size=(60, 80))
    colours, counts = [[] for _ in range(5)], np.zeros(5)
    for image, mask in data:
        for label in mask.unique().tolist():
            colours[label].append(image[:, mask == label].float().mean(dim=1).numpy())
            counts[label] += 1
    means = np.stack([np.mean(c, axis=0) for c in colours[1:]])
    spread = np.std(np.concatenate(colours[1:]), axis=0)
    assert (np.ptp(means, axis=0) < 0.5 * spread).all()  # 4 standard errors of a difference of means
    assert counts[1:].min() > 0.7 * counts[1:].max()


def test_the_mask_lies_on_the_cords():
    edge_jumps, other_jumps, share = [], [], []
    for image, mask in ShapesDataset("train", length=12, size=SIZE):
        jump = (image[:, :, 2:].float() - image[:, :, :-2].float()).abs().mean(dim=0)
        edge = (mask[:, 2:] > 0) != (mask[:, :-2] > 0)
        edge_jumps.append(jump[edge].mean())
        other_jumps.append(jump[~edge].mean())
        share.append((mask > 0).float().mean())
    assert np.mean(edge_jumps) > 4 * np.mean(other_jumps)
    assert 0.03 < np.mean(share) < 0.12
