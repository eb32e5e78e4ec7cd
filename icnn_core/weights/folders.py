"""Folders and indexes as transformers, diffusers and Accelerate write them -> the files that hold the weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from icnn_core.errors import CheckpointError
from icnn_core.weights.loading import LARGEST_TEXT, load_file
from icnn_core.weights.names import find_state_dict

if TYPE_CHECKING:
    from torch import Tensor

_INDEX = ".index.json"
_NAMES = tuple(
    f"{stem}{suffix}"
    for stem in ("model", "pytorch_model", "diffusion_pytorch_model", "adapter_model")
    for suffix in (".safetensors.index.json", ".safetensors", ".bin.index.json", ".bin")
)
_MOST_SHARDS = 1000


def find_weights(path: Path) -> Path | None:
    """The file or index in a folder that holds its network's weights by these programs' customs, or None."""
    try:
        return next((path / name for name in _NAMES if (path / name).is_file()), None)
    except OSError:
        return None


def load_shards(index: Path, *, arrays: bool = False) -> dict[str, Tensor]:
    """The tensors of all files that an index (`….index.json`) names, in its order; the files lie beside it.

    Args:
        arrays: as of `load_file`.

    Raises:
        CheckpointError: the index is broken, names files elsewhere, or one of them cannot be read.
    """
    try:
        if index.stat().st_size > LARGEST_TEXT:
            raise ValueError("too large")
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = list(dict.fromkeys(weight_map.values()))
        if not all(isinstance(name, str) and Path(name).name == name for name in names):
            raise ValueError("files elsewhere")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            str(index), needed="an index: a weight_map from names to files beside it", got="a broken one",
            fix="Save the network again.",
        ) from error  # fmt: skip
    if len(names) > _MOST_SHARDS:
        raise CheckpointError(
            str(index), needed=f"at most {_MOST_SHARDS} files", got=f"{len(names):,}", fix="Save it again."
        )
    found: dict[str, Tensor] = {}
    for name in names:
        path = index.parent / name
        found |= find_state_dict(load_file(path, arrays=arrays)[0], str(path))
    if missing := [name for name in weight_map if name not in found]:
        raise CheckpointError(
            str(index), needed=f"{missing[0]} in {weight_map[missing[0]]}", got="none", fix="Save it again."
        )
    return {name: found[name] for name in weight_map}


def is_index(path: Path) -> bool:
    """Whether a path is such an index."""
    return path.name.endswith(_INDEX)
