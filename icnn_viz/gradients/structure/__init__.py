"""What depends on what in a network's arithmetic, operation by operation."""

from icnn_viz.gradients.structure.mode import Structure

__all__ = ["Structure"]
