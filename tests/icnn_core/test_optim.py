"""Position groups, the step bound and the schedule."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize, prune

from icnn_core import (
    IrregularConv2d,
    StepBound,
    make_irregular,
    parameter_groups,
    read_checkpoint,
    write_checkpoint,
)
from icnn_core.errors import ArgumentError
from icnn_core.optim import poly_schedule
from icnn_core.surgery import make_regular


def test_positions_get_their_own_rate_and_no_decay():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), IrregularConv2d(4, 2, (3, 2)), nn.Conv2d(2, 2, 1))
    model[2].weight.requires_grad_(False)
    weights, positions = parameter_groups(model, lr=0.1, position_lr=2.0, weight_decay=0.5)
    assert [p.shape for p in positions["params"]] == [model[1].positions.shape]
    assert (positions["lr"], positions["weight_decay"]) == (2.0, 0.0)
    assert (weights["lr"], weights["weight_decay"]) == (0.1, 0.5)
    assert len(weights["params"]) == 5  # two of each convolution, less the frozen weight
    assert [g["name"] for g in parameter_groups(nn.Conv2d(1, 1, 1), lr=1.0, position_lr=1.0)] == ["weights"]


def test_weights_decay_as_the_optimiser_says_unless_told_otherwise():
    model = nn.Sequential(nn.Conv2d(2, 4, 1), IrregularConv2d(4, 3, 3))
    for given, wanted in ((None, 0.03), (0.0, 0.0), (0.2, 0.2)):
        groups = parameter_groups(model, lr=0.1, position_lr=2.0, weight_decay=given)
        optimizer = torch.optim.AdamW(groups, weight_decay=0.03)
        assert [group["weight_decay"] for group in optimizer.param_groups] == [wanted, 0.0]


class Near(nn.Module):
    def forward(self, positions):
        return positions.clamp(-2, 2)


def _made_computed(how):
    layer = IrregularConv2d(4, 2, (3, 2), shift=0.3)
    if how == "pruned":
        prune.random_unstructured(layer, "positions", 0.3)
        return layer, layer.positions_orig
    if how == "normed":
        torch.nn.utils.parametrizations.weight_norm(layer, "positions")
        return layer, layer.parametrizations.positions.original1
    parametrize.register_parametrization(layer, "positions", Near())
    return layer, layer.parametrizations.positions.original


@pytest.mark.parametrize("how", ["pruned", "normed", "parametrised"])
def test_what_positions_are_computed_from_learns_as_positions_do(how):
    torch.manual_seed(0)
    layer, source = _made_computed(how)
    weights, positions = parameter_groups(layer, lr=0.1, position_lr=2.0, weight_decay=0.5)
    assert any(p is source for p in positions["params"])
    assert {id(p) for p in weights["params"]} == {id(layer.weight), id(layer.bias)}
    with pytest.raises(ArgumentError, match="computed"):
        layer.reset_positions()
    optimizer = torch.optim.SGD([weights, positions | {"lr": 1e4}])
    if how != "pruned":
        with pytest.warns(UserWarning, match="positions of 1 layers are computed"):
            StepBound(optimizer, layer)
        return
    StepBound(optimizer, layer, margin=0.1)
    before = source.detach().clone()
    layer(torch.randn(2, 4, 7, 5)).square().sum().backward()
    optimizer.step()
    assert 0.5 < float((source.detach() - before).abs().max()) <= 1.1 + 1e-6


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


def thrown(optimizer: torch.optim.Optimizer, layer: IrregularConv2d, towards: float) -> torch.Tensor:
    """Positions after one step that leads far beyond any cell."""
    layer.positions.grad = torch.full_like(layer.positions, -towards)
    optimizer.step()
    return layer.positions.detach()


def placed(dtype: torch.dtype = torch.float32) -> IrregularConv2d:
    """One tap of a 3 × 2 kernel, its centre 1 and 0.5 from the first, so that cells begin at whole and half numbers."""
    layer = IrregularConv2d(1, 1, (3, 2), shift=0.0, dtype=dtype)
    with torch.no_grad():
        layer.positions.copy_(torch.tensor([2.25, -3.25]))
    return layer


def test_a_step_ends_at_both_edges_of_its_cell_and_no_further():
    for towards, edge in ((50.0, (3.1, -2.4)), (-50.0, (1.9, -3.6))):  # the cells are 2 … 3 and −3.5 … −2.5
        layer = placed()
        trained = torch.optim.SGD([layer.positions], lr=1.0)
        StepBound(trained, layer, margin=0.1)
        moved = thrown(trained, layer, towards)
        torch.testing.assert_close(moved, torch.tensor(edge).expand_as(moved), rtol=0, atol=1e-6)


def test_positions_unfrozen_or_added_later_are_bounded():
    first, second = placed(), placed()
    model = nn.Sequential(first, second)
    first.positions.requires_grad_(False)
    trained = torch.optim.SGD([first.weight, first.positions], lr=1.0)
    StepBound(trained, model)
    first.positions.requires_grad_(True)
    assert thrown(trained, first, 5e7).amax() < 3.2
    trained.add_param_group({"params": [second.positions]})
    assert thrown(trained, second, 5e7).amax() < 3.2
    third = placed()
    model.append(third)
    trained.add_param_group({"params": [third.positions]})
    assert thrown(trained, third, 5e7).amax() < 3.2


@pytest.mark.parametrize("copied", ["with its model", "alone", "by pickle", "by its state"])
def test_a_copied_optimiser_keeps_the_bound(copied):
    layer = placed()
    trained = torch.optim.Adam([{"params": [layer.weight]}, {"params": [layer.positions], "lr": 40.0}])
    StepBound(trained, layer, margin=0.2)
    if copied == "with its model":
        layer, trained = copy.deepcopy((layer, trained))
    elif copied == "alone":
        trained = copy.deepcopy(trained)
    elif copied == "by pickle":
        layer, trained = pickle.loads(pickle.dumps((layer, trained)))
    else:
        state, layer = copy.deepcopy(trained.state_dict()), placed()
        trained = torch.optim.Adam([{"params": [layer.weight]}, {"params": [layer.positions]}])
        trained.load_state_dict(state)
    (positions,) = trained.param_groups[1]["params"]
    positions.grad = torch.full_like(positions, -1.0)
    trained.step()
    torch.testing.assert_close(positions[0, 0].detach(), torch.tensor([3.2, -2.3]))


def test_two_models_in_one_optimiser_have_a_bound_each():
    wide, near = placed(), placed()
    trained = torch.optim.SGD([wide.positions, near.positions], lr=1.0)
    StepBound(trained, wide, margin=0.3)
    bound = StepBound(trained, near, margin=0.1)
    near.positions.grad = torch.full_like(near.positions, -9.0)
    assert thrown(trained, wide, 9.0)[0, 0, 0] == pytest.approx(3.3)
    assert near.positions[0, 0, 0].item() == pytest.approx(3.1)
    bound.remove()
    assert thrown(trained, wide, 9.0)[0, 0, 0] == pytest.approx(4.3)
    assert near.positions[0, 0, 0].item() == pytest.approx(12.1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precisions_do_not_round_over_the_edge(dtype):
    for start in (0.25, 61.0, 130.0, 201.0):  # where bfloat16 is 2⁻⁹, ¼ and 1 apart
        for towards in (1000.0, -1000.0):
            layer = placed(dtype)
            with torch.no_grad():
                layer.positions.fill_(start)
            trained = torch.optim.SGD([layer.positions], lr=1.0)
            StepBound(trained, layer, margin=0.2)
            moved = thrown(trained, layer, towards).double()
            for axis, centre in ((0, 1.0), (1, 0.5)):
                cell = math.floor(start + centre) - centre
                assert moved[..., axis].min() >= cell - 0.2
                assert moved[..., axis].max() <= cell + 1.2
            spacing = torch.finfo(dtype).eps * 2 ** math.floor(math.log2(start + 1.5))
            assert (moved - start).abs().min() >= 0.2 - spacing, "it moves as far as its type allows"


def test_poly_schedule_falls_to_zero_and_rests_while_warming_up():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule = poly_schedule(optimizer, iterations=4, power=0.5, warmup=1)
    rates = []
    for _ in range(5):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([0.0, 2 * 0.75**0.5, 2 * 0.5**0.5, 2 * 0.25**0.5, 0.0])


def test_an_optimiser_made_before_surgery_is_told():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, (3, 2)))
    early = torch.optim.SGD(model.parameters(), lr=0.1)
    make_irregular(model)
    with pytest.warns(
        UserWarning, match=r"none of the model's 2 position parameters .* before make_irregular"
    ):
        StepBound(early, model)
    StepBound(torch.optim.SGD(parameter_groups(model, lr=0.1, position_lr=1.0)), model)
    StepBound(torch.optim.SGD([p for n, p in model.named_parameters() if "positions" in n], lr=0.1), model)


class Listed(nn.Module):
    """A list called as methods of nn.Module: PyTorch trains it all the same."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(2, 3, (3, 2))
        self.modules = self.parameters = self.buffers = [self.first]

    def forward(self, x):
        return self.first(x)


