"""LargeFOV networks: output stride, dilations, geometry, names, and torchvision as the oracle."""

import copy

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from icnn_core.errors import ArgumentError, NameNotFoundError, ShapeError
from icnn_core.models.backbones import BACKBONES
from icnn_core.models.deeplab import deeplab_largefov, upsample

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101")


@pytest.fixture(scope="module")
def nets():
    """One network per backbone, built once."""
    built = {}

    def get(name):
        if name not in built:
            torch.manual_seed(5)
            built[name] = deeplab_largefov(name, 4).eval()
        return built[name]

    return get


@pytest.mark.parametrize("name", BACKBONES)
def test_output_stride_is_8_and_logits_have_the_image_size(nets, name):
    net, shapes = nets(name), []
    hook = net.backbone.register_forward_hook(lambda *call: shapes.append(call[2].shape))
    with torch.no_grad():
        assert net(torch.randn(1, 3, 40, 56)).shape == (1, 4, 40, 56)
        assert net(torch.randn(2, 3, 17, 29)).shape == (2, 4, 17, 29)
    hook.remove()
    assert shapes[0][2:] == (5, 7)


@pytest.mark.parametrize("name", ["tiny", "squeezenet1_0", "resnet18", "vgg16"])
def test_logits_lie_where_their_features_look(nets, name):
    """A mirrored image through mirrored kernels gives mirrored logits, if and only if upsampling knows the centres."""
    net = copy.deepcopy(nets(name))
    size = [
        8 * n + 1 + int(2 * net.offset) for n in (4, 7)
    ]  # on these the grid of features is its own mirror image
    x = torch.randn(1, 3, *size)
    with torch.no_grad():
        want = net(x).flip(2, 3)
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.copy_(module.weight.flip(2, 3))
        got = net(x.flip(2, 3))
    assert want.std() > 0
    torch.testing.assert_close(got / want.std(), want / want.std(), atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", RESNETS)
def test_resnets_are_dilated_first_blocks_included(nets, name):
    for layer, dilation in (("layer1", 1), ("layer2", 1), ("layer3", 2), ("layer4", 4)):
        spread = {
            conv.dilation
            for conv in nets(name).backbone.get_submodule(layer).modules()
            if isinstance(conv, nn.Conv2d) and conv.kernel_size == (3, 3)
        }
        assert spread == {(dilation, dilation)}, layer
    names = dict(nets(name).named_modules())
    assert "backbone.layer3.0.conv2" in names
    assert list(names)[-1] == "classifier.fc1"


def test_other_backbones_are_dilated_where_a_stride_was_lost(nets):
    spread = {
        name: {n for n, m in nets(name).backbone.named_modules() if getattr(m, "dilation", 1) in (2, (2, 2))}
        for name in ("vgg16", "squeezenet1_0", "tiny")
    }
    assert spread["vgg16"] == {"features.24", "features.26", "features.28"}
    assert spread["squeezenet1_0"] == {"features.12.expand3x3"}
    assert spread["tiny"] == {"layer3.conv1", "layer3.conv2"}
    assert nets("tiny").backbone.layer4.conv1.dilation == (4, 4)
    assert sum(p.numel() for p in nets("tiny").parameters()) <= 150_000


def test_the_classifier_is_one_dilated_convolution(nets):
    fc1 = nets("tiny").classifier.fc1
    assert (fc1.kernel_size, fc1.dilation, fc1.padding) == ((3, 3), (12, 12), (12, 12))
    own = deeplab_largefov("tiny", 3, classifier_dilation=5)
    assert (own.classifier.fc1.dilation, own.classifier.fc1.padding) == ((5, 5), (5, 5))


def _load(net, plain):
    state = {k: v for k, v in plain.state_dict().items() if k in net.backbone.state_dict()}
    net.backbone.load_state_dict(state)


def test_resnet_features_equal_torchvision_before_the_dilation(nets):
    net, plain = copy.deepcopy(nets("resnet18")), torchvision.models.resnet18(weights=None).eval()
    _load(net, plain)
    x = torch.randn(1, 3, 65, 83)
    stages = ["conv1", "bn1", "relu", "maxpool", "layer1", "layer2"]
    want, got = x, x
    for stage in stages:
        want, got = plain.get_submodule(stage)(want), net.backbone.get_submodule(stage)(got)
    torch.testing.assert_close(got, want)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_dilated_blocks_hold_the_features_of_the_strided_network(nets, name):
    """Behind the first blocks, every second (fourth) feature comes from the same sums as without dilation."""
    net, plain = copy.deepcopy(nets(name)), torchvision.models.get_model(name, weights=None).eval()
    _load(net, plain)
    for stage, factor in (("layer3", 2), ("layer4", 4)):
        dense, strided = net.backbone.get_submodule(stage)[1:], plain.get_submodule(stage)[1:]
        features = torch.randn(1, strided[0].conv1.in_channels, 18, 26)
        with torch.no_grad():
            torch.testing.assert_close(
                dense(features)[:, :, ::factor, ::factor],
                strided(features[:, :, ::factor, ::factor]),
                atol=1e-3,
                rtol=0,
            )


def test_vgg_and_squeezenet_features_equal_torchvision_before_the_dilation(nets):
    x = torch.randn(1, 3, 64, 72)
    with torch.no_grad():
        net, plain = nets("vgg16"), torchvision.models.vgg16(weights=None).eval()
        plain.features.load_state_dict(net.backbone.features.state_dict())
        torch.testing.assert_close(net.backbone.features[:17](x), plain.features[:17](x))
        net, plain = nets("squeezenet1_0"), torchvision.models.squeezenet1_0(weights=None).eval()
        plain.features.load_state_dict(net.backbone.features.state_dict())
        torch.testing.assert_close(net.backbone.features[:11](x), plain.features[:11](F.pad(x, (3, 3, 3, 3))))


@pytest.mark.parametrize(("offset", "size", "align_corners"), [(3.5, (40, 56), False), (0.0, (33, 49), True)])
def test_upsampling_equals_interpolate_where_that_is_true_to_geometry(offset, size, align_corners):
    logits = torch.randn(2, 3, 5, 7, dtype=torch.double, requires_grad=True)
    want = F.interpolate(logits, size=size, mode="bilinear", align_corners=align_corners)
    torch.testing.assert_close(upsample(logits, size, offset), want, check_dtype=True, atol=1e-6, rtol=0)


def test_upsampling_beyond_the_last_feature_holds_it():
    logits = torch.tensor([[[[1.0, 3.0, 5.0]]]])
    row = upsample(logits, (4, 24), offset=6.0)[0, 0, 2]
    assert row[[0, 6, 10, 14, 22, 23]].tolist() == [1, 1, 2, 3, 5, 5]


def test_eval_is_deterministic_and_dropout_acts_in_training():
    net = deeplab_largefov("tiny", 3, dropout=0.5)
    x = torch.randn(1, 3, 40, 48)
    net.backbone.eval()
    assert not torch.equal(net(x), net(x))
    net.eval()
    assert torch.equal(net(x), net(x))


@pytest.mark.parametrize("shape", [(3, 40, 40), (1, 4, 40, 40), (1, 3, 12, 40)])
def test_images_of_another_shape_are_refused(nets, shape):
    with pytest.raises(ShapeError, match=r"\(N, 3, H, W\)"):
        nets("tiny")(torch.zeros(shape))


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"backbone": "resnet110"}, NameNotFoundError, "resnet101"),
        ({"num_classes": 0}, ArgumentError, "num_classes"),
        ({"num_classes": True}, ArgumentError, "num_classes"),
        ({"classifier_dilation": 0}, ArgumentError, "classifier_dilation"),
        ({"dropout": 1.0}, ArgumentError, "dropout"),
        ({"weights": "imagenet"}, ArgumentError, "tiny"),
    ],
)
def test_bad_arguments_are_named(arguments, error, said):
    with pytest.raises(error, match=said):
        deeplab_largefov(**{"backbone": "tiny", "num_classes": 4} | arguments)


def test_the_tiny_net_learns():
    torch.manual_seed(0)
    net = deeplab_largefov("tiny", 2, classifier_dilation=2)
    x = torch.randn(4, 3, 48, 40)
    target = (torch.arange(40) > 20).long().expand(4, 48, 40)
    x = x + target[:, None] * 1.5
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    losses = []
    for _ in range(15):
        loss = F.cross_entropy(net(x), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
