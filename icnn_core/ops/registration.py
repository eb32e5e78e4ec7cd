"""The compiled back ends as PyTorch operators, `icnn::…`: schemas, shapes without values, gradients, autocast.

No arithmetic. Each comes as a pair, the operator and its backward pass. Both are opaque to tracing (`torch.compile`
keeps them whole) and to autograd, so their derivatives are registered here. Forward-mode derivatives, `torch.func`
transforms and export are for the native back ends: see `needs_native`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch._functorch import eager_transforms
from torch.autograd import forward_ad
from torch.utils.flop_counter import conv_flop_count, register_flop_formula

from icnn_core.errors import UnsupportedError
from icnn_core.ops import fused, gathered, sampled, sparse
from icnn_core.ops.eager import Eager, is_watched
from icnn_core.ops.geometry import SIGMA_RANGE, Geometry
from icnn_core.ops.trusted import TRUSTED

_SIZES = "int[] stride, int[] padding, int[] dilation, int groups"
_SCHEMA = f"(Tensor x, Tensor weight, Tensor positions, Tensor? bias, {_SIZES}) -> Tensor"
_BACKWARD_SCHEMA = (
    f"(Tensor grad_out, Tensor x, Tensor weight, Tensor positions, {_SIZES}, bool[] needs) "
    "-> (Tensor, Tensor, Tensor, Tensor)"
)
_SIZE_COUNT = 4  # stride, padding, dilation, groups


class _Passes(Protocol):
    """What a back end's module offers: functions of x, weight, positions, sigma if it has Gaussian windows, and bias.

    The backward pass has the output's gradient first, and no bias.
    """

    @property
    def forward(self) -> Callable[..., Tensor]: ...

    @property
    def backward(self) -> Callable[..., tuple[Tensor | None, ...]]: ...


@dataclass(frozen=True)
class _Operator:
    """A back end as an operator, its backward pass as another, and the short way to both."""

    passes: _Passes
    forward: Callable[..., Tensor]
    backward: Callable[..., Any]

    def __call__(self, geometry: Geometry, *tensors: Tensor | None) -> Tensor:
        if is_watched(*tensors):
            g = geometry
            return self.forward(*tensors, g.stride, g.padding, g.dilation, g.groups)
        return Eager.apply(self.passes, self.backward, geometry, *tensors)  # pyright: ignore[reportReturnType]


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
        got = "forward-mode derivatives"
        fix = "Call irregular_conv2d, which leaves them to native operations."
        raise UnsupportedError(f"operator icnn::{name}", needed="inputs without tangents", got=got, fix=fix)


def run_sampled(
    x: Tensor, weight: Tensor, positions: Tensor, bias: Tensor | None, geometry: Geometry
) -> Tensor:
    """`sampled.forward`, differentiable. Under autocast computed in float32 and then rounded to autocast's dtype."""
    if not torch.is_autocast_enabled("cpu") or x.dtype == torch.float64:
        return _SAMPLED(geometry, x, weight, positions, bias)
    with torch.autocast("cpu", enabled=False):
        bias = None if bias is None else bias.float()
        out = _SAMPLED(geometry, x.float(), weight.float(), positions.float(), bias)
        return out.to(torch.get_autocast_dtype("cpu"))


def run_sparse(
    x: Tensor,
    weight: Tensor,
    positions: Tensor,
    bias: Tensor | None,
    geometry: Geometry,
    sigma: Tensor | None = None,
) -> Tensor:
    """`sparse.forward`, differentiable, with sigma as `reference.forward` has it. Autocast as in `run_sampled`."""
    if sigma is not None:
        sigma = sigma.clamp(*SIGMA_RANGE).expand(positions.shape)
    if not torch.is_autocast_enabled("cpu") or x.dtype == torch.float64:
        return _SPARSE(geometry, x, weight, positions, sigma, bias)
    with torch.autocast("cpu", enabled=False):
        bias = None if bias is None else bias.float()
        out = _SPARSE(geometry, x.float(), weight.float(), positions.float(), sigma, bias)
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
    if not is_watched(x, weight, positions):
        return _FUSED(geometry, x, weight, positions, bias)
    with torch.autocast(kind, enabled=False):
        return _FUSED(geometry, x, weight, positions, bias)


