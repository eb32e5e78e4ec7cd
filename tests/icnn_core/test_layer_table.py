"""A network's convolutions as a table: where features.12, res4b11 and fc1 come from."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from icnn_core.cli import main
from icnn_core.errors import NameNotFoundError
from icnn_core.layer_names import caffe_name_pattern, match_names
from icnn_core.layer_table import list_layers
from icnn_core.models.deeplab import deeplab_largefov
from icnn_core.surgery import make_irregular


def test_what_it_says_is_what_surgery_does() -> None:
    model = deeplab_largefov("resnet18", 3)
    layers = {layer.name: layer for layer in list_layers(model, "layer4")}
    surgery = make_irregular(deeplab_largefov("resnet18", 3), "layer4")
    assert tuple(name for name, layer in layers.items() if layer.says == "yes") == surgery.replaced
    assert {n: f"no: {why}" for n, why in surgery.skipped.items()}.items() <= {
        (name, layer.says) for name, layer in layers.items()
    }
    first, last = layers["backbone.conv1"], layers["classifier.fc1"]
    assert (first.says, first.stride, first.kernel_size, first.in_channels) == ("not named", 1, (7, 7), 3)
    assert (last.caffe, last.stride, last.dilation, last.out_channels) == ("fc1", 8, (12, 12), 3)
    assert layers["backbone.layer1.0.conv1"].stride == 4
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("backbone", ["resnet18", "resnet101"])
def test_caffes_names_lead_back_to_the_block(backbone: str) -> None:
    with torch.device("meta"):
        model = deeplab_largefov(backbone, 3)
    named = [(layer.name, layer.caffe) for layer in list_layers(model) if layer.caffe]
    assert len(named) > 16
    known = [name for name, _ in model.named_modules()]
    for name, caffe in named:
        assert caffe_name_pattern(caffe)
        assert name in match_names([caffe], known, who="test")
    if backbone == "resnet101":
        assert ("backbone.layer3.11.conv2", "res4b11_branch2b") in named
        assert ("backbone.layer4.2.conv1", "res5c_branch2a") in named


def test_what_a_trial_does_not_reach_is_unknown_and_wrong_names_are_told() -> None:
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 3, stride=2), nn.Conv2d(9, 4, (1, 3), groups=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(self.a(x))

    model = Half().train()
    a, b = list_layers(model)
    assert (a.stride, a.kernel_size, b.kernel_size) == (1, (3, 3), (1, 3))
    assert b.stride == pytest.approx(2, abs=0.05)
    assert model.training
    with pytest.raises(NameNotFoundError, match="Did you mean"):
        list_layers(resnet18(), "layr4")


def test_the_command_lists_them(run_main: Callable[..., Any]) -> None:
    ended = run_main(main, "layers", "--backbone", "tiny", "--irregular", "fc1", "--json")
    rows = json.loads(ended.out)["layers"]
    assert [row["name"] for row in rows if row["is_chosen"]] == ["classifier.fc1"]
    said = run_main(main, "layers", "--backbone", "tiny").out
    assert f"of {len(rows)} convolutions can become irregular" in said
    assert run_main(main, "layers").code == 2
