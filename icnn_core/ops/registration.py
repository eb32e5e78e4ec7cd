"""The compiled back ends as PyTorch operators, `icnn::…`: schemas, shapes without values, gradients, autocast.

No arithmetic. Each comes as a pair, the operator and its backward pass. Both are opaque to tracing (`torch.compile`
keeps them whole) and to autograd, so their derivatives are registered here. Forward-mode derivatives, `torch.func`
transforms and export are for the native back ends: see `needs_native`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch._functorch import eager_transforms
from torch.autograd import forward_ad
from torch.utils.flop_counter import conv_flop_count, register_flop_formula

from icnn_core.errors import UnsupportedError
from icnn_core.ops import fused, gathered, sampled
from icnn_core.ops.geometry import Geometry
from icnn_core.ops.trusted import TRUSTED, Eager

_SIZES = "int[] stride, int[] padding, int[] dilation, int groups"
_SCHEMA = f"(Tensor x, Tensor weight, Tensor positions, Tensor? bias, {_SIZES}) -> Tensor"
_BACKWARD_SCHEMA = (
    f"(Tensor grad_out, Tensor x, Tensor weight, Tensor positions, {_SIZES}, bool[] needs) "
    "-> (Tensor, Tensor, Tensor, Tensor)"
)
_INPUTS = 4  # x, weight, positions, bias
_PLAIN = (Tensor, torch.nn.Parameter)


class _Passes(Protocol):
    """What a back end's module offers."""

    def forward(
        self, x: Tensor, weight: Tensor, positions: Tensor, bias: Tensor | None, geometry: Geometry
    ) -> Tensor: ...

    def backward(
        self,
        grad_out: Tensor,
        x: Tensor,
        weight: Tensor,
        positions: Tensor,
        geometry: Geometry,
        needs: tuple[bool, bool, bool, bool],
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]: ...


def needs_native(*tensors: Tensor | None) -> bool:
    """Whether a call must be served by native operations: the compiled passes would fail, or drop a derivative.

    True under a `torch.func` transform (grad, vmap, jvp, jacfwd, hessian, …), for inputs that carry a tangent of
    `torch.autograd.forward_ad`, and while `torch.export` (so ONNX too) records.
    """
    if torch.compiler.is_exporting() or torch._C._are_functorch_transforms_active():
        return True
    return _has_tangent(*tensors)


def _has_tangent(*tensors: Tensor | None) -> bool:
    return any(t is not None and forward_ad.unpack_dual(t).tangent is not None for t in tensors)


def _refuse_tangents(name: str, *tensors: Tensor | None) -> None:
    """PyTorch calls an operator that has no forward-mode rule, and drops the tangents: wrong, and silently so.

    `torch.func.jvp` hides them from an operator, so within it none is served.
    """
    if _has_tangent(*tensors) or getattr(eager_transforms, "JVP_NESTING", 0):
        raise UnsupportedError(
            f"operator icnn::{name}",
            needed="inputs without tangents",
            got="forward-mode derivatives",
            fix="Call irregular_conv2d, which leaves them to native operations.",
        )


def run_sampled(
    x: Tensor, weight: Tensor, positions: Tensor, bias: Tensor | None, geometry: Geometry
) -> Tensor:
    """`sampled.forward`, differentiable. Under autocast computed in float32 and then rounded to autocast's dtype."""
    sizes = _sizes(geometry)
    if not torch.is_autocast_enabled("cpu") or x.dtype == torch.float64:
        return _SAMPLED(x, weight, positions, bias, *sizes)
    with torch.autocast("cpu", enabled=False):
        bias = None if bias is None else bias.float()
        out = _SAMPLED(x.float(), weight.float(), positions.float(), bias, *sizes)
        return out.to(torch.get_autocast_dtype("cpu"))


def run_fused(
    x: Tensor, weight: Tensor, positions: Tensor, bias: Tensor | None, geometry: Geometry
) -> Tensor:
    """`fused.forward`, differentiable. Under autocast x, weight and bias are rounded to autocast's dtype first."""
    kind = x.device.type
    if torch.is_autocast_enabled(kind):
        dtype = torch.get_autocast_dtype(kind)
        bias = None if bias is None else bias.to(dtype)
        x, weight = x.to(dtype), weight.to(dtype)
    plain = type(x) in _PLAIN and type(weight) in _PLAIN and type(positions) in _PLAIN
    if plain and not torch.compiler.is_compiling() and not torch._C._len_torch_dispatch_stack():
        return Eager.apply(x, weight, positions, bias, geometry)  # pyright: ignore[reportReturnType]
    with torch.autocast(kind, enabled=False):
        return _FUSED(x, weight, positions, bias, *_sizes(geometry))


def _sizes(geometry: Geometry) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int], int]:
    return geometry.stride, geometry.padding, geometry.dilation, geometry.groups


def _contiguous(x: Tensor) -> torch.memory_format:
    return torch.contiguous_format


