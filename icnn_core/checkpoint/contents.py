"""What a checkpoint holds, and how one is refused; irregular layers as a file describes them, and as tensors tell."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from icnn_core.arrays import to_array, type_of
from icnn_core.errors import CheckpointError
from icnn_core.facts import Facts
from icnn_core.models.architecture import Architecture
from icnn_core.preparation import Preparation

if TYPE_CHECKING:
    from torch import Tensor

    from icnn_core.nn import IrregularConv2d

FORMAT_VERSION = 1
BARE = "layer"
"""The name that a network gets which is a single layer."""
EFFECTIVE = "effective:"
"""Before the names of computed weights in a `.safetensors` file, which has no place beside its tensors."""
_FLOATS = ("float16", "bfloat16", "float32", "float64")
_FARTHEST = 2.0**24  # px: no slot lies there


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


def describe_layer(name: str, layer: IrregularConv2d) -> IrregularLayer:
    """A layer as a file describes it."""
    return IrregularLayer(
        name=name,
        kernel_size=layer.kernel_size,
        dilation=layer.dilation,
        sharing=layer.sharing,
        groups=layer.groups,
        stride=layer.stride,
        padding=layer.padding,
        interpolation=layer.interpolation,
    )


def agree(layer: IrregularLayer, found: IrregularLayer, weight: Tensor) -> bool:
    """Whether a description fits the tensors. A single channel's own shape may be called the layer's."""
    same_sharing = layer.sharing == found.sharing or (layer.sharing, found.sharing) == ("channel", "layer")
    same_groups = found.sharing != "channel" or layer.groups == found.groups
    divisible = weight.shape[0] % layer.groups == 0
    return layer.kernel_size == found.kernel_size and same_sharing and same_groups and divisible


def detect_layers(path: Path, state: Mapping[str, Tensor]) -> tuple[IrregularLayer, ...]:
    """Irregular layers by their tensors alone: positions, slots and a weight that agree.

    Raises:
        CheckpointError: such a layer's tensors are of a type that cannot be, or its slots are not finite.
    """
    layers = []
    for key, positions in state.items():
        name, _, last = key.rpartition(".")
        weight, slots = state.get(f"{name}.weight"), state.get(f"{name}.slots")
        if last != "positions" or weight is None or slots is None or weight.ndim != 4:
            continue
        taps = weight.shape[2] * weight.shape[3]
        if slots.shape != (taps, 2) or positions.shape[-2:] != (taps, 2) or positions.ndim not in (3, 4):
            continue
        _check(path, name, {"positions": positions, "slots": slots, "weight": weight})
        sharing = "none" if positions.ndim == 4 else "layer" if positions.shape[0] == 1 else "channel"
        groups = positions.shape[0] // weight.shape[1] if sharing == "channel" else 1
        fits = positions.shape[:2] == weight.shape[:2] if sharing == "none" else True
        if sharing == "channel":
            fits = (
                positions.shape[0] == groups * weight.shape[1]
                and groups > 0
                and weight.shape[0] % groups == 0
            )
        if not fits:
            shapes = f"positions {tuple(positions.shape)} and a weight {tuple(weight.shape)}"
            raise refuse(path, f"a shape for each channel of {name}", shapes, "Write it again.")
        kernel = (weight.shape[2], weight.shape[3])
        interpolation = "gaussian" if f"{name}.sigma" in state else "bilinear"
        dilation = _dilation(slots, kernel)
        layers.append(IrregularLayer(name, kernel, dilation, sharing, groups, interpolation=interpolation))
    return tuple(layers)


def undetected_layers(state: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """Irregular layers of which a state dict holds a part alone, by what is missing, in words."""
    missing: dict[str, list[str]] = {}
    for key, tensor in state.items():
        name, _, last = key.rpartition(".")
        weight, slots = state.get(f"{name}.weight"), state.get(f"{name}.slots")
        if last == "positions" and slots is None and weight is not None and weight.ndim == 4:
            if tensor.shape[-2:] == (math.prod(weight.shape[2:]), 2):
                reason = "whose buffer `slots` is not there: save state_dict(), not the parameters alone"
                missing.setdefault(reason, []).append(name)
        elif last == "slots" and tensor.shape[1:] == (2,):
            lost = [part for part in ("weight", "positions") if f"{name}.{part}" not in state]
            if lost:
                reason = (
                    f"whose {' and '.join(lost)} is computed by what a state dict does not say (a parametrisation): "
                    "use write_checkpoint, which keeps the result, or KernelDisplay.from_model"
                )
                missing.setdefault(reason, []).append(name)
    return missing


def check_whole(checkpoint: Checkpoint) -> None:
    """Raise CheckpointError if a file without irregular layers holds parts of some."""
    for reason, names in undetected_layers(checkpoint.state | checkpoint.effective).items():
        what, _, fix = reason.partition(": ")
        raise CheckpointError(
            str(checkpoint.path),
            needed="whole irregular layers",
            got=f"{', '.join(names[:3])}{', …' if len(names) > 3 else ''}, {what}",
            fix=f"{fix[:1].upper()}{fix[1:]}.",
        )


def _check(path: Path, name: str, tensors: Mapping[str, Tensor]) -> None:
    for key, tensor in tensors.items():
        if type_of(tensor) not in _FLOATS:
            raise refuse(
                path, f"{key} of {name} in floating point", type_of(tensor), "Save the layer as float32."
            )
        if 0 in tensor.shape:
            shape = "×".join(map(str, tensor.shape))
            raise refuse(path, f"at least one channel and tap in {name}", f"{key} {shape}", "Write it again.")
    if not (np.abs(to_array(tensors["slots"])) <= _FARTHEST).all():
        raise refuse(
            path, f"finite slots of {name}", "NaN, infinity or larger than any kernel", "Write it again."
        )


def _dilation(slots: Tensor, kernel_size: tuple[int, int]) -> tuple[int, int]:
    extent = np.ptp(to_array(slots), axis=0)
    dy, dx = (round(length / (k - 1)) if k > 1 else 1 for length, k in zip(extent, kernel_size, strict=True))
    return max(dy, 1), max(dx, 1)
