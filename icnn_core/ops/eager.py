"""The short way to the compiled back ends, without the dispatcher, for calls that nothing watches.

The dispatcher takes the host longer than all launches of a GPU, and its first call of an operator written in Python
loads PyTorch's compiler, which takes seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from icnn_core.ops.geometry import Geometry

_PLAIN = (Tensor, torch.nn.Parameter)


def is_watched(*tensors: Tensor | None) -> bool:
    """Whether a compiler, a tracer, a mode or a class of tensors wants to see the operator, or one has no numbers."""
    return (
        any(t is not None and (type(t) not in _PLAIN or t.is_meta) for t in tensors)
        or torch.compiler.is_compiling()
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._get_tracing_state() is not None
    )


class Eager(torch.autograd.Function):
    """A back end's passes, differentiable; second derivatives are its operator's.

    Args:
        passes: the back end's `forward` and `backward`.
        operator: the backward pass as an operator, which is differentiable itself.
        tensors: x, weight, positions, sigma if it has Gaussian windows, and bias.
    """

    @staticmethod
    def forward(
        ctx: Any, passes: Any, operator: Callable[..., Any], geometry: Geometry, *tensors: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(*tensors[:-1])  # all but the bias
        ctx.passes, ctx.operator, ctx.geometry = passes, operator, geometry
        return passes.forward(*tensors, geometry)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        needs, g = ctx.needs_input_grad[3:], ctx.geometry
        if torch.is_grad_enabled():
            sizes = g.stride, g.padding, g.dilation, g.groups
            gradients = ctx.operator(grads[0], *ctx.saved_tensors, *sizes, list(needs))
        else:
            gradients = ctx.passes.backward(grads[0], *ctx.saved_tensors, g, tuple(needs))
        needed = (gradient if need else None for gradient, need in zip(gradients, needs, strict=True))
        return None, None, None, *needed
