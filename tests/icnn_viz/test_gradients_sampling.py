"""Where a network samples: by hand, by composed covariances, and against gradients of random networks."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from icnn_core.errors import ArgumentError, NameNotFoundError, UnsupportedError
from icnn_core.models.deeplab import deeplab_largefov
from icnn_core.nn import IrregularConv2d
from icnn_core.surgery import make_irregular
from icnn_viz.gradients import pixel_gradient, receptive_field, sampling_density


def test_one_layer_by_hand() -> None:
    """Three taps with weights 1, -2 and 5 at chosen positions, one of them between pixels, one outside."""
    layer = IrregularConv2d(3, 2, (1, 3), padding=(0, 1), sharing="layer", bias=False)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[0, 1, 0, 1] = 7.0  # another class
        layer.weight[1, 0, 0] = torch.tensor([1.0, -2.0, 5.0])
        layer.weight[1, 2, 0] = torch.tensor([1.0, 0.0, 0.0])
        layer.positions[0] = torch.tensor([[-2.0, 1.0], [0.25, -0.5], [0.0, 90.0]])
    density = sampling_density(layer, (7, 9), (3, 4), class_id=1)
    expected = np.zeros((7, 9))
    expected[1, 5] = 2
    expected[3, 3:5] = 2 * 0.75 / 2
    expected[4, 3:5] = 2 * 0.25 / 2
    np.testing.assert_allclose(density, expected / 4)
    field = receptive_field(layer, (7, 9), (3, 4))
    np.testing.assert_array_equal(field, expected > 0)


def test_covariances_of_layers_add_up() -> None:
    """Mean and covariance composed from the layers' weighted positions: Σ J μ and Σ J² Σ, J the stride so far."""
    torch.manual_seed(1)
    strides = [(2, 1), (1, 1), (1, 2)]
    layers = []
    for stride, (a, b) in zip(strides, [(3, 4), (4, 5), (5, 2)], strict=True):
        layer = IrregularConv2d(a, b, 3, stride=stride, padding=1, sharing="layer", shift=1.3, bias=False)
        with torch.no_grad():  # every pair of channels alike: then ways through the layers are independent
            layer.weight.copy_(layer.weight[:1, :1].expand_as(layer.weight))
        layers += [layer, nn.BatchNorm2d(b), nn.ReLU()]
        nn.init.constant_(layers[-2].bias, -100)  # what the image would not pass, the trace does
    shape, pixel = (61, 67), (28, 34)
    net = nn.Sequential(*layers)
    coarse = tuple(int(n) for n in net(torch.zeros(1, 3, *shape)).shape[-2:])

    density = sampling_density(nn.Sequential(*net, nn.Upsample(shape, mode="nearest")), shape, pixel)
    assert density.sum() == pytest.approx(1)
    cell = [p * c // n for p, c, n in zip(pixel, coarse, shape, strict=True)]
    jump = np.ones(2)
    for stride in strides:
        jump = jump * stride
    mean, covariance = np.array(cell) * jump, np.zeros((2, 2))
    jump = np.ones(2)
    for layer, stride in zip(layers[::3], strides, strict=True):
        # Every offset falls on the corners of its cell by its bilinear weights, which adds f(1 - f) to each variance.
        w = layer.weight[0, 0].detach().abs().double().flatten().numpy()
        p = layer.positions[0].detach().double().numpy()
        w = w / w.sum()
        mu = w @ p
        inside = p - np.floor(p)
        sigma = (p - mu).T @ ((p - mu) * w[:, None]) + np.diag(w @ (inside * (1 - inside)))
        mean, covariance = mean + jump * mu, covariance + np.outer(jump, jump) * sigma
        jump = jump * stride
    y, x = np.indices(shape)
    found = np.array([(density * y).sum(), (density * x).sum()])
    np.testing.assert_allclose(found, mean, atol=1e-6)
    d = np.stack([y - found[0], x - found[1]]).reshape(2, -1)
    np.testing.assert_allclose((d * density.ravel()) @ d.T, covariance, rtol=1e-6, atol=1e-6)


def test_field_of_a_regular_net_by_the_formula() -> None:
    """A 3 × 5 convolution, a pool by 2, a 3 × 3 convolution with dilation 3."""
    net = nn.Sequential(
        nn.Conv2d(3, 4, (3, 5), padding=(1, 2)),
        nn.GELU(),
        nn.BatchNorm2d(4),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 2, 3, padding=3, dilation=3),
        nn.Upsample(scale_factor=2, mode="nearest"),
    )
    field = receptive_field(net, (40, 46), (20, 21))
    rows, columns = field.any(1).nonzero()[0], field.any(0).nonzero()[0]
    # Pooled rows and columns 7, 10 and 13 are pixels 14–15, 20–21 and 26–27; then one row and two columns each way.
    assert rows.tolist() == [*range(13, 17), *range(19, 23), *range(25, 29)]
    assert columns.tolist() == [*range(12, 30)]
    assert field.sum() == len(rows) * len(columns)


