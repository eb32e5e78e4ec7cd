"""What operations do to places: by name where they move them, by their sizes where they do not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from icnn_viz.taps.trails import Trail, joined

_MIXING = {
    *(
        "linear",
        "matmul",
        "__matmul__",
        "__rmatmul__",
        "bmm",
        "einsum",
        "view",
        "reshape",
        "flatten",
        "unflatten",
    ),
    *("softmax", "scaled_dot_product_attention"),
}
_LOSING = {"flip", "roll", "rot90", "grid_sample", "affine_grid", "gather", "sort", "unfold", "fold"}


@dataclass(frozen=True)
class Operation:
    """A function's name, its arguments, the tensors among them with what they are made of, and one of its results."""

    name: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    given: Sequence[tuple[Tensor, Trail | None]]
    result: Tensor

    def argument(self, name: str, place: int, default: Any = None) -> Any:
        """By its name, or its place among the others."""
        if name in self.kwargs:
            return self.kwargs[name]
        return self.args[place] if place < len(self.args) else default

    @property
    def known(self) -> list[tuple[Tensor, Trail]]:
        """Those that the image is in."""
        return [(tensor, trail) for tensor, trail in self.given if trail is not None]


def follow(made: Operation) -> Trail:
    """What the result of an operation is made of."""
    x, trail = made.known[0]
    lost = replace(trail, links=(), lost=trail.lost or made.name)
    if made.name in ("cat", "concat", "concatenate"):
        return _concatenated(made) or lost
    if made.name in _LOSING or made.result.ndim < 3:
        return lost
    rule = _RULES.get(made.name)
    if made.name in ("matmul", "__matmul__") and trail.axes != (-2, -1):
        rule = None
    if rule is not None and trail.links:
        return rule(trail, x, made) or lost
    return _same_size(made) or lost


def _same_size(made: Operation) -> Trail | None:
    """What keeps rows and columns keeps places; channels too, unless it may mix them."""
    fitting, result = [], made.result
    for tensor, trail in made.known:
        if max(-axis for axis in trail.axes) > min(tensor.ndim, result.ndim):
            continue
        if all(tensor.shape[axis] == result.shape[axis] for axis in trail.axes):
            axis = trail.channel_axis
            alike = tensor.shape[axis] == result.shape[axis] and made.name not in _MIXING
            fitting.append(trail if alike else trail.mixed(result.shape[axis]))
    if not fitting:
        return None
    found = joined(fitting)
    return _scaled(found, made) if made.name == "batch_norm" else found


def _scaled(trail: Trail, made: Operation) -> Trail:
    """By a batch norm with running statistics."""
    variance, weight = made.argument("running_var", 2), made.argument("weight", 3)
    if variance is None:
        return trail
    gain = 1 / np.sqrt(variance.detach().double().cpu().numpy() + made.argument("eps", 7, 1e-5))
    if weight is not None:
        gain = gain * np.abs(weight.detach().double().cpu().numpy())
    return replace(trail, links=tuple(replace(link, gain=link.gain * gain) for link in trail.links))


def _pool(trail: Trail, x: Tensor, made: Operation) -> Trail:
    size, step = made.argument("kernel_size", 1), made.argument("stride", 2)
    padding = made.argument("padding", 3, 0)
    dilation = made.argument("dilation", 4, 1) if made.name.startswith("max") else 1
    size, step, padding, dilation = (
        np.broadcast_to(value, 2) for value in (size, size if step is None or step == [] else step, padding, dilation)
    )  # fmt: skip
    return trail.moved(step, (size - 1) * dilation / 2 - padding, _size(trail, made.result))


def _adaptive(trail: Trail, x: Tensor, made: Operation) -> Trail:
    """As resizing does, from edge to edge."""
    before, after = _size(trail, x), _size(trail, made.result)
    return trail.moved(before / after, (before / after - 1) / 2, after)


def _interpolate(trail: Trail, x: Tensor, made: Operation) -> Trail | None:
    before, after = _size(trail, x), _size(trail, made.result)
    if (before == 1).all() and (after > 1).all():
        return None  # one value for the whole image, which has no place
    if made.argument("align_corners", 4):
        return trail.moved((before - 1) / np.maximum(after - 1, 1), np.zeros(2), after)
    scale, factor = before / after, made.argument("scale_factor", 2)
    if factor is not None and not made.argument("recompute_scale_factor", 5):
        scale = 1 / np.broadcast_to(factor, 2)
    # The first of the elements that it shrinks to one:
    at_corner = made.argument("mode", 3, "nearest") == "nearest"
    return trail.moved(scale, np.where((scale > 1) & at_corner, 0.0, (scale - 1) / 2), after)


def _matrix(trail: Trail, x: Tensor, made: Operation) -> Trail | None:
    """By a constant matrix along rows or columns, if it resizes: where the mass of its rows lies changes evenly."""
    on_rows = made.args[1] is x
    matrix = made.args[0] if on_rows else made.args[1]
    if len(made.known) > 1 or matrix.ndim != 2:
        return None
    table = np.abs((matrix if on_rows else matrix.T).detach().double().cpu().numpy())
    with np.errstate(invalid="ignore", divide="ignore"):
        middle = table @ np.arange(table.shape[1]) / table.sum(1)
    between = np.flatnonzero((middle > 0) & (middle < table.shape[1] - 1))
    if len(between) < 2:
        return None
    scale, start = np.polyfit(between, middle[between], 1)
    if np.abs(scale * between + start - middle[between]).max() > 1e-4:
        return None
    by, offset = ((scale, 1.0), (start, 0.0)) if on_rows else ((1.0, scale), (0.0, start))
    return trail.moved(np.array(by), np.array(offset), _size(trail, made.result))


