"""A deformable convolution in a convolution's place: the control whose taps move from pixel to pixel."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.ops import deform_conv2d


class DeformableConv2d(nn.Module):
    """A convolution whose taps are moved, at every output pixel, by offsets that another convolution predicts.

    Reference: Dai et al., "Deformable Convolutional Networks", arXiv 1703.06211: one offset (y, x) per tap for all
    channels; the predicting convolution has the same kernel, stride and dilation and starts at zero.

    Args:
        conv: whose weights are taken, not copied.
        rate: of the offsets' learning, as a share of the weights': a factor behind a convolution that starts at zero,
            which for Adam is the same.
    """

    def __init__(self, conv: nn.Conv2d, rate: float = 1.0) -> None:
        super().__init__()
        self.rate = rate
        self.weight, self.bias = conv.weight, conv.bias
        self.stride, self.padding, self.dilation = conv.stride, conv.padding, conv.dilation
        taps = conv.kernel_size[0] * conv.kernel_size[1]
        self.offset = nn.Conv2d(
            conv.in_channels, 2 * taps, conv.kernel_size,  # pyright: ignore[reportArgumentType]
            conv.stride, conv.padding, conv.dilation,  # pyright: ignore[reportArgumentType]
        )  # fmt: skip
        nn.init.zeros_(self.offset.weight)
        assert self.offset.bias is not None
        nn.init.zeros_(self.offset.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H_out, W_out), sizes as conv2d's."""
        offset = self.rate * self.offset(x)
        return deform_conv2d(
            x, offset, self.weight, self.bias, self.stride, self.padding, self.dilation,  # pyright: ignore
        )  # fmt: skip
