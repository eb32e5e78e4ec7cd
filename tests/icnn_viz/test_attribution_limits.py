"""Attribution where it has no answer, or another than it seems."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from icnn_core.errors import ArgumentError, ShapeError, UnsupportedError
from icnn_viz.displays.pixels import to_masks
from icnn_viz.gradients import Target, batch_gradients, pixel_gradient, sampling_density
from icnn_viz.heatmaps import measure_heatmap, pointing_game, relevance_rank_accuracy
from icnn_viz.records import Heatmap

SHAPE = (6, 9)


class Spelt(nn.Module):
    """A known ReLU, then another spelling."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.function = nn.Conv2d(3, 2, 3, padding=1), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.conv(x.relu()))


SPELLINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "max": lambda x: torch.max(x, torch.zeros_like(x)),
    "where": lambda x: torch.where(x.detach().clamp(min=0).bool(), x, torch.zeros_like(x)),
    "clamp": lambda x: x.clamp(0, 6),
    "clamp_min": lambda x: x.clamp_min(torch.zeros_like(x)),
    "fmax": lambda x: torch.fmax(torch.zeros_like(x), x),
    "masked_fill": lambda x: x.masked_fill(x.detach().clamp(max=0).bool(), 0),
    "gt": lambda x: x * (x > 0),
    "ge": lambda x: x * (2 * x.detach() >= 0),
    "sign": lambda x: x * (x.data.sign() + 1) / 2,
    "abs": lambda x: x + x.abs(),
    "hypot": lambda x: x + torch.hypot(x, torch.zeros_like(x)),
    "logaddexp": lambda x: torch.logaddexp(x, torch.zeros_like(x)),
    "scatter_reduce": lambda x: torch.zeros_like(x).scatter_reduce(1, torch.zeros_like(x).long(), x, "amax"),
}


STACKED: dict[str, Callable[[Tensor], Tensor]] = {
    "amax": lambda x: torch.stack([x, torch.zeros_like(x)]).amax(0),
    "max": lambda x: (
        torch.stack([torch.zeros_like(x), x], -1).flatten(-2).unflatten(-1, (-1, 2)).max(-1).values
    ),
    "sort": lambda x: torch.cat([x[None], 0 * x.detach()[None]]).sort(0).values[1],
    "topk": lambda x: (
        torch.vstack([x[None], torch.zeros_like(x)[None]]).permute(1, 2, 3, 4, 0).topk(1).values[..., 0]
    ),
    "max_pool3d": lambda x: F.max_pool3d(torch.stack([x, torch.zeros_like(x)], 2), (2, 1, 1)).squeeze(2),
    "cummax": lambda x: F.pad(x[None], [0] * 8 + [1, 0]).cummax(0).values[1],
    "aminmax": lambda x: torch.stack([x, 0.1 * x]).aminmax(dim=0).max,
    "amin": lambda x: -torch.cat([-x[None], 0 * x[None]]).amin(0),
    "argmax": lambda x: (both := written(x)).gather(0, both.argmax(0, keepdim=True))[0],
}


def written(x: Tensor) -> Tensor:
    both = x.new_zeros(2, *x.shape)
    both[1] = x
    return both


@pytest.mark.parametrize("name", STACKED)
def test_the_largest_of_a_stack_with_others_is_refused_by_name(name: str) -> None:
    x = torch.linspace(-1, 1, 54).reshape(1, 1, *SHAPE)
    if name != "aminmax":  # a leaky one
        torch.testing.assert_close(STACKED[name](x), x.relu())
    with pytest.raises(UnsupportedError, match=f"the network calls {name} of values that are put together"):
        pixel_gradient(Spelt(STACKED[name]), np.zeros((*SHAPE, 3), np.uint8), (2, 4), method="guided")


