"""The training loop: one network, one data set, one schedule. Everything visible goes through callbacks."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from icnn_core.checkpoint import Checkpoint, read_checkpoint, write_checkpoint, write_snapshot
from icnn_core.datasets.registry import SegmentationDataset
from icnn_core.errors import CheckpointError, TrainingError
from icnn_core.files import write_text
from icnn_core.surgery import irregular_layers
from icnn_core.training.config import TrainConfig, config_from, to_toml
from icnn_core.training.evaluate import Evaluation, evaluate
from icnn_core.training.optimizers import Optimizers
from icnn_core.training.stream import Sample, Transform, training_batches

_log = logging.getLogger(__name__)
_MAY_CHANGE = {"root", "weights", "init", "workers", "evaluate_every", "val_images"}  # on resuming
_LAYOUT = torch.channels_last  # in which torch's convolutions are faster, on CPUs and GPUs


@dataclass(frozen=True)
class Progress:
    """Where a run stands. `displacement` is the mean distance of positions from their slots in pixels, if irregular."""

    iteration: int
    iterations: int
    loss: float
    images_per_second: float
    seconds_left: float
    displacement: float | None = None
    mean_iou: float | None = None


@dataclass(frozen=True)
class TrainingResult:
    """What a run left: its last checkpoint, its last evaluation, and whether it was interrupted."""

    checkpoint: Path
    evaluation: Evaluation | None
    iterations_done: int
    seconds: float
    interrupted: bool


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
    on_progress: Callable[[Progress], object] = lambda progress: None,
) -> TrainingResult:
    """Train `model` in place and write `last.pt`, `best.pt` and `config.toml` into the folder `out`.

    At the start and at every evaluation the shapes alone go into `out/snapshots`, see `write_snapshot`.

    The first Ctrl-C ends the run after the current iteration, with a usable checkpoint; the second one at once.

    Args:
        val_samples: pairs of a normalised image and its labels, see `evaluate`.
        transform: of training samples, see `training_batches`.
        resume: go on from `out/last.pt`, which must be there, with the same settings.
        overwrite: replace the run that `out` holds.

    Raises:
        TrainingError: the loss or a position is no longer finite; there is nothing to train on.
        CheckpointError: `out` cannot be written, or there is nothing to resume.
    """
    run = _Run(model, train_set, config, Path(out), device)
    if len(train_set) == 0:
        raise TrainingError("train", needed="training images", got="none", fix="Check the data set's split.")
    first = run.resume() if resume else run.start(overwrite=overwrite)
    batches = training_batches(
        train_set,  # pyright: ignore[reportArgumentType]  (a Sequence by __len__ and __getitem__)
        transform,
        batch_size=config.batch_size,
        first=first,
        last=config.iterations,
        seed=config.seed,
        workers=config.workers,
    )
    done = first
    with _stop_requests() as stop_requested:
        for images, masks in batches:
            loss = run.step(images, masks, done)
            done += 1
            evaluated = None
            if config.evaluate_every and done % config.evaluate_every == 0 and done < config.iterations:
                evaluated = run.evaluate(val_samples, done)
            on_progress(run.progress(done, first, loss, evaluated))
            if stop_requested():
                break
        path = run.write("last.pt", done, None)
        interrupted = done < config.iterations
        evaluation = None
        if not interrupted:
            evaluation = run.evaluate(val_samples, done)
            run.write("last.pt", done, evaluation)
    return TrainingResult(path, evaluation, done, run.seconds, interrupted)


class _Run:
    """The state of one run: network, optimisers, and what was measured so far."""

    def __init__(
        self,
        model: nn.Module,
        data: SegmentationDataset,
        config: TrainConfig,
        out: Path,
        device: torch.device | str,
    ) -> None:
        self.model, self.data, self.config, self.out = model, data, config, out
        self.model.to(device).to(memory_format=_LAYOUT)  # pyright: ignore[reportCallIssue]
        self.device = torch.device(device)
        self.layers = irregular_layers(model)
        self.optimizers = Optimizers(model, config)
        self.class_weights = class_weights(data, config.balance).to(self.device)
        self.best_iou = -1.0
        self.began = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.began

    def start(self, *, overwrite: bool) -> int:
        torch.manual_seed(self.config.seed)
        if (self.out / "last.pt").exists() and not overwrite:
            raise CheckpointError(
                str(self.out),
                needed="a folder without a run",
                got="one with a trained network",
                fix="Choose another --out, go on with --resume, or replace it with --overwrite.",
            )
        write_text(self.out / "config.toml", to_toml(self.config), CheckpointError)
        for stale in (
            *(self.out / "snapshots").glob("*.safetensors"),
            self.out / "best.pt",
            self.out / "last.pt",
        ):
            stale.unlink(missing_ok=True)
        write_snapshot(self.out / "snapshots", self.model, 0)
        return 0

    def resume(self) -> int:
        checkpoint = read_checkpoint(self.out / "last.pt")
        state = checkpoint.training
        if "optimizers" not in state:
            raise CheckpointError(
                str(checkpoint.path),
                needed="the state of a run",
                got="weights alone",
                fix="Train from the start.",
            )
        self._check_same_run(checkpoint)
        self.model.load_state_dict(checkpoint.state)
        self.optimizers.load_state_dict(state["optimizers"])
        self.best_iou = state["best_iou"]
        torch.set_rng_state(state["rng"])
        return int(state["iteration"])

    def _check_same_run(self, checkpoint: Checkpoint) -> None:
        """Going on under other settings would be neither run."""
        before = config_from(checkpoint.dataset.get("config", {}))
        changed = [
            name
            for name, value in asdict(self.config).items()
            if value != getattr(before, name) and name not in _MAY_CHANGE
        ]
        if changed:
            raise CheckpointError(
                str(checkpoint.path),
                needed=f"the settings it was trained with, {changed[0]}={getattr(before, changed[0])!r}",
                got=f"others for {', '.join(changed)}",
                fix="Repeat the command of the run, or train anew into another --out.",
            )

    def step(self, images: Tensor, masks: Tensor, iteration: int) -> float:
        """One update; returns the loss."""
        self.model.train()
        if self.config.frozen_batch_norm:
            _freeze_batch_norm(self.model)
        images = images.to(self.device).contiguous(memory_format=_LAYOUT)
        masks = masks.to(self.device)
        logits = self.model(images)
        loss = segmentation_loss(logits, masks, self.class_weights, self.data.ignore_index)
        self.optimizers.zero_grad()
        loss.backward()
        value = float(loss.detach())
        if value != value or abs(value) == float("inf"):
            self._check_positions(iteration)
            raise self._not_finite(iteration)
        self.optimizers.step()
        return value

    def evaluate(self, samples: Sequence[Sample], done: int) -> Evaluation:
        """Measure; keep the best network so far, and the newest to go on from."""
        write_snapshot(self.out / "snapshots", self.model, done)
        evaluation = evaluate(
            self.model,
            samples,
            classes=self.data.classes,
            ignore_index=self.data.ignore_index,
            device=self.device,
        )
        _log.info("iteration %d: mean IoU %.4f, best so far %.4f", done, evaluation.mean_iou, self.best_iou)
        if evaluation.mean_iou > self.best_iou:
            self.best_iou = evaluation.mean_iou
            self.write("best.pt", done, evaluation, resumable=False)
        if done < self.config.iterations:
            self.write("last.pt", done, evaluation)
        return evaluation

    def progress(self, done: int, first: int, loss: float, evaluated: Evaluation | None) -> Progress:
        per_second = (done - first) / self.seconds
        return Progress(
            iteration=done,
            iterations=self.config.iterations,
            loss=loss,
            images_per_second=per_second * self.config.batch_size,
            seconds_left=(self.config.iterations - done) / per_second,
            displacement=mean_displacement(self.model),
            mean_iou=evaluated.mean_iou if evaluated else None,
        )

    def write(self, name: str, done: int, evaluation: Evaluation | None, *, resumable: bool = True) -> Path:
        self._check_positions(done)
        training: dict[str, Any] = {}
        if resumable:
            training = {
                "optimizers": self.optimizers.state_dict(),
                "rng": torch.get_rng_state(),
                "iteration": done,
                "best_iou": self.best_iou,
            }
        config = asdict(self.config)
        return write_checkpoint(
            self.out / name,
            self.model,
            classes=self.data.classes,
            palette=self.data.palette,
            ignore_index=self.data.ignore_index,
            dataset={"name": self.data.name, "size": config["size"], "config": config},
            metrics=_metrics(evaluation) | {"iteration": done},
            training=training,
        )

    def _check_positions(self, done: int) -> None:
        for name, layer in self.layers.items():
            if not bool(layer.positions.isfinite().all()):
                raise TrainingError(
                    name,
                    needed="finite positions",
                    got=f"NaN or infinity after iteration {done}",
                    fix="Lower position_lr.",
                )

    def _not_finite(self, iteration: int) -> TrainingError:
        """The loss is lost: name the first layer, in the order of back-propagation, with a broken gradient."""
        broken = [
            name
            for name, parameter in reversed(list(self.model.named_parameters()))
            if parameter.grad is not None and not bool(parameter.grad.isfinite().all())
        ]
        where = f"; the first broken gradient is that of {broken[0]}" if broken else ""
        return TrainingError(
            "train",
            needed="a finite loss",
            got=f"NaN or infinity in iteration {iteration + 1}{where}",
            fix="Lower lr or position_lr; what was written before is intact.",
        )


def segmentation_loss(logits: Tensor, masks: Tensor, weights: Tensor, ignore_index: int) -> Tensor:
    """Cross-entropy (N, C, H, W) against (N, H, W), the weighted mean over labelled pixels; 0 if none is labelled."""
    labelled = masks != ignore_index
    counted = weights[masks.where(labelled, 0)] * labelled
    losses = F.cross_entropy(logits, masks, ignore_index=ignore_index, reduction="none")
    return (losses * counted).sum() / counted.sum().clamp(min=1e-9)


def class_weights(data: SegmentationDataset, balance: float) -> Tensor:
    """(C,) weights (median frequency / frequency) ** balance over the labels; 1 for classes that never occur."""
    count = len(data.classes)
    if balance == 0:
        return torch.ones(count)
    pixels = torch.zeros(count, dtype=torch.float64)
    for index in range(len(data)):
        mask = data[index][1]
        pixels += torch.bincount(mask[mask != data.ignore_index], minlength=count)
    seen = pixels > 0
    weights = torch.ones(count, dtype=torch.float64)
    weights[seen] = (pixels[seen].median() / pixels[seen]) ** balance
    return weights.float()


@torch.no_grad()
def mean_displacement(model: nn.Module) -> float | None:
    """Mean distance of all positions from their slots, in pixels; None if no layer is irregular."""
    lengths = [
        (layer.positions - layer.slots).norm(dim=-1).flatten() for layer in irregular_layers(model).values()
    ]
    return float(torch.cat(lengths).mean()) if lengths else None


def _metrics(evaluation: Evaluation | None) -> dict[str, Any]:
    if evaluation is None:
        return {}
    return {
        "mean_iou": evaluation.mean_iou,
        "pixel_accuracy": evaluation.pixel_accuracy,
        "iou": evaluation.iou,
    }


def _freeze_batch_norm(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


@contextmanager
def _stop_requests() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed; a second press raises KeyboardInterrupt as usual."""
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed.is_set
        return

    def remember(_signal: int, _frame: FrameType | None) -> None:
        pressed.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    previous = signal.signal(signal.SIGINT, remember)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, previous)
