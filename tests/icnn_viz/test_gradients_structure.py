"""What depends on what: a zoo of layers by single pixels perturbed, densities by hand, and what cannot be followed."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from icnn_core.errors import ArgumentError, UnsupportedError
from icnn_viz.gradients import pixel_gradient, receptive_field, sampling_density

SHAPE, PIXEL = (6, 9), (2, 4)


@pytest.fixture(scope="module")
def zoo() -> ModuleType:
    import importlib.util

    path = Path(__file__).parents[2] / "benchmarks" / "receptive_zoo.py"
    spec = importlib.util.spec_from_file_location("receptive_zoo", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["receptive_zoo"] = module
    spec.loader.exec_module(module)
    return module


VALUES_DECIDE = ("max", "threshold", "layer scale of 0", "deformable conv")
"""Where a few draws of weights and images do not show all that could have an influence."""


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize("part", range(6))
def test_what_has_an_influence_lies_in_the_field(zoo: ModuleType, part: int) -> None:
    names = sorted(zoo.ZOO)
    assert len(names) > 70
    for name in names[part::6]:
        reached, field = zoo.compare(name, draws=1)
        assert not (reached & ~field).any(), name
        assert (reached == field).all() or any(word in name for word in VALUES_DECIDE), name


class Lambda(nn.Module):
    def __init__(self, function: Callable[..., Tensor], *layers: nn.Module) -> None:
        super().__init__()
        self.function, self.layers = function, nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, *self.layers)


def across(*weights: float) -> nn.Conv2d:
    """From one channel to one: these weights along x."""
    conv = nn.Conv2d(1, 1, (1, len(weights)), padding="same", bias=False)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor(weights).view(1, 1, 1, -1))
    return conv


def grey() -> nn.Conv2d:
    conv = nn.Conv2d(3, 1, 1)
    nn.init.ones_(conv.weight)
    return conv


def normed(weights: tuple[float, ...], norm: float) -> nn.Module:
    conv = parametrizations.weight_norm(across(*weights))
    nn.init.constant_(conv.parametrizations.weight.original0, norm)
    return conv


def keys(at: float) -> np.ndarray:
    """Keys' cubic weights (a = -3/4) of the four neighbours of a point `at` beyond the second."""
    distance = np.abs(np.arange(-1, 3) - at)
    near = 1.25 * distance**3 - 2.25 * distance**2 + 1
    return np.where(distance <= 1, near, -0.75 * (distance**3 - 5 * distance**2 + 8 * distance - 4))


def placed(values: Any, top: int, left: int) -> np.ndarray:
    values = np.atleast_2d(values)
    found = np.zeros(SHAPE)
    found[top : top + values.shape[0], left : left + values.shape[1]] = values
    return found


ONE, EVEN = placed(1, *PIXEL), np.full(SHAPE, 1 / 54)

DENSITIES: dict[str, tuple[Callable[[], nn.Module], np.ndarray]] = {
    "a difference adds up": (
        lambda: Lambda(lambda x, a, b: a(x) - b(x), across(1, 2, 1), across(0, -2, 0)),
        placed([1, 4, 1], 2, 3),
    ),
    "a difference that cancels, too": (
        lambda: Lambda(lambda x, a: a(x) - x, across(0.5, 1, 0.5)), placed([1, 4, 1], 2, 3)
    ),
    "pool minus identity": (
        lambda: Lambda(lambda x: F.avg_pool2d(x, 3, 1, 1) - x),
        placed(np.ones((3, 3)), 1, 3) + 9 * ONE,
    ),
    "a negative layer scale": (
        lambda: Lambda(lambda x, a: x + -0.5 * a(x), across(1, 1, 1)), placed([1, 3, 1], 2, 3)
    ),
    "a gate of the mean": (
        lambda: Lambda(lambda x, a: x * a(x.mean((2, 3), keepdim=True)).sigmoid(), across(-2)),
        ONE + 2 * EVEN,
    ),
    "instance norm: itself, mean, deviation": (lambda: nn.InstanceNorm2d(1), ONE + 2 * EVEN),
    "group norm behind a bias": (lambda: nn.Sequential(across(3), nn.GroupNorm(1, 1)), ONE + 2 * EVEN),
    "softmax over space": (lambda: Lambda(lambda x: x.flatten(2).softmax(2).view(x.shape)), ONE + EVEN),
    "max pool: all of a window alike": (
        lambda: nn.Sequential(nn.MaxPool2d((2, 3)), nn.Upsample(SHAPE)), placed(np.ones((2, 3)), 2, 3)
    ),
    "weight norm": (lambda: normed((3, 0, 4), -5.0), placed([3, 0, 4], 2, 3)),
    "saturated activations": (
        lambda: nn.Sequential(across(1, 2, 5), Lambda(lambda x: (x + 40).tanh().sigmoid()), nn.Softsign()),
        placed([1, 2, 5], 2, 3),
    ),
    "transposed, stride 2": (
        lambda: nn.Sequential(
            nn.AvgPool2d((1, 2)), nn.ConvTranspose2d(1, 1, 1, (1, 2)), Lambda(lambda x: F.pad(x, (0, 2)))
        ),
        placed([1, 1], 2, 4),
    ),
    "rolled": (lambda: Lambda(lambda x: x.roll((1, -2), (2, 3))), placed(1, 1, 6)),
    "written in place": (lambda: Lambda(written, across(0, 2, 1)), placed([1, 0, 2, 1], 2, 2)),
    "attention: own query, all keys and values": (lambda: Lambda(attended), ONE + 2 * EVEN),
}  # fmt: skip


