"""Weights to start from, of a backbone or a whole network, by file or torchvision. No code of a file is ever run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from icnn_core.errors import CheckpointError
from icnn_core.files import explain
from icnn_core.weights.folders import find_weights, is_index, load_shards
from icnn_core.weights.loading import load_file
from icnn_core.weights.names import (
    describe_mismatch,
    describe_names,
    find_heads,
    find_state_dict,
    first_parts,
    shared_prefix,
    strip_prefixes,
)

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
    if any(key.startswith("backbone.") for key in state):  # of a whole network of this package
        state = {key.removeprefix("backbone."): value for key, value in state.items()}
    given = {k: v for k, v in state.items() if not k.startswith(_CLASSIFIER)}
    said = describe_mismatch(given, own)
    if said:
        fix = "Give a file saved from torchvision's network of this name."
        raise CheckpointError(f"{_WHO} {source}", needed=f"torchvision's keys of {name}", got=said, fix=fix)
    backbone.load_state_dict({k: v.to(own[k].dtype) for k, v in given.items()}, strict=False)


def load_network_weights(model: nn.Module, source: str | Path, prefix: str | None = None) -> None:
    """Fill a whole network in place. What differs in its first axis alone, as a head for other classes, starts anew.

    Args:
        source: a state dict with the network's names, behind any prefix that all share, in any wrapper, of any floating
            dtype; or a folder that transformers wrote.
        prefix: take those names alone that begin so, without it.

    Raises:
        CheckpointError: no such file, unreadable, or its names or shapes are not this network's.
    """
    who = f"weights {source}"
    own = model.state_dict()
    found, content = _read(Path(source), who)
    if prefix is not None:
        begin = first_parts(found)
        found = strip_prefixes(found, prefix).tensors
        if not found:
            got = f"names that begin with {begin or 'no part of their own'}"
            raise CheckpointError(who, needed=f"names that begin with {prefix}", got=got, fix="Give another.")
    shared = shared_prefix(found).split(".")[:-1]
    prefixes = ["".join(f"{part}." for part in shared[:count]) for count in range(len(shared) + 1)]
    candidates = [{key.removeprefix(prefix): value for key, value in found.items()} for prefix in prefixes]
    candidates.append(strip_prefixes(found).tensors)
    given = next((each for each in candidates if any(key in own for key in each)), found)
    if not given:
        raise _no_tensors(who, content)
    given |= find_heads(given, own, source)
    said = describe_mismatch(given, own)
    if said:
        fix = "Give a file saved from this network; a checkpoint with irregular layers goes to --init."
        raise CheckpointError(who, needed=f"the weights of {type(model).__name__}", got=said, fix=fix)
    model.load_state_dict({key: value.to(own[key].dtype) for key, value in given.items()}, strict=False)


def read_state_dict(path: str | Path) -> Mapping[str, torch.Tensor]:
    """Tensors by name from `.safetensors` or torch's format, on the CPU, never running code from the file.

    Raises:
        CheckpointError: no such file, unreadable, or without tensors by name.
    """
    who = f"{_WHO} {path}"
    found, content = _read(Path(path), who)
    state = strip_prefixes(found).tensors
    if not state:
        raise _no_tensors(who, content)
    return state


def _read(path: Path, who: str) -> tuple[dict[str, torch.Tensor], Mapping[str, object]]:
    """The tensors in a file, or a folder of transformers', and all that it holds."""
    path = find_weights(path) or path
    if is_index(path):
        shards = load_shards(path)
        return shards, shards
    content, _ = load_file(path, who)
    return find_state_dict(content, who), content


def _no_tensors(who: str, content: Mapping[str, object]) -> CheckpointError:
    got = f"none: {describe_names(content)}"
    return CheckpointError(who, needed="tensors by name", got=got, fix="Save `model.state_dict()` alone.")


def _download(name: str) -> Mapping[str, torch.Tensor]:
    from torchvision.models import get_model_weights

    try:
        weights = get_model_weights(name)["IMAGENET1K_V1"]
        return weights.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:
        needed, got = f"a connection to download {name}", explain(getattr(error, "reason", error))[0]
        fix = "Give the path of a file instead, or go on from random weights: --weights none."
        raise CheckpointError(f"{_WHO} imagenet", needed=needed, got=got, fix=fix) from error
