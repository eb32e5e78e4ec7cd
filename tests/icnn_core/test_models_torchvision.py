"""torchvision's segmentation networks made irregular: forward, backward, state dict, names, checkpoints."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torchvision.models.segmentation import (
    deeplabv3_resnet50,
    deeplabv3_resnet101,
    fcn_resnet50,
    lraspp_mobilenet_v3_large,
)

from icnn_core import build_model, make_irregular, read_checkpoint, write_checkpoint
from icnn_core.surgery import irregular_layers, make_regular

PLAIN = {"weights": None, "weights_backbone": None, "num_classes": 4}
NETS = {
    "deeplabv3": (deeplabv3_resnet50, "backbone.layer4.1"),
    "fcn": (fcn_resnet50, "res5b"),
    "lraspp": (lraspp_mobilenet_v3_large, "backbone.13"),
}


@pytest.fixture(scope="module", params=NETS)
def pair(request):
    """A regular network, and the same made irregular from a late module on, not shifted."""
    make, start = NETS[request.param]
    torch.manual_seed(0)
    regular = make(**PLAIN)
    _calibrate(regular)
    irregular = copy.deepcopy(regular)
    return regular, irregular, make_irregular(irregular, start, shift=0.0)


def _calibrate(net):
    """Give batch norm the statistics of noise: with random weights and without them, activations fade to nothing."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        net.train()(torch.randn(2, 3, 40, 56))
    net.eval()


def image():
    return torch.randn(1, 3, 40, 56, generator=torch.Generator().manual_seed(1))


def test_outputs_are_the_regular_networks(pair):
    regular, irregular, surgery = pair
    assert surgery.replaced
    assert set(surgery.skipped.values()) <= {"1×1"}
    with torch.no_grad():
        torch.testing.assert_close(irregular(image())["out"], regular(image())["out"], rtol=1e-3, atol=1e-4)


def test_gradients_are_the_regular_networks_and_positions_get_theirs(pair):
    regular, irregular, surgery = pair
    for net in (regular, irregular):
        net.zero_grad()
        net(image())["out"].square().mean().backward()
    want = dict(regular.named_parameters())
    for name, parameter in irregular.named_parameters():
        if name.endswith(".positions"):
            assert parameter.grad.isfinite().all(), name
            assert name.removesuffix(".positions") in surgery.replaced
        else:
            scale = want[name].grad.abs().max().clamp(min=1e-12)
            assert ((parameter.grad - want[name].grad).abs().max() / scale) < 1e-2, name
    moved = sum(bool(layer.positions.grad.abs().max() > 0) for layer in irregular_layers(irregular).values())
    assert moved == len(surgery.replaced)


def test_state_dicts_survive(pair, tmp_path):
    regular, irregular, surgery = pair
    again = copy.deepcopy(regular)
    make_irregular(again, names=surgery.replaced)
    moved = {n: v + 0.3 if n.endswith("positions") else v for n, v in irregular.state_dict().items()}
    again.load_state_dict(moved)
    with torch.no_grad():
        want = again(image())["out"]
        assert not torch.equal(want, irregular(image())["out"])
        if sum(v.numel() for v in moved.values()) < 1e7:  # files of the others would be large
            path = write_checkpoint(tmp_path / "net.safetensors", again)
            rebuilt = build_model(read_checkpoint(path), lambda: copy.deepcopy(regular))
            torch.testing.assert_close(rebuilt(image())["out"], want)
    assert make_regular(again) == surgery.replaced
    assert again.state_dict().keys() == regular.state_dict().keys()
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), regular.parameters(), strict=True))


def test_caffes_names_find_the_layers_of_resnet_101():
    with torch.device("meta"):
        net = deeplabv3_resnet101(**PLAIN)
    replaced = make_irregular(net, names="res4b11").replaced
    assert replaced == ("backbone.layer3.11.conv2",)
    dilation = net.get_submodule(replaced[0]).dilation
    assert dilation == (2, 2)
