"""The rows on several processes of the table "At home in PyTorch" in docs/operator.md: two on one CPU, started once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from icnn_core import read_checkpoint

# The bound is met on the way: without it positions would be elsewhere.
_PARTS = """
import sys, torch
from torch import nn
from icnn_core import IrregularConv2d, StepBound, parameter_groups

def make_net():
    torch.manual_seed(0)
    return nn.Sequential(
        IrregularConv2d(3, 5, (3, 2), shift=0.3), nn.ReLU(),
        IrregularConv2d(5, 4, 3, padding=1, sharing="layer", shift=0.3), nn.ReLU(),
        IrregularConv2d(4, 2, (2, 3), sharing="none", shift=0.3, interpolation="gaussian", learn_sigma=True),
    )

def train(net, batches, steps=3):
    optimizer = torch.optim.SGD(parameter_groups(net, lr=0.05, position_lr=400.0), momentum=0.5)
    StepBound(optimizer, net, margin=0.05)
    for number in range(steps):
        optimizer.zero_grad()
        batches(net, number)
        optimizer.step()
        yield number + 1

def images(number):
    return torch.randn(4, 3, 9, 8, generator=torch.Generator().manual_seed(number))

def whole(net, number):
    net(images(number)).square().mean().backward()
"""
_SCRIPT = (
    _PARTS
    + """
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from icnn_core import make_irregular, write_checkpoint
from icnn_core.errors import ArgumentError
from icnn_viz import PositionRecorder

become_two()
out = sys.argv[1]
dist.init_process_group("gloo")
rank = dist.get_rank()

def mine(net, number):
    net(images(number)[rank::2]).square().mean().backward()

def in_parts(net, number):
    first, second = images(number)[rank::2].split(1)
    with net.no_sync():
        (net(first).square().mean() / 2).backward()
    (net(second).square().mean() / 2).backward()

for name, batches in (("ddp", mine), ("ddp-parts", in_parts)):
    parallel = DistributedDataParallel(make_net())
    with PositionRecorder(parallel, f"{out}/{name}", every=2) as recorder:
        for _ in train(parallel, batches):
            recorder.step()
    write_checkpoint(f"{out}/{name}-{rank}.pt", parallel)

# A layer of one shape lies in the first process alone; three channels are two and one.
def shard(net):
    for layer in net:
        if isinstance(layer, IrregularConv2d):
            fully_shard(layer)
    return fully_shard(net)

sharded = shard(make_net())
with PositionRecorder(sharded, f"{out}/fsdp", every=2) as recorder:
    for _ in train(sharded, mine):
        recorder.step()
write_checkpoint(f"{out}/fsdp-{rank}.pt", sharded)
write_checkpoint(f"{out}/fsdp-{rank}.safetensors", sharded)

said = []
for late in (DistributedDataParallel(nn.Sequential(nn.Conv2d(3, 2, 3))), shard(nn.Sequential(nn.Conv2d(3, 2, 3)))):
    try:
        said.append(str(make_irregular(late)))
    except ArgumentError as error:
        said.append(str(error))
torch.save(said, f"{out}/said-{rank}.pt")
dist.destroy_process_group()
"""
)


@pytest.fixture(scope="module")
def trained(
    alone: dict[str, torch.Tensor],
    run_two_processes: Callable[[Path, str], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A folder with what two processes left. What they compile was compiled for `alone`, and is found by both."""
    if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
        pytest.skip("this build of torch has no gloo")
    out = tmp_path_factory.mktemp("processes")
    run_two_processes(out, _SCRIPT)
    return out


@pytest.fixture(scope="module")
def alone() -> dict[str, torch.Tensor]:
    """The weights of one process that sees each batch whole."""
    parts: dict[str, Any] = {}
    exec(_PARTS, parts)
    net, start = parts["make_net"](), parts["make_net"]().state_dict()
    assert [*parts["train"](net, parts["whole"])] == [1, 2, 3]
    assert (net.state_dict()["0.positions"] - start["0.positions"]).abs().max() > 0.3, (
        "else this shows little"
    )
    return net.state_dict()


def assert_same(path: Path, alone: dict[str, torch.Tensor]) -> None:
    state = read_checkpoint(path).state
    assert state.keys() == alone.keys()
    for name, tensor in alone.items():
        torch.testing.assert_close(
            state[name], tensor, rtol=1e-4, atol=2e-6, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("way", ["ddp", "ddp-parts"])
@pytest.mark.parametrize("rank", [0, 1])
def test_distributed_data_parallel_gives_the_weights_of_one(
    trained: Path, alone: dict[str, torch.Tensor], way: str, rank: int
) -> None:
    assert_same(trained / f"{way}-{rank}.pt", alone)


@pytest.mark.parametrize("file", ["fsdp-0.pt", "fsdp-1.pt", "fsdp-0.safetensors"])
def test_fully_shard_gives_the_weights_of_one_bounded_steps_included(
    trained: Path, alone: dict[str, torch.Tensor], file: str
) -> None:
    assert_same(trained / file, alone)


@pytest.mark.parametrize("way", ["ddp", "fsdp"])
def test_positions_are_recorded_by_the_first_process(
    trained: Path, alone: dict[str, torch.Tensor], way: str
) -> None:
    assert sorted(path.stem for path in (trained / way).glob("*.safetensors")) == [
        f"{n:08d}" for n in (0, 2, 3)
    ]
    last = read_checkpoint(trained / way / "00000003.safetensors").state
    for layer in ("0", "2", "4"):
        torch.testing.assert_close(
            last[f"{layer}.positions"], alone[f"{layer}.positions"], rtol=1e-4, atol=2e-6
        )


def test_surgery_after_wrapping_is_refused(trained: Path) -> None:
    for rank in (0, 1):
        parallel, sharded = torch.load(trained / f"said-{rank}.pt")
        assert "DistributedDataParallel, which would never average" in parallel
        assert "skipped 0: sharded over processes: make the network irregular first" in sharded
