"""Whether the back end computes right on this machine: tried once, at first use, and remembered. Imports Triton.

Its kernels have been compiled and interpreted, not run: so the first call of a kind is preceded by a small one, forward
and backward, compared with native operations in float64.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from icnn_core.ops import fused
from icnn_core.ops.fused.launching import is_capturing
from icnn_core.ops.fused.remembered import Remembered, where
from icnn_core.ops.fused.sizes import is_narrow, kernels_per_group
from icnn_core.ops.fused.tuning import MOST_KERNELS
from icnn_core.ops.geometry import Geometry, regular_slots

Native = Callable[[Tensor, Tensor, Tensor, Tensor | None, Geometry], Tensor]
_LAYERS = {  # C_in, C_out, groups; from 128 channels on, a copy of channels_last is another program
    "columns": (2, MOST_KERNELS + 72, 1),
    "few kernels": (2, 21, 1),
    "narrow": (3, 6, 3),
}
# Of norms, relative; TF32 included:
_TOLERANCES = {torch.bfloat16: 0.03, torch.float16: 0.005, torch.float32: 0.005}
_RIGHT = "right"
_verdicts = Remembered("verdicts")
_known: dict[tuple[torch.device, torch.dtype, str], str] = {}
_lock = threading.RLock()


def why_not(device: torch.device, dtype: torch.dtype, geometry: Geometry, native: Native) -> str:
    """Empty if calls of this kind are trusted here, else the reason; the first time they are tried against `native`.

    Nothing is tried while a CUDA graph is captured.
    """
    key = device, dtype, _kind(geometry)
    if key not in _known:
        if is_capturing():
            return "it was not tried on this GPU yet, and a CUDA graph is being captured: call the layer once before"
        with _lock:
            if key not in _known:
                _known[key] = _remembered_or_tried(*key, native)
    return _known[key]


def _kind(geometry: Geometry) -> str:
    if is_narrow(geometry):
        return "narrow"
    return "few kernels" if kernels_per_group(geometry) <= MOST_KERNELS else "columns"


def _remembered_or_tried(device: torch.device, dtype: torch.dtype, kind: str, native: Native) -> str:
    key = f"{where(device)}|{dtype}|{kind}"
    verdict = _verdicts.get(key)
    if verdict is None:
        verdict = in_clean_thread(lambda: _try(device, dtype, kind, native)) or _RIGHT
        _verdicts.put(key, verdict)
        if verdict != _RIGHT:
            warnings.warn(
                f"The CUDA back end of irregular_conv2d is not used for {dtype} ({kind}) on {device}: {verdict}. "
                f"Native operations serve. This is remembered in {_verdicts.file}.",
                stacklevel=2,
            )
    return "" if verdict == _RIGHT else f"on this GPU, {verdict}"


def _try(device: torch.device, dtype: torch.dtype, kind: str, native: Native) -> str:
    """What went wrong, or nothing."""
    c_in, c_out, groups = _LAYERS[kind]
    geometry = Geometry(2, c_in, c_out, (9, 11), (3, 2), (1, 1), (1, 2), (1, 2), groups)
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(device, dtype)

    positions = regular_slots((3, 2), (1, 2)) + torch.randn(c_in, 6, 2, generator=generator)
    inputs = normal(2, c_in, 9, 11), normal(c_out, c_in // groups, 3, 2), positions.to(device), normal(c_out)
    grad_out = normal(2, c_out, *geometry.output_size).to(memory_format=torch.channels_last)
    try:
        with torch.no_grad():
            out = fused.forward(*inputs, geometry)
            found = out, *fused.backward(grad_out, *inputs[:3], geometry, (True, True, True, True))
        precise = [tensor.double().requires_grad_() for tensor in inputs]
        expected = native(precise[0], precise[1], precise[2], precise[3], geometry)
        gradients = torch.autograd.grad(expected, precise, grad_out.double())
        return _compare(found, (expected.detach(), *gradients), _TOLERANCES[dtype])
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever a compiler, a driver or a launch may raise
        return f"its kernels failed: {type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _compare(found: Sequence[Tensor | None], expected: Sequence[Tensor], tolerance: float) -> str:
    names = "output", "gradient of x", "gradient of weight", "gradient of positions", "gradient of bias"
    for name, mine, other in zip(names, found, expected, strict=True):
        if mine is None:
            return f"the {name} is missing"
        error = float(
            torch.linalg.vector_norm(mine.detach().double() - other) / torch.linalg.vector_norm(other)
        )
        if not error <= tolerance:
            return f"the {name} of a small layer differed from native operations' by {error:.2g} of its norm"
    return ""


def in_clean_thread(run: Callable[[], str]) -> str:
    """`run()` in a thread of its own, where nothing that surrounds a call holds: autocast, no autograd, fake tensors.

    Raises:
        What `run` raises.
    """
    results: list[str] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(run())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
