"""What a launch must know of the device and of torch's settings: precision, processors, workspace. Imports Triton."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any, TypeVar

import torch
import triton
from torch import Tensor

from icnn_core.ops.fused import tuning
from icnn_core.ops.fused.tuning import Config

_Result = TypeVar("_Result")


def launch(kernel: Any, programs: int, *arguments: object, **options: object) -> None:
    """Run `programs` instances of a kernel on the current stream."""
    kernel[(programs,)](*arguments, **options)


def blocks(config: Config, dtype: torch.dtype) -> dict[str, Any]:
    """The options of a matrix kernel."""
    return {
        "PRECISION": _precision(dtype),
        "KERNELS": config.kernels,
        "PIXELS": config.pixels,
        "ROWS": config.rows,
        "num_warps": config.warps,
        "num_stages": config.stages,
    }


def run_tuned(
    kernel: str, operand: Tensor, sizes: tuple[int, ...], serve: Callable[[Config], _Result]
) -> _Result:
    """`tuning.run_fastest` for an operand's dtype and device."""
    scalar = operand.dtype == torch.float32 and _precision(operand.dtype) == "ieee"
    unit = "scalar" if scalar else "matrix"
    return tuning.run_fastest(kernel, unit, operand.dtype, sizes, operand.device, serve)


def split_sum(tiles: int, programs: int, numbers: int, device: torch.device) -> tuple[int, int]:
    """Into how many parts a sum over tiles is split, and how many tiles a part has.

    Enough to fill the GPU twice if a part takes `programs` programs, but no more partial sums (of `numbers` float32 a
    part) than the workspace holds.
    """
    wanted = triton.cdiv(2 * _processors(device), programs)
    affordable = max(1, workspace_bytes(device) // (4 * numbers))
    per_part = triton.cdiv(tiles, min(wanted, affordable, tiles))
    return triton.cdiv(tiles, per_part), per_part


@functools.cache
def workspace_bytes(device: torch.device) -> int:
    """What the L2 cache holds, so that a workspace's second reader finds it there."""
    return torch.cuda.get_device_properties(device).L2_cache_size if device.type == "cuda" else 1 << 20


def device_guard(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Triton launches on the current device."""
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()


def _precision(dtype: torch.dtype) -> str:
    """Of products of float32: TF32 where torch allows it to cuDNN's convolutions."""
    allowed = torch.backends.cudnn.conv.fp32_precision == "tf32"  # pyright: ignore[reportAttributeAccessIssue]
    return "tf32" if dtype == torch.float32 and allowed else "ieee"


@functools.cache
def _processors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 4
