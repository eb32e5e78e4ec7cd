"""Layers in a convolution's place, as controls: taps that move from pixel to pixel, more taps, and a second kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import deform_conv2d

from icnn_core.errors import ArgumentError


class DeformableConv2d(nn.Module):
    """A convolution whose taps are moved, at every output pixel, by offsets that another convolution predicts.

    Reference: Dai et al., "Deformable Convolutional Networks", arXiv 1703.06211: one offset (y, x) per tap for all
    channels; the predicting convolution has the same kernel, stride and dilation and starts at zero.

    Args:
        conv: whose weights are taken, not copied; padded with zeros.
        rate: a factor behind a convolution that starts at zero. Adam's steps do not depend on it, so offsets learn at
            this share of the weights' rate; under SGD, whose steps it shrinks as well, at its square.

    Raises:
        ArgumentError: a convolution of another padding mode than zeros, or of "same" padding that is not symmetric.
    """

    def __init__(self, conv: nn.Conv2d, rate: float = 1.0) -> None:
        super().__init__()
        padding = _padding(conv, "deformable")
        self.rate = rate
        self.weight, self.bias = conv.weight, conv.bias
        self.stride, self.padding, self.dilation = conv.stride, padding, conv.dilation
        taps = conv.kernel_size[0] * conv.kernel_size[1]
        self.offset = nn.Conv2d(
            conv.in_channels, 2 * taps, conv.kernel_size,  # pyright: ignore[reportArgumentType]
            conv.stride, padding, conv.dilation,  # pyright: ignore[reportArgumentType]
        )  # fmt: skip
        nn.init.zeros_(self.offset.weight)
        assert self.offset.bias is not None
        nn.init.zeros_(self.offset.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H_out, W_out), sizes as conv2d's."""
        offset = self.rate * self.offset(x)
        # What traces a network in evaluation sees torchvision's call; a training on a CPU takes the faster way.
        run = _deform_by_sampling if self.training and not x.is_cuda else deform_conv2d
        return run(x, offset, self.weight, self.bias, self.stride, self.padding, self.dilation)  # pyright: ignore


def _deform_by_sampling(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> Tensor:
    """torchvision's deform_conv2d by grid_sample and a product, which a CPU does in a quarter of the time."""
    (batch, channels, height, width), (rows, columns) = x.shape, weight.shape[2:]
    taps, (out_height, out_width) = rows * columns, offset.shape[2:]
    offset = offset.view(batch, rows, columns, 2, out_height, out_width)

    def places(axis: int, count: int, out: int) -> Tensor:
        tap = dilation[axis] * torch.arange(count, device=x.device)
        return tap[:, None] + stride[axis] * torch.arange(out, device=x.device) - padding[axis]

    y = offset[:, :, :, 0] + places(0, rows, out_height)[:, None, :, None]
    x_ = offset[:, :, :, 1] + places(1, columns, out_width)[:, None, :]
    grid = torch.stack(((2 * x_ + 1) / width - 1, (2 * y + 1) / height - 1), -1)
    grid = grid.view(batch, taps * out_height, out_width, 2)
    samples = F.grid_sample(x, grid, "bilinear", "zeros", align_corners=False)
    samples = samples.view(batch, channels * taps, out_height, out_width)
    return F.conv2d(samples, weight.reshape(len(weight), -1, 1, 1), bias, groups=channels // weight.shape[1])


class TwoConv2d(nn.Module):
    """The sum of a convolution and of a second one of its kernel, at twice the dilation, which starts at zero.

    Over the same grid a sum of two kernels is one kernel: only another grid gives the second one places of its own.

    Args:
        conv: whose weights are taken, not copied.

    Raises:
        ArgumentError: as `DeformableConv2d`.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        padding = _padding(conv, "two-regular")
        wider = tuple(2 * d for d in conv.dilation)
        reach = (d * (k - 1) // 2 for d, k in zip(conv.dilation, conv.kernel_size, strict=True))
        self.weight, self.bias = conv.weight, conv.bias
        self.stride, self.padding, self.dilation, self.groups = (
            conv.stride,
            padding,
            conv.dilation,
            conv.groups,
        )
        self.second = nn.Conv2d(
            conv.in_channels, conv.out_channels, conv.kernel_size,  # pyright: ignore[reportArgumentType]
            conv.stride, tuple(p + r for p, r in zip(padding, reach, strict=True)),  # pyright: ignore[reportArgumentType]
            wider, conv.groups, bias=False, device=conv.weight.device, dtype=conv.weight.dtype,  # pyright: ignore
        )  # fmt: skip
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H_out, W_out), sizes as conv2d's."""
        first = nn.functional.conv2d(
            x,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,  # pyright: ignore
        )
        return first + self.second(x)


@torch.no_grad()
def to_larger(conv: nn.Conv2d) -> nn.Conv2d:
    """A 5×5 convolution that starts as the same function as a 3×3 one: its further taps are 0.

    Over the same extent where the dilation can be halved, else at the same dilation.

    Raises:
        ArgumentError: another kernel size, or padding as of `DeformableConv2d`.
    """
    if conv.kernel_size != (3, 3):
        size = "×".join(map(str, conv.kernel_size))
        raise ArgumentError("regular-5x5", needed="kernels of 3×3", got=size, fix="Begin at a later layer.")
    padding = _padding(conv, "regular-5x5")
    halved = all(d % 2 == 0 for d in conv.dilation)
    larger = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        5,
        conv.stride,  # pyright: ignore[reportArgumentType]
        padding if halved else tuple(p + d for p, d in zip(padding, conv.dilation, strict=True)),  # pyright: ignore
        tuple(d // 2 if halved else d for d in conv.dilation),  # pyright: ignore[reportArgumentType]
        conv.groups,
        bias=conv.bias is not None,
        device=conv.weight.device,
        dtype=conv.weight.dtype,
    )
    taps = slice(None, None, 2) if halved else slice(1, 4)
    larger.weight.zero_()
    larger.weight[..., taps, taps] = conv.weight
    larger.bias = conv.bias
    return larger


def replace_modules(
    model: nn.Module, names: Iterable[str], make: Callable[[nn.Conv2d], nn.Module], who: str
) -> None:
    """Put another layer in each named convolution's place, in place, under all of the names that it has.

    Raises:
        ArgumentError: a convolution with a forward of its own; as `make`.
    """
    for name in names:
        conv = model.get_submodule(name)
        if type(conv) is not nn.Conv2d:
            kind = type(conv).__name__
            raise ArgumentError(
                who, needed=f"a plain Conv2d at {name}", got=kind, fix="Leave the variant out."
            )
        made = make(conv)
        for alias in [n for n, module in model.named_modules(remove_duplicate=False) if module is conv]:
            model.set_submodule(alias, made)


def _padding(conv: nn.Conv2d, who: str) -> tuple[int, int]:
    """In numbers."""
    spans = [d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
    if conv.padding_mode != "zeros" or (conv.padding == "same" and any(span % 2 for span in spans)):
        got = f"{conv.padding!r} with {conv.padding_mode}"
        raise ArgumentError(
            who, needed="zeros on all sides alike as padding", got=got, fix="Leave the variant out."
        )
    if conv.padding == "same":
        return spans[0] // 2, spans[1] // 2
    return (0, 0) if conv.padding == "valid" else conv.padding  # pyright: ignore[reportReturnType]