def written(x: Tensor, conv: nn.Module) -> Tensor:
    out = torch.zeros_like(x)
    out[..., 2:] = x[..., :-2]
    out.add_(conv(x)).relu_()
    return out


def attended(x: Tensor) -> Tensor:
    """One channel, softmax(q kᵀ) v: 54 scores of a query and a key, whose weights average the values."""
    tokens = x.flatten(2).transpose(1, 2)
    return F.scaled_dot_product_attention(tokens, tokens, tokens).transpose(1, 2).view(x.shape)


@pytest.mark.parametrize("name", DENSITIES)
def test_density_by_hand(name: str) -> None:
    make, expected = DENSITIES[name]
    found = sampling_density(nn.Sequential(grey(), make()), SHAPE, PIXEL)
    np.testing.assert_allclose(found, expected / expected.sum(), atol=1e-7)
    assert found.sum() == pytest.approx(1)


def test_bicubic_weights_count_by_their_magnitude() -> None:
    """Every second pixel, twice as many again: (3, 6) lies 1.25 and 2.75 of the coarse pixels down and across."""

    def halved_and_doubled(x: Tensor, conv: nn.Module) -> Tensor:
        return F.interpolate(conv(x), x.shape[-2:], mode="bicubic", align_corners=False)

    net = nn.Sequential(grey(), Lambda(halved_and_doubled, nn.Conv2d(1, 1, 1, stride=2)))
    expected = np.zeros((8, 14))
    expected[0:8:2, 2:10:2] = np.abs(np.outer(keys(0.25), keys(0.75)))
    assert expected.sum() > 1.5  # of magnitudes: the weights themselves add up to 1
    np.testing.assert_allclose(sampling_density(net, (8, 14), (3, 6)), expected / expected.sum(), atol=1e-12)


@pytest.mark.parametrize("name", ["lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large"])
def test_gated_networks_of_torchvision(name: str) -> None:
    """Squeeze and excitation: every pixel has an influence, and the density is finite."""
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    net = models.get_model(name, weights=None, weights_backbone=None, num_classes=3).eval()
    assert receptive_field(net, (33, 48), (5, 40)).all()
    density = sampling_density(net, (33, 48), (5, 40), class_id=1)
    assert density.min() > 0
    assert density.sum() == pytest.approx(1)


def test_deep_products_do_not_overflow() -> None:
    net = nn.Sequential(grey(), *(across(1e12, 3e12, 1e12) for _ in range(40)))
    density = sampling_density(net, (5, 99), (2, 49))
    assert density.sum() == pytest.approx(1)
    small = sampling_density(nn.Sequential(grey(), *(across(1, 3, 1) for _ in range(40))), (5, 99), (2, 49))
    np.testing.assert_allclose(density, small, rtol=1e-6)
    assert receptive_field(net, (5, 99), (2, 49)).sum() == 81


