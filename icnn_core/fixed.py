"""Positions that no longer move: irregular layers as ordinary convolutions, for deployment and export."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from icnn_core.errors import ArgumentError
from icnn_core.nn import IrregularConv2d
from icnn_core.ops.enclosing import (
    Margins,
    check_finite,
    enclosing_conv2d,
    enclosing_span,
    fixed_geometry,
    margins_of,
    tap_kernel,
)
from icnn_core.surgery import irregular_layers

_WHO = "fix_positions"
_SAMPLING = 10  # a multiply-add of a kernel a channel costs as much as so many of a product, as measured in onnxruntime


class TapsConv2d(nn.Module):
    """An irregular convolution with fixed positions: a small kernel a tap and channel, then a product a tap, added up.

    Runtimes add as they multiply; samples of all taps beside each other, for one product, would be copied there.

    Attributes:
        kernels: one a tap, (C_in, 1, h, w): its bilinear weights at each channel's position.
        products: one a tap, (C_out, C_in, 1, 1).
        bias: (C_out,) or None.
    """

    def __init__(self, layer: IrregularConv2d, largest: int = 31, name: str = "TapsConv2d") -> None:
        super().__init__()
        weight, positions = layer.weight.detach(), layer.positions.detach()
        geometry = fixed_geometry(layer)
        self.mode, self.stride = layer.padding_mode, layer.stride
        self.border = margins_of(layer) if self.mode != "zeros" else ((0, 0), (0, 0))
        zeros = margins_of(layer) if self.mode == "zeros" else ((0, 0), (0, 0))
        places = positions.expand(layer.in_channels, -1, -1)
        parts = [tap_kernel(places[:, tap], geometry, zeros, largest, name) for tap in range(geometry.taps)]
        self.margins = [margins for _, margins in parts]
        self.kernels = nn.ParameterList(
            nn.Parameter(kernel.to(weight), requires_grad=False) for kernel, _ in parts
        )
        self.products = nn.ParameterList(
            nn.Parameter(weight.flatten(2)[:, :, tap, None, None].contiguous(), requires_grad=False)
            for tap in range(geometry.taps)
        )
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H_out, W_out), as the irregular layer."""
        if any(map(any, self.border)):
            x = F.pad(x, (*self.border[1], *self.border[0]), mode=self.mode)
        kernels, channels = self.products[0].shape[:2]
        late = kernels < channels and self.stride == (1, 1)  # fewer channels to shift behind the product
        out, bias = None, None if late else self.bias
        for kernel, margins, product in zip(self.kernels, self.margins, self.products, strict=True):
            if late:
                height, width = kernel.shape[2] - 1, kernel.shape[3] - 1
                sample = F.conv2d(x, kernel, padding=(height, width), groups=channels)
                part = _shifted(F.conv2d(sample, product), margins, (height, width))
            else:
                sample = F.conv2d(_shifted(x, margins), kernel, stride=self.stride, groups=channels)
                part, bias = F.conv2d(sample, product, bias), None
            out = part if out is None else out + part
        assert out is not None
        return out + self.bias[:, None, None] if late and self.bias is not None else out

    def extra_repr(self) -> str:
        kernels, channels = self.products[0].shape[:2]
        return f"{channels}, {kernels}, taps={len(self.kernels)}, stride={self.stride}"


