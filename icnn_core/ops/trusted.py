"""`fused` where it is trusted, else native operations."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor

from icnn_core.ops import fused, gathered
from icnn_core.ops.geometry import Geometry


def why_not(device: torch.device, dtype: torch.dtype, geometry: Geometry) -> str:
    """Why `fused` is not trusted with calls of this kind on this GPU, or nothing: the first time it is tried."""
    if device.type != "cuda":  # interpreted: for tests, which judge
        return ""
    from icnn_core.ops.fused import trust

    return trust.why_not(device, dtype, geometry, gathered.forward)


class Trusted:
    """`fused` where it is trusted, else native operations: compiled code chose it before it could be tried."""

    image_format = staticmethod(fused.image_format)

    def forward(
        self, x: Tensor, weight: Tensor, positions: Tensor, bias: Tensor | None, geometry: Geometry
    ) -> Tensor:
        if not why_not(x.device, x.dtype, geometry):
            return fused.forward(x, weight, positions, bias, geometry)
        with torch.autocast(x.device.type, enabled=False):
            out = gathered.forward(x, weight, positions, bias, geometry)
        return out.contiguous(memory_format=fused.image_format(x))

    def backward(
        self,
        grad_out: Tensor,
        x: Tensor,
        weight: Tensor,
        positions: Tensor,
        geometry: Geometry,
        needs: tuple[bool, bool, bool, bool],
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
        if not why_not(x.device, x.dtype, geometry):
            return fused.backward(grad_out, x, weight, positions, geometry, needs)
        with _autograd():
            inputs = [t.detach().requires_grad_() for t in (grad_out, x, weight, positions)]
            gradients = gathered.backward(inputs[0], inputs[1], inputs[2], inputs[3], geometry, needs)
        by_x, by_weight, by_positions, by_bias = (t if t is None else t.detach() for t in gradients)
        if by_x is not None:
            by_x = by_x.contiguous(memory_format=fused.image_format(x))
        return by_x, by_weight, by_positions, by_bias


TRUSTED = Trusted()


@contextlib.contextmanager
def _autograd() -> Iterator[None]:
    """Autograd within an operator's body, where it is off."""
    included = torch._C._dispatch_tls_local_include_set()
    excluded = torch._C._dispatch_tls_local_exclude_set()
    autograd = torch._C.DispatchKeySet(torch._C.DispatchKey.AutogradCPU)
    for key in (torch._C.DispatchKey.AutogradCUDA, torch._C.DispatchKey.AutogradOther):
        autograd = autograd | torch._C.DispatchKeySet(key)
    with torch._C._ForceDispatchKeyGuard(included, excluded - autograd), torch.enable_grad():
        yield
