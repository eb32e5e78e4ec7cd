"""Backbone weights from a file or from torchvision. Reading never runs code from the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torchvision.models
from torch import nn

from icnn_core.errors import CheckpointError
from icnn_core.weights import describe_names, find_state_dict, load_file, strip_prefixes

_CLASSIFIER = ("fc.", "classifier.", "AuxLogits.")  # what an ImageNet file holds beyond the backbone
_WHO = "backbone weights"


def load_backbone_weights(backbone: nn.Module, name: str, source: str | Path) -> None:
    """Fill a backbone in place.

    Args:
        backbone: with torchvision's module names.
        name: torchvision's name of the network, e.g. "resnet101".
        source: "imagenet" (torchvision's first ImageNet weights, downloaded and cached) or the path of a state
            dict with torchvision's keys, `.safetensors` or torch's format, of any floating dtype. An ImageNet
            classifier in it is ignored.

    Raises:
        CheckpointError: no such file, unreadable, or its names or shapes are not this backbone's.
    """
    state = _download(name) if source == "imagenet" else read_state_dict(source)
    own = backbone.state_dict()
    given = {k: v for k, v in state.items() if not k.startswith(_CLASSIFIER)}
    missing = [k for k in own if k not in given and not k.endswith("num_batches_tracked")]
    unexpected = [k for k in given if k not in own]
    if missing or unexpected:
        raise CheckpointError(
            f"{_WHO} {source}",
            needed=f"torchvision's keys of {name}",
            got=" and ".join(t for t in (_some("missing", missing), _some("unexpected", unexpected)) if t),
            fix="Give a file saved from torchvision's network of this name.",
        )
    for key, value in given.items():
        if value.shape != own[key].shape:
            raise CheckpointError(
                f"{_WHO} {source}",
                needed=f"{key} of shape {tuple(own[key].shape)}",
                got=str(tuple(value.shape)),
                fix=f"Give the weights of {name}.",
            )
    backbone.load_state_dict({k: v.to(own[k].dtype) for k, v in given.items()}, strict=False)


def read_state_dict(path: str | Path) -> Mapping[str, torch.Tensor]:
    """Tensors by name from `.safetensors` or torch's format, on the CPU, never running code from the file.

    Raises:
        CheckpointError: no such file, unreadable, or without tensors by name.
    """
    who = f"{_WHO} {path}"
    content, _ = load_file(Path(path), who)
    state = strip_prefixes(find_state_dict(content, who)).tensors
    if not state:
        raise CheckpointError(
            who,
            needed="tensors by name",
            got=f"none: {describe_names(content)}",
            fix="Save `model.state_dict()` alone.",
        )
    return state


def _download(name: str) -> Mapping[str, torch.Tensor]:
    try:
        weights = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]
        return weights.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise CheckpointError(
            f"{_WHO} imagenet",
            needed=f"a connection to download {name}",
            got=str(error),
            fix="Give the path of a file instead.",
        ) from error


def _some(word: str, keys: list[str], shown: int = 3) -> str:
    if not keys:
        return ""
    more = f" and {len(keys) - shown} more" if len(keys) > shown else ""
    return f"{word} {', '.join(keys[:shown])}{more}"
