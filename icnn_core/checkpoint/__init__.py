"""Self-describing checkpoints: written atomically, read without ever running code from the file."""

from icnn_core.checkpoint.building import build_model
from icnn_core.checkpoint.contents import Checkpoint, IrregularLayer
from icnn_core.checkpoint.reading import read_checkpoint
from icnn_core.checkpoint.writing import write_checkpoint, write_snapshot

__all__ = [
    "Checkpoint",
    "IrregularLayer",
    "build_model",
    "read_checkpoint",
    "write_checkpoint",
    "write_snapshot",
]
