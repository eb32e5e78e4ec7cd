"""Self-describing checkpoints: written atomically, read without ever running code from the file."""

from icnn_core.checkpoint.building import build_model, how_to_build
from icnn_core.checkpoint.contents import Checkpoint, IrregularLayer
from icnn_core.checkpoint.reading import read_checkpoint
from icnn_core.checkpoint.snapshots import Snapshot, take_snapshot, write_snapshot
from icnn_core.checkpoint.wrappers import plain_name, unwrap
from icnn_core.checkpoint.writing import write_checkpoint

__all__ = [
    "Checkpoint",
    "IrregularLayer",
    "Snapshot",
    "build_model",
    "how_to_build",
    "plain_name",
    "read_checkpoint",
    "take_snapshot",
    "unwrap",
    "write_checkpoint",
    "write_snapshot",
]
