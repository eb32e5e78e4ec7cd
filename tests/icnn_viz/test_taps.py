"""Where taps land: worked by hand, and against gradients of networks that are linear."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import DeformConv2d, deform_conv2d

import icnn_core
from icnn_core.errors import ArgumentError, NameNotFoundError, UnsupportedError
from icnn_core.preparation import Preparation
from icnn_viz.records import PixelTaps
from icnn_viz.taps import pixel_taps, watch
from icnn_viz.taps.compose import compose


def irregular(*args: Any, **options: Any) -> icnn_core.IrregularConv2d:
    """By the back end that compiles nothing."""
    return icnn_core.IrregularConv2d(*args, backend="reference", **options)


PLAIN = Preparation((0.0,), (1.0,))


def image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).random((height, width, 1))


def spread(layer: icnn_core.IrregularConv2d, moves: Tensor | float) -> icnn_core.IrregularConv2d:
    with torch.no_grad():
        layer.positions.copy_(layer.slots + moves)
    return layer


def odd_network() -> nn.Sequential:
    """A feature f lies at y = 2 f and x = 2 f + 0.5 of the image; 12 × 8 logits of 23 × 17 pixels."""
    return nn.Sequential(
        nn.Conv2d(1, 4, (3, 2), stride=(2, 1), padding=(1, 0)),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=(1, 2), padding=1),
        spread(irregular(4, 5, 3, padding=(2, 1), dilation=(2, 1)), torch.tensor([0.25, -0.5])),
    )


def test_taps_land_where_they_do_by_hand_through_strides_padding_dilation_and_the_resize_of_logits() -> None:
    taps = pixel_taps(odd_network(), image(23, 17), (11, 8), preparation=PLAIN)
    # The pixel's unit is at 11.5 · 12 / 23 - 0.5 = 5.5 and 8.5 · 8 / 17 - 0.5 = 3.5, the first slot at (-2, -1) of it.
    first = taps.regular[(taps.slot == 0)]
    assert np.allclose(first, [2 * 3.5, 2 * 2.5 + 0.5])
    assert np.allclose(taps.at - taps.regular, [0.5, -1.0])  # 2 px of the image an element
    assert np.allclose(taps.regular[taps.slot == 8], [2 * 7.5, 2 * 4.5 + 0.5])
    assert sorted(set(taps.slot.tolist())) == list(range(9))
    assert len(taps.at) == 36


def test_crops_and_resized_images_are_undone() -> None:
    view = {"crop": (2, 3, 20, 10), "size": (40, 30), "preparation": PLAIN}
    layer = spread(irregular(1, 2, (1, 3), padding="same", sharing="layer"), 0.0)
    taps = pixel_taps(nn.Sequential(layer), image(23, 17), (7, 8), **view)
    # Pixel 7 is 5 of the crop and 10.5 of what is seen, pixel 8 is 5 and 16; taps are 1/3 of a pixel apart.
    assert np.allclose(taps.at[np.argsort(taps.slot)], [(7, 8 - 1 / 3), (7, 8), (7, 8 + 1 / 3)])


def test_a_pixel_at_the_border_has_the_outermost_unit() -> None:
    net = nn.Sequential(nn.Conv2d(1, 3, 1, stride=4), nn.Conv2d(3, 2, (1, 3), padding=(0, 1)))
    taps = pixel_taps(net, image(16, 12), (0, 11), preparation=PLAIN)
    assert np.allclose(taps.at, [(0, 4), (0, 8)])  # the third lies in the border
    weight = net[1].weight.detach()[taps.class_id].abs()  # type: ignore[union-attr, index]
    assert taps.beyond == pytest.approx(float(weight[..., 2].sum() / weight.sum()), rel=1e-5)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_other_borders_are_read_where_they_read(mode: str) -> None:
    layer = nn.Conv2d(1, 1, (1, 5), padding=(0, 2), padding_mode=mode, bias=False)  # type: ignore[arg-type]
    with torch.no_grad():
        layer.weight.copy_(torch.arange(1.0, 6).reshape(1, 1, 1, 5))
    taps = pixel_taps(nn.Sequential(layer, Twice()), image(3, 7), (1, 6), preparation=PLAIN)
    x = torch.zeros(1, 1, 3, 7, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(x)[0, 0, 1, 6], x)
    assert np.allclose(splat(taps), gradient[0, 0].numpy())


class Twice(nn.Module):
    """Two classes of one channel."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, x], 1)