def test_masks_that_are_no_parameters_bound_the_field() -> None:
    """Attention to the left of column 3 alone: with any weights."""
    mask = (torch.arange(54) % 9 < 3).expand(54, 54)

    def masked(x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        return F.scaled_dot_product_attention(tokens, tokens, tokens, mask).transpose(1, 2).view(x.shape)

    field = receptive_field(nn.Sequential(grey(), Lambda(masked)), SHAPE, PIXEL)
    np.testing.assert_array_equal(field, (np.indices(SHAPE)[1] < 3) | (ONE > 0))


def test_weights_that_are_zero_now_could_be_others() -> None:
    net = nn.Sequential(grey(), across(0, 0, 0))
    assert receptive_field(net, SHAPE, PIXEL).sum() == 3
    with pytest.raises(ArgumentError, match="not all 0; got none"):
        sampling_density(net, SHAPE, PIXEL)
    nn.init.constant_(net[1].weight, float("nan"))
    with pytest.raises(ArgumentError, match=r"finite weights.*got a sum of nan"):
        sampling_density(net, SHAPE, PIXEL)


def at_the_largest(x: Tensor) -> Tensor:
    rows = x.flatten(2)
    return x + rows.gather(2, rows.argmax(2, keepdim=True))[..., None]


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (lambda x: x if float(x.mean()) > 3 else -x, "_local_scalar_dense.*a value of the image decides"),
        (lambda x: torch.linalg.inv(x @ x.mT), "linalg_inv"),
        (lambda x: x + torch.from_numpy(x.detach().numpy()).flip(-1), "numpy of what depends"),
        (lambda x: x * torch.tensor(x.mean((0, 1)).tolist()), "tolist of what depends"),
    ],
)
def test_what_cannot_be_followed_is_named(function: Callable[[Tensor], Tensor], named: str) -> None:
    net = nn.Sequential(grey(), Lambda(function))
    for trace in (receptive_field, sampling_density):
        with pytest.raises(UnsupportedError, match=f"^not supported: {trace.__name__}: .*{named}"):
            trace(net, SHAPE, PIXEL)


def test_places_that_depend_on_the_image_are_everywhere() -> None:
    net = nn.Sequential(grey(), Lambda(at_the_largest))
    assert receptive_field(net, SHAPE, PIXEL).all()
    with pytest.raises(UnsupportedError, match=r"gather.default, whose places depend on the image"):
        sampling_density(net, SHAPE, PIXEL)


def test_an_output_that_does_not_depend_on_the_image_is_refused() -> None:
    net = Lambda(torch.ones_like)
    with pytest.raises(ArgumentError, match=r"^receptive_field: .*depends on the image"):
        receptive_field(net, SHAPE, PIXEL)


class Listed(nn.Module):
    """Its attribute `modules` is a list; its activations are checkpointed, in the way that runs backward inside."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(grey(), across(1, -2, 1), nn.BatchNorm2d(1), nn.ReLU(), across(3))
        nn.init.constant_(self.conv[2].bias, 20)
        self.modules = [1, 2]  # pyright: ignore[reportAttributeAccessIssue]

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self.conv, x, use_reentrant=True)  # pyright: ignore[reportReturnType]


@pytest.mark.parametrize("method", ["gradient", "smoothgrad", "integrated"])
def test_checkpointed_activations_and_an_attribute_called_modules(method: str) -> None:
    net, image = Listed(), np.random.default_rng(0).integers(0, 256, (*SHAPE, 3), np.uint8)
    found = pixel_gradient(net, image, PIXEL, method=method, class_id=0)
    expected = pixel_gradient(net.conv, image, PIXEL, method=method, class_id=0)
    np.testing.assert_allclose(found.gradient, expected.gradient, atol=1e-7)
    assert np.abs(expected.gradient).max() > 0
    np.testing.assert_allclose(sampling_density(net, SHAPE, PIXEL), placed([1, 2, 1], 2, 3) / 4, atol=1e-7)
    assert all(p.grad is None for p in net.conv.parameters())
    for ruled in (net, nn.Sequential(net, nn.ReLU()), nn.Sequential(nn.ReLU(), net)):
        with pytest.raises(
            UnsupportedError, match="use_reentrant=False"
        ):  # they run where no rule reaches them
            pixel_gradient(ruled, image, PIXEL, method="guided")


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_weights_that_hooks_compute_are_left_as_found() -> None:
    net = nn.Sequential(grey(), nn.utils.weight_norm(across(3, 0, -4)))
    net(torch.zeros(1, 3, *SHAPE))
    before = copy.copy(vars(net[1])["weight"])
    assert before.requires_grad
    np.testing.assert_allclose(sampling_density(net, SHAPE, PIXEL), placed([3, 0, 4], 2, 3) / 7, atol=1e-7)
    assert receptive_field(net, SHAPE, PIXEL).sum() == 3
    pixel_gradient(net, np.zeros((*SHAPE, 3), np.uint8), PIXEL)
    after = vars(net[1])["weight"]
    assert after.requires_grad
    assert torch.equal(after, before)