def _define(
    name: str,
    passes: _Passes,
    devices: tuple[str, ...],
    image_format: Callable[[Tensor], torch.memory_format] = _contiguous,
) -> Callable[..., Tensor]:
    """Register `icnn::name` and `icnn::name_backward` for some kinds of device; returns the first.

    `image_format` tells that of the output, and of x's gradient, from x.
    """

    def forward(x: Tensor, weight: Tensor, positions: Tensor, bias: Tensor | None, *sizes: Any) -> Tensor:
        _refuse_tangents(name, x, weight, positions, bias)
        return passes.forward(x, weight, positions, bias, _geometry(x, weight, *sizes))

    def backward(grad_out: Tensor, x: Tensor, weight: Tensor, positions: Tensor, *sizes_needs: Any) -> Any:
        _refuse_tangents(f"{name}_backward", grad_out, x, weight, positions)
        *sizes, needs = sizes_needs
        gradients = passes.backward(
            grad_out, x, weight, positions, _geometry(x, weight, *sizes), tuple(needs)
        )
        return tuple(x.new_empty(0) if gradient is None else gradient for gradient in gradients)

    def keep(ctx: Any, inputs: Any, output: Tensor) -> None:
        x, weight, positions, _, *ctx.sizes = inputs
        ctx.save_for_backward(x, weight, positions)

    def differentiate(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        needs = ctx.needs_input_grad[:_INPUTS]
        gradients = backward_op(grad_out, *ctx.saved_tensors, *ctx.sizes, list(needs))
        return (*_needed(gradients, needs), *[None] * len(ctx.sizes))

    op = torch.library.custom_op(
        f"icnn::{name}", forward, mutates_args=(), device_types=devices, schema=_SCHEMA
    )

    def fake(x: Tensor, weight: Tensor, positions: Tensor, bias: Tensor | None, *sizes: Any) -> Tensor:
        geometry = _geometry(x, weight, *sizes)
        shape = geometry.batch, geometry.out_channels, *geometry.output_size
        return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=image_format(x))

    def fake_backward(
        grad_out: Tensor, x: Tensor, weight: Tensor, positions: Tensor, *rest: Any
    ) -> tuple[Tensor, ...]:
        by_x = torch.empty_like(x, memory_format=image_format(x))
        made = (
            by_x,
            weight.new_empty(weight.shape),
            positions.new_empty(positions.shape),
            x.new_empty(weight.shape[:1]),
        )
        return tuple(each if need else x.new_empty(0) for each, need in zip(made, rest[-1], strict=True))

    op.register_fake(fake)
    op.register_autograd(differentiate, setup_context=keep)
    backward_op = torch.library.custom_op(
        f"icnn::{name}_backward", backward, mutates_args=(), device_types=devices, schema=_BACKWARD_SCHEMA
    )
    backward_op.register_fake(fake_backward)
    backward_op.register_autograd(_differentiate_twice, setup_context=_keep_all)
    register_flop_formula(getattr(torch.ops.icnn, name))(_count_flops)
    register_flop_formula(getattr(torch.ops.icnn, f"{name}_backward"))(_count_flops_backward)
    return op


def _geometry(
    x: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Geometry:
    return Geometry(
        batch=x.shape[0],
        in_channels=x.shape[1],
        out_channels=weight.shape[0],
        input_size=(x.shape[2], x.shape[3]),
        kernel_size=(weight.shape[2], weight.shape[3]),
        stride=(stride[0], stride[1]),
        padding=(padding[0], padding[1]),
        dilation=(dilation[0], dilation[1]),
        groups=groups,
    )


def _count_flops(x_shape: Any, weight_shape: Any, *rest: Any, out_shape: Any = None, **_: Any) -> int:
    """As PyTorch counts conv2d: the products alone."""
    return conv_flop_count(x_shape, weight_shape, out_shape)


def _count_flops_backward(grad_shape: Any, x_shape: Any, weight_shape: Any, *rest: Any, **_: Any) -> int:
    """A product for the samples' gradient (x and positions), and one for the weights'."""
    needs_x, needs_weight, needs_positions, _bias = rest[-1]
    return conv_flop_count(x_shape, weight_shape, grad_shape) * ((needs_x or needs_positions) + needs_weight)


def _needed(gradients: Sequence[Tensor], needs: Sequence[bool]) -> list[Tensor | None]:
    return [gradient if need else None for gradient, need in zip(gradients, needs, strict=True)]


def _keep_all(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.save_for_backward(*inputs[:_INPUTS])
    *ctx.sizes, ctx.needs = inputs[_INPUTS:]


def _differentiate_twice(ctx: Any, *seeds: Tensor | None) -> tuple[Tensor | None, ...]:
    """The derivative of a backward pass: that of the same gradients, formed by native operations."""
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad(), torch.autocast(ctx.saved_tensors[0].device.type, enabled=False):
        # A view each, so that the derivative ends here and does not run on into what the inputs were computed from.
        inputs = [t.view_as(t) if t.requires_grad else t.detach().requires_grad_() for t in ctx.saved_tensors]
        geometry = _geometry(*inputs[1:3], *ctx.sizes)
        gradients = gathered.backward(inputs[0], inputs[1], inputs[2], inputs[3], geometry, ctx.needs)
        used = [(g, s) for g, s in zip(gradients, seeds, strict=True) if g is not None and s is not None]
        outputs, seeds = zip(*used, strict=True)
        second = torch.autograd.grad(outputs, inputs, seeds, create_graph=create_graph, allow_unused=True)
    needs = ctx.needs_input_grad[:_INPUTS]
    return (*_needed(second, needs), *[None] * len(ctx.sizes), None)


_SAMPLED = _define("sampled_conv2d", sampled, ("cpu",))
_FUSED = _define(
    "fused_conv2d", TRUSTED, ("cuda", "cpu"), fused.image_format
)  # the CPU for Triton's interpreter
