"""Self-describing checkpoints: written atomically, read without ever running code from the file."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from icnn_core.checkpoint.building import build_model, how_to_build
    from icnn_core.checkpoint.contents import Checkpoint, IrregularLayer
    from icnn_core.checkpoint.reading import read_checkpoint, read_checkpoints
    from icnn_core.checkpoint.snapshots import Snapshot, take_snapshot, write_snapshot
    from icnn_core.checkpoint.wrappers import plain_name, unwrap
    from icnn_core.checkpoint.writing import write_checkpoint

_MODULES = {
    "Checkpoint": "contents",
    "IrregularLayer": "contents",
    "Snapshot": "snapshots",
    "build_model": "building",
    "how_to_build": "building",
    "plain_name": "wrappers",
    "read_checkpoint": "reading",
    "read_checkpoints": "reading",
    "take_snapshot": "snapshots",
    "unwrap": "wrappers",
    "write_checkpoint": "writing",
    "write_snapshot": "snapshots",
}
__all__ = [
    "Checkpoint",
    "IrregularLayer",
    "Snapshot",
    "build_model",
    "how_to_build",
    "plain_name",
    "read_checkpoint",
    "read_checkpoints",
    "take_snapshot",
    "unwrap",
    "write_checkpoint",
    "write_snapshot",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
