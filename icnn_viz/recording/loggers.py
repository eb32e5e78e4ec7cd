"""Numbers and pictures to the logger that a training loop has: TensorBoard, Weights & Biases, and what wraps them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icnn_core.errors import ArgumentError

if TYPE_CHECKING:
    import numpy as np

_log = logging.getLogger(__name__)


def find_loggers(given: Any) -> list[Any]:
    """The loggers in what a user gives: nothing, one, several, or a trainer that has some.

    Raises:
        ArgumentError: something that logs in no known way.
    """
    if given is None or given is False:
        return []
    for several in ("loggers", "trackers"):  # of a Lightning Trainer, of an Accelerator
        if isinstance(getattr(given, several, None), list):
            return find_loggers(getattr(given, several))
    if hasattr(given, "callback_handler"):  # of a transformers Trainer
        return [each for each in given.callback_handler.callbacks if _is_logger(each)]
    if isinstance(given, list | tuple):
        return [logger for each in given for logger in find_loggers(each)]
    if not _is_logger(given):
        needed = "a SummaryWriter, a Weights & Biases run, a Lightning logger, an Accelerator or a Trainer"
        fix = "Leave logger out; displacement.csv holds the same numbers."
        raise ArgumentError("PositionRecorder", needed=needed, got=type(given).__name__, fix=fix)
    return [given]


def send(logger: Any, scalars: Mapping[str, float], images: Mapping[str, Path], iteration: int) -> None:
    """Numbers and pictures of an iteration; a logger that fails is warned of, for training is to go on."""
    try:
        _send(logger, scalars, images, iteration)
    except Exception as error:  # it may talk to a server
        _log.warning("%s took nothing of iteration %d: %s", type(logger).__name__, iteration, error)


def _is_logger(each: Any) -> bool:
    ways = ("add_scalar", "log_metrics", "tb_writer", "_wandb", "tracker")
    return any(hasattr(each, way) for way in ways) or _is_run(each)


def _is_run(each: Any) -> bool:
    """Whether it is a run of Weights & Biases, or its module."""
    return callable(getattr(each, "log", None)) and callable(getattr(each, "define_metric", None))


def _send(logger: Any, scalars: Mapping[str, float], images: Mapping[str, Path], iteration: int) -> None:
    if hasattr(logger, "log_metrics"):  # Lightning's
        logger.log_metrics(dict(scalars), step=iteration)
        if hasattr(logger, "log_image"):
            for name, path in images.items():
                logger.log_image(key=name, images=[str(path)], step=iteration)
        elif hasattr(logger.experiment, "add_image"):
            _send(logger.experiment, {}, images, iteration)
        return
    if hasattr(logger, "tracker"):  # Accelerate's
        logger = logger.tracker
    elif hasattr(logger, "tb_writer"):  # transformers'
        logger = logger.tb_writer
    elif hasattr(logger, "_wandb"):
        logger = logger._wandb
    if hasattr(logger, "add_scalar"):
        for name, value in scalars.items():
            logger.add_scalar(name, value, iteration)
        for name, path in images.items():
            logger.add_image(name, _read(path), iteration, dataformats="HWC")
    elif _is_run(logger):
        import wandb  # pyright: ignore[reportMissingImports]

        pictures = {name: wandb.Image(str(path)) for name, path in images.items()}
        logger.log({**scalars, **pictures, "iteration": iteration})


def _read(path: Path) -> np.ndarray:
    import numpy as np
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))
