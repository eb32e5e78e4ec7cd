"""The layer: a convolution whose weights have learnable positions."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from icnn_core.errors import ArgumentError, NameNotFoundError, nearest_names
from icnn_core.ops.arguments import INTERPOLATIONS
from icnn_core.ops.backends import BACKENDS
from icnn_core.ops.geometry import SIGMA_RANGE, regular_slots
from icnn_core.ops.irregular_conv import irregular_conv2d

Sharing = Literal["layer", "channel", "none"]
SHARINGS: tuple[str, ...] = get_args(Sharing)
PADDING_MODES = ("zeros", "reflect", "replicate", "circular")

Pair = int | tuple[int, int]


class IrregularConv2d(nn.Module):
    """A 2-D convolution that learns where its weights lie. Source: arXiv 1706.07966.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode: as in
            `torch.nn.Conv2d`, padding "same" and "valid" included.
        sharing: "layer", one shape for all; "channel", one per input channel, shared by all kernels (the paper's);
            "none", one per kernel and input channel (the paper's full version).
        interpolation: "bilinear", or "gaussian" (see `irregular_conv2d`), with which the layer blurs its input and so
            never equals a convolution.
        sigma: standard deviation of the Gaussian in pixels, in [0.1, 1].
        learn_sigma: whether every tap learns its own, along y and x.
        shift: half-width in pixels of the uniform noise added to the regular positions at the start (equation 5).
            At 0 the layer starts as the convolution and still learns: the derivative there is the right-hand one.
        backend: None lets the operator choose; a name forces that back end.

    Attributes:
        weight: (C_out, C_in/groups, kH, kW).
        bias: (C_out,) or None.
        positions: (1 | C_in, K, 2) or, with sharing "none", (C_out, C_in/groups, K, 2): (y, x) from the kernel's
            centre in input pixels, taps row-major.
        slots: buffer (K, 2), the regular positions.
        sigma: with Gaussian interpolation alone: a buffer (), or a parameter of positions' shape if it is learnt.

    Raises:
        ArgumentError, NameNotFoundError: an argument is out of range or unknown.
    """

    bias: nn.Parameter | None
    slots: Tensor
    sigma: Tensor | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair | str = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        sharing: Sharing = "channel",
        interpolation: str = "bilinear",
        sigma: float = 0.5,
        learn_sigma: bool = False,
        padding_mode: str = "zeros",
        shift: float = 1e-3,
        backend: str | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        _check_choice("sharing", sharing, SHARINGS)
        _check_choice("interpolation", interpolation, INTERPOLATIONS)
        _check_choice("padding_mode", padding_mode, PADDING_MODES)
        if backend is not None:
            _check_choice("backend", backend, tuple(BACKENDS))
        if not math.isfinite(shift) or shift < 0:
            raise _refusal("a finite shift of at least 0 pixels", f"shift={shift!r}", "Use e.g. shift=1e-3.")
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise _refusal(
                "channels divisible by groups",
                f"{in_channels} to {out_channels} channels, groups={groups}",
                "Change groups.",
            )
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride = _pair(kernel_size, 1), _pair(stride, 1)
        self.dilation = _pair(dilation, 1)
        self.padding = _pair_or_word(padding, self.stride)
        self.sharing: Sharing = sharing
        self.interpolation, self.padding_mode, self.shift, self.backend = (
            interpolation,
            padding_mode,
            shift,
            backend,
        )

        taps = self.kernel_size[0] * self.kernel_size[1]
        where = {"device": device, "dtype": dtype}
        self.weight = nn.Parameter(
            torch.empty(out_channels, in_channels // groups, *self.kernel_size, **where)
        )
        self.register_parameter("bias", nn.Parameter(torch.empty(out_channels, **where)) if bias else None)
        shapes = {"layer": (1,), "channel": (in_channels,), "none": (out_channels, in_channels // groups)}
        self.positions = nn.Parameter(torch.empty(*shapes[sharing], taps, 2, **where))
        self.register_buffer("slots", regular_slots(self.kernel_size, self.dilation).to(self.weight))
        self._add_sigma(sigma, learn_sigma)
        self.reset_parameters()

    def _add_sigma(self, sigma: float, learnt: bool) -> None:
        if self.interpolation == "bilinear":
            if learnt:
                raise _refusal('interpolation="gaussian" to learn sigma', "bilinear", "Set interpolation.")
            self.sigma = None
            return
        if not SIGMA_RANGE[0] <= sigma <= SIGMA_RANGE[1]:
            raise _refusal(f"sigma in {list(SIGMA_RANGE)} pixels", f"sigma={sigma!r}", "Use e.g. 0.5.")
        if learnt:
            self.sigma = nn.Parameter(torch.full_like(self.positions, sigma))
        else:
            self.register_buffer("sigma", self.weight.new_full((), sigma, requires_grad=False))

    def reset_parameters(self) -> None:
        """Weights and bias as in `torch.nn.Conv2d`; positions as in `reset_positions`."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.weight[0].numel()) if self.weight.numel() else 0
            nn.init.uniform_(self.bias, -bound, bound)
        self.reset_positions()

    @torch.no_grad()
    def reset_positions(self, shift: float | None = None) -> None:
        """Put every position on its slot, plus uniform noise of half-width `shift` (default: the layer's own)."""
        shift = self.shift if shift is None else shift
        self.positions.copy_(self.slots.expand_as(self.positions))
        if shift:
            self.positions.add_(torch.empty_like(self.positions).uniform_(-shift, shift))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H_out, W_out), sizes as conv2d's."""
        x, padding = self._pad(x)
        return irregular_conv2d(
            x,
            self.weight,
            self.positions,
            self.bias,
            stride=self.stride,
            padding=padding,
            dilation=self.dilation,
            groups=self.groups,
            interpolation=self.interpolation,
            sigma=self.sigma,
            backend=self.backend,
        )

    def _pad(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Pad what the operator cannot: other modes than zeros, and the odd row that "same" may need."""
        top, left, bottom, right = self._margins()
        if self.padding_mode != "zeros":
            return F.pad(x, (left, right, top, bottom), mode=self.padding_mode), (0, 0)
        if (top, left) != (bottom, right):
            x = F.pad(x, (0, right - left, 0, bottom - top))
        return x, (top, left)

    def _margins(self) -> tuple[int, int, int, int]:
        """Padding (top, left, bottom, right), as conv2d splits it."""
        if self.padding == "valid":
            return 0, 0, 0, 0
        if self.padding == "same":
            height, width = (d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True))
            return height // 2, width // 2, height - height // 2, width - width // 2
        vertical, horizontal = self.padding
        return int(vertical), int(horizontal), int(vertical), int(horizontal)

    @classmethod
    def from_conv2d(
        cls,
        conv: nn.Conv2d,
        *,
        sharing: Sharing = "channel",
        interpolation: str = "bilinear",
        sigma: float = 0.5,
        learn_sigma: bool = False,
        shift: float = 1e-3,
        backend: str | None = None,
    ) -> IrregularConv2d:
        """Make an irregular layer of a convolution: same weights (copied), padding, dtype, device, mode.

        With `shift=0` and bilinear interpolation its output is the convolution's, to rounding.

        Raises:
            ArgumentError: `conv` is not a plain `torch.nn.Conv2d`.
        """
        if type(conv) is not nn.Conv2d:
            raise _refusal("a torch.nn.Conv2d", type(conv).__name__, "Convert plain 2-D convolutions only.")
        layer = cls(
            conv.in_channels,
            conv.out_channels,
            _pair(conv.kernel_size, 1),
            _pair(conv.stride, 1),
            conv.padding if isinstance(conv.padding, str) else _pair(conv.padding, 0),
            _pair(conv.dilation, 1),
            conv.groups,
            conv.bias is not None,
            sharing=sharing,
            interpolation=interpolation,
            sigma=sigma,
            learn_sigma=learn_sigma,
            padding_mode=conv.padding_mode,
            shift=shift,
            backend=backend,
            device=conv.weight.device,
            dtype=conv.weight.dtype,
        )
        _copy_weights(conv, layer)
        layer.positions.requires_grad_(conv.weight.requires_grad)
        return layer.train(conv.training)

    def to_conv2d(self) -> nn.Conv2d:
        """The regular convolution with this layer's weights: every position snapped back to its slot."""
        conv = nn.Conv2d(
            self.in_channels,
            self.out_channels,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            self.bias is not None,
            self.padding_mode,  # pyright: ignore[reportArgumentType]  (checked in __init__)
            device=self.weight.device,
            dtype=self.weight.dtype,
        )
        _copy_weights(self, conv)
        return conv.train(self.training)

    def extra_repr(self) -> str:
        parts = [
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        ]
        parts += [f"padding={self.padding!r}", f"dilation={self.dilation}", f"sharing={self.sharing!r}"]
        parts += [f"interpolation={self.interpolation!r}"] * (self.interpolation != "bilinear")
        parts += [f"groups={self.groups}"] * (self.groups != 1) + ["bias=False"] * (self.bias is None)
        parts += [f"padding_mode={self.padding_mode!r}"] * (self.padding_mode != "zeros")
        return ", ".join(parts)


@torch.no_grad()
def _copy_weights(source: nn.Conv2d | IrregularConv2d, target: nn.Conv2d | IrregularConv2d) -> None:
    target.weight.copy_(source.weight)
    target.weight.requires_grad_(source.weight.requires_grad)
    if source.bias is not None and target.bias is not None:
        target.bias.copy_(source.bias)
        target.bias.requires_grad_(source.bias.requires_grad)


def _pair(value: int | tuple[int, ...], least: int) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, int) else value
    if (
        not isinstance(pair, tuple | list)
        or len(pair) != 2
        or not all(type(v) is int and v >= least for v in pair)
    ):
        raise _refusal(f"an int or (y, x), each at least {least}", repr(value), "Give whole numbers.")
    return pair[0], pair[1]


def _pair_or_word(padding: Pair | str, stride: tuple[int, int]) -> tuple[int, int] | str:
    if not isinstance(padding, str):
        return _pair(padding, 0)
    _check_choice("padding", padding, ("same", "valid"))
    if padding == "same" and stride != (1, 1):
        raise _refusal('stride 1 with padding "same"', f"stride={stride}", "Give the padding in pixels.")
    return padding


def _check_choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise NameNotFoundError(
            "IrregularConv2d",
            needed=f"a known {name}",
            got=f"{name}={value!r}",
            fix=nearest_names(value, known),
        )


def _refusal(needed: str, got: str, fix: str) -> ArgumentError:
    return ArgumentError("IrregularConv2d", needed=needed, got=got, fix=fix)
