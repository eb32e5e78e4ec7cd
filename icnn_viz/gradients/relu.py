"""ReLUs that propagate a gradient by another rule: deconvnet and guided backpropagation.

Calls are caught where they are made, so modules, functional calls and in-place calls are the same thing here,
and nothing is hooked into the network. What cannot be caught is refused, never passed over in silence.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from icnn_core.errors import UnsupportedError

RULES = ("deconvnet", "guided")

_CLAMPS = {"clamp", "clamp_min", "clip"}
ACTIVATIONS = {
    *("celu", "elu", "gelu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "mish", "prelu", "relu6"),
    *("rrelu", "selu", "silu", "softplus", "threshold", "hardshrink", "softshrink", "tanhshrink", "softsign"),
    *("logsigmoid", "log_sigmoid"),
}
"""Other activations, by the names of the functions that compute them. (Sigmoid and tanh serve as gates too.)"""
_SIGNS = {
    *("sign", "sgn", "gt", "ge", "lt", "le", "greater", "greater_equal", "less", "less_equal", "copysign"),
    *("signbit", "heaviside"),
}
_SELECTIONS = _SIGNS | {
    *("maximum", "minimum", "fmax", "fmin", "where", "masked_fill", "clamp_max", "abs", "absolute", "hypot"),
    *("scatter_reduce", "index_reduce", "logaddexp", "logaddexp2"),
}
"""What a ReLU, or something like it, may be spelt with; the first also of a value that is cut off from its gradient."""
_ORDERS = {
    *("max", "min", "amax", "amin", "aminmax", "argmax", "argmin", "cummax", "cummin", "sort", "msort"),
    *("argsort", "topk", "kthvalue", "median", "nanmedian", "quantile", "nanquantile"),
    *("max_pool1d", "max_pool2d", "max_pool3d", "adaptive_max_pool1d"),
    *("adaptive_max_pool2d", "adaptive_max_pool3d"),
}
"""Pools, and what else goes by size: over values that were put together with others, a ReLU or something like it."""
_MOVES = {
    *("View", "UnsafeView", "ReshapeAlias", "Alias", "Clone", "Expand", "Repeat", "Unsqueeze"),
    *("Squeeze", "Select", "Slice", "Split", "SplitWithSizes", "Unbind", "Permute", "Transpose", "T"),
    *("Flip", "Roll", "Rot90", "Index", "IndexSelect", "Gather", "Unfold", "AsStrided", "Diagonal"),
    *("ToCopy", "PixelShuffle", "PixelUnshuffle"),
}
"""Steps of autograd that move values and change none."""
_INSERTIONS = {
    *("Cat", "BlockDiag", "CopySlices", "IndexPut", "IndexCopy", "IndexAdd", "Scatter", "ScatterAdd"),
    *("SelectScatter", "SliceScatter", "DiagonalScatter", "MaskedScatter", "Complex"),
}
"""Steps that put values beside others."""
_MULTIPLES = {"Mul", "Div", "Neg", "Add", "Sub", "Rsub"}
"""Steps whose result, beside what they were made of, is not another feature."""


class _RuledRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, rule: str, inplace: bool) -> torch.Tensor:
        ctx.guided = rule == "guided"
        if ctx.guided:
            ctx.save_for_backward(x > 0)
        if inplace:
            ctx.mark_dirty(x)
            return x.clamp_(min=0)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[torch.Tensor, None, None]:
        positive = grad_outputs[0].clamp(min=0)
        return (positive * ctx.saved_tensors[0] if ctx.guided else positive), None, None


class _ReluMode(TorchFunctionMode):
    """While active, every ReLU on a tensor that depends on the image goes through `_RuledRelu`."""

    def __init__(self, rule: str) -> None:
        super().__init__()
        self.rule, self.seen = rule, 0
        # Values of the image without a gradient: of detach, data, no_grad.
        self._cut_off = WeakIdKeyDictionary()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name, inplace, x = call_of(func, args, kwargs)
        tensors = [t for t in (*args, *kwargs.values()) if isinstance(t, torch.Tensor)]
        is_relu = name == "relu" or is_relu_clamp(name, args, kwargs)
        if (
            is_relu
            and not torch.is_grad_enabled()
            and any(t.requires_grad or t in self._cut_off for t in tensors)
        ):
            hidden = "runs a ReLU without gradients, as reentrant checkpoints do, where no rule reaches it: "
            raise _refusal(self.rule, f"the network {hidden}checkpoint with use_reentrant=False")
        if not any(t.requires_grad for t in tensors):
            if any(t in self._cut_off for t in tensors):
                if name in _SIGNS:
                    raise self._refuse(name)
                return self._cut(func(*args, **kwargs))
            return func(*args, **kwargs)
        if is_relu:
            self.seen += 1
            inplace = inplace or kwargs.get("inplace", False) or (name == "relu" and True in args[1:])
            return _RuledRelu.apply(x, self.rule, inplace)
        # max and min of one tensor are pools; of two they select, as clamps do.
        selects = name in _CLAMPS or (name in ("max", "min") and len(tensors) > 1)
        if selects or name in ACTIVATIONS | _SELECTIONS | {"glu"}:
            raise self._refuse(name)
        if name in _ORDERS and isinstance(x, torch.Tensor) and _is_joined(x, "pool" in name):
            raise self._refuse(f"{name} of values that are put together with others")
        return self._cut(func(*args, **kwargs))

    def _cut(self, found: Any) -> Any:
        if isinstance(found, torch.Tensor) and found.is_floating_point() and not found.requires_grad:
            self._cut_off[found] = True
        return found

    def _refuse(self, name: str) -> UnsupportedError:
        return _refusal(self.rule, f"the network calls {name}, for which the rule is not defined")


@contextmanager
def relu_rule(model: nn.Module, rule: str) -> Iterator[None]:
    """Run forward and backward passes of `model` with another rule for the gradient of its ReLUs.

    Args:
        model: the network; nothing in it is changed.
        rule: "deconvnet": a ReLU passes the positive part of the gradient, whatever its input was (Zeiler &
            Fergus 2014); "guided": the positive part, and only where the input was positive (Springenberg et
            al. 2015).

    Raises:
        UnsupportedError: scripted or compiled parts, activations other than ReLU, or no ReLU at all: the rule
            would then be silently left out. So is what may stand for a ReLU: comparisons, `where`, clamps, the
            larger of two, or of values that were stacked or padded (`_is_joined`).
    """
    for name, module in nn.Module.named_modules(model):
        if isinstance(module, torch.jit.ScriptModule) or hasattr(module, "_orig_mod"):
            raise _refusal(rule, f"{name or 'the network'} is scripted or compiled, which hides its ReLUs")
    mode = _ReluMode(rule)
    with mode:
        yield
    if not mode.seen:
        raise _refusal(rule, "no ReLU was met on the way from the image to the output")


def _is_joined(x: torch.Tensor, pooled: bool) -> bool:
    """Whether values of the image were stacked with others, or put beside numbers that do not depend on the image.

    Those around an image that is pooled do not count.
    """
    step = _origin(x.grad_fn)
    name, parts = _step_name(step), [part for part, _ in step.next_functions] if step is not None else []
    origins = {_origin(part) for part in parts}
    if name == "Stack":  # of parts of one value: a pool
        return len(origins) > 1
    if name == "Cat" and len({_feature(origin) for origin in origins}) < len(origins):
        return True
    return (name in _INSERTIONS and None in parts) or (name == "ConstantPadNd" and not pooled)


def _origin(step: Any) -> Any:
    """The step of autograd behind those that only move values; None where nothing depends on the image."""
    while step is not None and _step_name(step) in _MOVES:
        step = step.next_functions[0][0]
    return step


def _feature(step: Any) -> Any:
    """The step that a value is a multiple of, or differs from by a number; else itself."""
    parts = [part for part, _ in step.next_functions if part is not None] if step is not None else []
    return _origin(parts[0]) if _step_name(step) in _MULTIPLES and len(parts) == 1 else step


def _step_name(step: Any) -> str:
    return type(step).__name__.split("Backward")[0]


def call_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, bool, Any]:
    """A caught call's name without its trailing underscore, whether it had one, and its first argument."""
    called = getattr(func, "__name__", "").split(".")[0]
    return (
        called.strip("_"),
        called.endswith("_") and not called.startswith("__"),
        args[0] if args else kwargs.get("input"),
    )


def is_relu_clamp(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a caught call is a ReLU spelt as a clamp from below at 0."""
    if name not in _CLAMPS:
        return False
    low = args[1] if len(args) > 1 else kwargs.get("min")
    high = args[2] if len(args) > 2 else kwargs.get("max")
    return isinstance(low, int | float) and low == 0 and high is None


def _refusal(rule: str, reason: str) -> UnsupportedError:
    needed = "a network whose activations are ReLUs, in plain (not scripted, not compiled) code"
    fix = 'Use method="gradient", "integrated" or "smoothgrad".'
    return UnsupportedError(f"pixel_gradient(method={rule!r})", needed=needed, got=reason, fix=fix)
