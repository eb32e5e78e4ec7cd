"""The matrix products between the kernels, by PyTorch's own (cuBLAS), in the precision of its convolutions."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import torch
from torch import Tensor

from icnn_core.ops.fused.launching import precision

_lock = threading.Lock()
_inside = 0
_before = "none"


@contextlib.contextmanager
def as_convolutions(dtype: torch.dtype) -> Iterator[None]:
    """Products of float32 in TF32 where torch allows it to convolutions, which is not what it allows to products.

    The setting belongs to the process: the first of several threads sets it, the last restores it.
    """
    global _inside, _before
    matmul = torch.backends.cuda.matmul
    if dtype != torch.float32 or (matmul.fp32_precision == precision(dtype) and not _inside):  # pyright: ignore
        yield
        return
    with _lock:
        if not _inside:
            _before = matmul.fp32_precision  # pyright: ignore[reportAttributeAccessIssue]
            matmul.fp32_precision = precision(dtype)  # pyright: ignore[reportAttributeAccessIssue]
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                matmul.fp32_precision = _before  # pyright: ignore[reportAttributeAccessIssue]


def outputs(weight: Tensor, column: Tensor, bias: Tensor | None) -> Tensor:
    """weight (groups, kernels, rows) and column (groups · rows, pixels) -> (groups, pixels, kernels)."""
    if len(weight) == 1:
        return _outputs_of_one(weight[0], column, bias)[None]
    samples = column.unflatten(0, (len(weight), -1)).transpose(1, 2)
    if bias is None:
        return torch.bmm(samples, weight.transpose(1, 2))
    return torch.baddbmm(bias.view(len(weight), 1, -1), samples, weight.transpose(1, 2))


def _outputs_of_one(weight: Tensor, column: Tensor, bias: Tensor | None, out: Tensor | None = None) -> Tensor:
    if bias is None:
        return torch.mm(column.t(), weight.t(), out=out)
    return torch.addmm(bias, column.t(), weight.t(), out=out)


def write_outputs(weight: Tensor, column: Tensor, bias: Tensor | None, out: Tensor) -> None:
    """weight (groups, kernels, rows) and column (groups · rows, pixels of all images) -> out (N, C_out, H, W)."""
    batch, kernels, height, width = out.shape
    pixels = height * width
    if len(weight) == 1 and _is_last(out):
        _outputs_of_one(weight[0], column, bias, out.permute(0, 2, 3, 1).view(-1, kernels))
    elif len(weight) == 1 and out.is_contiguous() and pixels * out.element_size() % 16 == 0:
        weights, samples = weight.expand(batch, -1, -1), column.unflatten(1, (batch, pixels)).transpose(0, 1)
        if bias is None:
            torch.bmm(weights, samples, out=out.view(batch, kernels, pixels))
        else:
            torch.baddbmm(bias.view(1, -1, 1), weights, samples, out=out.view(batch, kernels, pixels))
    else:
        store(outputs(weight, column, bias), out)


def store(found: Tensor, out: Tensor) -> None:
    """(groups, pixels of all images, kernels) -> out (N, groups · kernels, H, W)."""
    (groups, _, kernels), (batch, _, height, width) = found.shape, out.shape
    by_image = found.view(groups, batch, height, width, kernels).permute(1, 0, 4, 2, 3)
    out.unflatten(1, (groups, kernels)).copy_(by_image)


def _is_last(image: Tensor) -> bool:
    return image.is_contiguous(memory_format=torch.channels_last)


def weight_gradient(grads: Tensor, column: Tensor, out: Tensor | None = None) -> Tensor:
    """grads (groups, kernels, pixels) and column (groups · rows, pixels) -> (groups, kernels, rows)."""
    if len(grads) == 1:
        return torch.mm(grads[0], column.t(), out=None if out is None else out[0])[None]
    return torch.bmm(grads, column.unflatten(0, (len(grads), -1)).transpose(1, 2), out=out)


def column_gradient(weight: Tensor, grads: Tensor, out: Tensor) -> None:
    """weight (groups, kernels, rows) and grads (groups, kernels, pixels) -> out (groups · rows, pixels)."""
    if len(weight) == 1:
        torch.mm(weight[0].t(), grads[0], out=out)
    else:
        torch.bmm(weight.transpose(1, 2), grads, out=out.unflatten(0, (len(weight), -1)))
