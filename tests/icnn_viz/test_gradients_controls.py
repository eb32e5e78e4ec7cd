"""The controls: shapes without weights, weights without shapes."""

from __future__ import annotations

import copy

import torch
from torch import nn

from icnn_core.nn import IrregularConv2d
from icnn_viz.gradients import randomised, snapped


def make_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        IrregularConv2d(3, 4, 3, shift=0.8), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, (1, 3))
    )


def test_snapped_keeps_weights_and_loses_shapes() -> None:
    net = make_net()
    before = copy.deepcopy(net.state_dict())
    control = snapped(net).state_dict()
    changed = {name for name, value in control.items() if not torch.equal(value, before[name])}
    assert changed == {"0.positions"}
    assert torch.equal(control["0.positions"], before["0.slots"].expand_as(control["0.positions"]))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_randomised_keeps_shapes_and_values_and_loses_their_order() -> None:
    net = make_net()
    before = copy.deepcopy(net.state_dict())
    control = randomised(net, seed=3).state_dict()
    changed = {name for name, value in control.items() if not torch.equal(value, before[name])}
    assert changed == {"0.weight", "3.weight"}
    for name in changed:
        assert torch.equal(control[name].flatten().sort().values, before[name].flatten().sort().values)
        assert (control[name] != before[name]).float().mean() > 0.5
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_randomised_is_seeded() -> None:
    first, again, other = (randomised(make_net(), seed).state_dict()["3.weight"] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
