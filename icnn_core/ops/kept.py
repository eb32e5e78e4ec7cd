"""What follows from parameters alone, kept in inference mode from call to call: the next one pays for pixels only."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

_Kept = TypeVar("_Kept")
_PLAIN = (Tensor, torch.nn.Parameter)
_KEPT = WeakTensorKeyDictionary()


def has_version(tensor: Tensor) -> bool:
    """Whether it can be seen that a tensor changed, and it may be here in the next call: a parameter, not a result."""
    plain = type(tensor) in _PLAIN and tensor.is_leaf and not tensor.is_inference()
    return plain and not torch._C._are_functorch_transforms_active()


def version_of(tensor: Tensor) -> tuple[int, int]:
    """What changes with the tensor's storage, and with its values but for those written through `.data`."""
    return tensor.data_ptr(), tensor._version


def keep(name: str, tensors: Sequence[Tensor], key: Hashable, make: Callable[[], _Kept]) -> _Kept:
    """`make()`, or what it gave when it was last called under this name with the same key and tensors.

    It is kept in inference mode alone, with the first tensor and as long as that one lives, and made anew where a
    tensor's version changed. So is it where the values are others all the same: code that writes through `.data` counts
    no version.
    """
    if not torch.is_inference_mode_enabled() or torch.compiler.is_compiling():
        return make()
    if not all(tensor.device.type == "cpu" and has_version(tensor) for tensor in tensors):
        return make()  # a comparison would wait for a GPU
    entries = _KEPT.get(tensors[0])
    if entries is None:
        entries = _KEPT[tensors[0]] = {}
    whole = key, tuple(map(version_of, tensors))
    found = entries.get(name)
    if found is not None and found[0] == whole and all(map(torch.equal, found[1], tensors)):
        return found[2]
    made = make()
    entries[name] = whole, [tensor.detach().clone() for tensor in tensors], made
    return made
