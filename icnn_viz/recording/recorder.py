"""PositionRecorder: snapshots, displacements and pictures from a training loop that is not this package's."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from icnn_core.errors import ArgumentError, CheckpointError, IcnnError, check_name
from icnn_core.files import write_text
from icnn_core.text import to_cell
from icnn_viz.displays.kernels import LAYER_VIEWS, NETWORK_VIEWS, KernelDisplay
from icnn_viz.recording.folder import DISPLACEMENT, RecordingFolder
from icnn_viz.recording.loggers import find_loggers, send

if TYPE_CHECKING:
    from torch import nn

    from icnn_core.checkpoint import Snapshot

_log = logging.getLogger(__name__)


class PositionRecorder:
    """Keeps the positions of a network while any loop trains it; use it in a `with` statement, or `close` it.

    A snapshot is written at the start, whenever `every` iterations are done, and at the end; `icnn-viz kernels FOLDER
    --view trajectory` and `KernelDisplay.from_snapshots` read them. `displacement.csv` holds the mean distance of each
    layer's positions from their slots. After an error or Ctrl-C the last whole iteration is written as well.

    The network is looked at, never changed: a training ends bit for bit as it would without. What cannot be written
    later than at the start is a warning, since what observes a training should not end it. Of several processes the
    first alone writes; where parameters are sharded (FSDP2), all must call `step`.

    Args:
        model: with irregular layers, inside of DataParallel, DistributedDataParallel, `torch.compile` or an average of
            weights, or not.
        folder: made if it is not there.
        every: iterations from one snapshot to the next.
        start: the iteration that the loop goes on from. What the folder holds of later ones is removed.
        overwrite: whether to remove another recording that the folder holds.
        views: of which to draw pictures into `folder/pictures/<iteration>`, as of `KernelDisplay.plot`; none by
            default, since drawing a layer takes as long as some iterations.
        layers: patterns of the layers in pictures; default: all.
        logger: where displacements and pictures go, too: a TensorBoard SummaryWriter, a Weights & Biases run, a
            Lightning logger, an Accelerator, a transformers Trainer, or a list of such.

    Attributes:
        iteration: how many are done.
        displacements: iteration -> layer -> pixels, of all snapshots in the folder; empty in other processes.

    Raises:
        ArgumentError: no irregular layer, a number out of range, or a logger of no known kind.
        NameNotFoundError: an unknown view, or a pattern that matches no layer.
        CheckpointError: the folder holds a recording, or one of another network, or cannot be written.
    """

    def __init__(
        self,
        model: nn.Module,
        folder: str | Path,
        every: int = 100,
        *,
        start: int = 0,
        overwrite: bool = False,
        views: Sequence[str] = (),
        layers: Sequence[str] = (),
        logger: Any = None,
    ) -> None:
        _check_whole("every", every, 1)
        _check_whole("start", start, 0)
        self.views, self.layers = _checked_views(views), [layers] if isinstance(layers, str) else [*layers]
        self.model, self.every, self.iteration = model, every, start
        self.displacements: dict[int, dict[str, float]] = {}
        self._loggers, self._folder = find_loggers(logger), RecordingFolder(Path(folder))
        self._watched = _Watched(model)
        if (snapshot := self._watched.take()) is not None:
            self.displacements = self._folder.open(snapshot, start, overwrite=overwrite)
        self._recorded: int | None = None
        self._record(may_fail=True)

    @property
    def folder(self) -> Path:
        """Where the snapshots lie."""
        return self._folder.path

    def step(self, iteration: int | None = None) -> None:
        """Say that an iteration is done: after each step of the optimiser.

        Args:
            iteration: how many are done, where the loop counts itself; the same number again means nothing. Default:
                one more.

        Raises:
            ArgumentError: fewer than before.
        """
        now = self.iteration + 1 if iteration is None else iteration
        if now < self.iteration:
            needed = f"an iteration from {self.iteration}"
            fix = "Make a new recorder with start=… to go back."
            raise ArgumentError("PositionRecorder", needed=needed, got=str(now), fix=fix)
        due = now // self.every > self.iteration // self.every
        self.iteration = now
        if due:
            self.record()
        else:
            self._watched.remember()

    def record(self) -> None:
        """Write what there is now, between two multiples of `every`."""
        self._record()

    def close(self, *, interrupted: bool = False) -> None:
        """Write the last iteration, if it was not.

        Args:
            interrupted: the training may have ended in the middle of a step: then only where nothing has moved since
                `step` was last called.
        """
        if not interrupted or (not self._watched.sharded and not self._watched.has_moved()):
            self._record()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(interrupted=kind is not None)

    def _record(self, *, may_fail: bool = False) -> None:
        if self._recorded == self.iteration:
            return
        snapshot = self._watched.take()
        self._watched.remember()
        self._recorded = self.iteration
        if snapshot is None:
            return
        moved = snapshot.displacements()
        self.displacements[self.iteration] = moved
        images: dict[str, Path] = {}
        try:
            path = snapshot.write(self.folder, self.iteration)
            write_text(self.folder / DISPLACEMENT, self._to_csv(), CheckpointError)
            images = self._draw(path)
        except IcnnError as error:
            if may_fail:
                raise
            _log.warning("iteration %d was not recorded, training goes on: %s", self.iteration, error)
        scalars = {f"displacement/{layer}": pixels for layer, pixels in moved.items()}
        for logger in self._loggers:
            send(logger, scalars, images, self.iteration)

    def _draw(self, snapshot: Path) -> dict[str, Path]:
        """The pictures of a snapshot, by a name that stays the same over all of them."""
        if not self.views:
            return {}
        from icnn_viz.displays.drawings import KernelOptions, draw_views, write_drawings

        display = KernelDisplay.from_checkpoint(snapshot, self.layers)
        drawings = draw_views(display, self.views, KernelOptions())
        written = write_drawings(drawings, ("png",), self._folder.pictures(self.iteration))
        return {f"positions/{path.stem}": path for path in written}

    def _to_csv(self) -> str:
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(("iteration", "layer", "displacement"))
        for iteration, moved in sorted(self.displacements.items()):
            table.writerows((iteration, to_cell(layer), pixels) for layer, pixels in moved.items())
        return text.getvalue()


class _Watched:
    """The network that is recorded: what of it is read, and whether it has moved since."""

    def __init__(self, model: nn.Module) -> None:
        import torch

        from icnn_core.checkpoint import unwrap
        from icnn_core.surgery import irregular_layers

        self.model = model
        self._layers = list(irregular_layers(unwrap(model)).values())
        if not self._layers:
            needed, got = "a network with irregular layers", f"none in {type(model).__name__}"
            raise ArgumentError("PositionRecorder", needed=needed, got=got, fix="Call make_irregular first.")
        distributed = torch.distributed
        alone = not (distributed.is_available() and distributed.is_initialized())
        self._writes = alone or distributed.get_rank() == 0
        self.remember()

    @property
    def sharded(self) -> bool:
        """Whether each process holds a part of each parameter."""
        return any(hasattr(p, "full_tensor") for layer in self._layers for p in layer.parameters())

    def take(self) -> Snapshot | None:
        """What there is now, in the process that writes; where parameters are sharded, all must come here."""
        from icnn_core.checkpoint import take_snapshot

        snapshot = take_snapshot(self.model) if self._writes or self.sharded else None
        return snapshot if self._writes else None

    def remember(self) -> None:
        self._versions = self._read_versions()

    def has_moved(self) -> bool:
        """Whether a parameter of an irregular layer was written to since `remember`."""
        return self._versions != self._read_versions()

    def _read_versions(self) -> list[int]:
        return [parameter._version for layer in self._layers for parameter in layer.parameters()]


def _checked_views(views: Sequence[str]) -> tuple[str, ...]:
    chosen = (views,) if isinstance(views, str) else tuple(views)
    known = LAYER_VIEWS + NETWORK_VIEWS
    for view in chosen:
        check_name("PositionRecorder", "views", view, known)
    return chosen


def _check_whole(name: str, value: object, least: int) -> None:
    if type(value) is not int or value < least:
        needed = f"{name}, a whole number from {least}"
        raise ArgumentError("PositionRecorder", needed=needed, got=repr(value), fix="Count iterations.")