class PaddedConv2d(nn.Module):
    """An irregular convolution with fixed positions: its border (reflected, …) is added, then one kernel reads.

    Attributes:
        conv: the kernel over all that positions read, of any groups; beyond the border it reads zeros.
    """

    def __init__(self, layer: IrregularConv2d, largest: int, name: str) -> None:
        super().__init__()
        self.mode, self.border = layer.padding_mode, margins_of(layer)
        self.conv = enclosing_conv2d(layer, layer.positions, layer.sigma, largest, name, is_padded=True)
        self.conv.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H_out, W_out), as the irregular layer."""
        return self.conv(F.pad(x, (*self.border[1], *self.border[0]), mode=self.mode))


def _shifted(x: Tensor, margins: Margins, less: tuple[int, int] = (0, 0)) -> Tensor:
    """An image with zeros around it, or without its edge where a margin is below 0; `less` of each margin is there.

    It is cropped first: exporters make what is added, if it is not negative, a part of the convolution.
    """
    top, bottom = (margin - less[0] for margin in margins[0])
    left, right = (margin - less[1] for margin in margins[1])
    if any(
        isinstance(length, torch.SymInt) for length in x.shape[2:]
    ):  # a program for any size: no conditions
        return F.pad(x, (left, right, top, bottom))
    height, width = x.shape[2] + min(top, 0) + min(bottom, 0), x.shape[3] + min(left, 0) + min(right, 0)
    if height <= 0 or width <= 0:  # the tap lies beside the whole image
        return x.new_zeros(*x.shape[:2], x.shape[2] + top + bottom, x.shape[3] + left + right)
    inner = x[:, :, max(-top, 0) :, max(-left, 0) :][:, :, :height, :width]
    return F.pad(inner, [max(each, 0) for each in (left, right, top, bottom)])


@torch.no_grad()
def fix_positions(model: nn.Module, *, largest: int = 31) -> dict[str, str]:
    """Replace every irregular layer by ordinary convolutions that compute the same, in place; positions then stay.

    Of two forms the cheaper one is taken: a `Conv2d` whose kernel covers all that the layer reads, or, where there are
    many kernels, one small kernel for each tap and channel, then products. The result needs nothing of this package.
    The network is left as it was if a layer cannot be replaced.

    Args:
        largest: side of a kernel in pixels, at most; those of far positions are large, and slow.

    Returns:
        By name what each layer has become, in words.

    Raises:
        ArgumentError: a kernel would be larger, a position is not finite, a subclass has its own forward, or `model` is
            itself a layer.
    """
    if isinstance(model, IrregularConv2d):
        raise ArgumentError(
            _WHO,
            needed="a network that contains irregular layers",
            got="a single one",
            fix="Use layer.to_conv2d(dense=True), which returns a new layer.",
        )
    made: dict[int, nn.Module] = {}
    said: dict[str, str] = {}
    for name, layer in irregular_layers(model).items():
        made[id(layer)] = fixed = _cheaper(layer, largest, name)
        said[name] = _in_words(fixed)
    for parent in list(nn.Module.modules(model)):
        for name, child in list(parent._modules.items()):
            if id(child) in made:
                parent._modules[name] = made[id(child)]
    return said


def _cheaper(layer: IrregularConv2d, largest: int, name: str) -> nn.Module:
    if type(layer).forward is not IrregularConv2d.forward:
        kind = type(layer).regular_class.__name__
        raise ArgumentError(
            name, needed="a layer with the forward of Conv2d", got=kind, fix="Export it as it is."
        )
    check_finite(layer.positions, name)
    if layer.groups > 1 or layer.sharing == "none" or layer.interpolation != "bilinear":
        if layer.padding_mode != "zeros":
            return PaddedConv2d(layer, largest, name).train(layer.training)
        return enclosing_conv2d(layer, layer.positions, layer.sigma, largest, name)
    taps = TapsConv2d(layer, largest, name).train(layer.training)
    by_taps = layer.weight.numel() + _SAMPLING * sum(kernel.numel() for kernel in taps.kernels)
    (top, bottom), (left, right) = enclosing_span(layer.positions, fixed_geometry(layer), margins_of(layer))
    sides = bottom - top + 1, right - left + 1
    by_one = sides[0] * sides[1] * layer.in_channels * layer.out_channels
    if by_one > by_taps or max(sides) > largest or layer.padding_mode != "zeros":
        return taps
    return enclosing_conv2d(layer, layer.positions, layer.sigma, largest, name)


def _in_words(fixed: nn.Module) -> str:
    if isinstance(fixed, TapsConv2d):
        height, width = (max(kernel.shape[axis] for kernel in fixed.kernels) for axis in (2, 3))
        return f"{len(fixed.kernels)} taps of up to {height} × {width}, then products"
    fixed = fixed.conv if isinstance(fixed, PaddedConv2d) else fixed
    assert isinstance(fixed, nn.Conv2d)
    return "a kernel of {} × {}".format(*fixed.kernel_size)
