"""Self-describing checkpoints: written atomically, read without ever running code from the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icnn_core.lazy import lazily

if TYPE_CHECKING:
    from icnn_core.checkpoint.building import build_model as build_model
    from icnn_core.checkpoint.building import how_to_build as how_to_build
    from icnn_core.checkpoint.contents import Checkpoint as Checkpoint
    from icnn_core.checkpoint.contents import IrregularLayer as IrregularLayer
    from icnn_core.checkpoint.reading import read_checkpoint as read_checkpoint
    from icnn_core.checkpoint.reading import read_checkpoints as read_checkpoints
    from icnn_core.checkpoint.snapshots import Snapshot as Snapshot
    from icnn_core.checkpoint.snapshots import take_snapshot as take_snapshot
    from icnn_core.checkpoint.snapshots import write_snapshot as write_snapshot
    from icnn_core.checkpoint.wrappers import plain_name as plain_name
    from icnn_core.checkpoint.wrappers import unwrap as unwrap
    from icnn_core.checkpoint.writing import write_checkpoint as write_checkpoint

_EXPORTS = {
    ".contents": "Checkpoint IrregularLayer",
    ".snapshots": "Snapshot take_snapshot write_snapshot",
    ".building": "build_model how_to_build",
    ".wrappers": "plain_name unwrap",
    ".reading": "read_checkpoint read_checkpoints",
    ".writing": "write_checkpoint",
}
__getattr__, __dir__ = lazily(__name__, _EXPORTS)
__all__ = __dir__()
