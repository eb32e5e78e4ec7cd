"""Networks to files, whole or not at all."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from icnn_core.checkpoint.contents import BARE, EFFECTIVE, refuse
from icnn_core.checkpoint.effective import effective_tensors
from icnn_core.checkpoint.snapshots import describe, describe_layers
from icnn_core.checkpoint.wrappers import plain_name, unwrap, whole
from icnn_core.errors import CheckpointError
from icnn_core.files import write_atomically
from icnn_core.identity import digest_content
from icnn_core.nn import IrregularConv2d

_log = logging.getLogger(__name__)


def write_checkpoint(
    path: str | Path,
    model: nn.Module,
    *,
    classes: Sequence[str] = (),
    palette: Sequence[Sequence[int]] = (),
    ignore_index: int = 255,
    dataset: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
) -> Path:
    """Write a network to `path` (.pt, or .safetensors by its suffix), under a temporary name that is then renamed.

    Weights that are computed from others (pruned, parametrised) are stored beside those, as the network computes them.
    The same network gives the same bytes. A checksum goes with them, by which `read_checkpoint` knows damage.

    Args:
        model: its `architecture` (see `icnn_core.models.registry`) is written if it has one, and so is how it wants
            images (`icnn_preparation`, see `icnn_core.preparation`).
        classes, palette, ignore_index, dataset, metrics: plain JSON values, see `Checkpoint`.
        training: tensors and plain values that resuming needs; only in .pt files.
        dtype: store floating-point tensors but positions and slots in this type, to save room.

    Raises:
        CheckpointError: the folder cannot be written, the disk is full, or the values are not plain.
    """
    path, model = Path(path), unwrap(model)
    layers = {
        plain_name(name): module
        for name, module in nn.Module.named_modules(model, remove_duplicate=False)
        if isinstance(module, IrregularConv2d)
    }
    header = describe(model, describe_layers(layers)) | {
        "classes": list(classes),
        "palette": [list(colour) for colour in palette],
        "ignore_index": ignore_index,
        "dataset": dict(dataset or {}),
        "metrics": dict(metrics or {}),
    }
    prefix = f"{BARE}." if isinstance(model, IrregularConv2d) else ""
    computed = effective_tensors(model)
    state, effective = (
        {prefix + plain_name(name): _stored(name, tensor, dtype) for name, tensor in tensors.items()}
        for tensors in (_tensors_alone(model), computed)
    )
    if effective:
        _log.info("%s: %s beside what they are computed from", path, ", ".join(effective))
    numbers = {"state_dict": state, "training": dict(training or {}), "effective": effective}
    header["digest"] = digest_content(numbers)
    try:
        text = json.dumps(header)
    except (TypeError, ValueError) as error:
        raise refuse(
            path, "plain JSON values in the description", str(error), "Convert them first."
        ) from error
    if path.suffix == ".safetensors":
        if training:
            raise refuse(path, "a .pt file for what resuming needs", ".safetensors", "Use the suffix .pt.")
        from safetensors.torch import save_file

        state |= {EFFECTIVE + name: tensor for name, tensor in effective.items()}
        state = {name: tensor.clone() for name, tensor in state.items()}  # shared tensors are refused
        write_atomically(
            path, lambda temporary: save_file(state, temporary, metadata={"icnn": text}), CheckpointError
        )
    else:
        content = {"icnn": text, **numbers}
        write_atomically(path, lambda temporary: _save(content, temporary), CheckpointError)
    return path


def _tensors_alone(model: nn.Module) -> dict[str, Tensor]:
    """A state dict without what some modules add that is no tensor (`get_extra_state`)."""
    return {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}


def _save(content: dict[str, Any], path: str) -> None:
    """By a file object: given a name, torch would write that into the file, and it is a temporary one."""
    with open(path, "wb") as file:
        torch.save(content, file)


def _stored(name: str, tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    keep = (
        dtype is None
        or not tensor.is_floating_point()
        or name.rpartition(".")[2] in ("positions", "slots", "sigma")
    )
    tensor = whole(tensor.detach())
    return tensor.cpu().contiguous() if keep else tensor.cpu().to(dtype).contiguous()
