"""What must be known to build a network again: a name in the registry, and plain arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Architecture:
    """Carried by every network of this package as `model.architecture`, and written into checkpoints.

    Attributes:
        name: a key of `icnn_core.models.registry.ARCHITECTURES`.
        arguments: JSON values by parameter name. Never a path: a checkpoint fills the weights.
    """

    name: str
    arguments: Mapping[str, Any]