def _define(
    name: str,
    passes: _Passes,
    devices: tuple[str, ...],
    image_format: Callable[[Tensor], torch.memory_format] = lambda x: torch.contiguous_format,
    *,
    gaussian: bool = False,
) -> _Operator:
    """Register `icnn::name` and `icnn::name_backward` for some kinds of device.

    `image_format` tells that of the output, and of x's gradient, from x. With `gaussian` a tensor sigma, or None, comes
    after the positions.
    """

    schema, backward_schema = _SCHEMA, _BACKWARD_SCHEMA
    if gaussian:
        schema = schema.replace("positions,", "positions, Tensor? sigma,")
        backward_schema = backward_schema.replace("positions,", "positions, Tensor? sigma,")
        backward_schema = backward_schema.replace("-> (", "-> (Tensor, ")

    def forward(*inputs: Any) -> Tensor:
        tensors, sizes = inputs[:-_SIZE_COUNT], inputs[-_SIZE_COUNT:]
        _refuse_tangents(name, *tensors)
        return passes.forward(*tensors, _geometry(*tensors[:2], *sizes))

    def backward(*arguments: Any) -> Any:
        *inputs, needs = arguments
        tensors, sizes = inputs[:-_SIZE_COUNT], inputs[-_SIZE_COUNT:]
        _refuse_tangents(f"{name}_backward", *tensors)
        gradients = passes.backward(*tensors, _geometry(*tensors[1:3], *sizes), tuple(needs))
        return tuple(tensors[0].new_empty(0) if gradient is None else gradient for gradient in gradients)

    def keep(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.sizes = inputs[-_SIZE_COUNT:]
        ctx.save_for_backward(*inputs[: -_SIZE_COUNT - 1])  # all but the bias

    def differentiate(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        needs = ctx.needs_input_grad[:-_SIZE_COUNT]
        gradients = backward_op(grad_out, *ctx.saved_tensors, *ctx.sizes, list(needs))
        return (*_needed(gradients, needs), *[None] * _SIZE_COUNT)

    op = torch.library.custom_op(
        f"icnn::{name}", forward, mutates_args=(), device_types=devices, schema=schema
    )

    def fake(*inputs: Any) -> Tensor:
        x, weight = inputs[:2]
        geometry = _geometry(x, weight, *inputs[-_SIZE_COUNT:])
        shape = geometry.batch, geometry.out_channels, *geometry.output_size
        return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=image_format(x))

    def fake_backward(*inputs: Any) -> tuple[Tensor, ...]:
        x, *others = inputs[1 : -_SIZE_COUNT - 1]
        made = [torch.empty_like(x, memory_format=image_format(x))]
        made += [x if other is None else other.new_empty(other.shape) for other in others]
        made.append(x.new_empty(others[0].shape[:1]))
        return tuple(each if need else x.new_empty(0) for each, need in zip(made, inputs[-1], strict=True))

    op.register_fake(fake)
    op.register_autograd(differentiate, setup_context=keep)
    backward_op = torch.library.custom_op(
        f"icnn::{name}_backward", backward, mutates_args=(), device_types=devices, schema=backward_schema
    )
    backward_op.register_fake(fake_backward)
    backward_op.register_autograd(_differentiate_twice, setup_context=_keep_all)
    register_flop_formula(getattr(torch.ops.icnn, name))(_count_flops)
    register_flop_formula(getattr(torch.ops.icnn, f"{name}_backward"))(_count_flops_backward)
    return _Operator(passes, op, backward_op)


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
    needs_x, needs_weight, needs_positions = rest[-1][:3]
    return conv_flop_count(x_shape, weight_shape, grad_shape) * ((needs_x or needs_positions) + needs_weight)


def _needed(gradients: Sequence[Tensor | None], needs: Sequence[bool]) -> list[Tensor | None]:
    return [gradient if need else None for gradient, need in zip(gradients, needs, strict=True)]


def _keep_all(ctx: Any, inputs: Any, output: Any) -> None:
    *given, ctx.needs = inputs
    ctx.sizes = given[-_SIZE_COUNT:]
    ctx.save_for_backward(*given[:-_SIZE_COUNT])


def _differentiate_twice(ctx: Any, *seeds: Tensor | None) -> tuple[Tensor | None, ...]:
    """The derivative of a backward pass: that of the same gradients, formed by native operations."""
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad(), torch.autocast(ctx.saved_tensors[0].device.type, enabled=False):
        # A view each, so that the derivative ends here and does not run on into what the inputs were computed from.
        inputs: list[Any] = [_view(tensor) for tensor in ctx.saved_tensors]
        geometry = _geometry(*inputs[1:3], *ctx.sizes)
        gradients = gathered.backward(*inputs, geometry, ctx.needs)
        used = [(g, s) for g, s in zip(gradients, seeds, strict=True) if g is not None and s is not None]
        outputs, seeds = zip(*used, strict=True)
        given = [tensor for tensor in inputs if tensor is not None]
        second = iter(
            torch.autograd.grad(outputs, given, seeds, create_graph=create_graph, allow_unused=True)
        )
    needs = ctx.needs_input_grad[: len(inputs)]
    derivatives = [None if tensor is None else next(second) for tensor in inputs]
    return (*_needed(derivatives, needs), *[None] * (_SIZE_COUNT + 1))


def _view(tensor: Tensor | None) -> Tensor | None:
    if tensor is None:
        return None
    return tensor.view_as(tensor) if tensor.requires_grad else tensor.detach().requires_grad_()


_SAMPLED = _define("sampled_conv2d", sampled, ("cpu",))
_SPARSE = _define("sparse_conv2d", sparse, ("cpu",), gaussian=True)
_FUSED = _define("fused_conv2d", TRUSTED, ("cuda", "cpu"), fused.image_format)  # CPU: Triton's interpreter
