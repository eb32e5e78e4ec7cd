"""How a training looks on the terminal: a bar, a line an evaluation, and a summary."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from icnn_core.cli._evaluation import print_evaluation, print_skipped
from icnn_core.cli.app import make_progress, print_json

if TYPE_CHECKING:
    from rich.console import Console

    from icnn_core.training.config import TrainConfig
    from icnn_core.training.progress import Progress, TrainingResult

_MUCH = 0.2  # share of time spent waiting for data that is worth a hint


def is_main_process() -> bool:
    """Whether this process, of those that a launcher started, is the one that speaks."""
    return os.environ.get("RANK", "0") == "0"


def check_launch() -> None:
    """Nothing, if the process's rank is one that a launcher gives.

    Raises:
        ArgumentError: a stray RANK in the environment, under which it would wait for others, or say nothing.
    """
    from icnn_core.errors import ArgumentError

    rank, world = os.environ.get("RANK", ""), os.environ.get("WORLD_SIZE", "")
    if not rank or (rank.isdecimal() and world.isdecimal() and int(rank) < int(world)):
        return
    needed = "RANK below WORLD_SIZE, as launchers set them, or neither"
    fix = "Unset RANK, or start it by accelerate launch or torchrun."
    raise ArgumentError("train", needed=needed, got=f"RANK={rank}, WORLD_SIZE={world or 'unset'}", fix=fix)


@contextmanager
def shown_progress(console: Console, iterations: int) -> Iterator[Callable[[Progress], None]]:
    """A function that moves a progress bar, and prints a line for every evaluation."""
    mean_iou: float | None = None
    bar = make_progress()
    bar.disable = bar.disable or not is_main_process()
    with bar:
        task = bar.add_task("training", total=iterations)

        def show(progress: Progress) -> None:
            nonlocal mean_iou
            mean_iou = progress.mean_iou if progress.mean_iou is not None else mean_iou
            bar.update(task, completed=progress.iteration, description=_describe(progress, mean_iou))
            if progress.mean_iou is not None:
                left = _duration(progress.seconds_left)
                said = _describe(progress, mean_iou)
                console.print(f"iteration {progress.iteration} of {iterations}: {said}, {left} left")

        yield show


def report(
    result: TrainingResult, model: Any, config: TrainConfig, console: Console, *, as_json: bool
) -> None:
    """Print what a run left, as JSON too on request."""
    from icnn_core.training.progress import displacements, mean_displacement

    displacement = mean_displacement(model)
    if as_json:
        print_json(
            {
                "checkpoint": result.checkpoint,
                "iterations": result.iterations_done,
                "interrupted": result.interrupted,
                "already_finished": not result.iterations_here,
                "seconds": result.seconds,
                "images_per_second": result.images_per_second,
                "waiting_for_data": result.waiting,
                "mean_iou": result.evaluation.mean_iou if result.evaluation else None,
                "iou": result.evaluation.iou if result.evaluation else None,
                "mean_displacement": displacement,
                "displacements": displacements(model),
                "skipped": list(result.skipped),
            }
        )
    if result.evaluation is not None:
        print_evaluation(result.evaluation, f"{config.dataset} {config.val_split}", console)
    if displacement is not None:
        console.print(f"Positions lie {displacement:.2f} pixels from their slots on average.")
    print_skipped(result.skipped, console)
    if not result.iterations_here:
        console.print(
            f"Already finished: all {result.iterations_done} iterations were done. See {result.checkpoint}"
        )
        return
    hint = " More --workers load faster." if result.waiting > _MUCH else ""
    console.print(
        f"{result.images_per_second:.1f} images/s; {result.waiting:.0%} of the time went on waiting for data.{hint}"
    )
    console.print(f"{result.iterations_done} iterations in {result.seconds:.0f} s. Wrote {result.checkpoint}")


def _describe(progress: Progress, mean_iou: float | None) -> str:
    parts = [f"loss {progress.loss:.3f}"]
    if mean_iou is not None:
        parts.append(f"mean IoU {mean_iou:.1%}")
    parts.append(f"{progress.images_per_second:.1f} images/s")
    if progress.displacement is not None:
        parts.append(f"moved {progress.displacement:.2f} px")
    return ", ".join(parts)


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
