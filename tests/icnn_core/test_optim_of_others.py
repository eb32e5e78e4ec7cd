"""Positions in the optimisers that timm and transformers make: the recipes of docs/recording.md."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from icnn_core import IrregularConv2d, StepBound, make_irregular
from icnn_core.errors import ArgumentError
from icnn_core.optim import position_parameters, split_positions


def place(optimizer: torch.optim.Optimizer, parameter: nn.Parameter) -> dict[str, Any]:
    """The one group that a parameter lies in."""
    (group,) = [g for g in optimizer.param_groups if any(p is parameter for p in g["params"])]
    return group


def held(optimizer: torch.optim.Optimizer) -> list[int]:
    return sorted(id(p) for group in optimizer.param_groups for p in group["params"])


def make_timm(name: str = "resnet10t") -> Any:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    torch.manual_seed(0)
    model = timm.create_model(
        name, num_classes=3, zero_init_last=False
    )  # else nothing reaches a block at first
    make_irregular(model, irregular="layer4", shift=0.0)
    return model


def advance(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    model(torch.randn(2, 3, 64, 48)).square().mean().backward()
    optimizer.step()


@pytest.mark.parametrize("layer_decay", [None, 0.5])
def test_timms_optimisers_with_and_without_layer_wise_decay(layer_decay: float | None) -> None:
    model = make_timm()
    optim = pytest.importorskip("timm.optim", reason="timm is not installed")
    plain = optim.create_optimizer_v2(model, opt="adamw", lr=0.01, weight_decay=0.05, layer_decay=layer_decay)
    rates = {id(p): g["lr"] * g.get("lr_scale", 1.0) for g in plain.param_groups for p in g["params"]}
    if layer_decay is None:
        groups = optim.param_groups_weight_decay(model, weight_decay=0.05)
    else:
        groups = optim.param_groups_layer_decay(model, weight_decay=0.05, layer_decay=layer_decay)
    groups = split_positions(groups, model, position_lr=0.02)
    optimizer = optim.create_optimizer_v2(groups, opt="adamw", lr=0.01, weight_decay=0.05)
    StepBound(optimizer, model)
    assert held(optimizer) == held(plain)
    layer = model.layer4[0].conv1
    assert isinstance(layer, IrregularConv2d)
    group = place(optimizer, layer.positions)
    assert (group["lr"], group["weight_decay"], group.get("lr_scale", 1.0)) == (0.02, 0.0, 1.0)
    for name, parameter in model.named_parameters():
        if not name.endswith("positions"):
            own = place(optimizer, parameter)
            assert own["lr"] * own.get("lr_scale", 1.0) == pytest.approx(rates[id(parameter)]), name
    if layer_decay is not None:
        assert (
            place(optimizer, model.conv1[0].weight)["lr_scale"] < place(optimizer, layer.weight)["lr_scale"]
        )
    advance(model, optimizer)
    moved = (layer.positions - layer.slots).abs()
    assert moved.max().item() == pytest.approx(0.02, rel=1e-3), "Adam's first step is its rate"


def test_timms_muon_moves_positions_as_adam_does() -> None:
    optim = pytest.importorskip("timm.optim", reason="timm is not installed")
    if not hasattr(optim, "Muon"):
        pytest.skip("this timm has no Muon")
    model = make_timm()
    (positions, *_) = position_parameters(model)
    before = positions.detach().clone()
    groups = split_positions([{"params": list(model.parameters())}], model, position_lr=0.02)
    advance(model, optim.create_optimizer_v2(groups, opt="muon", lr=1e-3))
    moved = (positions.detach() - before).abs()
    assert 0.005 < float(moved.median()) <= 0.03  # the rate, not what an orthogonal matrix leaves of it


def test_timms_schedulers_leave_positions_their_own_rate() -> None:
    model = make_timm()
    scheduler = pytest.importorskip("timm.scheduler", reason="timm is not installed")
    groups = split_positions([{"params": list(model.parameters())}], model, position_lr=0.02)
    optimizer = torch.optim.AdamW(groups, lr=0.01)
    schedule = scheduler.CosineLRScheduler(optimizer, t_initial=10, lr_min=0.0)
    schedule.step(5)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.005, 0.01])


@pytest.mark.filterwarnings("ignore")  # transformers warns of this machine
def test_transformers_trainer_with_layer_wise_decay(tmp_path: Any) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), IrregularConv2d(4, 2, (3, 2), shift=0.0), nn.Flatten()
    )
    positions, weight = model[2].positions, model[2].weight
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path), learning_rate=0.01, weight_decay=0.1, use_cpu=True, report_to="none",
        max_steps=4, lr_scheduler_type="linear",
    )  # fmt: skip
    trainer = transformers.Trainer(model, arguments)
    decaying = trainer.get_decay_parameter_names(model)
    layers = [
        {"params": [], "lr": 0.01 * 0.5 ** (2 - depth), "weight_decay": decay}
        for depth in range(3)
        for decay in (0.1, 0.0)
    ]
    for name, parameter in model.named_parameters():
        layers[2 * int(name[0]) + (name not in decaying)]["params"].append(parameter)
    kind, options = transformers.Trainer.get_optimizer_cls_and_kwargs(arguments)
    groups = split_positions(layers, model, position_lr=0.02)
    trainer = transformers.Trainer(model, arguments, optimizers=(kind(groups, **options), None))
    StepBound(trainer.optimizer, model)
    trainer.create_scheduler(num_training_steps=4, optimizer=trainer.optimizer)
    assert held(trainer.optimizer) == sorted(id(p) for p in model.parameters())
    assert (
        place(trainer.optimizer, positions)["lr"],
        place(trainer.optimizer, positions)["weight_decay"],
    ) == (0.02, 0.0)
    assert place(trainer.optimizer, weight)["lr"] == 0.01
    assert place(trainer.optimizer, model[0].weight)["lr"] == 0.0025
    model(torch.randn(2, 3, 9, 8)).square().mean().backward()
    trainer.optimizer.step()
    assert (positions - model[2].slots).abs().max().item() == pytest.approx(0.02, rel=1e-3)
    trainer.lr_scheduler.step()
    assert place(trainer.optimizer, positions)["lr"] == pytest.approx(0.015)


def test_groups_of_any_kind_are_split_and_left_alone() -> None:
    layer = IrregularConv2d(2, 3, (3, 2), interpolation="gaussian", learn_sigma=True)
    given = [
        {"params": [layer.weight, layer.positions], "lr": 0.1, "lr_scale": 0.3, "name": "deep"},
        {"params": iter([("bias", layer.bias), ("sigma", layer.sigma)]), "weight_decay": 0.2},
    ]
    groups = split_positions(given, layer, position_lr=5.0)
    assert [[tuple(p.shape) for p in group["params"]] for group in groups] == [
        [(3, 2, 3, 2)], [(3,)], [(2, 6, 2), (2, 6, 2)],
    ]  # fmt: skip
    assert groups[0] | {"params": 0} == {"params": 0, "lr": 0.1, "lr_scale": 0.3, "name": "deep"}
    own = {"params": 0, "name": "positions", "lr": 5.0, "weight_decay": 0.0, "use_fallback": True}
    assert groups[2] | {"params": 0} == own
    assert len(given[0]["params"]) == 2
    for frozen in (layer.positions, layer.sigma):
        frozen.requires_grad_(False)
    (only,) = split_positions([{"params": [layer.positions, layer.weight]}], layer, position_lr=5.0)
    assert only["params"] == [layer.weight]


def test_positions_that_are_in_no_group_are_added_once() -> None:
    layer = IrregularConv2d(2, 3, (3, 2))
    groups = split_positions([{"params": [layer.weight, layer.bias]}], layer, position_lr=5.0)
    assert groups[1]["params"] == [layer.positions]
    with pytest.raises(ArgumentError, match="lists of groups"):
        split_positions([layer.weight], layer, position_lr=5.0)  # type: ignore[list-item]
