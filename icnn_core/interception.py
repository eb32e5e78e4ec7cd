"""The one convolution inside a module's own forward: found by a trial, and answered by somebody else."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode

Pair = tuple[int, int]
Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class ConvolutionCall:
    """The arguments of one call of `torch.nn.functional.conv2d`; pairs are (y, x), as whatever sequence they came."""

    input: Tensor
    weight: Tensor
    bias: Tensor | None = None
    stride: int | Pair = 1
    padding: int | Pair | str = 0
    dilation: int | Pair = 1
    groups: int = 1

    def __post_init__(self) -> None:
        for name in ("stride", "padding", "dilation"):
            value = getattr(self, name)
            object.__setattr__(self, name, value if isinstance(value, str) else as_pair(value))


class Interception(TorchFunctionMode):
    """Within it, `conv2d` with a weight of a shape is answered by a function; every other call is left alone."""

    def __init__(self, weight_shape: tuple[int, ...], answer: Callable[[ConvolutionCall], Tensor]) -> None:
        super().__init__()
        self._shape, self._answer = weight_shape, answer

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.conv2d:  # which torch.nn.functional.conv2d is, too
            call = ConvolutionCall(*args, **kwargs)
            if tuple(call.weight.shape) == self._shape:
                return self._answer(call)
        return func(*args, **kwargs)


def weight_shape(conv: nn.modules.conv._ConvNd) -> tuple[int, ...]:
    """(C_out, C_in/groups, kH, kW), by the numbers that the layer was made with."""
    return (conv.out_channels, conv.in_channels // conv.groups, *conv.kernel_size)


def reason_against(conv: nn.Conv2d) -> str:
    """Why the convolution inside a subclass's own forward cannot be answered by another, or "" if it can.

    A copy runs once on zeros, without hooks, gradients or an effect on `conv`.
    """
    calls: list[ConvolutionCall] = []
    trial = copy_module(conv)

    def watch(call: ConvolutionCall) -> Tensor:
        calls.append(call)
        return torch.conv2d(**vars(call))

    kind = type(conv).__name__
    try:
        with torch.no_grad(), Interception(weight_shape(conv), watch):
            type(trial).forward(trial, _zeros_for(trial))
    except Exception as error:  # a stranger's forward may raise anything
        return f"{kind}: its forward failed on an image of zeros ({type(error).__name__})"
    if len(calls) != 1:
        return f"{kind}: its forward calls conv2d with its weight {len(calls)} times, not once"
    if calls[0].dilation != tuple(conv.dilation):
        return f"{kind}: it convolves with another dilation than its own"
    return ""


def copy_module(module: Module) -> Module:
    """A deep copy, also where tensors were computed by a forward pass (pruning, weight norm by hooks).

    PyTorch's own deep copy refuses tensors with a history; their values are copied without it. It also leaves
    parametrised modules with the class of their original, so that taking a parametrisation off the one would take the
    attribute from the other: copies have classes of their own.
    """
    computed = {
        id(value): value.detach().clone()
        for part in nn.Module.modules(module)
        for value in vars(part).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    copied = copy.deepcopy(module, computed)
    for part in nn.Module.modules(copied):
        if parametrize.is_parametrized(part):
            part.__class__ = rebased(type(part), type(part).__bases__[0])
    return copied


def rebased(parametrised: type[Any], base: type[Any]) -> type[Any]:
    """The class that `torch.nn.utils.parametrize` made for a module, over another base (or the same: a new one)."""
    own = {
        name: value for name, value in vars(parametrised).items() if name not in ("__dict__", "__weakref__")
    }
    return type(f"Parametrized{base.__name__}", (base,), own)


def as_pair(value: int | Sequence[int]) -> tuple[int, ...]:
    """conv2d's int, (y, x) or one number in a list as (y, x)."""
    given = (value,) if isinstance(value, int) else tuple(value)
    return given * 2 if len(given) == 1 else given


def _zeros_for(conv: nn.Conv2d) -> Tensor:
    """Two images that the kernel fits into, with whatever padding; of one, a batch folded into channels looks alike."""
    padding = (0, 0) if isinstance(conv.padding, str) else as_pair(conv.padding)
    sizes = [
        d * (k - 1) + 2 * p + 4 + axis
        for axis, (k, d, p) in enumerate(zip(conv.kernel_size, conv.dilation, padding, strict=True))
    ]
    like = next(nn.Module.parameters(conv), None)
    return torch.zeros(
        2, conv.in_channels, *sizes, dtype=getattr(like, "dtype", None), device=getattr(like, "device", None)
    )
