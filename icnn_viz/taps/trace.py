"""One forward pass, watched: what every tensor is made of, and which convolutions were met with which weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from icnn_core.checkpoint import plain_name
from icnn_viz.taps.calls import CONVOLUTIONS, to_layer
from icnn_viz.taps.layers import Layer
from icnn_viz.taps.rules import Operation, follow
from icnn_viz.taps.trails import Link, Trail


class Trace(TorchFunctionMode):
    """While it is active, follows where elements of tensors lie. Layers are `layers`, in the order of their calls."""

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        self.layers: list[Layer] = []
        self.module: list[tuple[str, Any]] = [("", None)]
        self._trails = WeakTensorKeyDictionary()
        size, channels = np.array(image.shape[-2:], float), image.shape[-3]
        root = Link(None, np.ones(2), np.zeros(2), np.arange(channels), np.ones(channels))
        self._trails[image] = Trail((root,), (-2, -1), np.zeros(2), size - 1)

    def of(self, tensor: Any) -> Trail | None:
        """What a tensor is made of, None if not of the image."""
        return self._trails.get(tensor) if isinstance(tensor, Tensor) else None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = [(t, self.of(t)) for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        out = func(*args, **kwargs)
        if all(trail is None for _, trail in given):
            return out
        name = getattr(func, "__name__", str(func)).partition(".")[0]
        for result in tree_leaves(out):
            if isinstance(result, Tensor):
                self._trails[result] = self._follow(Operation(name, args, kwargs, given, result))
        return out

    def _follow(self, made: Operation) -> Trail:
        first = self.of(
            made.argument("input", 0) if made.name != "irregular_conv2d" else made.argument("x", 0)
        )
        if made.name not in CONVOLUTIONS or first is None:
            return follow(made)
        where, module = self.module[-1]
        layer = to_layer(made, first, plain_name(where), len(self.layers), module)
        return self.meet(layer, made.result)

    def meet(self, layer: Layer, output: Tensor) -> Trail:
        """From now on what is made of `output` is made of the layer."""
        self.layers.append(layer)
        axes = layer.input.axes
        channels = int(output.shape[-3 if -3 not in axes else -1])
        link = Link(layer, np.ones(2), np.zeros(2), np.arange(channels), np.ones(channels))
        self._trails[output] = trail = Trail((link,), axes, np.zeros(2), np.array(layer.size, float) - 1)
        return trail


@contextmanager
def named(trace: Trace, model: nn.Module) -> Iterator[None]:
    """Inside, the trace knows which module is at work."""

    def enter(name: str, module: Any) -> Callable[..., None]:
        return lambda *_: trace.module.append((name, module))

    def leave(*_: Any) -> None:
        trace.module.pop()

    handles = []
    for name, module in nn.Module.named_modules(model):
        if isinstance(module, torch.jit.ScriptModule):
            continue
        handles.append(module.register_forward_pre_hook(enter(name, module), prepend=True))
        handles.append(module.register_forward_hook(leave, always_call=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
