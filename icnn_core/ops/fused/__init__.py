"""The fast back end on CUDA: Triton kernels that sample, cuBLAS for the products. Importing this loads no Triton.

A column of samples is made and multiplied chunk by chunk, so that it stays in the L2 cache; where few kernels share a
sample, one kernel samples and multiplies. What has been proven without a GPU, docs/operator.md says.

Bilinear, with positions (1, K, 2) or (C_in, K, 2). The positions' values are never looked at before a launch, no
atomics are used, and sums are formed in float32 in a fixed order. Under `TRITON_INTERPRET=1`, set before Triton is
first imported, the same kernels run on the CPU, slowly.
"""

from __future__ import annotations

import functools
import importlib.util
import os

import torch
from torch import Tensor

from icnn_core.ops.geometry import Geometry

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_LEAST_CAPABILITY = (8, 0)
_HAS_TRITON = importlib.util.find_spec("triton") is not None


def unsupported_reasons(
    dtype: torch.dtype, device: torch.device, *, shared: bool, gaussian: bool = False
) -> list[str]:
    """Why this back end cannot serve a call; empty if it can. Loads no Triton. `shared`: positions have 3 axes."""
    reasons = _device_reasons(device)
    if dtype not in DTYPES:
        names = ", ".join(str(known).removeprefix("torch.") for known in DTYPES)
        reasons.append(f"it computes in {names}, and the input is {str(dtype).removeprefix('torch.')}")
    if not shared:
        reasons.append("every kernel has shapes of its own, so no sample serves two of them")
    if gaussian:
        reasons.append("it interpolates bilinearly")
    if not _HAS_TRITON:
        reasons.append("Triton is not installed")
    return reasons


def image_format(x: Tensor) -> torch.memory_format:
    """Of what is made for an image: channels_last where x is and is not contiguous, too; else contiguous."""
    last = torch.channels_last
    return last if x.is_contiguous(memory_format=last) and not x.is_contiguous() else torch.contiguous_format


def forward(x: Tensor, weight: Tensor, positions: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """As `reference.forward`, of x's format, for positions of 3 axes. Samples have x's dtype, sums are float32.

    Args:
        x: (N, C_in, H, W) of any strides; weight: (C_out, C_in/groups, kH, kW) of its dtype; bias: (C_out,) or None.
        positions: (1, K, 2) or (C_in, K, 2), of any floating-point dtype.
        geometry: their sizes. All is taken as valid, and on a device without `unsupported_reasons`.
    """
    shape = geometry.batch, geometry.out_channels, *geometry.output_size
    out = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=image_format(x))
    if out.numel() == 0:
        return out
    from icnn_core.ops.fused import passes

    return passes.forward(x, weight, positions, bias, geometry, out)


def backward(
    grad_out: Tensor,
    x: Tensor,
    weight: Tensor,
    positions: Tensor,
    geometry: Geometry,
    needs: tuple[bool, bool, bool, bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
    """The gradients of x, weight, positions and bias where `needs` asks for them, None elsewhere.

    The gradients of x and of the positions go through that of the samples, weightᵀ · grad_out, in x's dtype and in
    chunks that stay in the GPU's L2 cache. Source: equation 6, right-hand derivatives at the integers.
    """
    by_bias = grad_out.sum((0, 2, 3)) if needs[3] else None
    if grad_out.numel() == 0:
        tensors = zip((x, weight, positions), needs[:3], strict=True)
        by_x, by_weight, by_positions = (t.new_zeros(t.shape) if need else None for t, need in tensors)
        return by_x, by_weight, by_positions, by_bias
    by_x = torch.empty_like(x, memory_format=image_format(x)) if needs[0] else None
    if not any(needs[:3]):
        return None, None, None, by_bias
    from icnn_core.ops.fused import passes

    return *passes.backward(grad_out, x, weight, positions, geometry, needs, by_x), by_bias


def _device_reasons(device: torch.device) -> list[str]:
    if device.type == "cpu" and is_interpreted():
        return []
    if device.type != "cuda":
        return [f"it runs on CUDA, and the input lies on {device}"]
    if torch.version.hip:
        return ["its kernels were never run on ROCm"]
    return _cuda_reasons(device) if torch.compiler.is_compiling() else _known_cuda_reasons(device)


def _cuda_reasons(device: torch.device) -> list[str]:
    if not torch.cuda.is_available():
        return ["no CUDA device is there"]
    capability = torch.cuda.get_device_capability(device)
    if capability < _LEAST_CAPABILITY:
        needed, got = (".".join(map(str, pair)) for pair in (_LEAST_CAPABILITY, capability))
        return [f"it needs compute capability {needed}, and {device} has {got}"]
    return []


_known_cuda_reasons = functools.cache(_cuda_reasons)


def is_interpreted() -> bool:
    """Whether Triton was asked to interpret its kernels, on the CPU."""
    return os.environ.get("TRITON_INTERPRET", "0").lower() in {"1", "true", "yes", "on", "y"}
