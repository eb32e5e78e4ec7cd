"""The positions of a Lightning training: `Trainer(callbacks=[PositionCallback("run")])`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icnn_viz.recording.recorder import PositionRecorder

if TYPE_CHECKING or "lightning" in sys.modules or "pytorch_lightning" not in sys.modules:
    from lightning.pytorch import Callback
else:  # the package's other name
    from pytorch_lightning import Callback


class PositionCallback(Callback):
    """Records positions as `PositionRecorder` does; a training that goes on from a checkpoint goes on here, too.

    Args:
        folder, every: as of `PositionRecorder`; iterations are Lightning's `global_step`.
        logger: whether displacements and pictures go to the Trainer's loggers, too.
        options: the others of `PositionRecorder`.
    """

    def __init__(self, folder: str | Path, every: int = 100, *, logger: bool = True, **options: Any) -> None:
        self._arguments, self._logger = (folder, every), logger
        self._options = options
        self.recorder: PositionRecorder | None = None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        loggers = trainer.loggers if self._logger else None
        options = {"start": trainer.global_step, "logger": loggers} | self._options
        self.recorder = PositionRecorder(pl_module, *self._arguments, **options)

    def on_train_batch_end(self, trainer: Any, *_: Any, **__: Any) -> None:
        if self.recorder is not None:
            self.recorder.step(trainer.global_step)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._close(interrupted=False)

    def on_exception(self, trainer: Any, pl_module: Any, exception: Any) -> None:
        self._close(interrupted=True)

    def _close(self, *, interrupted: bool) -> None:
        if self.recorder is not None:
            self.recorder.close(interrupted=interrupted)
