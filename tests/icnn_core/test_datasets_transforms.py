"""Augmentation: image and mask together, by the sample's seed alone."""

import pytest
import torch

from icnn_core.datasets.transforms import (
    EvalTransform,
    TrainTransform,
    normalise,
)
from icnn_core.errors import ArgumentError
from icnn_core.preparation import IMAGENET_MEAN, IMAGENET_STD


def _sample(height=37, width=52):
    """An image whose red channel is its mask, so that what happens to one shows in the other."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    mask = ((y // 9) * 7 + x // 9) % 30
    image = torch.stack([mask * 8, y * 4, x * 4]).to(torch.uint8)
    return image, mask


def _colours(image):
    return image * torch.tensor(IMAGENET_STD)[:, None, None] + torch.tensor(IMAGENET_MEAN)[:, None, None]


def test_normalisation_by_hand():
    image = torch.tensor([255, 0, 51], dtype=torch.uint8).reshape(3, 1, 1)
    want = torch.tensor([(1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225])
    torch.testing.assert_close(normalise(image).flatten(), want)


@pytest.mark.parametrize("index", range(6))
@pytest.mark.parametrize("crop", [(25, 31), (50, 31), (70, 90)])
def test_without_scaling_image_and_mask_move_together_and_outside_is_void(crop, index):
    image, mask = TrainTransform(crop=crop, scale=(1, 1))(*_sample(), index)
    assert image.shape == (3, *crop)
    assert mask.shape == crop
    assert image.dtype == torch.float32
    assert mask.dtype == torch.int64
    void = mask == 255
    assert torch.equal((_colours(image)[0] * 255 / 8).round().long()[~void], mask[~void])
    assert (image[:, void] == 0).all()
    assert (~void).sum() == min(crop[0], 37) * min(crop[1], 52)


@pytest.mark.parametrize(("crop", "padded"), [((10, 11), 1), ((14, 7), 0)])
def test_crops_reach_every_place_and_both_sides(crop, padded):
    """Of an image of 12 × 9: two pixels to spare along one axis, two too few along the other."""
    transform = TrainTransform(crop=crop, scale=(1, 1))
    places, mirrored = set(), set()
    for index in range(150):
        image, mask = transform(*_sample(12, 9), index)
        colours = (_colours(image)[1:] * 255 / 4).round().long()  # the row and column each pixel comes from
        inside = [(mask != 255).any(dim=1 - axis).nonzero().flatten() for axis in (0, 1)]
        known = colours[:, inside[0][0] : inside[0][-1] + 1, inside[1][0] : inside[1][-1] + 1]
        mirrored.add((known[1].diff(dim=1) < 0).all().item())
        places.add((known[1 - padded].min().item(), inside[padded][0].item()))
    assert mirrored == {True, False}
    assert places == {(start, margin) for start in range(3) for margin in range(3)}


def test_scales_cover_the_range_evenly_and_labels_stay_labels():
    transform = TrainTransform(mirror=False)
    heights = []
    for index in range(60):
        image, mask = transform(*_sample(), index)
        assert image.shape[1:] == mask.shape
        assert set(mask.unique().tolist()) <= set(range(30))
        heights.append(mask.shape[0] / 37)
    assert min(heights) < 0.6
    assert max(heights) > 1.4
    assert 0.9 < sum(heights) / 60 < 1.1


def test_scaled_labels_lie_where_the_scaled_image_puts_them():
    """A step edge keeps its place, to half a pixel, when image and mask are halved or enlarged."""
    for factor, place, want in ((0.25, 41, 10), (0.5, 40, 20), (0.8, 40, 32), (1.5, 40, 60)):
        mask = (torch.arange(64) >= place).long().expand(24, 64)
        image = (mask * 255).to(torch.uint8).expand(3, 24, 64)
        got, labels = EvalTransform(factor, resize_mask=True)(image, mask)
        assert (_colours(got)[0, 5] < 0.5).sum().item() == want
        assert (labels[5] == 0).sum().item() == want


def test_what_happens_depends_on_the_seed_alone():
    transform, sample = TrainTransform(crop=(32, 33)), _sample()
    state = torch.get_rng_state()
    first = transform(*sample, 7)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    for a, b in zip(first, transform(*sample, 7), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first[0], transform(*sample, 8)[0])


def test_evaluation_resizes_both_or_the_image_alone():
    image, mask = _sample()
    assert torch.equal(EvalTransform()(image, mask)[0], normalise(image))
    got, labels = EvalTransform((20, 31), resize_mask=True)(image, mask)
    assert (got.shape, labels.shape) == ((3, 20, 31), (20, 31))
    got, labels = EvalTransform(0.5)(image, mask)
    assert (got.shape, labels.shape) == ((3, 18, 26), (37, 52))
    got, _ = TrainTransform(size=0.5, scale=(1, 1))(image, mask, 0)
    assert got.shape == (3, 18, 26)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: TrainTransform(crop=(0, 4)), "crop"),
        (lambda: TrainTransform(scale=(1.5, 0.5)), r"\(1\.5, 0\.5\)"),
        (lambda: TrainTransform(scale=(0, 1)), "scale"),
        (lambda: EvalTransform(0.0), "factor"),
        (lambda: EvalTransform((0, 5)), "size"),
    ],
)
def test_bad_sizes_are_named(make, said):
    with pytest.raises(ArgumentError, match=said):
        make()
