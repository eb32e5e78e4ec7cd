"""The controls: shapes without weights, weights without shapes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

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


def computed() -> dict[str, nn.Module]:
    """Networks whose weights are computed from others, after a forward pass."""
    nets = {
        "weight norm": nn.Sequential(parametrizations.weight_norm(make_net()[0]), nn.Conv2d(4, 2, 1)),
        "weight norm, old style": nn.Sequential(nn.utils.weight_norm(nn.Conv2d(3, 4, (2, 3)))),
        "spectral norm, old style": nn.Sequential(nn.utils.spectral_norm(nn.Conv2d(3, 4, (2, 3)))),
        "pruned": nn.Sequential(prune.l1_unstructured(nn.Conv2d(3, 4, (2, 3)), "weight", 0.3)),
    }
    for net in nets.values():
        net.eval()(torch.ones(1, 3, 5, 6))
    return nets


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize(
    "name", ["weight norm", "weight norm, old style", "spectral norm, old style", "pruned"]
)
def test_weights_computed_from_others_are_copied_and_shuffled_as_they_are_effective(name: str) -> None:
    net = computed()[name]
    image = torch.ones(1, 3, 5, 6)
    before, effective = net(image), net[0].weight.detach()
    if isinstance(net[0], IrregularConv2d):
        assert not torch.allclose(snapped(net)(image), before)
    else:
        assert torch.equal(snapped(net)(image), before)
    control = randomised(net, seed=2)
    control(image)
    found = control[0].weight.detach()
    assert torch.allclose(found.flatten().sort().values, effective.flatten().sort().values)
    assert (found != effective).float().mean() > 0.4
    assert torch.equal(net(image), before)
    assert torch.equal(net[0].weight, effective)


def test_randomised_keeps_learnt_widths() -> None:
    net = nn.Sequential(IrregularConv2d(3, 4, 3, interpolation="gaussian", learn_sigma=True))
    with torch.no_grad():
        net[0].sigma.uniform_(0.2, 0.9)
    control = randomised(net)
    assert torch.equal(control[0].sigma, net[0].sigma)
    assert torch.equal(control[0].positions, net[0].positions)
    assert not torch.equal(control[0].weight, net[0].weight)


def test_randomised_is_seeded() -> None:
    first, again, other = (randomised(make_net(), seed).state_dict()["3.weight"] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
