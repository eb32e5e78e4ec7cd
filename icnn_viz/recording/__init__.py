"""A front: the positions of any training loop, kept while it runs. `lightning` and `transformers` are for theirs."""

from icnn_viz.recording.recorder import PositionRecorder

__all__ = ["PositionRecorder"]