def splat(taps: PixelTaps) -> np.ndarray:
    """Points added up on pixels, bilinearly."""
    height, width = taps.image.shape[:2]
    found = np.zeros((height + 2, width + 2))
    low = np.floor(taps.at + 1e-9).astype(int)
    share = taps.at - low
    for dy in (0, 1):
        for dx in (0, 1):
            part = np.abs(1 - dy - share[:, 0]) * np.abs(1 - dx - share[:, 1]) * np.abs(taps.weight)
            y, x = (np.clip(low + np.array([dy, dx]), -1, (height, width)) + 1).T
            np.add.at(found, (y, x), part)
    return found[1:-1, 1:-1]


def linear(
    layers: Sequence[nn.Module], size: tuple[int, int], pixel: tuple[int, int], class_id: int
) -> np.ndarray:
    """Gradient of a logit, by autograd, through layers with weights that are magnitudes."""
    x = torch.zeros(1, 1, *size, dtype=torch.float64, requires_grad=True)
    net = nn.Sequential(*layers).double()
    (gradient,) = torch.autograd.grad(net(x)[0, class_id, pixel[0], pixel[1]], x)
    return gradient[0, 0].numpy()


def positive(layer: nn.Module) -> nn.Module:
    with torch.no_grad():
        layer.weight.abs_()  # type: ignore[operator]
    return layer


def three(moves: Callable[[int], Tensor]) -> list[nn.Module]:
    torch.manual_seed(1)
    layers = [
        irregular(1, 3, (3, 2), padding=(1, 0), bias=False, shift=0),
        irregular(3, 4, 3, padding=2, dilation=(1, 2), bias=False, shift=0, sharing="none"),
        nn.Conv2d(4, 4, 1, bias=False),
        irregular(4, 2, (2, 3), padding=1, bias=False, shift=0),
    ]
    for layer in layers:
        if isinstance(layer, icnn_core.IrregularConv2d):
            spread(layer, moves(layer.positions.numel()).reshape(layer.positions.shape))
    return [positive(layer) for layer in layers]


def same_size(layers: Sequence[nn.Module], size: tuple[int, int]) -> nn.Module:
    """Those layers as a network whose logits are cut to the image's size: nothing is resized."""

    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(*layers)

        def forward(self, x: Tensor) -> Tensor:
            y = F.pad(x, (4, 4, 4, 4))
            return self.layers(y)[..., 4 : 4 + size[0], 4 : 4 + size[1]]

    return Cut()


def test_composed_points_are_the_gradient_where_positions_are_whole() -> None:
    torch.manual_seed(0)
    layers, size = three(lambda n: torch.randint(-1, 2, (n,)).float()), (19, 15)
    net = same_size(layers, size)
    taps = pixel_taps(net, image(*size), (9, 7), depth=3, class_id=1, preparation=PLAIN)
    expected = linear([net], size, (9, 7), 1)
    assert taps.held == pytest.approx(1)
    assert len(taps.layers) == 3
    assert np.allclose(splat(taps), expected, atol=1e-6 * expected.max())
    for layer in layers:
        if isinstance(layer, icnn_core.IrregularConv2d):
            spread(layer, 0.0)
    lattice = watch(net, image(*size), preparation=PLAIN).taps((9, 7), depth=3, class_id=1)
    snapped = pixel_taps(net, image(*size), (9, 7), depth=3, class_id=1, snapped=True, preparation=PLAIN)
    assert np.allclose(splat(snapped), splat(lattice), atol=1e-6 * expected.max())


def test_composed_points_lie_as_the_gradient_where_positions_are_not() -> None:
    torch.manual_seed(0)
    layers, size = three(lambda n: torch.rand(n) * 2 - 1), (19, 15)
    net = same_size(layers, size)
    taps = pixel_taps(net, image(*size), (9, 7), depth=3, class_id=0, preparation=PLAIN)
    expected, found = linear([net], size, (9, 7), 0), splat(taps)
    assert found.sum() == pytest.approx(expected.sum(), rel=1e-5)
    grid = np.indices(size).reshape(2, -1)
    assert np.allclose(
        grid @ found.ravel() / found.sum(), grid @ expected.ravel() / expected.sum(), atol=1e-5
    )
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.97


def test_a_regular_network_is_its_lattice_and_the_gradient() -> None:
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(1, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 6, 3, groups=2, padding=2, dilation=2),
        nn.Conv2d(6, 3, 3, padding=1),
    ]
    for layer in layers:
        if hasattr(layer, "weight"):
            positive(layer)
            layer.bias.data.fill_(5)  # type: ignore[union-attr]  # so that no ReLU closes
    layers[1].running_var.fill_(4.0)  # type: ignore[union-attr]
    net, size = nn.Sequential(*layers).eval(), (17, 21)
    taps = pixel_taps(net, image(*size), (8, 11), depth=3, class_id=2, preparation=PLAIN)
    expected = linear([net], size, (8, 11), 2)
    assert len(taps.snapped().at) == 81
    assert np.allclose(splat(taps), expected, atol=1e-6 * expected.max())


