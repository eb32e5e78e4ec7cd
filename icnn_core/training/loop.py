"""The training loop: one network, one data set, one schedule. Everything visible goes through callbacks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from icnn_core.datasets.registry import SegmentationDataset
from icnn_core.devices import check_default_device
from icnn_core.errors import TrainingError
from icnn_core.evaluation import Evaluation, evaluate
from icnn_core.training.config import TrainConfig
from icnn_core.training.folder import check_folder
from icnn_core.training.interruption import stop_requests
from icnn_core.training.loss import class_weights
from icnn_core.training.processes import Processes
from icnn_core.training.progress import Progress, Stopwatch, TrainingResult, displacements, mean_displacement
from icnn_core.training.randomness import random_state, seed_everything, set_random_state
from icnn_core.training.run_folder import RunFolder, RunState
from icnn_core.training.same_run import describe_run
from icnn_core.training.stream import Sample, Transform, read_ahead, share, training_batches
from icnn_core.training.update import Updater

_log = logging.getLogger(__name__)


def train(
    model: nn.Module,
    train_set: SegmentationDataset,
    val_samples: Sequence[Sample],
    transform: Transform,
    config: TrainConfig,
    out: str | Path,
    *,
    device: torch.device | str = "cpu",
    resume: bool = False,
    overwrite: bool = False,
    sources: Mapping[str, str | None] | None = None,
    on_progress: Callable[[Progress], object] = lambda progress: None,
) -> TrainingResult:
    """Train `model` in place and write `last.pt`, `best.pt` and `config.toml` into the folder `out`.

    At the start and at every evaluation the shapes alone go into `out/snapshots`, see `write_snapshot`. Under
    `accelerate launch` all processes call this alike: each trains on its part of every batch and measures its part of
    the validation images; the first alone writes and reports progress.

    The first Ctrl-C (or SIGTERM) ends the run after the current iteration, with a usable checkpoint; the second one at
    once. A run that is killed goes on from the last checkpoint, on the CPU to the very same end.

    Args:
        val_samples: pairs of a normalised image and its labels, see `evaluate`.
        transform: of training samples, see `training_batches`.
        resume: go on from `out/last.pt`, with the same settings, data and weights to start from (see `describe_run`);
            from the start, if the run was killed before it was first written.
        overwrite: replace the run that `out` holds.
        sources: of the model's weights, as `prepare` gives them; None takes them from the config.

    Raises:
        TrainingError: the loss, a gradient or a position is no longer finite; there is nothing to train on.
        CheckpointError: `out` cannot be written, another process is at work in it, or there is nothing to resume.
        ArgumentError: this machine cannot do what the config asks for; `resume` and `overwrite` at once.
        DeviceError: PyTorch's default device is not the CPU.
    """
    check_default_device("train")
    if len(train_set) == 0:
        raise TrainingError("train", needed="training images", got="none", fix="Check the data set's split.")
    processes = Processes(config, device)
    identity = describe_run(config, train_set, val_samples, sources, processes.count)
    folder = RunFolder(Path(out), config, train_set, identity)
    check_folder(folder.path, resume=resume, overwrite=overwrite)
    with folder.locked(here=processes.is_main):
        run = _Training(model, train_set, val_samples, config, folder, processes, on_progress)
        run.begin(resume=resume)
        return run.go_on(transform)


class _Training:
    """The state of one run, and what is done with it in each iteration."""

    def __init__(
        self,
        model: nn.Module,
        train_set: SegmentationDataset,
        val_samples: Sequence[Sample],
        config: TrainConfig,
        folder: RunFolder,
        processes: Processes,
        on_progress: Callable[[Progress], object],
    ) -> None:
        self.model, self.train_set, self.val_samples = model, train_set, val_samples
        self.config, self.folder, self.processes, self.on_progress = config, folder, processes, on_progress
        weights = class_weights(train_set, config.balance)
        self.update = Updater(model, config, processes, weights, train_set.ignore_index)
        self.state, self.first = RunState(), 0
        self.watch = Stopwatch()

    def begin(self, *, resume: bool) -> None:
        """Start anew, or take up the state that the folder holds."""
        seed_everything(self.config.seed + self.processes.rank)  # each process has a dropout of its own
        found = self.folder.read(self.model) if resume else None
        self.processes.wait()  # all have looked before anything is removed
        if self.processes.is_main:
            self.folder.claim()
        if found is None:
            if self.processes.is_main:
                self.folder.clear()
                self.folder.write_snapshot(self.model, 0)
            self.write_last(None)  # shows that the disk has room, and that the run can be gone on with
            return
        self.state, self.first = found, found.iteration
        self.update.optimizers.load_state_dict(found.optimizers)
        if (scaler := self.processes.scaler) is not None and found.scaler:
            scaler.load_state_dict(found.scaler)
        if self.processes.rank < len(found.random):
            set_random_state(found.random[self.processes.rank], self.processes.device)
        _log.info("going on after iteration %d", found.iteration)

    def go_on(self, transform: Transform) -> TrainingResult:
        """Train to the end, or until asked to stop."""
        state, evaluation = self.state, None
        with stop_requests() as stop_requested:
            if state.iteration == self.config.iterations:  # a run that had come to its end
                evaluation = self.keep()
            for parts in self.watch.wait_for(self.batches(transform)):
                loss = self.update(parts, state.iteration)
                state.iteration += 1
                evaluation = self.keep()
                if self.processes.is_main:
                    self.on_progress(self.progress(loss, evaluation))
                if self.processes.any(stop_requested()):
                    break
            interrupted = state.iteration < self.config.iterations
            if interrupted and evaluation is None:
                self.write_last(None)
        return self.result(None if interrupted else evaluation, interrupted=interrupted)

    def keep(self) -> Evaluation | None:
        """Measure and write what is due after this iteration."""
        done, config = self.state.iteration, self.config
        is_end = done == config.iterations
        if is_end:
            self.write_last(None)  # an evaluation that fails loses no training
        if is_end or _is_due(done, config.evaluate_every):
            evaluation = self.evaluate()
            self.write_last(evaluation)
            return evaluation
        if _is_due(done, config.checkpoint_every):
            self.write_last(None)
        return None

    def batches(self, transform: Transform) -> Iterator[tuple[Sample, ...]]:
        """For each iteration the parts of its batch that are this process's."""
        accumulate = self.config.accumulate
        loader = training_batches(
            self.train_set,  # pyright: ignore[reportArgumentType]  (a Sequence by __len__ and __getitem__)
            transform,
            batch_size=self.config.batch_size,
            first=self.first,
            last=self.config.iterations,
            seed=self.config.seed,
            workers=self.config.workers,
            parts=self.processes.parts,
            mine=range(self.processes.rank * accumulate, (self.processes.rank + 1) * accumulate),
            pin_memory=self.processes.device.type == "cuda",
        )
        return zip(*[loader] * accumulate, strict=True)

    def evaluate(self) -> Evaluation:
        """Measure, each process its share of the images; keep the positions, and the best network so far."""
        processes, state = self.processes, self.state
        samples = share(self.val_samples, processes.rank, processes.count)
        with self.watch.pause():
            if processes.is_main:
                self.folder.write_snapshot(self.model, state.iteration)
            processes.share_buffers(self.model)
            evaluation = evaluate(
                self.model,
                read_ahead(samples, self.config.workers),
                classes=self.train_set.classes,
                ignore_index=self.train_set.ignore_index,
                device=processes.device,
            )
            if processes.count > 1:
                counts = torch.from_numpy(evaluation.confusion).to(processes.device)
                evaluation = replace(evaluation, confusion=processes.sum(counts).cpu().numpy())
            found = state.iteration, evaluation.mean_iou, state.best_iou
            _log.info("iteration %d: mean IoU %.4f, best so far %.4f", *found)
            if evaluation.mean_iou > state.best_iou:
                state.best_iou = evaluation.mean_iou
                if processes.is_main:
                    self.folder.write_best(self.model, state.iteration, evaluation)
        return evaluation

    def write_last(self, evaluation: Evaluation | None) -> None:
        """Keep the newest network and all that going on needs."""
        with self.watch.pause():
            self.state.random = self.processes.gather(random_state(self.processes.device))
            if self.processes.is_main:
                self.state.optimizers = self.update.optimizers.state_dict()
                self.state.scaler = scaler.state_dict() if (scaler := self.processes.scaler) else {}
                self.folder.write_last(self.model, self.state, evaluation)
            self.processes.wait()

    def progress(self, loss: float, measured: Evaluation | None) -> Progress:
        done, last = self.state.iteration, self.config.iterations
        per_second = (done - self.first) / self.watch.training
        return Progress(
            iteration=done,
            iterations=last,
            loss=loss,
            images_per_second=per_second * self.config.batch_size,
            seconds_left=(last - done) / per_second,
            displacement=mean_displacement(self.model),
            mean_iou=measured.mean_iou if measured else None,
            displacements=displacements(self.model) if measured else {},
            rates=self.update.optimizers.rates(),
            waiting=self.watch.waiting,
        )

    def result(self, evaluation: Evaluation | None, *, interrupted: bool) -> TrainingResult:
        here = [*getattr(self.train_set, "skipped", []), *getattr(self.val_samples, "skipped", [])]
        skipped = {path for paths in self.processes.gather(here) for path in paths}
        trained = self.state.iteration - self.first
        return TrainingResult(
            checkpoint=self.folder.last,
            evaluation=evaluation,
            iterations_done=self.state.iteration,
            seconds=self.watch.seconds,
            interrupted=interrupted,
            waiting=self.watch.waiting,
            images_per_second=trained * self.config.batch_size / self.watch.training,
            iterations_here=trained,
            skipped=tuple(sorted(skipped)),
        )


def _is_due(done: int, every: int) -> bool:
    return every > 0 and done % every == 0
