"""Classification networks cut before their classifier and dilated to an output stride of 8."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

OUTPUT_STRIDE = 8


@dataclass(frozen=True)
class Backbone:
    """A network that turns images (N, 3, H, W) into features (N, channels, about H/8, about W/8).

    Attributes:
        module: torchvision's module names are kept ("layer3.11.conv2", "features.12.expand3x3").
        channels: of the features.
        offset: feature (i, j) is centred on input pixel (8·i + offset, 8·j + offset).
    """

    module: nn.Module
    channels: int
    offset: float


def _resnet(name: str) -> Backbone:
    """Residual networks: layer3 dilated by 2 and layer4 by 4, their first blocks included.

    torchvision's `replace_stride_with_dilation` leaves the first blocks at 1 and 2, and refuses the basic
    blocks of resnet18 and resnet34. So the convolutions are changed here, after building.
    """
    net = _torchvision(name)
    channels = net.get_parameter("fc.weight").shape[1]
    _dilate(net.get_submodule("layer3"), 2)
    _dilate(net.get_submodule("layer4"), 4)
    kept = {n: m for n, m in net.named_children() if n not in ("avgpool", "fc")}
    return Backbone(_chain(**kept), channels, offset=0.0)


def _vgg16(name: str) -> Backbone:
    """VGG: the last two poolings lose their stride, the convolutions between them are dilated by 2 (DeepLab)."""
    features = _features(name)
    for index in (23, 30):
        features[index] = nn.MaxPool2d(3, stride=1, padding=1)
    _dilate(features[24:30], 2)
    return Backbone(_chain(features=features), 512, offset=3.5)


def _squeezenet1_0(name: str) -> Backbone:
    """SqueezeNet: the last pooling loses its stride, the fire module behind it is dilated by 2.

    The first convolution is padded (torchvision's is not), so that features reach the image's borders.
    """
    features = _features(name)
    stem = features[0]
    assert isinstance(stem, nn.Conv2d)
    stem.padding = (3, 3)
    features[11] = nn.MaxPool2d(3, stride=1, padding=1)
    _dilate(features[12], 2)
    return Backbone(_chain(features=features), 512, offset=6.0)


def _tiny(name: str, channels: int = 56) -> Backbone:
    """A small network to train from scratch: three strides of 2, then residual pairs dilated by 2 and 4."""
    layers = _chain(
        stem=_conv_unit(3, 16, stride=2),
        layer1=_conv_unit(16, 32, stride=2),
        layer2=_conv_unit(32, 56, stride=2),
        layer3=_TinyBlock(56, 56, dilation=2),
        layer4=_TinyBlock(56, channels, dilation=4),
    )
    return Backbone(layers, channels, offset=0.0)


class _TinyBlock(nn.Module):
    def __init__(self, channels_in: int, channels: int, dilation: int) -> None:
        super().__init__()
        self.project = None if channels_in == channels else nn.Conv2d(channels_in, channels, 1, bias=False)
        self.conv1 = nn.Conv2d(channels_in, channels, 3, padding=dilation, dilation=dilation, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = self.relu(self.bn1(self.conv1(x)))
        kept = x if self.project is None else self.project(x)
        return self.relu(kept + self.bn2(self.conv2(inner)))


def _conv_unit(channels_in: int, channels_out: int, stride: int) -> nn.Sequential:
    conv = nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False)
    return _chain(conv=conv, bn=nn.BatchNorm2d(channels_out), relu=nn.ReLU(inplace=True))


def _chain(**layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(layers))


def _features(name: str) -> nn.Sequential:
    features = _torchvision(name).get_submodule("features")
    assert isinstance(features, nn.Sequential)
    return features


def _torchvision(name: str) -> nn.Module:
    from torchvision.models import get_model  # seconds, which networks of our own need not wait for

    return get_model(name, weights=None)


def _dilate(module: nn.Module, dilation: int) -> None:
    """Take the stride out of all convolutions and spread the taps of those larger than 1 × 1."""
    for conv in module.modules():
        if isinstance(conv, nn.Conv2d):
            conv.stride = (1, 1)
            if conv.kernel_size != (1, 1):
                conv.dilation = (dilation, dilation)
                conv.padding = (dilation * (conv.kernel_size[0] // 2), dilation * (conv.kernel_size[1] // 2))


def scale_dilations(model: nn.Module, factor: float) -> None:
    """Multiply every dilation above 1, and its padding, in place; rounded, and at least 1."""
    for conv in model.modules():
        if isinstance(conv, nn.Conv2d) and isinstance(conv.padding, tuple) and max(conv.dilation) > 1:
            old = conv.dilation
            new = tuple(max(1, int(d * factor + 0.5)) if d > 1 else d for d in old)
            conv.dilation = new  # pyright: ignore[reportAttributeAccessIssue]
            conv.padding = tuple(p * n // o for p, n, o in zip(conv.padding, new, old, strict=True))  # pyright: ignore


BACKBONES: dict[str, Callable[[str], Backbone]] = {
    "tiny": _tiny,
    "small": partial(_tiny, channels=128),  # in the last stage: enough shapes in its layers for statistics
    "squeezenet1_0": _squeezenet1_0,
    "resnet18": _resnet,
    "resnet34": _resnet,
    "resnet50": _resnet,
    "resnet101": _resnet,
    "vgg16": _vgg16,
}