@pytest.mark.parametrize("method", ["guided", "deconvnet"])
@pytest.mark.parametrize("name", SPELLINGS)
def test_another_spelling_of_relu_is_refused_by_name(name: str, method: str) -> None:
    with pytest.raises(UnsupportedError, match=f"the network calls {name},"):
        pixel_gradient(Spelt(SPELLINGS[name]), np.zeros((*SHAPE, 3), np.uint8), (2, 4), method=method)


def test_a_maximum_over_channels_is_a_pool() -> None:
    def pools(x: Tensor) -> Tensor:
        shifted = torch.stack([x[..., i : i + SHAPE[0] - 1, :-1] for i in (0, 1)]).amax(0)
        joined = torch.cat([x, x.exp()], 1).amax(1, keepdim=True)
        unfolded = F.unfold(x, 3, padding=1).unflatten(1, (2, 9)).amax(2).view_as(x)
        pooled = torch.cat([x.max(1, keepdim=True).values, F.max_pool2d(F.pad(x, (0, 0, 0, 0)), 1)], 1)
        return torch.cat([pooled, joined, unfolded, F.pad(shifted, (0, 1, 0, 1))], 1)

    pixel_gradient(Spelt(pools), np.full((*SHAPE, 3), 200, np.uint8), (2, 4), method="guided")


def test_batch_norm_without_running_statistics_sees_one_image_at_a_time() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.BatchNorm2d(2, track_running_stats=False))
    images = np.random.default_rng(0).integers(0, 256, (2, *SHAPE, 3), np.uint8)
    both = batch_gradients(net, images, [[Target((1, 2), 0)], [Target((4, 7), 1)]])
    for image, pixel, class_id, found in zip(images, [(1, 2), (4, 7)], [0, 1], both, strict=True):
        alone = pixel_gradient(net, image, pixel, class_id=class_id)
        np.testing.assert_allclose(found[0].gradient, alone.gradient, atol=1e-6)
        assert found[0].logit == pytest.approx(alone.logit, abs=1e-5)


def test_pixels_between_pixels_and_masks_of_another_size_are_refused() -> None:
    net, image = nn.Conv2d(3, 2, 1), np.zeros((*SHAPE, 3), np.uint8)
    with pytest.raises(ArgumentError, match=r"two whole numbers; got \(3.7, 4.2\)"):
        pixel_gradient(net, image, (3.7, 4.2))
    for shape in ((7, 9), (6, 10), (60, 90)):
        with pytest.raises(ShapeError, match="mask of the image's size"):
            pixel_gradient(net, image, (3, 4), region=np.ones(shape, bool))
    mask = np.zeros(SHAPE, bool)
    mask[3, 5] = True
    found = pixel_gradient(net, image, (3, 4), region=mask, crop=(1, 2, 4, 6), class_id=1)
    assert found.gradient[:, mask].any()


def test_a_map_of_zeros_has_no_measures() -> None:
    mask = np.zeros(SHAPE, bool)
    mask[:2, :3] = True
    nothing = Heatmap(np.zeros(SHAPE), (0, 1), "net")
    assert math.isnan(pointing_game(nothing, mask))
    assert math.isnan(relevance_rank_accuracy(nothing, mask))
    found = measure_heatmap(nothing, object_mask=mask, class_mask=mask, field=mask)
    assert {name for name, value in found.items() if not math.isnan(value)} == {"energy", "peak"}


def test_a_point_and_what_is_round_have_no_orientation() -> None:
    values = np.zeros(SHAPE)
    values[2, 4] = 3
    assert math.isnan(measure_heatmap(Heatmap(values, (2, 4), "net"))["orientation"])
    values[[1, 3, 2, 2], [4, 4, 3, 5]] = 1
    assert math.isnan(measure_heatmap(Heatmap(values, (2, 4), "net"))["orientation"])
    values[2, 7] = 1
    assert measure_heatmap(Heatmap(values, (2, 4), "net"))["orientation"] == pytest.approx(0)


