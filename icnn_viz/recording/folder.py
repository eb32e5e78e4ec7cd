"""The folder of a recording: whether one may begin or go on there, and what it holds already."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from icnn_core.errors import CheckpointError

if TYPE_CHECKING:
    from icnn_core.checkpoint import Snapshot

DISPLACEMENT = "displacement.csv"
_PICTURES = "pictures"


class RecordingFolder:
    """Snapshots named by their iteration, `displacement.csv`, and `pictures/<iteration>/`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def pictures(self, iteration: int) -> Path:
        return self.path / _PICTURES / f"{iteration:08d}"

    def open(self, now: Snapshot, start: int, *, overwrite: bool) -> dict[int, dict[str, float]]:
        """The displacements that it holds of iterations before `start`; what lies beyond is removed.

        Args:
            now: a snapshot of the network that is to be recorded.

        Raises:
            CheckpointError: it holds a recording that is neither gone on with nor to be overwritten, or one of another
                network.
        """
        held = self._held()
        if held and not overwrite and start == 0:
            got = f"one of {len(held)} snapshots, the last of iteration {max(held)}"
            fix = "Go on with start=…, replace it with overwrite=True, or choose another folder."
            raise CheckpointError(str(self.path), needed="a folder without a recording", got=got, fix=fix)
        before = {} if overwrite else {step: path for step, path in held.items() if step < start}
        displacements = self._read(before, now)
        for step, path in held.items():
            if step not in before:
                path.unlink(missing_ok=True)
                shutil.rmtree(self.pictures(step), ignore_errors=True)
        return displacements

    def _held(self) -> dict[int, Path]:
        paths = sorted(self.path.glob("*.safetensors"))
        return {int(path.stem): path for path in paths if path.stem.isdecimal()}

    def _read(self, paths: dict[int, Path], now: Snapshot) -> dict[int, dict[str, float]]:
        from icnn_core.checkpoint import Snapshot, read_checkpoint

        found = {}
        for step, path in paths.items():
            checkpoint = read_checkpoint(path)
            snapshot = Snapshot(checkpoint.irregular, checkpoint.state)
            if not snapshot.is_like(now):
                needed = "a snapshot of the network that is recorded"
                got = "other layers, or others of their sizes"
                raise CheckpointError(str(path), needed=needed, got=got, fix="Choose another folder.")
            found[step] = snapshot.displacements()
        return found
