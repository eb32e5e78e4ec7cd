"""Where a run stands, what it left, and where its time went."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from icnn_core.evaluation import Evaluation
from icnn_core.surgery import irregular_layers

_T = TypeVar("_T")


@dataclass(frozen=True)
class Progress:
    """Where a run stands after an iteration.

    Attributes:
        iteration, iterations: how many are done, and of how many.
        loss: of this iteration's batch.
        images_per_second, seconds_left: since this run began or went on, without its evaluations.
        displacement: mean distance of all positions from their slots in pixels; None if no layer is irregular.
        mean_iou: if the network was measured after this iteration.
        displacements: by layer, with `mean_iou`.
        rates: learning rates of the next iteration, by group of parameters.
        waiting: share of the time spent waiting for data, in [0, 1].
    """

    iteration: int
    iterations: int
    loss: float
    images_per_second: float
    seconds_left: float
    displacement: float | None = None
    mean_iou: float | None = None
    displacements: Mapping[str, float] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)
    waiting: float = 0.0


@dataclass(frozen=True)
class TrainingResult:
    """What a run left.

    Attributes:
        checkpoint: the last one.
        evaluation: the last one; None if the run was interrupted.
        iterations_done: of this run and those that it went on from; iterations_here: of this call alone, 0 where the
            run had already finished.
        seconds: that this run took, without what it went on from.
        interrupted: whether it was ended early, by Ctrl-C or SIGTERM.
        waiting: share of the training time spent waiting for data, in [0, 1].
        images_per_second: in training.
        skipped: images left out because they cannot be decoded (`skip_bad`).
    """

    checkpoint: Path
    evaluation: Evaluation | None
    iterations_done: int
    seconds: float
    interrupted: bool
    waiting: float = 0.0
    images_per_second: float = 0.0
    skipped: tuple[Path, ...] = ()
    iterations_here: int = 0


class Stopwatch:
    """Seconds of a run: all, those spent waiting for data, and those in which training paused to measure and write."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._waited = self._paused = 0.0

    @property
    def seconds(self) -> float:
        """Since it was made."""
        return time.perf_counter() - self._began

    @property
    def training(self) -> float:
        """Without pauses; above 0."""
        return max(self.seconds - self._paused, 1e-9)

    @property
    def waiting(self) -> float:
        """Share of the training time spent waiting for data, in [0, 1]."""
        return min(1.0, self._waited / self.training)

    def wait_for(self, items: Iterable[_T]) -> Iterator[_T]:
        """The items; the time until each arrives counts as waiting."""
        iterator, end = iter(items), object()
        while True:
            began = time.perf_counter()
            item = next(iterator, end)
            self._waited += time.perf_counter() - began
            if item is end:
                return
            yield item  # pyright: ignore[reportReturnType]

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Inside of it is no training."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._paused += time.perf_counter() - began


@torch.no_grad()
def displacements(model: nn.Module) -> dict[str, float]:
    """Mean distance of each irregular layer's positions from their slots, in pixels."""
    layers = irregular_layers(model).items()
    return {name: float((layer.positions - layer.slots).norm(dim=-1).mean()) for name, layer in layers}


@torch.no_grad()
def mean_displacement(model: nn.Module) -> float | None:
    """Mean distance of all positions from their slots, in pixels; None if no layer is irregular."""
    lengths = [
        (layer.positions - layer.slots).norm(dim=-1).flatten() for layer in irregular_layers(model).values()
    ]
    return float(torch.cat(lengths).mean()) if lengths else None
