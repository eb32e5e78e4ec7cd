"""Position groups, the step bound and the schedule."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from icnn_core import IrregularConv2d, StepBound, parameter_groups
from icnn_core.errors import ArgumentError
from icnn_core.optim import poly_schedule


def test_positions_get_their_own_rate_and_no_decay():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), IrregularConv2d(4, 2, (3, 2)), nn.Conv2d(2, 2, 1))
    model[2].weight.requires_grad_(False)
    weights, positions = parameter_groups(model, lr=0.1, position_lr=2.0, weight_decay=0.5)
    assert [p.shape for p in positions["params"]] == [model[1].positions.shape]
    assert (positions["lr"], positions["weight_decay"]) == (2.0, 0.0)
    assert (weights["lr"], weights["weight_decay"]) == (0.1, 0.5)
    assert len(weights["params"]) == 5  # two of each convolution, less the frozen weight
    assert [g["name"] for g in parameter_groups(nn.Conv2d(1, 1, 1), lr=1.0, position_lr=1.0)] == ["weights"]


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam, torch.optim.RMSprop])
def test_no_step_leaves_the_last_cell_by_more_than_the_margin(optimizer):
    torch.manual_seed(0)
    layer = IrregularConv2d(2, 3, (2, 3), shift=0.4)  # an even kernel: its slots are half-integers
    centre = torch.tensor([0.5, 1.0])
    trained = optimizer(parameter_groups(layer, lr=0.1, position_lr=50.0))
    StepBound(trained, layer, margin=0.05)
    left = 0
    for _ in range(4):
        before = layer.positions.detach().clone()
        trained.zero_grad()
        layer(torch.randn(1, 2, 6, 7)).square().sum().backward()
        trained.step()
        cell = (before + centre).floor() - centre
        after = layer.positions.detach()
        assert (after >= cell - 0.05 - 1e-6).all()
        assert (after <= cell + 1.05 + 1e-6).all()
        left += int(((after < cell) | (after > cell + 1)).sum())
    assert left > 0, "a step may leave its cell by the margin"


def test_the_bound_can_be_removed():
    layer = IrregularConv2d(1, 1, 3, shift=0.0)
    trained = torch.optim.SGD([layer.positions], lr=1.0)
    StepBound(trained, layer).remove()
    layer.positions.grad = torch.full_like(layer.positions, -9.0)
    trained.step()
    assert torch.equal(layer.positions, (layer.slots + 9).expand_as(layer.positions))
    with pytest.raises(ArgumentError, match="margin"):
        StepBound(trained, layer, margin=0.0)


def test_poly_schedule_falls_to_zero_and_rests_while_warming_up():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule = poly_schedule(optimizer, iterations=4, power=0.5, warmup=1)
    rates = []
    for _ in range(5):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([0.0, 2 * 0.75**0.5, 2 * 0.5**0.5, 2 * 0.25**0.5, 0.0])
