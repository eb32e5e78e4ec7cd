"""Launches that remember what was compiled for them, and what one must know of the device. Imports Triton."""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import torch
from torch import Tensor
from triton.runtime import driver

from icnn_core.ops.fused import is_interpreted
from icnn_core.ops.fused.sizes import MOST_WORKSPACE


class Launch:
    """A kernel with a grid and all arguments but its tensors.

    Only the tensors' dtypes decide what is compiled, so after the first call of its dtypes the launch costs one call of
    Triton's C launcher. Handles belong to a device: keep one Launch for each.
    """

    def __init__(self, kernel: Any, programs: int, sizes: tuple[int | float, ...], **options: Any) -> None:
        self.kernel, self.programs, self.sizes, self.options = kernel, programs, sizes, options
        constants = [value for name, value in options.items() if not name.startswith("num_")]
        self._rest = (*sizes, *constants)
        self._compiled: dict[tuple[torch.dtype | None, ...], Any] = {}

    def __call__(self, *tensors: Tensor | None) -> None:
        key = tuple([None if tensor is None else tensor.dtype for tensor in tensors])
        compiled = self._compiled.get(key)
        if compiled is None:
            self._compiled[key] = self.compile_and_run(*tensors)
            return
        active: Any = driver.active
        stream = active.get_current_stream(active.get_current_device())
        compiled.run(
            self.programs, 1, 1, stream, compiled.function, compiled.packed_metadata, None, None, None,
            *tensors, *self._rest,
        )  # fmt: skip

    def compile_and_run(self, *tensors: Tensor | None) -> Any:
        """Through Triton's own front door; the interpreter returns nothing to keep."""
        return self.kernel[(self.programs,)](*tensors, *self.sizes, **self.options)


def workspace_bytes(device: torch.device) -> int:
    """A third of the L2 cache, so that a column's reader finds it there; memory is bounded, too."""
    return min(_cache_bytes(device.index or 0) // 3, MOST_WORKSPACE) if device.type == "cuda" else 1 << 20


@functools.cache
def _cache_bytes(index: int) -> int:
    return torch.cuda.get_device_properties(index).L2_cache_size


def device_guard(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Triton launches on the current device."""
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()


def is_capturing() -> bool:
    """Whether a CUDA graph is being captured on the current stream: then nothing may wait, be timed or compiled."""
    return torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()


def deterministic() -> bool:
    return torch.are_deterministic_algorithms_enabled() or is_interpreted()


def precision(dtype: torch.dtype) -> str:
    """Of products of float32: TF32 where torch allows it to cuDNN's convolutions."""
    allowed = torch.backends.cudnn.conv.fp32_precision == "tf32"  # pyright: ignore[reportAttributeAccessIssue]
    return "tf32" if dtype == torch.float32 and allowed else "ieee"
