"""Shadows of layers: products and convolutions, norms, pools, what resizes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from icnn_core.ops.irregular_conv import irregular_conv2d
from icnn_viz.gradients.structure.call import Call
from icnn_viz.gradients.structure.elements import everything, linear, scaled, total

_SIZES = ("stride", "padding", "dilation", "transposed", "output_padding", "groups")


def product(first: str, second: str) -> Callable[[Call], Tensor]:
    """The rule of a product of matrices whose factors have these names."""

    def rule(call: Call) -> Tensor:
        found = _bilinear(
            call, call.given[first], call.given[second], torch.matmul, call.given[first].shape[-1]
        )
        found = scaled(call, found, call.given.get("alpha", 1))
        added = None if "self" in (first, second) else call.get("self")
        return total(call, found, scaled(call, added, call.given.get("beta", 1)))

    return rule


def convolution(call: Call) -> Tensor:
    sizes = {name: call.given[name] for name in _SIZES}
    x, weight = call.given["input"], call.given["weight"]
    found = _bilinear(call, x, weight, lambda a, b: _convolve(a, b, **sizes), weight[0].numel())
    bias = call.get("bias")
    return total(call, found, None if bias is None else bias.view(-1, *[1] * (x.ndim - 2)))


def _bilinear(
    call: Call, a: Tensor, b: Tensor, multiply: Callable[[Tensor, Tensor], Tensor], terms: int
) -> Tensor | None:
    """Ways through either factor; a factor that depends on the image, too, weighs all `terms` of a sum alike."""
    first, second = call.shadow(a), call.shadow(b)
    if first is not None and second is not None:
        even = torch.full_like(second, 1 / terms).detach()
        return multiply(first, even) + multiply(_alike(call, a, first, terms), second)
    if first is not None:
        return multiply(first, call.magnitude(b, first))
    return None if second is None else multiply(call.magnitude(a, second), second)


def _alike(call: Call, factor: Tensor, shadow: Tensor, terms: int) -> Tensor:
    if factor in call.known or (factor._is_view() and factor._base in call.known):
        chosen = (factor != 0).to(shadow.dtype)  # a softmax's 0: masked, whatever the image
        return chosen / chosen.sum(-1, keepdim=True).clamp(min=1)
    return torch.full_like(shadow, 1 / terms).detach()


def _convolve(x: Tensor, weight: Tensor, **sizes: Any) -> Tensor:
    plain = {"padding": [0] * (x.ndim - 2), "output_padding": [0] * (x.ndim - 2), "groups": 1}
    return torch.ops.aten.convolution(x, weight, None, **(plain | {"transposed": False} | sizes))


def irregular(call: Call) -> Tensor:
    x = call["x"]
    sizes: dict[str, Any] = {name: tuple(call.given[name]) for name in ("stride", "padding", "dilation")}
    weight, positions = call.magnitude(call.given["weight"], x), call.given["positions"].to(x.dtype)
    if call.given.get("sigma") is not None:
        sizes |= {"interpolation": "gaussian", "sigma": call.given["sigma"].to(x.dtype)}
    return irregular_conv2d(x, weight, positions, groups=call.given["groups"], **sizes)


def deformed(call: Call) -> Any:
    if call.get("offset") is not None or call.get("mask") is not None:
        return everything(call)
    x = call["input"]
    given = call.given | {name: call.given[name].to(x.dtype) for name in ("offset", "mask")}
    given |= {"input": x, "weight": call.magnitude(call.given["weight"], x)}
    return call.func(*(given | {"bias": torch.zeros_like(call.given["bias"], dtype=x.dtype)}).values())


def batch_norm(call: Call) -> Tensor:
    """With running statistics a scale; else the batch's over space."""
    x, variance = call["input"], call.given.get("running_var")
    trains = call.given.get("training", "no_training" not in call.name and "no_update" not in call.name)
    shape = (1, -1, *[1] * (x.ndim - 2))
    if trains or variance is None:
        x = _standardise(x, [d for d in range(x.ndim) if d != 1])
    elif call.weighted:
        epsilon = call.given.get("eps", call.given.get("epsilon"))
        x = x / (variance.to(x.dtype) + epsilon).sqrt().view(shape)
    return _times_weight(call, x, shape)


def layer_norm(call: Call) -> Tensor:
    x, shape = call["input"], call.given["normalized_shape"]
    dims = list(range(x.ndim - len(shape), x.ndim))
    x = x + x.mean(dims, keepdim=True) if "rms" in call.name else _standardise(x, dims)
    return _times_weight(call, x, tuple(shape))