def _pad(trail: Trail, x: Tensor, made: Operation) -> Trail:
    margins = list(made.argument("pad", 1))
    before = [margins[2 * (-axis - 1)] if 2 * (-axis - 1) < len(margins) else 0 for axis in trail.axes]
    edge = made.argument("mode", 2, "constant")
    found, axis = trail.padded(np.array(before), _size(trail, made.result), edge), trail.channel_axis
    return found if x.shape[axis] == made.result.shape[axis] else found.mixed(made.result.shape[axis])


def _shuffle(trail: Trail, x: Tensor, made: Operation) -> Trail:
    return _adaptive(trail, x, made).mixed(made.result.shape[-3])


def _transposed(trail: Trail, x: Tensor, made: Operation) -> Trail:
    """A transposed convolution: the centre of what gives to an element."""
    stride, padding, dilation = (
        np.broadcast_to(made.argument(name, place, default), 2)
        for name, place, default in (("stride", 3, 1), ("padding", 4, 0), ("dilation", 7, 1))
    )
    middle = dilation * (np.array(made.argument("weight", 1).shape[-2:]) - 1) / 2
    found = trail.moved(1 / stride, (padding - middle) / stride, _size(trail, made.result))
    return found.mixed(made.result.shape[-3])


def _permute(trail: Trail, x: Tensor, made: Operation) -> Trail | None:
    dims = made.kwargs.get("dims", made.args[1] if len(made.args) == 2 else made.args[1:])
    return _reordered(trail, [int(d) % x.ndim - x.ndim for d in dims])


def _transpose(trail: Trail, x: Tensor, made: Operation) -> Trail | None:
    first, second = (int(d) % x.ndim for d in (*made.args[1:], *made.kwargs.values()))
    order = list(range(-x.ndim, 0))
    order[first], order[second] = order[second], order[first]
    return _reordered(trail, order)


def _reordered(trail: Trail, order: list[int]) -> Trail | None:
    """Channels first or last; other orders are lost."""
    rows, columns, channels = (order.index(a) - len(order) for a in (*trail.axes, trail.channel_axis))
    found = replace(trail, axes=(rows, columns))
    return found if (rows, columns) in ((-2, -1), (-3, -2)) and channels == found.channel_axis else None


def _getitem(trail: Trail, x: Tensor, made: Operation) -> Trail | None:
    index = made.args[1] if isinstance(made.args[1], tuple) else (made.args[1],)
    if any(not isinstance(part, slice | int) and part is not Ellipsis for part in index):
        return None
    at = index.index(Ellipsis) if Ellipsis in index else len(index)
    whole = [slice(None)] * (x.ndim - len(index) + (Ellipsis in index))
    index = (*index[:at], *whole, *index[at + 1 :])
    if any(isinstance(index[axis], int) for axis in (*trail.axes, trail.channel_axis)):
        return None
    start, step = np.array([index[axis].indices(x.shape[axis])[::2] for axis in trail.axes]).T
    found = trail.moved(step, start, _size(trail, made.result))
    if not start.any() and (step == 1).all() and (_size(trail, x) == _size(trail, made.result)).all():
        found = trail  # with what it knows of its borders
    return found.taken(np.arange(x.shape[trail.channel_axis])[index[trail.channel_axis]])


def _concatenated(made: Operation) -> Trail | None:
    """Channels beside channels; anything else beside anything is lost."""
    axis, start, placed = made.known[0][1].channel_axis, 0, []
    if int(made.argument("dim", 1, made.kwargs.get("axis", 0))) % made.result.ndim - made.result.ndim != axis:
        return None
    for tensor, trail in made.given:
        count = tensor.shape[axis]
        if trail is not None:
            channels = np.full(made.result.shape[axis], -1)
            channels[start : start + count] = np.arange(count)
            placed.append(trail.taken(channels))
        start += count
    return joined(placed)


def _size(trail: Trail, tensor: Tensor) -> np.ndarray:
    return np.array([tensor.shape[axis] for axis in trail.axes])


_RULES: dict[str, Callable[[Trail, Tensor, Operation], Trail | None]] = {
    **dict.fromkeys(("max_pool2d", "max_pool2d_with_indices", "avg_pool2d", "lp_pool2d"), _pool),
    **dict.fromkeys(("adaptive_avg_pool2d", "adaptive_max_pool2d"), _adaptive),
    **dict.fromkeys(("interpolate", "upsample"), _interpolate),
    **dict.fromkeys(("matmul", "__matmul__"), _matrix),
    **dict.fromkeys(("pixel_shuffle", "pixel_unshuffle"), _shuffle),
    **dict.fromkeys(("transpose", "swapaxes", "swapdims"), _transpose),
    "pad": _pad,
    "conv_transpose2d": _transposed,
    "permute": _permute,
    "__getitem__": _getitem,
}