def test_the_heaviest_ways_are_chosen_and_their_share_is_said() -> None:
    torch.manual_seed(3)
    layers, size = three(lambda n: torch.rand(n) * 2 - 1), (19, 15)
    watched = watch(same_size(layers, size), image(*size), preparation=PLAIN)
    whole, some = (watched.taps((9, 7), depth=3, class_id=0, most=most) for most in (10**6, 50))
    assert len(whole.at) > 500
    heaviest = np.sort(whole.weight)[::-1]
    assert np.allclose(np.sort(some.weight)[::-1], heaviest[:50])
    assert some.held == pytest.approx(heaviest[:50].sum() / heaviest.sum())


def test_signs_are_kept_of_the_last_layer_alone() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(irregular(1, 3, 3, padding=1), irregular(3, 4, 3, padding=1))
    last = pixel_taps(net, image(9, 8), (4, 4), class_id=2, preparation=PLAIN)
    order = np.lexsort((last.slot, last.channel))
    assert np.allclose(last.weight[order], net[1].weight[2].detach().flatten(), atol=1e-6)  # type: ignore[union-attr]
    assert last.class_name == "2"
    inner = pixel_taps(net, image(9, 8), (4, 4), "0", class_id=2, preparation=PLAIN)
    assert inner.class_id is None
    assert np.allclose(
        inner.weight[np.argsort(inner.slot)],
        net[0].weight.detach().abs().sum((0, 1)).flatten(),
        atol=1e-6,  # pyright: ignore
    )  # type: ignore[union-attr]


def test_a_head_of_one_place_passes_the_class_on() -> None:
    torch.manual_seed(0)
    body, head = irregular(1, 4, 3, padding=1), nn.Conv2d(4, 3, 1)
    taps = pixel_taps(
        nn.Sequential(body, nn.ReLU(), head), image(9, 8), (4, 4), class_id=1, preparation=PLAIN
    )
    expected = torch.einsum("o,ok->k", head.weight[1, :, 0, 0].abs(), body.weight.flatten(1).abs())
    assert taps.class_id == 1
    assert np.allclose(taps.weight[np.argsort(taps.slot)], expected.detach(), atol=1e-6)


class Deformable(nn.Module):
    """A deformable convolution whose offsets come from nowhere but a parameter."""

    def __init__(self, size: tuple[int, int], masked: bool) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.conv = DeformConv2d(4, 4, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 3), groups=2)  # pyright: ignore
        rows, columns = (size[0] + 2 - 3) // 2 + 1, size[1] + 4 - 4 + 1
        self.offset = nn.Parameter(torch.randn(1, 2 * 2 * 6, rows, columns))
        self.mask = nn.Parameter(torch.rand(1, 2 * 6, rows, columns)) if masked else None

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x.expand(-1, 4, -1, -1), self.offset, self.mask)


@pytest.mark.parametrize("masked", [False, True])
def test_deformable_taps_are_the_support_of_torchvisions_gradient(masked: bool) -> None:
    size, unit = (13, 11), (3, 5)
    net = Deformable(size, masked)
    layer = watch(net, image(*size), preparation=PLAIN).layers[-1]
    shapes, checked = layer.shapes(), 0
    for channel in range(4):
        for tap in range(6):
            x = torch.zeros(1, 4, *size, requires_grad=True)
            weight = torch.zeros_like(net.conv.weight)
            kernel = 0 if channel < 2 else 2  # of the channel's group
            weight[kernel, channel % 2].view(-1)[tap] = 1
            out = deform_conv2d(x, net.offset, weight, None, (2, 1), (1, 2), (1, 3), net.mask)
            (gradient,) = torch.autograd.grad(out[0, kernel, unit[0], unit[1]], x)
            mass = gradient[0, channel].numpy().astype(float)
            shape = np.array([shapes[kernel, channel % 2]])
            at = layer.places(np.array([unit], float), shape, np.array([tap]))[0]
            inside = (at >= 0).all() and (at <= np.array(size) - 1).all()
            if inside:
                expected = np.indices(size).reshape(2, -1) @ mass.ravel() / mass.sum()
                assert np.allclose(at, expected, atol=1e-4)
                by = layer.modulation(np.array([unit], float), shape, np.array([tap]))
                assert mass.sum() == pytest.approx(by[0], rel=1e-4)
                checked += 1
    assert checked > 12