def group_norm(call: Call) -> Tensor:
    x = call["input"]
    of_groups = _standardise(x.reshape(x.shape[0], call.given["group"], -1), [2])
    return _times_weight(call, of_groups.reshape(x.shape), (-1, *[1] * (x.ndim - 2)))


def _standardise(x: Tensor, dims: list[int]) -> Tensor:
    """(x - mean) / deviation at values of size 1: three ways, the last two through all elements alike."""
    return x + 2 * x.mean(dims, keepdim=True)


def _times_weight(call: Call, x: Tensor, shape: tuple[int, ...]) -> Tensor:
    weight = call.given["weight"]
    return x if weight is None else x * call.magnitude(weight, x).view(shape)


def max_pool(call: Call) -> list[Tensor]:
    """All of a window alike, by a convolution with equal weights."""
    x, size = call["self"], call.size
    dims = int(call.name.removeprefix("max_pool")[0])
    kernel, stride, padding, dilation = (
        _per_axis(call.given.get(name, default), dims)
        for name, default in (("kernel_size", 1), ("stride", []), ("padding", 0), ("dilation", 1))
    )
    stride = stride or kernel
    sizes = zip(x.shape[-dims:], size[-dims:], kernel, stride, padding, dilation, strict=True)
    margins = [(p, max(0, (o - 1) * s + d * (k - 1) + 1 - n - p)) for n, o, k, s, p, d in sizes]
    planes = F.pad(x.reshape(-1, 1, *x.shape[-dims:]), [m for pair in reversed(margins) for m in pair])
    weight = x.new_full((1, 1, *kernel), 1 / math.prod(kernel))
    pooled = _convolve(planes, weight, stride=stride, dilation=dilation)
    pooled = pooled[(..., *(slice(n) for n in size[-dims:]))].reshape(size)
    for indices in call.results[1:]:
        call.known[indices] = kernel, stride, padding, dilation
    return [call.graded(pooled, t) for t in call.results]


def _per_axis(value: int | list[int], dims: int) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * dims if len(values) == 1 else values


def adaptive_max_pool(call: Call) -> list[Tensor]:
    size = tuple(call.given["output_size"])
    average = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)[len(size) - 1]
    pooled = average(call["self"], size)
    return [call.graded(pooled, t) for t in call.results]


def max_unpool(call: Call) -> Any:
    """By a max pool's indices an element goes anywhere in its window; by others, anywhere."""
    if call.get("indices") is None:
        return linear(call)
    window = call.known.get(call.given["indices"])
    if window is None or call.weighted:
        return everything(call)
    kernel, stride, padding, dilation = window
    dims, size = len(kernel), call.size
    x = call["self"] + call["indices"]
    planes = x.reshape(-1, 1, *x.shape[-dims:])
    spread = _convolve(planes, x.new_ones((1, 1, *kernel)), stride=stride, dilation=dilation, transposed=True)
    spread = spread[(..., *(slice(p, None) for p in padding))]
    missing = [n - m for n, m in zip(size[-dims:], spread.shape[-dims:], strict=True)]
    return F.pad(spread, [m for n in reversed(missing) for m in (0, n)]).reshape(size)


def bicubic(call: Call) -> Tensor:
    """Resizing with negative weights: the magnitudes of its matrices along both axes."""
    x = call["self"]
    *flags, tall, wide = [call.given[a.name] for a in call.func._schema.arguments[2:]]
    matrices = []
    for axis, (n, out) in enumerate(zip(x.shape[-2:], call.size[-2:], strict=True)):
        unit = torch.eye(n, dtype=x.dtype, device=x.device)[None, None]  # the other axis keeps its size
        size, scales = ((out, n), (tall, None)) if axis == 0 else ((n, out), (None, wide))
        matrix = call.func(unit, size, *flags, *scales)[0, 0]
        matrices.append(call.magnitude(matrix.T if axis == 0 else matrix, x))
    return torch.einsum("nchw,hp,wq->ncpq", x, *matrices)


def grid_sample(call: Call) -> Any:
    if call.get("grid") is not None:
        return everything(call)
    if call.given.get("interpolation_mode") == 2:
        raise call.refuse(f"{call.func} with bicubic interpolation")
    x = call["input"]
    return call.func(*(call.given | {"input": x, "grid": call.given["grid"].to(x.dtype)}).values())