@pytest.mark.parametrize("classes", [(), ("a", "b")])
def test_void_is_no_object_and_no_class(classes: tuple[str, ...]) -> None:
    labels = np.zeros(SHAPE, np.int64)
    labels[:, 4:], labels[:, 7:] = 1, 255
    heatmap = Heatmap(np.ones(SHAPE), (2, 8), "net")
    found = measure_heatmap(heatmap, **to_masks(labels, heatmap.pixel, classes))
    assert "energy_in_object" not in found
    assert "energy_in_class" not in found
    shares = {name: value for name, value in found.items() if name.startswith("energy_on")}
    assert list(shares) == [f"energy_on {name}" for name in classes or ("0", "1")]
    assert sum(shares.values()) == pytest.approx(7 / 9)
    inside = Heatmap(np.ones(SHAPE), (2, 5), "net")
    assert "energy_in_object" in measure_heatmap(inside, **to_masks(labels, inside.pixel, classes))


class Centred(nn.Module):
    """Looks at the batch in its own arithmetic: no module says so."""

    def forward(self, x: Tensor) -> Tensor:
        return x * F.batch_norm(x, None, None, training=True)


def test_whatever_a_network_does_over_a_batch_images_stay_apart() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, *SHAPE, 3), np.uint8)
    both = batch_gradients(Centred(), images, [[Target((1, 2), 0)], [Target((4, 7), 1)]])
    alone = pixel_gradient(Centred(), images[1], Target((4, 7), 1))
    np.testing.assert_allclose(both[1][0].gradient, alone.gradient, rtol=1e-6)


@pytest.mark.parametrize("box", [(-1, 0, 3, 4), (0, 0, 7, 4), (0, 2, 3, 10), (3, 0, 2, 4)])
def test_a_box_that_leaves_the_image_is_refused(box: tuple[int, int, int, int]) -> None:
    net = nn.Conv2d(3, 2, 3, padding=1)
    with pytest.raises(ArgumentError, match=r"inside the image of 6 × 9; got \("):
        pixel_gradient(net, np.zeros((*SHAPE, 3), np.uint8), (2, 4), region=box)


@pytest.mark.parametrize("box", [(0.5, 0, 3, 4), (0, 0, 3, 4.2), (0, 0, 3), (0, 0, float("nan"), 4)])
def test_a_box_between_pixels_is_refused(box: tuple[float, ...]) -> None:
    with pytest.raises(ArgumentError, match="four whole numbers; got "):
        pixel_gradient(nn.Conv2d(3, 2, 1), np.zeros((*SHAPE, 3), np.uint8), (2, 4), region=box)


class Wrapped(nn.Module):
    """As transformers' networks: logits of a smaller size, as an attribute."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, count, 3, stride=3, padding=1)

    def forward(self, x: Tensor) -> object:
        return type("Output", (), {"logits": self.conv(x)})()


def test_logits_that_are_an_attribute_are_resized_to_the_image_and_it_is_said() -> None:
    torch.manual_seed(0)
    image = np.random.default_rng(0).integers(0, 256, (*SHAPE, 3), np.uint8)
    net = Wrapped(2)
    found = pixel_gradient(net, image, (2, 4), class_id=1)
    alone = pixel_gradient(net.conv, image, (2, 4), class_id=1)
    np.testing.assert_array_equal(found.gradient, alone.gradient)
    assert any("2 × 3 upsampled bilinearly to 6 × 9" in note for note in found.notes)


def test_of_a_single_logit_the_background_is_the_negation() -> None:
    torch.manual_seed(0)
    image = np.random.default_rng(0).integers(0, 256, (*SHAPE, 3), np.uint8)
    net = nn.Conv2d(3, 1, 3, padding=1)
    names = ("background", "vessel")
    vessel, background = (pixel_gradient(net, image, (2, 4), class_id=c, classes=names) for c in (1, 0))
    np.testing.assert_array_equal(vessel.gradient, -background.gradient)
    assert vessel.logit == -background.logit
    assert set(np.unique(vessel.prediction)) <= {0, 1}
    density = sampling_density(net, SHAPE, (2, 4), class_id=1)
    assert density.sum() == pytest.approx(1)
