"""Surgery: what is replaced, what is skipped and why, and how layers are named."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm
from torchvision.models import resnet18, resnet101
from torchvision.models.segmentation import deeplabv3_resnet50, fcn_resnet50, lraspp_mobilenet_v3_large

from icnn_core import IrregularConv2d, make_irregular, read_checkpoint, write_checkpoint
from icnn_core.checkpoint import build_model
from icnn_core.errors import ArgumentError, NameNotFoundError
from icnn_core.layer_names import caffe_name_pattern, match_names
from icnn_core.surgery import irregular_layers, make_regular, snap_to_slots


class Special(nn.Conv2d):
    pass


def small_net():
    shared = nn.Conv2d(4, 4, (3, 1), padding=(1, 0))
    return nn.Sequential(
        nn.Conv2d(3, 4, 1),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.Sequential(shared, nn.ReLU(), shared),
        weight_norm(nn.Conv2d(4, 4, 3, padding=1)),
        Special(4, 4, 3, padding=1),
        nn.ConvTranspose2d(4, 4, 3, padding=1),
    )


def test_replaces_what_it_can_and_says_why_not():
    torch.manual_seed(0)
    model = small_net()
    x = torch.randn(1, 3, 6, 7)
    before = model(x)
    surgery = make_irregular(model, shift=0.0)
    assert surgery.replaced == ("1", "2.0", "2.2", "3", "4")
    assert model.get_submodule("2.0") is model.get_submodule("2.2"), "a shared convolution stays shared"
    assert surgery.skipped == {"0": "1×1", "5": "transposed"}
    torch.testing.assert_close(model(x), before, rtol=1e-5, atol=1e-5)
    assert make_irregular(model).skipped["1"] == "already irregular"


class OfItsOwn(nn.modules.conv._ConvNd):
    def __init__(self):
        pair, zero = (3, 3), (0, 0)
        super().__init__(2, 2, pair, (1, 1), zero, (1, 1), False, zero, 1, False, "zeros")


@pytest.mark.filterwarnings("ignore")
def test_no_convolution_is_passed_over_in_silence():
    scripted = torch.jit.script(nn.Conv2d(2, 2, 3))
    network = nn.Sequential(nn.Conv2d(2, 2, 3, dtype=torch.complex64), scripted, OfItsOwn())
    assert make_irregular(network).skipped == {
        "0": "complex weights",
        "1": "part of a TorchScript program",
        "2": "not a Conv2d (OfItsOwn)",
    }


def test_from_a_module_to_the_end_in_caffes_and_torchvisions_names():
    by_caffe, by_torchvision = resnet101(), resnet101()
    caffe = make_irregular(by_caffe, "res4b11")
    assert caffe == make_irregular(by_torchvision, "layer3.11")
    assert caffe.replaced[0] == "layer3.11.conv2"
    assert len(caffe.replaced) == 12 + 3  # res4b11 … res4b22, then res5a … res5c
    assert len(irregular_layers(by_caffe)) == 15


def test_patterns_and_single_names():
    assert make_irregular(resnet18(), names="layer4.*.conv2").replaced == ("layer4.0.conv2", "layer4.1.conv2")
    assert make_irregular(resnet18(), names=["res5a_branch2b", "layer1.0.conv1"]).replaced == (
        "layer1.0.conv1",
        "layer4.0.conv2",
    )


def test_a_start_that_several_modules_end_in_is_refused():
    said = r"'conv2', in which layer1\.0\.conv2, layer1\.1\.conv2, layer2\.0\.conv2 and 5 more end"
    with pytest.raises(ArgumentError, match=said):
        make_irregular(resnet18(), "conv2")
    assert make_irregular(resnet18(), "layer4.*.conv2").replaced[0] == "layer4.0.conv2"


@pytest.mark.parametrize(
    ("caffe", "pattern"),
    [
        ("res2a", "layer1.0"),
        ("res4a", "layer3.0"),
        ("res4b11", "layer3.11"),
        ("res5c", "layer4.2"),
        ("res4b22_branch2b", "layer3.22.conv2"),
        ("fc1_voc12", "fc1"),
        ("layer3", None),
    ],
)
def test_caffe_names(caffe, pattern):
    assert caffe_name_pattern(caffe) == pattern


def test_a_name_that_matches_nothing_lists_the_nearest():
    with pytest.raises(NameNotFoundError, match=r"layr4\.0.*Did you mean layer4\.0"):
        make_irregular(resnet18(), names="layr4.0")
    with pytest.raises(NameNotFoundError, match="res6a"):
        make_irregular(resnet18(), "res6a")


def test_a_prefix_may_be_left_out():
    known = ["backbone.layer3.1", "backbone.layer3.11", "classifier.fc1"]
    assert match_names(["layer3.1", "fc1"], known, who="test") == ["backbone.layer3.1", "classifier.fc1"]


@pytest.mark.parametrize("factory", [deeplabv3_resnet50, fcn_resnet50, lraspp_mobilenet_v3_large])
def test_torchvisions_segmentation_nets_keep_their_output(factory):
    torch.manual_seed(0)
    model = factory(weights=None, weights_backbone=None, num_classes=4).eval()
    x = torch.randn(1, 3, 48, 56)
    with torch.no_grad():
        before = model(x)["out"]
        surgery = make_irregular(model, shift=0.0)
        after = model(x)["out"]
    assert len(surgery.replaced) > 5
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-4)


def test_snapping_restores_the_regular_shapes():
    model = small_net()
    make_irregular(model, shift=0.4)
    snap_to_slots(model)
    for layer in irregular_layers(model).values():
        assert isinstance(layer, IrregularConv2d)
        assert torch.equal(layer.positions, layer.slots.expand_as(layer.positions))


def test_a_bare_convolution_cannot_be_changed_in_place():
    with pytest.raises(ArgumentError, match="from_conv2d"):
        make_irregular(nn.Conv2d(2, 3, 3))


class Foldable(nn.Module):
    """As RepVGG's blocks: a kernel instead of two branches, on request."""

    def __init__(self):
        super().__init__()
        self.wide, self.narrow = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1)

    def forward(self, x):
        return self.folded(x) if hasattr(self, "folded") else self.wide(x) + self.fuse(self.narrow(x))

    def fuse(self, x):
        return x.relu()

    @torch.no_grad()
    def reparameterize(self):
        self.folded = nn.Conv2d(4, 4, 3, padding=1)
        self.folded.weight.copy_(self.wide.weight)
        self.folded.weight[:, :, 1:2, 1:2] += self.narrow.weight
        del self.wide, self.narrow


