"""The course of a run as TensorBoard's scalars, if TensorBoard is installed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from icnn_core.training.progress import Progress

_log = logging.getLogger(__name__)
FOLDER = "tensorboard"


@contextmanager
def scalar_writer(out: str | Path) -> Iterator[Callable[[Progress], None]]:
    """A function that writes each `Progress` into `out/tensorboard`; it does nothing where TensorBoard is missing.

    loss, images_per_second, waiting, displacement and rate/<group> at every iteration; mean_iou and
    displacement/<layer> at every evaluation. What an earlier run wrote for the same or later iterations is dropped.
    """
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError:
        _log.info(
            'TensorBoard is not installed: no scalars are written (pip install "icnn-viz[tensorboard]")'
        )
        yield lambda progress: None
        return
    writer: Any = None

    def write(progress: Progress) -> None:
        nonlocal writer
        if writer is None:
            writer = SummaryWriter(str(Path(out) / FOLDER), purge_step=progress.iteration)
        for name, value in _to_scalars(progress).items():
            writer.add_scalar(name, value, progress.iteration)
        if progress.mean_iou is not None:
            writer.flush()

    try:
        yield write
    finally:
        if writer is not None:
            writer.close()


def _to_scalars(progress: Progress) -> dict[str, float]:
    scalars = {
        "loss": progress.loss,
        "images_per_second": progress.images_per_second,
        "waiting": progress.waiting,
        "displacement": progress.displacement,
        "mean_iou": progress.mean_iou,
    }
    scalars |= {f"rate/{group}": rate for group, rate in progress.rates.items()}
    scalars |= {f"displacement/{layer}": length for layer, length in progress.displacements.items()}
    return {name: value for name, value in scalars.items() if value is not None}
