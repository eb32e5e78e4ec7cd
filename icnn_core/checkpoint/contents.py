"""What a checkpoint holds, and how one is refused."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from icnn_core.arrays import to_array
from icnn_core.errors import CheckpointError
from icnn_core.facts import Facts
from icnn_core.models.architecture import Architecture
from icnn_core.preparation import Preparation

if TYPE_CHECKING:
    from torch import Tensor

FORMAT_VERSION = 1
BARE = "layer"
"""The name that a network gets which is a single layer."""
EFFECTIVE = "effective:"
"""Before the names of computed weights in a `.safetensors` file, which has no place beside its tensors."""


@dataclass(frozen=True)
class IrregularLayer:
    """An irregular layer as a checkpoint describes it. Pairs are (y, x); `stride` and `padding` are None if unknown."""

    name: str
    kernel_size: tuple[int, int]
    dilation: tuple[int, int]
    sharing: str
    groups: int = 1
    stride: tuple[int, int] | None = None
    padding: tuple[int, int] | str | None = None
    interpolation: str = "bilinear"


@dataclass(frozen=True, repr=False)
class Checkpoint(Facts):
    """What a file holds. A state dict of another program has `state` and `irregular` alone.

    Attributes:
        path: the file.
        state: tensors by dotted name, on the CPU; numpy's arrays where `read_checkpoint` was asked for them.
        irregular: the irregular layers, in network order.
        architecture: how to build the network, or None.
        classes, palette, ignore_index: the label set; palette is RGB per class.
        dataset: what it was trained on, e.g. {"name": "camvid", "size": [180, 240]}.
        metrics: e.g. {"mean_iou": 0.43}.
        training: what resuming needs; empty in files that are not meant for it.
        package_version: of the writer.
        ordered: whether the file says in which order the network's layers come; else that of the numbers in their
            names is taken.
        effective: weights that are computed from others in `state` (pruned, parametrised), by the names that they would
            have there.
        stripped: what wrappers had put before every name.
        preparation: how the network wants images, if the file or the folder around it says so.
    """

    path: Path
    state: dict[str, Tensor]
    irregular: tuple[IrregularLayer, ...]
    architecture: Architecture | None = None
    classes: tuple[str, ...] = ()
    palette: tuple[tuple[int, int, int], ...] = ()
    ignore_index: int = 255
    dataset: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    package_version: str = ""
    ordered: bool = True
    effective: dict[str, Tensor] = field(default_factory=dict)
    stripped: str = ""
    preparation: Preparation | None = None

    def tensor(self, name: str) -> Tensor | None:
        """A tensor as the network computes with it, or None."""
        return self.effective.get(name, self.state.get(name))

    @property
    def iteration(self) -> int | None:
        """The iteration of training at which it was written, if it says one."""
        said = self.metrics.get("iteration")
        return said if type(said) is int and abs(said) < 1 << 53 else None

    @property
    def non_finite_layers(self) -> tuple[str, ...]:
        """Irregular layers with NaN or infinite positions."""
        names = (layer.name for layer in self.irregular)
        given = {name: self.tensor(f"{name}.positions") for name in names}
        return tuple(name for name, t in given.items() if t is None or not np.isfinite(to_array(t)).all())

    def _facts(self) -> dict[str, str]:
        facts = {
            "file": str(self.path),
            "network": self.architecture.name if self.architecture else "a plain state dict",
            "numbers": f"{sum(math.prod(tensor.shape) for tensor in self.state.values()):,}",
            "irregular layers": ", ".join(layer.name for layer in self.irregular) or "none",
        }
        facts |= {"classes": ", ".join(self.classes)} if self.classes else {}
        facts |= {"data set": str(self.dataset["name"])} if self.dataset.get("name") else {}
        numbers = {name: value for name, value in self.metrics.items() if isinstance(value, int | float)}
        return facts | {name: f"{value:.4g}" for name, value in numbers.items()}


def refuse(path: Path, needed: str, got: str, fix: str) -> CheckpointError:
    """The error to raise for a file."""
    return CheckpointError(str(path), needed=needed, got=got, fix=fix)