def test_a_network_may_have_an_attribute_called_modules(tmp_path):
    model = Listed()
    assert make_irregular(model).replaced == ("first",)
    trained = torch.optim.SGD(parameter_groups(model, lr=0.1, position_lr=1.0))
    StepBound(trained, model)
    model(torch.randn(1, 2, 6, 7)).square().sum().backward()
    trained.step()
    write_checkpoint(tmp_path / "listed.pt", model)
    assert len(read_checkpoint(tmp_path / "listed.pt").irregular) == 1
    assert make_regular(model) == ("first",)


class ReadsWeight(nn.Module):
    """As blocks do that add up the kernels of their branches in every forward pass."""

    def __init__(self):
        super().__init__()
        self.called, self.read = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3)

    def forward(self, x):
        return nn.functional.conv2d(self.called(x), self.read.weight.flip(0))


def test_positions_that_nothing_reads_are_told_once():
    torch.manual_seed(0)
    model = ReadsWeight()
    make_irregular(model)
    optimizer = torch.optim.SGD(parameter_groups(model, lr=0.1, position_lr=0.1))
    StepBound(optimizer, model)
    optimizer.step()  # nothing has a gradient yet
    with pytest.warns(UserWarning, match=r"the weights of read have gradients.*does not call the layers"):
        advance(model, optimizer)
    advance(model, optimizer)
    assert model.called.positions.grad is not None


@pytest.mark.parametrize("left", ["frozen positions", "frozen weight"])
def test_layers_that_learn_one_of_both_are_no_such_case(left):
    torch.manual_seed(0)
    layer = IrregularConv2d(3, 2, 3, shift=0.3)
    (layer.positions if left == "frozen positions" else layer.weight).requires_grad_(False)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    StepBound(optimizer, layer)
    advance(layer, optimizer)


def advance(model, optimizer):
    optimizer.zero_grad()
    model(torch.randn(2, 3, 9, 8)).square().sum().backward()
    optimizer.step()
