"""A network's convolutions in its own order: names, sizes, strides, and what surgery would make of each."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from icnn_core.layer_names import caffe_name
from icnn_core.nn import IrregularConv2d
from icnn_core.preparation import preparation_of
from icnn_core.surgery import choose_modules, reason_to_skip

_SIDE = 256  # of the image that strides are read from: divisible by what encoders halve by


@dataclass(frozen=True)
class Layer:
    """A convolution. Pairs are (y, x).

    Attributes:
        name: dotted, as `make_irregular` takes it.
        caffe: Caffe's name of its block, in a ResNet; else None.
        kind: its class.
        kernel_size, dilation, in_channels, out_channels, groups: as they are.
        stride: image pixels from feature to feature of its input; None where a trial did not reach it.
        reason: "" if it can become irregular, or why not.
        is_chosen: whether it lies in what was named.
    """

    name: str
    caffe: str | None
    kind: str
    kernel_size: tuple[int, ...]
    dilation: tuple[int, ...]
    in_channels: int
    out_channels: int
    groups: int
    stride: float | None
    reason: str
    is_chosen: bool

    @property
    def says(self) -> str:
        """What would become of it, in words."""
        if self.reason:
            return f"no: {self.reason}"
        return "yes" if self.is_chosen else "not named"


def list_layers(model: nn.Module, irregular: str | None = None) -> list[Layer]:
    """The convolutions of a network, in order of registration, each once.

    Args:
        irregular: what would be named, see `make_irregular`; None is the whole network.

    Raises:
        NameNotFoundError: no such module.
    """
    chosen = set(choose_modules(model, irregular, None))
    strides = _find_strides(model)
    found: list[Layer] = []
    names = [name for name, _ in nn.Module.named_modules(model)]
    for name, module in nn.Module.named_modules(model):
        stage = re.match(r"(?:.*\.)?layer[1-4]\.", name)
        blocks = {n[stage.end() :].split(".")[0] for n in names if n.startswith(stage[0])} if stage else ()
        reason = reason_to_skip(module)
        if reason is None or not isinstance(module, nn.modules.conv._ConvNd | IrregularConv2d):
            continue
        found.append(
            Layer(
                name=name or "the network itself",
                caffe=caffe_name(name, len(blocks)),
                kind=type(module).__name__,
                kernel_size=tuple(module.kernel_size),
                dilation=tuple(module.dilation),
                in_channels=module.in_channels,
                out_channels=module.out_channels,
                groups=module.groups,
                stride=strides.get(name),
                reason=reason,
                is_chosen=name in chosen or not name,
            )
        )
    return found


def _find_strides(model: nn.Module) -> dict[str, float]:
    """By name of convolution how many image pixels lie between two features of its input; what a trial reaches."""
    heights: dict[str, float] = {}

    def watch(name: str) -> Callable[..., None]:
        def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if inputs and isinstance(inputs[0], Tensor) and inputs[0].ndim == 4:
                heights.setdefault(name, round(_SIDE / inputs[0].shape[2] * 100) / 100)

        return note

    hooks = [
        module.register_forward_pre_hook(watch(name))
        for name, module in nn.Module.named_modules(model)
        if isinstance(module, nn.modules.conv._ConvNd | IrregularConv2d)
    ]
    training = [(module, module.training) for module in nn.Module.modules(model)]
    like = next(nn.Module.parameters(model), torch.empty(0))
    image = torch.zeros(1, preparation_of(model).channels, _SIDE, _SIDE, dtype=like.dtype, device=like.device)
    try:
        model.eval()
        with torch.no_grad():
            model(image)
    except Exception:  # a stranger's network may want another image: what it reached is known
        pass
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in training:
            module.training = mode
    return heights
