"""The positions of a transformers training: `trainer.add_callback(PositionCallback("run", logger=trainer))`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from icnn_viz.recording.recorder import PositionRecorder


class PositionCallback(TrainerCallback):
    """Records positions as `PositionRecorder` does; a training that goes on from a checkpoint goes on here, too.

    Args:
        folder, every: as of `PositionRecorder`; iterations are the Trainer's `global_step`.
        options: the others of `PositionRecorder`; `logger=trainer` takes those that it reports to.
    """

    def __init__(self, folder: str | Path, every: int = 100, **options: Any) -> None:
        self._arguments, self._options = (folder, every), options
        self.recorder: PositionRecorder | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        options = {"start": state.global_step} | self._options
        self.recorder = PositionRecorder(model, *self._arguments, **options)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        assert self.recorder is not None
        self.recorder.step(state.global_step)
        if control.should_training_stop:  # while the loggers are still open
            self.recorder.record()

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        assert self.recorder is not None
        self.recorder.close()
