"""Shadows of what works element by element, rearranges, sums, or picks one of several."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from icnn_viz.gradients.structure.call import Call


def linear(call: Call) -> Any:
    """Linear, without negative weights: the operation itself. Other numbers than indices are offsets: 0."""
    numbers = [t for t in tree_leaves(call.given) if isinstance(t, Tensor) and t.is_floating_point()]
    if numbers and any(not t.is_floating_point() and not t.is_complex() for t in call.shadows):
        return everything(call)
    like = next(s for s in map(call.shadow, call.shadows) if s is not None)

    def replace(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        shadow = call.shadow(value)
        if shadow is None:
            return torch.zeros_like(value, dtype=like.dtype) if value.is_floating_point() else value
        return shadow.clone() if call.func._schema.is_mutable else shadow  # the caller writes

    given = {name: tree_map(replace, value) for name, value in call.given.items()}
    if given.get("dtype") is not None:
        given["dtype"] = like.dtype
    positional = [given.pop(a.name) for a in call.func._schema.arguments if not a.kwarg_only]
    try:
        return call.func(*positional, **given)
    except RuntimeError:
        if call.name not in ("view", "_unsafe_view", "_reshape_alias"):
            raise
        return positional[0].reshape(call.size)  # its strides are not those of what it shadows


def pointwise(call: Call) -> Tensor:
    """Each element depends on those at its place, with slope 1."""
    return total(call, *map(call.shadow, call.shadows))


def total(call: Call, *shadows: Tensor | None) -> Tensor:
    """Their sum, in the result's shape."""
    first, *others = [s for s in shadows if s is not None]
    return call.graded(sum(others, first), call.results[0]).expand(call.size)


def times(call: Call, a: Any, b: Any) -> Tensor | None:
    """a·b: by a constant's magnitude; a product of two that depend on the image passes on both."""
    first, second = call.shadow(a), call.shadow(b)
    if first is None or second is None:
        return scaled(call, first, b) if second is None else scaled(call, second, a)
    return first + second


def scaled(call: Call, shadow: Tensor | None, factor: Any) -> Tensor | None:
    if shadow is None or (isinstance(factor, int | float) and factor == 1):
        return shadow
    return shadow * call.magnitude(factor, shadow)


def add(call: Call) -> Tensor:
    """self + alpha·other (or other + alpha·self); what is added to -inf has no influence."""
    names = ("other", "self") if call.name == "rsub" else ("self", "other")
    plain, times_alpha = map(call.get, names)
    found = total(call, plain, scaled(call, times_alpha, call.given.get("alpha", 1)))
    for name in names:
        constant = call.given[name]
        if call.get(name) is None and isinstance(constant, Tensor) and constant.is_floating_point():
            found = found * constant.isfinite()
    return found


def mul(call: Call) -> Tensor:
    return total(call, times(call, call.given["self"], call.given["other"]))


def div(call: Call) -> Tensor:
    above, below = call.get("self"), call.get("other")
    if below is None and above is not None and call.weighted:
        above = above / call.magnitude(call.given["other"], above)
    return total(call, above, below)


def addcmul(call: Call) -> Tensor:
    product = times(call, call.given["tensor1"], call.given["tensor2"])
    return total(call, call.get("self"), scaled(call, product, call.given["value"]))


def where(call: Call) -> Tensor:
    """A constant condition selects."""
    return _select(call, "condition", "self", "other")


def masked_fill(call: Call) -> Tensor:
    return _select(call, "mask", "value", "self")


def _select(call: Call, condition: str, yes: str, no: str) -> Tensor:
    chosen, a, b = call.get(condition), call.get(yes), call.get(no)
    if chosen is None:
        mask = call.given[condition]
        a, b = (None if s is None else s * m for s, m in ((a, mask), (b, ~mask)))
    return total(call, None if chosen is None else call.graded(chosen, call.given[condition]), a, b)


def fill(call: Call) -> Tensor:
    """What is overwritten has no influence."""
    value, replaced = call.get("value"), call.get("self")
    if value is None and replaced is not None:
        return torch.zeros_like(replaced)
    return total(call, value)


def copy(call: Call) -> Tensor:
    source, replaced = call.get("src"), call.get("self")
    if source is None and replaced is not None:
        return torch.zeros_like(replaced)
    return total(call, source)


def to_copy(call: Call) -> Tensor:
    """In the shadow's own precision, and with its strides, which views of it need."""
    shadow = call["self"]
    layout = torch.empty_strided(
        call.size, call.results[0].stride(), dtype=shadow.dtype, device=shadow.device
    )
    return call.graded(layout.copy_(shadow), call.results[0])


def alias(call: Call) -> Tensor:
    """Also of `detach`: what is cut off from gradients is not cut off from the image."""
    return torch.ops.aten.alias(call["self"])


def as_strided(call: Call) -> Tensor:
    tensor, shadow = call.given["self"], call["self"]
    if shadow.stride() != tensor.stride():
        layout = torch.empty_strided(tensor.size(), tensor.stride(), dtype=shadow.dtype, device=shadow.device)
        shadow = layout.copy_(shadow)
    offset = call.given["storage_offset"]
    start = 0 if offset is None else offset - tensor.storage_offset()
    return shadow.as_strided(call.given["size"], call.given["stride"], start)


def glu(call: Call) -> Tensor:
    first, second = call["self"].chunk(2, call.given["dim"])
    return first + second


def reduce(call: Call) -> list[Tensor]:
    """One value of several: all alike."""
    x, dims = call["self"], call.given.get("dim")
    dims = list(range(x.ndim)) if dims is None or dims == [] else dims
    mean = x.mean(dims, keepdim=bool(call.given.get("keepdim", False)))
    return [call.graded(mean, t) for t in call.results]


def along(call: Call) -> list[Tensor]:
    """Every element depends on all along some axes: all alike."""
    mean = call["self"].mean(call.given.get("dim", -1), keepdim=True)
    return [call.graded(mean.expand(t.shape), t) for t in call.results]


def softmax(call: Call) -> Tensor:
    """The element itself, and all along its axis."""
    x = call["self"]
    call.known[call.results[0]] = "softmax"
    return (x + x.mean(call.given["dim"], keepdim=True)) / 2


def everything(call: Call) -> list[Tensor]:
    """Where something is read or written depends on the image: it may be anywhere."""
    if call.weighted:
        raise call.refuse(f"{call.func}, whose places depend on the image")
    found = [s.sum() for s in map(call.shadow, call.shadows) if s is not None]
    return [sum(found[1:], found[0]).expand(t.shape) for t in call.results]


def decide(call: Call) -> Any:
    raise call.refuse(f"{call.func}: a value of the image decides what the network computes")
