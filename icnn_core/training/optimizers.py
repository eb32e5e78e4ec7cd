"""Optimisers, step bound and schedules of a run: one set of rules for the weights, another for the positions."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from icnn_core.optim import StepBound, parameter_groups, poly_schedule, position_parameters
from icnn_core.training.config import TrainConfig

_log = logging.getLogger(__name__)


class Optimizers:
    """What one training step does to a network's parameters.

    SGD with momentum or AdamW moves the weights. Positions are moved by Adam, so that their rate is in pixels a
    step, or by SGD, the paper's rule. Both follow the poly policy; positions rest while they warm up, and no step of
    theirs leaves its pixel cell by more than the bound. At a rate of 0 positions are frozen, in `model` itself.
    """

    def __init__(self, model: nn.Module, config: TrainConfig) -> None:
        weights, *positions = parameter_groups(
            model, lr=config.lr, position_lr=config.position_lr, weight_decay=config.weight_decay
        )
        split = _split_classifier(model, weights, config)
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(split)
            if config.optimizer == "adamw"
            else torch.optim.SGD(split, momentum=config.momentum)
        ]
        self.schedules: list[LRScheduler] = [
            poly_schedule(self.optimizers[0], config.iterations, config.power)
        ]
        if config.position_lr == 0:  # a gradient that no optimiser clears would overflow for ever in float16
            for parameter in position_parameters(model):
                parameter.requires_grad_(False)
        elif positions:
            optimizer = (
                torch.optim.Adam(positions, eps=1e-12)  # gradients of positions are small
                if config.position_rule == "adam"
                else torch.optim.SGD(positions, momentum=config.momentum)
            )
            warmup = round(config.position_warmup * config.iterations)
            self.optimizers.append(optimizer)
            self.schedules.append(poly_schedule(optimizer, config.iterations, config.power, warmup))
            StepBound(optimizer, model, config.step_bound)

    def zero_grad(self) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Move everything, and the rates on their schedule."""
        for optimizer in self.optimizers:
            optimizer.step()
        self._follow_schedule()

    def skip(self) -> None:
        """Leave everything where it is in this iteration, which counts nevertheless."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch takes a schedule that moves first for a mistake
            self._follow_schedule()

    def rates(self) -> dict[str, float]:
        """The rates of the next step, by group: "weights", "classifier", "positions"."""
        return {group["name"]: group["lr"] for o in self.optimizers for group in o.param_groups}

    def _follow_schedule(self) -> None:
        for schedule in self.schedules:
            schedule.step()

    def state_dict(self) -> dict[str, Any]:
        return {
            "optimizers": [o.state_dict() for o in self.optimizers],
            "schedules": [s.state_dict() for s in self.schedules],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        for schedule, saved in zip(self.schedules, state["schedules"], strict=True):
            schedule.load_state_dict(saved)


def _split_classifier(model: nn.Module, weights: dict[str, Any], config: TrainConfig) -> list[dict[str, Any]]:
    """The classifier starts from nothing, so its weights may learn faster than the backbone's."""
    classifier = getattr(model, "classifier", None)
    if config.classifier_lr_factor == 1.0:
        return [weights]
    if not isinstance(classifier, nn.Module):
        _log.warning(
            "classifier_lr_factor=%g has no part: the network has no module called classifier, and all its weights "
            "learn at lr",
            config.classifier_lr_factor,
        )
        return [weights]
    own = {id(parameter) for parameter in classifier.parameters()}
    fresh = [p for p in weights["params"] if id(p) in own]
    rest = [p for p in weights["params"] if id(p) not in own]
    rate = config.lr * config.classifier_lr_factor
    return [weights | {"params": rest}, weights | {"name": "classifier", "params": fresh, "lr": rate}]
