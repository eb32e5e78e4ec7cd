"""The rows on training of the table "At home in PyTorch" in docs/operator.md: averages, checkpoints, compiled steps."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.checkpoint import checkpoint

from icnn_core import IrregularConv2d, StepBound, parameter_groups, read_checkpoint, write_checkpoint

SHARINGS = ["layer", "channel", "none"]


def make_net(sharing: str = "channel") -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        IrregularConv2d(3, 4, (3, 2), padding=1, sharing=sharing, shift=0.3),
        nn.ReLU(),
        IrregularConv2d(4, 2, 3, stride=2, padding=(1, 0), sharing=sharing, shift=0.3),
    )


def images(number: int) -> torch.Tensor:
    return torch.randn(2, 3, 8, 9, generator=torch.Generator().manual_seed(number))


def train(
    net: nn.Module,
    steps: int = 3,
    forward: Callable[[torch.Tensor], torch.Tensor] | None = None,
    after: Callable[[], object] = lambda: None,
) -> torch.optim.Optimizer:
    """Some bounded steps, which leave their cells by the margin; `after` is called after each."""
    optimizer = torch.optim.SGD(parameter_groups(net, lr=0.05, position_lr=200.0), momentum=0.5)
    StepBound(optimizer, net, margin=0.05)
    for number in range(steps):
        optimizer.zero_grad()
        (forward or net)(images(number)).square().mean().backward()
        optimizer.step()
        after()
    return optimizer


def assert_same(ours: nn.Module, theirs: nn.Module, *, exactly: bool = False) -> None:
    bounds = {"rtol": 0.0, "atol": 0.0} if exactly else {"rtol": 1e-4, "atol": 2e-6}
    for (name, mine), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, **bounds, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("sharing", SHARINGS)
def test_stochastic_weight_averaging_takes_the_mean_of_positions(tmp_path: Path, sharing: str) -> None:
    net, seen = make_net(sharing), []
    averaged = AveragedModel(net, use_buffers=True)
    train(
        net, after=lambda: (averaged.update_parameters(net), seen.append(net[2].positions.detach().clone()))
    )
    torch.testing.assert_close(averaged.module[2].positions.detach(), torch.stack(seen).mean(0))
    assert torch.equal(averaged.module[2].slots, net[2].slots)
    assert not torch.allclose(averaged(images(7)), net(images(7)))
    write_checkpoint(tmp_path / "averaged.pt", averaged)
    state = read_checkpoint(tmp_path / "averaged.pt").state
    assert torch.equal(state["2.positions"], averaged.module[2].positions)


def test_moving_averages_follow_positions() -> None:
    net = make_net()
    expected = net[0].positions.detach().clone()
    averaged = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.75), use_buffers=True)

    def follow() -> None:
        averaged.update_parameters(net)
        first = averaged.n_averaged == 1
        expected.copy_(net[0].positions if first else 0.75 * expected + 0.25 * net[0].positions.detach())

    train(net, after=follow)
    torch.testing.assert_close(averaged.module[0].positions.detach(), expected)
    assert not torch.allclose(expected, net[0].positions)
    assert torch.equal(averaged.module[0].slots, net[0].slots)


@pytest.mark.parametrize("sharing", SHARINGS)
@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing_changes_no_bit(sharing: str, reentrant: bool) -> None:
    net, plain = make_net(sharing), make_net(sharing)
    train(net, forward=lambda x: checkpoint(net, x.requires_grad_(), use_reentrant=reentrant))
    train(plain)
    assert_same(net, plain, exactly=True)


def test_a_checkpointing_wrapper_leaves_names_alone(tmp_path: Path) -> None:
    net, plain = make_net(), make_net()
    net[2] = checkpoint_wrapper(net[2])
    train(net)
    train(plain)
    assert_same(net, plain, exactly=True)
    write_checkpoint(tmp_path / "wrapped.pt", net)
    checkpointed = read_checkpoint(tmp_path / "wrapped.pt")
    assert [layer.name for layer in checkpointed.irregular] == ["0", "2"]
    assert checkpointed.state.keys() == plain.state_dict().keys()


@pytest.mark.parametrize("sharing", SHARINGS)
def test_saved_tensors_may_wait_in_another_memory(sharing: str) -> None:
    """`save_on_cpu` copies what the backward pass needs, and brings it back."""
    net, plain, packed = make_net(sharing), make_net(sharing), []

    def forward(x: torch.Tensor) -> torch.Tensor:
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t: (packed.append(t.shape), t.clone())[1], lambda t: t
        ):
            return net(x)

    train(net, forward=forward)
    train(plain)
    assert_same(net, plain, exactly=True)
    assert packed
    with torch.autograd.graph.save_on_cpu():
        out = net(images(8))
    out.square().mean().backward()
    plain(images(8)).square().mean().backward()
    assert torch.equal(net[0].positions.grad, plain[0].positions.grad)


@pytest.mark.parametrize("sharing", SHARINGS)
def test_training_steps_of_a_compiled_network(sharing: str) -> None:
    net, plain = make_net(sharing), make_net(sharing)
    train(net, forward=torch.compile(net, fullgraph=True, backend="aot_eager"))
    train(plain)
    assert_same(net, plain)


def test_a_compiled_step_of_the_optimiser_keeps_its_bound() -> None:
    nets = make_net(), make_net()
    for net in nets:
        optimizer = torch.optim.SGD(parameter_groups(net, lr=0.05, position_lr=900.0))
        StepBound(optimizer, net, margin=0.05)
        step = torch.compile(optimizer.step, backend="aot_eager") if net is nets[0] else optimizer.step
        for number in range(2):
            before = copy.deepcopy(net[0].positions.detach())
            optimizer.zero_grad()
            net(images(number)).square().mean().backward()
            step()
            assert (net[0].positions - before).abs().max() < 1.06
    assert_same(*nets)
