"""Files to what they hold; nothing in a file is ever run."""

from __future__ import annotations

import json
import logging
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from icnn_core.checkpoint.contents import BARE, FORMAT_VERSION, Checkpoint, refuse
from icnn_core.checkpoint.layers import agree, detect_layers, layer_from
from icnn_core.files import nearest_files
from icnn_core.models.registry import Architecture

_log = logging.getLogger(__name__)
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
_ITERATIONS = ("iteration", "global_step", "step", "epoch")  # of other programs: the first that is there
_PREFIXES = ("module.", "_orig_mod.")


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint of this package, or any state dict that torch can load without running code.

    Raises:
        CheckpointError: missing, truncated, empty, not a checkpoint, made by a newer version, or a file that would
            run code when loaded.
    """
    path = Path(path)
    if path.is_dir():
        raise refuse(path, "a file", "a folder", "Name a file in it, e.g. last.pt.")
    if not path.is_file():
        raise refuse(path, "a file", "nothing there", nearest_files(path))
    if path.stat().st_size == 0:
        raise refuse(path, "a checkpoint", "an empty file", "It was probably cut off: write it again.")
    content, text = _load(path)
    training = content.pop("training", {}) if text is not None else {}
    state = _find_state(path, content, is_foreign=text is None)
    _log.debug("%s: %d tensors, %s", path, len(state), "described" if text else "a plain state dict")
    if text is None:
        is_ordered = path.suffix != ".safetensors"  # whose names come by the alphabet
        iterations = [content[key] for key in _ITERATIONS if isinstance(content.get(key), int)]
        metrics = {"iteration": iterations[0]} if iterations else {}
        return Checkpoint(path, state, detect_layers(state), metrics=metrics, ordered=is_ordered)
    header = _parse_header(path, text)
    if header.get("axis_order") != "yx":
        raise refuse(path, "positions in the order (y, x)", str(header.get("axis_order")), "Write it again.")
    try:
        checkpoint = Checkpoint(
            path=path,
            state=state,
            irregular=tuple(layer_from(entry) for entry in header["irregular"]),
            architecture=Architecture(**header["architecture"]) if header["architecture"] else None,
            classes=tuple(str(name) for name in header["classes"]),
            palette=tuple((int(r), int(g), int(b)) for r, g, b in header["palette"]),
            ignore_index=int(header["ignore_index"]),
            dataset=dict(header["dataset"]),
            metrics=dict(header["metrics"]),
            training=training,
            package_version=str(header["package_version"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise refuse(path, "a whole description", f"a broken one ({error!r})", "Write it again.") from error
    detected = {layer.name: layer for layer in detect_layers(state)}
    for layer in checkpoint.irregular:
        if layer.name not in detected or not agree(layer, detected[layer.name]):
            raise refuse(
                path, f"positions, slots and weight of {layer.name}", "none that fit", "Write it again."
            )
    return checkpoint


def _by_numbers(name: str) -> list[int | str]:
    """Sorts names by the numbers in them: features.2 before features.10."""
    return [int(part) if number % 2 else part for number, part in enumerate(re.split("([0-9]+)", name))]


def _load(path: Path) -> tuple[dict[str, Any], str | None]:
    """The file's content as a dictionary, and this package's description in it, if any."""
    try:
        if path.suffix == ".safetensors":
            from safetensors import safe_open

            with safe_open(path, framework="pt") as file:
                names = sorted(file.keys(), key=_by_numbers)
                content = {name: file.get_tensor(name) for name in names}
                return {"state_dict": content}, (file.metadata() or {}).get("icnn")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on old formats; the error below says it all
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a hostile or broken file provokes
        raise refuse(
            path,
            "tensors and plain values, written by torch.save or safetensors",
            "a file that is broken, cut off, or would run code when loaded",
            "Nothing of it was run. Save the state dict alone: torch.save(model.state_dict(), …).",
        ) from error
    if not isinstance(content, dict):
        raise refuse(path, "a state dict", type(content).__name__, "Save model.state_dict().")
    text = content.pop("icnn", None)
    return content, text if isinstance(text, str) else None


def _parse_header(path: Path, text: str) -> dict[str, Any]:
    try:
        header = json.loads(text)
        version = int(header["format_version"])
    except (ValueError, KeyError, TypeError) as error:
        raise refuse(path, "a description in JSON", "a broken one", "Write it again.") from error
    if version > FORMAT_VERSION:
        writer = header.get("package_version", "unknown")
        raise refuse(
            path,
            f"format version {FORMAT_VERSION} or older",
            f"version {version} (written by icnn {writer})",
            "Upgrade this package.",
        )
    return header


def _find_state(path: Path, content: dict[str, Any], *, is_foreign: bool) -> dict[str, Tensor]:
    for key in _WRAPPERS:
        if isinstance(content.get(key), dict):
            content = content[key]
            break
    state = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not state:
        raise refuse(path, "tensors by name", "none", "Save model.state_dict().")
    for prefix in _PREFIXES if is_foreign else ():
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    if "positions" in state:  # the network is a single layer
        state = {f"{BARE}.{name}": tensor for name, tensor in state.items()}
    return state