def test_folding_that_would_forget_positions_is_refused(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(Foldable(), Foldable())
    make_irregular(model, names="0", shift=0.3)
    write_checkpoint(tmp_path / "net.pt", model)
    built = build_model(read_checkpoint(tmp_path / "net.pt"), lambda: nn.Sequential(Foldable(), Foldable()))
    for network in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model)), built):
        with pytest.raises(ArgumentError, match=r"Foldable\.reparameterize: needs regular convolutions"):
            network[0].reparameterize()
        assert torch.equal(network(torch.ones(1, 4, 5, 6)), model(torch.ones(1, 4, 5, 6)))
    model[1].reparameterize()  # has no irregular layer
    make_regular(model)
    model[0].reparameterize()
    assert set(dict(model.named_children())) == {"0", "1"}
    assert "reparameterize" not in vars(model[0])


def test_timm_folds_no_network_of_irregular_layers():
    timm = pytest.importorskip("timm", reason="timm is not installed")
    reparameterize = pytest.importorskip("timm.utils").reparameterize_model
    model = timm.create_model("repvgg_a0", num_classes=3).eval()
    folded = reparameterize(model)
    assert make_irregular(folded, "stages.3").replaced
    make_irregular(model, "stages.3")
    with pytest.raises(ArgumentError, match="whose positions it would forget"):
        reparameterize(model)
