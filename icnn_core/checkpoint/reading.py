"""Files to what they hold; nothing in a file is ever run."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from icnn_core.arrays import is_tensor, to_array, type_of
from icnn_core.checkpoint.contents import (
    BARE,
    EFFECTIVE,
    Checkpoint,
    agree,
    detect_layers,
    refuse,
    undetected_layers,
)
from icnn_core.checkpoint.description import MOST_LAYERS, parse_description
from icnn_core.checkpoint.effective import computed_tensors
from icnn_core.identity import digest_content
from icnn_core.preparation import read_processor
from icnn_core.weights.folders import find_weights, is_index, load_shards
from icnn_core.weights.loading import load_file
from icnn_core.weights.names import describe_names, find_state_dict, first_parts, strip_prefixes

if TYPE_CHECKING:
    from torch import Tensor

_log = logging.getLogger(__name__)
_ITERATIONS = ("iteration", "global_step", "step", "epoch")  # of other programs: the first that is there
_ROUNDING = {"float16": 2.0**-10, "bfloat16": 2.0**-7}  # from 1 to the next larger number


def read_checkpoint(path: str | Path, prefix: str | None = None, *, arrays: bool = False) -> Checkpoint:
    """Read a checkpoint of this package, or any state dict that torch can load without running code.

    State dicts are found under the keys that programs use (`state_dict`, `model`, `ema`, …), without the prefixes that
    wrappers put before all names (`module.`, `_orig_mod.`, `model.`, …, in any order); in folders as transformers,
    diffusers and Accelerate write them, and behind their indexes of several files.

    Args:
        prefix: of a plain state dict, take those names alone that begin so ("teacher."), without it; None strips the
            known ones.
        arrays: of `.safetensors` files give numpy's arrays in place of tensors, where it has their types: torch is not
            loaded for them.

    Raises:
        CheckpointError: missing, truncated, empty, not a checkpoint, made by a newer version, or a file that would
            run code when loaded or declares more than it can hold.
    """
    return read_checkpoints([path], prefix, arrays=arrays)[0]


def read_checkpoints(
    paths: Sequence[str | Path], prefix: str | None = None, *, arrays: bool = False
) -> list[Checkpoint]:
    """Several, as `read_checkpoint`; the prefix is of the plain state dicts among them.

    Raises:
        CheckpointError: as of `read_checkpoint`; a prefix where there is none.
    """
    read = [_read(Path(path), prefix, arrays) for path in paths]
    if prefix is not None and read and not any(plain for _, plain in read):
        what = "a plain state dict, to strip a prefix"
        raise refuse(read[0][0].path, what, "a checkpoint of this package", "Leave it out.")
    return [checkpoint for checkpoint, _ in read]


def _read(path: Path, prefix: str | None, arrays: bool) -> tuple[Checkpoint, bool]:
    """A file, and whether it is a plain state dict."""
    path = find_weights(path) or path
    if is_index(path):
        content: dict[str, Any] = {"state_dict": load_shards(path, arrays=arrays)}
        metadata: Mapping[str, str] = {}
    else:
        content, metadata = load_file(path, arrays=arrays)
    text = metadata.get("icnn", content.get("icnn"))
    if isinstance(text, str):
        return _read_own(path, content, text), False
    found = find_state_dict(content, str(path))
    if not found:
        needed = "tensors by name"
        raise refuse(path, needed, f"none: {describe_names(content)}", "Save model.state_dict() under a key.")
    state = strip_prefixes(found, prefix)
    if not state.tensors:
        begin = f"names that begin with {first_parts(found) or 'no part of their own'}"
        raise refuse(path, f"names that begin with {prefix}", begin, "Give another prefix.")
    tensors = _with_name(state.tensors)
    iterations = [content[key] for key in _ITERATIONS if type(content.get(key)) is int]
    effective = computed_tensors(tensors)
    layers = detect_layers(path, tensors | effective)
    if len(layers) > MOST_LAYERS:
        raise refuse(path, f"at most {MOST_LAYERS:,} irregular layers", f"{len(layers):,}", "Write it again.")
    _tell_rounded(path, tensors)
    for reason, names in undetected_layers(tensors | effective).items() if layers else ():
        _log.warning("%s: left out: %s, %s", path, ", ".join(names), reason)
    _log.debug("%s: %d tensors, a plain state dict behind %r", path, len(tensors), state.stripped)
    checkpoint = Checkpoint(
        path,
        tensors,
        layers,
        metrics={"iteration": iterations[0]} if iterations else {},
        ordered=".safetensors" not in path.name.lower(),  # whose names come by the alphabet
        effective=effective,
        stripped=state.stripped,
        preparation=read_processor(path.parent),
    )
    return checkpoint, True


def _read_own(path: Path, content: dict[str, Any], text: str) -> Checkpoint:
    """A file of this package, by its description."""
    parts = parse_description(path, text)
    given = content.get("state_dict", content)
    named = given.items() if isinstance(given, dict) else ()
    state = {name: value for name, value in named if isinstance(name, str) and is_tensor(value)}
    effective = {
        name.removeprefix(EFFECTIVE): state.pop(name) for name in list(state) if name.startswith(EFFECTIVE)
    }
    beside, training = (content.get(key, {}) for key in ("effective", "training"))
    if isinstance(beside, dict):
        effective |= {str(name): value for name, value in beside.items() if is_tensor(value)}
    numbers = {"state_dict": state, "training": training, "effective": effective}
    state = _with_name(state)
    if not state or not isinstance(training, dict):
        raise refuse(path, "tensors by name", describe_names(content), "Write it again.")
    checkpoint = Checkpoint(path=path, state=state, training=training, effective=effective, **parts)
    detected = {layer.name: layer for layer in detect_layers(path, state | effective)}
    for layer in checkpoint.irregular:
        weight = checkpoint.tensor(f"{layer.name}.weight")
        if weight is None or layer.name not in detected or not agree(layer, detected[layer.name], weight):
            raise refuse(
                path, f"positions, slots and weight of {layer.name}", "none that fit", "Write it again."
            )
    _check_digest(path, numbers, text)
    _tell_rounded(path, state)
    _log.debug("%s: %d tensors, described", path, len(state))
    return checkpoint


def _tell_rounded(path: Path, state: Mapping[str, Tensor]) -> None:
    """Say that positions were stored in half precision, as `.half()` does: they are what is left of them."""
    halved = [t for name, t in state.items() if name.endswith(".positions") and type_of(t) in _ROUNDING]
    if halved:
        farthest = max(float(np.abs(to_array(t)).max()) for t in halved if math.prod(t.shape))
        kind = type_of(halved[0])
        step = _ROUNDING[kind] * farthest
        said = "%s holds positions in %s: rounded, by up to %.2g pixels. Keep them in float32."
        _log.warning(said, path, kind, step / 2)


def _check_digest(path: Path, numbers: dict[str, Any], text: str) -> None:
    """Raise CheckpointError if the numbers are not those that were written; older files do not say."""
    written = json.loads(text).get("digest")
    if written is not None and written != digest_content(numbers):
        fix = "The file was damaged or changed: take another copy, or write it again."
        raise refuse(path, "the numbers that were written", "others (their checksum differs)", fix)


def _with_name(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A network that is a single layer gets a name."""
    alone = ("positions", "parametrizations.positions.original", "parametrizations.positions.original0")
    if any(name in state for name in alone):
        return {f"{BARE}.{name}": tensor for name, tensor in state.items()}
    return state
