"""The irregular layers' shapes alone, as they are now: small enough to keep every one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from icnn_core import __version__
from icnn_core.checkpoint.contents import BARE, FORMAT_VERSION, IrregularLayer, describe_layer
from icnn_core.checkpoint.effective import effective_tensors
from icnn_core.checkpoint.wrappers import plain_name, unwrap, whole
from icnn_core.errors import CheckpointError
from icnn_core.files import write_atomically
from icnn_core.models.architecture import Architecture
from icnn_core.nn import IrregularConv2d
from icnn_core.preparation import Preparation
from icnn_core.surgery import irregular_layers


@dataclass(frozen=True)
class Snapshot:
    """The shapes of a network's irregular layers, in its order.

    Attributes:
        layers: as a file describes them.
        tensors: positions and slots by name, and weights that are summed up by their norm over the kernels that share a
            shape; float32 on the CPU.
    """

    layers: tuple[IrregularLayer, ...]
    tensors: dict[str, Tensor]

    def displacements(self) -> dict[str, float]:
        """Mean distance of each layer's positions from their slots, in pixels."""
        pairs = {
            layer.name: (self.tensors[f"{layer.name}.positions"], self.tensors[f"{layer.name}.slots"])
            for layer in self.layers
        }
        return {name: float((places - slots).norm(dim=-1).mean()) for name, (places, slots) in pairs.items()}

    def is_like(self, other: Snapshot) -> bool:
        """Whether both are of networks with the same layers."""
        same_names = [layer.name for layer in self.layers] == [layer.name for layer in other.layers]
        sizes = ({name: tensor.shape for name, tensor in each.tensors.items()} for each in (self, other))
        return same_names and next(sizes) == next(sizes)

    def write(self, folder: str | Path, iteration: int) -> Path:
        """Into a file of `folder` that is named by the iteration, says it, and is read by `read_checkpoint`.

        Raises:
            CheckpointError: the folder cannot be written.
        """
        from safetensors.torch import save_file

        text = json.dumps(describe(None, self.layers) | {"metrics": {"iteration": iteration}})
        path = Path(folder) / f"{iteration:08d}.safetensors"
        return write_atomically(
            path,
            lambda temporary: save_file(self.tensors, temporary, metadata={"icnn": text}),
            CheckpointError,
        )


@torch.no_grad()
def take_snapshot(model: nn.Module) -> Snapshot:
    """The shapes of a network now, inside of whatever wraps it; where it is sharded, all processes must come here."""
    layers = {plain_name(name): layer for name, layer in irregular_layers(unwrap(model)).items()}
    tensors: dict[str, Tensor] = {}
    for name, layer in layers.items():
        now = {"weight": layer.weight, "positions": layer.positions} | effective_tensors(layer)
        weight, positions = whole(now["weight"]), whole(now["positions"])
        if layer.sharing != "none":
            weight = weight.unflatten(0, (layer.groups, -1)).norm(dim=1)
        for key, tensor in (("weight", weight), ("positions", positions), ("slots", whole(layer.slots))):
            tensors[f"{name or BARE}.{key}"] = tensor.cpu().float().contiguous().clone()
    return Snapshot(describe_layers(layers), tensors)


def write_snapshot(folder: str | Path, model: nn.Module, iteration: int) -> Path | None:
    """Write the irregular layers' shapes alone into `folder`, named by the iteration; None if there are none.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    snapshot = take_snapshot(model)
    return snapshot.write(folder, iteration) if snapshot.layers else None


def describe_layers(layers: Mapping[str, IrregularConv2d]) -> tuple[IrregularLayer, ...]:
    """Layers by name as a file describes them."""
    return tuple(describe_layer(name or BARE, layer) for name, layer in layers.items())


def describe(model: nn.Module | None, layers: tuple[IrregularLayer, ...]) -> dict[str, Any]:
    """A file's description, as yet without labels, data set and metrics; of layers alone without a model."""
    architecture, own = (getattr(model, name, None) for name in ("architecture", "icnn_preparation"))
    said = {"preparation": own.to_plain()} if isinstance(own, Preparation) else {}
    return said | {
        "format_version": FORMAT_VERSION,
        "package_version": __version__,
        "axis_order": "yx",
        "architecture": asdict(architecture) if isinstance(architecture, Architecture) else None,
        "irregular": [asdict(layer) for layer in layers],
        "classes": [],
        "palette": [],
        "ignore_index": 255,
        "dataset": {},
        "metrics": {},
    }
