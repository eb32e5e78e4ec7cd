"""Tensors, or numpy's arrays in their place where torch need not be loaded: what both can be asked."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


def is_tensor(value: Any) -> TypeGuard[Tensor]:
    """Whether a value is a tensor, or an array in a tensor's place."""
    torch = sys.modules.get("torch")  # where it is not loaded, nothing is of its kind
    return isinstance(value, np.ndarray) or (torch is not None and isinstance(value, torch.Tensor))


def to_array(tensor: Tensor | np.ndarray) -> np.ndarray:
    """A float64 copy."""
    if isinstance(tensor, np.ndarray):
        return tensor.astype(np.float64)
    return tensor.detach().double().cpu().numpy().copy()


def type_of(tensor: Tensor | np.ndarray) -> str:
    """The name of its numbers' type: "float32"."""
    return str(tensor.dtype).removeprefix("torch.")