@pytest.mark.parametrize("seed", [0, 1])
def test_no_gradient_lies_beyond_the_field(seed: int) -> None:
    torch.manual_seed(seed)
    net = deeplab_largefov("tiny", 3, classifier_dilation=1)
    make_irregular(net, "classifier", shift=1.5)
    image = np.random.default_rng(seed).integers(0, 256, (290, 260, 3), np.uint8)
    pixel = (139, 101)
    field = receptive_field(net, (290, 260), pixel)
    assert 0.05 < field.mean() < 0.95
    gradient = pixel_gradient(net, image, pixel).gradient
    assert np.abs(gradient[:, ~field]).max() == 0
    assert np.abs(gradient[:, field]).max() > 0
    density = sampling_density(net, (290, 260), pixel)
    np.testing.assert_array_equal(density > 0, field)


def test_random_linear_networks_look_like_the_density_on_average() -> None:
    """With random signs the mean square gradient is the density of squared weights; here all |w| are 1 or 0."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.Conv2d(6, 2, 3, padding=1, bias=False))
    kept = [(torch.rand_like(p) < 0.6).float() for p in net.parameters()]
    total = np.zeros((11, 12))
    image = np.zeros((11, 12, 3), np.uint8)
    for _ in range(300):
        with torch.no_grad():
            for p, keep in zip(net.parameters(), kept, strict=True):
                p.copy_(torch.randint_like(p, 2) * 2 - 1).mul_(keep)
        total += (pixel_gradient(net, image, (5, 6), class_id=1).gradient.astype(float) ** 2).sum(0)
    density = sampling_density(net, (11, 12), (5, 6), class_id=1)
    np.testing.assert_allclose(total / total.sum(), density, atol=0.01)


def test_size_and_crop_are_traced_too() -> None:
    net = nn.Conv2d(3, 2, 1)
    density = sampling_density(net, (20, 30), (7, 9), crop=(4, 6, 10, 12), size=(5, 6))
    gradient = pixel_gradient(
        net, np.zeros((20, 30, 3), np.uint8), (7, 9), crop=(4, 6, 10, 12), size=(5, 6), class_id=0
    )
    expected = np.abs(gradient.gradient[0]).astype(float)
    np.testing.assert_allclose(density, expected / expected.sum(), atol=1e-7)
    assert not density[:4].any()


def test_the_model_is_left_as_found() -> None:
    net = deeplab_largefov("tiny", 3).train()
    before = copy.deepcopy(net.state_dict())
    sampling_density(net, (40, 48), (20, 20))
    receptive_field(net, (40, 48), (20, 20))
    assert net.training
    assert all(p.requires_grad and p.grad is None and p.dtype == torch.float32 for p in net.parameters())
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())


def test_what_is_refused() -> None:
    net = nn.Conv2d(3, 2, 1)
    with pytest.raises(ArgumentError, match="y = 20"):
        sampling_density(net, (20, 30), (20, 0))
    with pytest.raises(NameNotFoundError, match="from 0 to 1"):
        sampling_density(net, (20, 30), (2, 0), class_id=2)
    with pytest.raises(UnsupportedError, match=r"sampling_density: .*fractional_max_pool2d"):
        sampling_density(nn.Sequential(net, nn.FractionalMaxPool2d(2, (9, 14))), (20, 30), (2, 0))
