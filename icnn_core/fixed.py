"""Positions that no longer move: irregular layers as ordinary convolutions, for deployment and export."""

from __future__ import annotations

from collections.abc import Sequence

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
_CROPPED = 4  # pixels at most that zeros in a kernel skip: a runtime needs less for them than for a copy


class TapsConv2d(nn.Module):
    """An irregular convolution with fixed positions: a small kernel a tap and channel, then a product a tap, added up.

    Runtimes add as they multiply; samples of all taps beside each other, for one product, would be copied there.

    Attributes:
        kernels: one a tap, (C_in, 1, h, w): its bilinear weights at each channel's position.
        products: one a tap, (C_out, C_in, 1, 1).
        bias: (C_out,) or None.
        late: there are fewer kernels than channels, so that zeros around an image are added behind the product.
        sampling: multiply-adds of the kernels at a pixel.
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
        self.sampling = sum(kernel.numel() for kernel, _ in parts)
        self.late = weight.shape[0] < weight.shape[1] and layer.stride == (1, 1)
        if not self.late:
            parts = [_widened(*part) for part in parts]
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
        out = None
        for kernel, margins, product in zip(self.kernels, self.margins, self.products, strict=True):
            margins = [*margins[1], *margins[0]]
            before = self._before(x, margins, kernel)
            sample = F.conv2d(_padded(x, before), kernel, stride=self.stride, groups=x.shape[1])
            part = F.conv2d(sample, product, self.bias if out is None and not self.late else None)
            if before != margins:
                part = F.pad(part, [margin - done for margin, done in zip(margins, before, strict=True)])
            out = part if out is None else out + part
        assert out is not None
        return out + self.bias[:, None, None] if self.late and self.bias is not None else out

    def _before(self, x: Tensor, margins: list[int], kernel: Tensor) -> list[int]:
        """What is padded before the product: if that is late, the zeros that the kernel reads beside the image."""
        if not self.late or _has_any_size(x) or min(_inner_size(x, margins)) <= 0:
            return margins
        height, width = (side - 1 for side in kernel.shape[2:])
        return [
            min(margin, side) for margin, side in zip(margins, (width, width, height, height), strict=True)
        ]

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


def _widened(kernel: Tensor, margins: Margins) -> tuple[Tensor, Margins]:
    """A kernel with zeros where an image would have to be cropped by little, and what is left of the margins."""
    crops = [max(-margin, 0) if margin >= -_CROPPED else 0 for margin in (*margins[1], *margins[0])]
    left, right, top, bottom = crops
    (above, below), (before, behind) = margins
    return F.pad(kernel, crops), ((above + top, below + bottom), (before + left, behind + right))


def _has_any_size(x: Tensor) -> bool:
    """Whether a program for images of any size is being made, which cannot hold conditions on it."""
    return any(isinstance(length, torch.SymInt) for length in x.shape[2:])


def _inner_size(x: Tensor, margins: Sequence[int]) -> tuple[int, int]:
    """(height, width) of what is left of an image where it is cropped; not above 0 if a tap lies beside it."""
    left, right, top, bottom = (min(margin, 0) for margin in margins)
    return x.shape[2] + top + bottom, x.shape[3] + left + right


def _padded(x: Tensor, margins: Sequence[int]) -> Tensor:
    """An image with zeros around it, (left, right, top, bottom), cropped where a margin is below 0.

    It is cropped first: exporters make what is added, if it is not negative, a part of the convolution.
    """
    if _has_any_size(x):
        return F.pad(x, list(margins))
    left, right, top, bottom = margins
    height, width = _inner_size(x, margins)
    if height <= 0 or width <= 0:  # the tap lies beside the whole image
        return x.new_zeros(*x.shape[:2], x.shape[2] + top + bottom, x.shape[3] + left + right)
    inner = x[:, :, max(-top, 0) :, max(-left, 0) :][:, :, :height, :width]
    return F.pad(inner, [max(each, 0) for each in margins])


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
        got, fix = "a single one", "Use layer.to_conv2d(dense=True), which returns a new layer."
        raise ArgumentError(_WHO, needed="a network that contains irregular layers", got=got, fix=fix)
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
    by_taps = layer.weight.numel() + _SAMPLING * taps.sampling
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