def test_dcls_taps_are_those_of_its_positions() -> None:
    dcls = pytest.importorskip("DCLS.construct.modules", reason="DCLS is not installed")
    torch.manual_seed(0)
    layer = dcls.Dcls2d(1, 2, kernel_count=3, dilated_kernel_size=5, padding=2, version="v0", bias=False)
    taps = pixel_taps(nn.Sequential(layer), image(11, 9), (5, 4), class_id=1, preparation=PLAIN)
    expected = layer.P[:, 1, 0].T.detach().numpy() + np.array([5, 4])
    assert taps.kind == "dcls"
    assert np.allclose(taps.at[np.argsort(taps.slot)], expected, atol=1e-5)


class Shuffled(nn.Module):
    """Everything a way can pass: channels last, an attention gate, a sum, a transposed convolution, a pixel shuffle."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 6, 3, stride=2, padding=1)
        self.norm, self.mix = nn.LayerNorm(6), nn.Linear(6, 6)
        self.gate = nn.Conv2d(6, 6, 1)
        self.second = irregular(6, 8, 3, padding=1)
        self.up = nn.ConvTranspose2d(2, 3, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        y = self.mix(self.norm(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        x = x + y * torch.sigmoid(self.gate(x.mean((2, 3), keepdim=True)))
        x = F.pixel_shuffle(self.second(x), 2)
        return self.up(x)[..., ::2, ::2]


def test_ways_are_followed_through_what_networks_do() -> None:
    taps = pixel_taps(Shuffled(), image(16, 12), (6, 6), preparation=PLAIN)
    # The logit at 6 is up's 12, whose unit is (12 - 0.5) / 2 = 5.75, in second's output (5.75 + 0.5) / 2 - 0.5 = 2.625.
    assert np.allclose(taps.regular[taps.slot == 4], 2 * 2.625)
    assert np.allclose(taps.at, taps.regular, atol=2.1e-3)


class Skipping(nn.Module):
    """A U-Net of one step, with a branch that sees the whole image at once."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Conv2d(1, 2, 3, padding=1)
        self.coarse = nn.Conv2d(2, 4, 3, stride=2, padding=1)
        self.whole = nn.Conv2d(4, 3, 1)
        self.head = nn.Conv2d(9, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.fine(x)
        coarse = self.coarse(fine)
        whole = self.whole(F.adaptive_avg_pool2d(coarse, 1))
        parts = [fine, F.interpolate(coarse, scale_factor=2), F.interpolate(whole, size=x.shape[-2:])]
        return self.head(torch.cat(parts, 1))


def test_a_skip_says_where_features_lie_and_the_whole_image_has_no_place() -> None:
    watched = watch(Skipping(), image(12, 14), preparation=PLAIN)
    taps = watched.taps((5, 6), depth=2)
    assert np.allclose(watched.taps((5, 6)).regular.mean(0), (5, 6))
    assert taps.layers == ("head", "coarse")
    assert "of what head takes, the part of coarse is followed" in taps.notes
    # The way down: unit (5.5 / 2 - 0.5, 6.5 / 2 - 0.5) = (2.25, 2.75) of coarse, whose units lie at twice that.
    assert np.allclose(watched.taps((5, 6), "coarse").regular.mean(0), (4.5, 5.5))


class Lost(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x.flip(-1))


class Rolled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.roll(1, -1)


def test_an_operation_that_is_not_known_is_named() -> None:
    with pytest.raises(UnsupportedError, match="flip"):
        pixel_taps(Lost(), image(9, 8), (4, 4), preparation=PLAIN)
    with pytest.raises(UnsupportedError, match="roll"):
        pixel_taps(
            nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), Rolled()), image(9, 8), (4, 4), preparation=PLAIN
        )


def test_what_is_not_there_is_refused() -> None:
    watched = watch(odd_network(), image(23, 17), preparation=PLAIN)
    with pytest.raises(NameNotFoundError, match=r"--layer.*'fc'"):
        watched.taps((1, 1), "fc")
    with pytest.raises(NameNotFoundError, match=r"--class.*4"):
        watched.taps((1, 1), class_id=5)
    with pytest.raises(ArgumentError, match="--pixel"):
        watched.taps((23, 0))


def test_nothing_is_left_on_the_network() -> None:
    net = odd_network().train()
    pixel_taps(net, image(23, 17), (11, 8), preparation=PLAIN)
    assert net.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_composing_nothing_but_one_unit_is_the_layer_itself() -> None:
    layer = watch(odd_network(), image(23, 17), preparation=PLAIN).layers[-1]
    points, total = compose([layer], [], np.array([5.5, 3.5]), np.eye(5)[3], 10)
    assert len(points.at) == 10
    assert total == pytest.approx(float(np.abs(layer.weight[3]).sum()))
