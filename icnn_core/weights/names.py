"""The state dict in what a file holds: under any wrapper's key, behind any chain of wrappers' prefixes."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from icnn_core.arrays import is_tensor

if TYPE_CHECKING:
    from torch import Tensor

_log = logging.getLogger(__name__)
_KEYS = (
    "state_dict", "model_state_dict", "model", "net", "network", "params", "weights", "module", "generator", "netG",
    "G", "ema", "model_ema", "ema_model", "state_dict_ema", "ema_state_dict", "params_ema", "g_ema", "shadow",
)  # fmt: skip
"""Where programs put their weights; the first that is there is read."""
_PREFIXES = (
    "module.", "_orig_mod.", "model.", "net.", "network.", "ema.", "ema_model.", "online_model.", "shadow.",
    "generator.", "_forward_module.", "averaged_model.", "averager.",
)  # fmt: skip
"""What wrappers put before every name."""
_COUNTERS = {"n_averaged", "initted", "step", "num_updates", "decay"}  # averaging wrappers', beside weights
_DEEPEST = 4


@dataclass(frozen=True)
class StateDict:
    """Tensors by name. `stripped` is what wrappers had put before every name."""

    tensors: dict[str, Tensor]
    stripped: str = ""


def find_state_dict(content: Mapping[Any, Any], who: str) -> dict[str, Tensor]:
    """The tensors by name in what a file holds; empty if there are none.

    Of several state dicts the one under the first key of a fixed list is read, and that is logged.
    """
    found = _search(content, 0, ())
    if len(found) > 1:
        names = [".".join(path) or "the file itself" for path, _ in found]
        _log.warning(
            "%s holds the weights of several networks: %s. Read is %s.", who, ", ".join(names), names[0]
        )
    return found[0][1] if found else {}


def _search(value: Any, depth: int, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], dict[str, Tensor]]]:
    """The state dicts in a value, those under known keys first."""
    if not isinstance(value, Mapping) or depth > _DEEPEST:
        return []
    tensors = {name: each for name, each in value.items() if isinstance(name, str) and is_tensor(each)}
    if any("." in name or name in ("weight", "positions") for name in tensors):
        return [(path, tensors)]
    known = [key for key in _KEYS if isinstance(value.get(key), Mapping)]
    found = [each for key in known for each in _search(value[key], depth + 1, (*path, key))]
    if not found:
        others = [key for key, each in value.items() if isinstance(key, str) and isinstance(each, Mapping)]
        found = [each for key in others for each in _search(value[key], depth + 1, (*path, key))]
    return found or ([(path, tensors)] if tensors else [])


def strip_prefixes(state: Mapping[str, Tensor], prefix: str | None = None) -> StateDict:
    """Names without the wrappers' prefixes that all of them share, and without averaging's counters.

    Args:
        prefix: take those names alone that begin so, without it; empty if none does.
    """
    if prefix is not None:
        return StateDict({k[len(prefix) :]: v for k, v in state.items() if _goes_on(k, prefix)}, prefix)
    names = [name for name in state if name not in _COUNTERS]
    stripped = ""
    while names:
        rests = [name[len(stripped) :] for name in names]
        prefix = next((known for known in _PREFIXES if all(_goes_on(rest, known) for rest in rests)), None)
        if prefix is None:
            break
        stripped += prefix
    counters = len(state) - len(names) if stripped else 0
    kept = names if stripped or not counters else list(state)
    return StateDict({name[len(stripped) :]: state[name] for name in kept}, stripped)


def _goes_on(name: str, prefix: str) -> bool:
    return name.startswith(prefix) and len(name) > len(prefix)


def shared_prefix(names: Iterable[str]) -> str:
    """The dotted prefix that all names share, with its dot, or ""."""
    parts = [name.split(".")[:-1] for name in names]
    shared = []
    for column in zip(*parts, strict=False):
        if len(set(column)) > 1:
            break
        shared.append(column[0])
    return "".join(f"{part}." for part in shared)


def first_parts(names: Iterable[str], shown: int = 6) -> str:
    """What names begin with, for an error: "student., teacher."."""
    parts = list(dict.fromkeys(name.partition(".")[0] + "." for name in names if "." in name))
    return ", ".join(part[:80] for part in parts[:shown]) + (", …" if len(parts) > shown else "")


def find_heads(given: Mapping[str, Tensor], own: Mapping[str, Tensor], who: object) -> dict[str, Tensor]:
    """A network's own tensors where those given are for other classes: their first axis alone differs. Logged.

    None where every tensor differs so: that is another network.
    """
    heads = {
        name: own[name].detach()
        for name, tensor in given.items()
        if name in own
        and tensor.ndim == own[name].ndim
        and tensor.shape != own[name].shape
        and tensor.shape[1:] == own[name].shape[1:]
    }
    if len(heads) == len(own):
        return {}
    if heads:
        _log.warning("%s: %s are for other classes, and start anew", who, ", ".join(heads))
    return heads


def describe_mismatch(given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """What keeps tensors from being a network's, for an error: names that it lacks, names that it has not, shapes."""
    missing = [name for name in own if name not in given and not name.endswith("num_batches_tracked")]
    shapes = [
        f"{name} of shape {tuple(tensor.shape)} for {tuple(own[name].shape)}"
        for name, tensor in given.items()
        if name in own and tensor.shape != own[name].shape
    ]
    parts = (
        _some("missing", missing),
        _some("unexpected", [name for name in given if name not in own]),
        _some("size mismatch:", shapes),
    )
    return " and ".join(part for part in parts if part)


def _some(word: str, names: list[str], shown: int = 3) -> str:
    if not names:
        return ""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return f"{word} {', '.join(name[:120] for name in names[:shown])}{more}"


def describe_names(content: Mapping[Any, Any], shown: int = 4) -> str:
    """What a file holds, for an error: its first keys with their shapes or kinds."""
    items = list(content.items())
    words = [f"{str(name)[:60]} ({_kind(value)})" for name, value in items[:shown]]
    more = f" and {len(items) - shown:,} more" if len(items) > shown else ""
    return ", ".join(words) + more if words else "nothing"


def _kind(value: Any) -> str:
    if is_tensor(value):
        return "×".join(map(str, value.shape)) or "one number"
    kind = type(value).__name__
    return f"{kind} of {len(value):,}" if isinstance(value, Mapping | list) else kind


def by_numbers(name: str) -> list[int | str]:
    """Sorts names by the numbers in them: features.2 before features.10."""
    parts = re.split("([0-9]{1,18})", name)
    return [int(part) if number % 2 else part for number, part in enumerate(parts)]
