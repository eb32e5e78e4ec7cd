"""The folder of a run: its checkpoints, its config, and how it is gone on with."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from icnn_core.checkpoint import read_checkpoint, write_checkpoint, write_snapshot
from icnn_core.datasets.registry import SegmentationDataset
from icnn_core.errors import CheckpointError
from icnn_core.evaluation import Evaluation
from icnn_core.files import cannot_write, write_text
from icnn_core.identity import check_identity
from icnn_core.locking import locked_folder
from icnn_core.training.config import TrainConfig, to_toml
from icnn_core.training.folder import BEST, CONFIG, LAST, SNAPSHOTS
from icnn_core.training.same_run import saved_identity
from icnn_core.training.update import check_positions

_log = logging.getLogger(__name__)


@dataclass
class RunState:
    """Where a run stands, besides its network: `random` holds a state per process, see `random_state`.

    `scaler` is that of float16's losses, and empty in other precisions.
    """

    iteration: int = 0
    best_iou: float = -1.0
    optimizers: dict[str, Any] = field(default_factory=dict)
    random: list[dict[str, Any]] = field(default_factory=list)
    scaler: dict[str, Any] = field(default_factory=dict)


class RunFolder:
    """`last.pt` (to go on from), `best.pt`, `config.toml` and `snapshots/` of the positions.

    Each file is replaced whole: whenever a run is killed, the last checkpoint written is there.

    Args:
        identity: what decides its numbers, see `describe_run`; kept in the checkpoints.
    """

    def __init__(
        self, path: Path, config: TrainConfig, data: SegmentationDataset, identity: dict[str, Any]
    ) -> None:
        self.path, self.config, self.data, self.identity = path, config, data, identity

    @property
    def last(self) -> Path:
        """The checkpoint to go on from."""
        return self.path / LAST

    @contextmanager
    def locked(self, *, here: bool = True) -> Iterator[None]:
        """Inside of it no other run is at work here; only the process that writes locks it.

        Raises:
            CheckpointError: another one is, or the folder cannot be written.
        """
        with ExitStack() as stack:
            if here:
                try:
                    stack.enter_context(locked_folder(self.path, CheckpointError))
                except OSError as cause:
                    raise cannot_write(self.path, cause, CheckpointError) from cause
            yield

    def claim(self) -> None:
        """Write the config, and remove what a run that was killed while it wrote has left half written.

        Raises:
            CheckpointError: the folder cannot be written.
        """
        write_text(self.path / CONFIG, to_toml(self.config), CheckpointError)
        for name in (LAST, BEST, CONFIG):
            for half in self.path.glob(f".*.{name}"):
                half.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove another run's checkpoints and snapshots."""
        for stale in (self.last, self.path / BEST, *(self.path / SNAPSHOTS).glob("*.safetensors")):
            stale.unlink(missing_ok=True)

    def read(self, model: nn.Module) -> RunState | None:
        """Fill the network from last.pt; None if the run was killed before the first one was written.

        Raises:
            CheckpointError: there is no run, it cannot be gone on with, or it was another: other settings, data, or
                weights to start from.
        """
        if not self.last.exists() and (self.path / CONFIG).exists():
            return None
        checkpoint = read_checkpoint(self.last)
        saved = checkpoint.training
        if "optimizers" not in saved:
            needed, got = "the state of a run", "weights alone"
            raise CheckpointError(str(checkpoint.path), needed=needed, got=got, fix="Train from the start.")
        before = saved_identity(checkpoint, self.identity)
        check_identity(checkpoint.path, before, self.identity, CheckpointError)
        try:
            model.load_state_dict(checkpoint.state)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            raise CheckpointError(
                str(checkpoint.path), needed="weights of this network", got=reason, fix="Train anew."
            ) from error
        return RunState(
            iteration=int(saved["iteration"]),
            best_iou=float(saved["best_iou"]),
            optimizers=saved["optimizers"],
            random=saved["random"] if "random" in saved else [{"torch": saved["rng"]}],
            scaler=saved.get("scaler", {}),
        )

    def write_last(self, model: nn.Module, state: RunState, evaluation: Evaluation | None) -> Path:
        """Write last.pt, from which the run goes on to the same end.

        Raises:
            CheckpointError: it cannot be written; the one of before is intact.
            TrainingError: a position is not finite.
        """
        return self._write(LAST, model, state.iteration, evaluation, dict(vars(state)))

    def write_best(self, model: nn.Module, done: int, evaluation: Evaluation) -> Path:
        """Write best.pt, the weights alone. Raises as `write_last`."""
        return self._write(BEST, model, done, evaluation, {})

    def write_snapshot(self, model: nn.Module, done: int) -> None:
        """Keep the positions alone, see `icnn_core.checkpoint.write_snapshot`."""
        write_snapshot(self.path / SNAPSHOTS, model, done)

    def _write(
        self, name: str, model: nn.Module, done: int, evaluation: Evaluation | None, training: dict[str, Any]
    ) -> Path:
        check_positions(model, done)
        _log.debug("iteration %d: writing %s", done, name)
        config = asdict(self.config)
        others = {
            key: value
            for key, value in self.identity.items()
            if key not in config or key in ("weights", "init")
        }
        return write_checkpoint(
            self.path / name,
            model,
            classes=self.data.classes,
            palette=self.data.palette,
            ignore_index=self.data.ignore_index,
            dataset={"name": self.data.name, "size": config["size"], "config": config, "identity": others},
            metrics=(evaluation.to_plain() if evaluation else {}) | {"iteration": done},
            training=training,
        )
