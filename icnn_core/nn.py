"""The layer: a convolution whose weights have learnable positions."""

from __future__ import annotations

import functools
import math
import numbers
from typing import Any, ClassVar, cast

import torch
import torch.fx
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from icnn_core.errors import ArgumentError, NameNotFoundError, nearest_names
from icnn_core.interception import (
    ConvolutionCall,
    Interception,
    as_pair,
    copy_module,
    reason_against,
    rebased,
    weight_shape,
)
from icnn_core.kinds import INTERPOLATIONS, SHARINGS, Sharing
from icnn_core.ops.backends import BACKENDS
from icnn_core.ops.enclosing import enclosing_conv2d, margins_of_same
from icnn_core.ops.geometry import SIGMA_RANGE, regular_slots
from icnn_core.ops.irregular_conv import irregular_conv2d

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")

Pair = int | tuple[int, int]

torch.fx.wrap("irregular_conv2d")  # a tracer records the call and does not look inside


class IrregularConv2d(nn.modules.conv._ConvNd):
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

    regular_class: ClassVar[type[nn.Conv2d]] = nn.Conv2d
    kernel_size: tuple[int, int]  # pyright: ignore[reportIncompatibleVariableOverride]
    stride: tuple[int, int]  # pyright: ignore[reportIncompatibleVariableOverride]
    dilation: tuple[int, int]  # pyright: ignore[reportIncompatibleVariableOverride]
    padding: str | tuple[int, int]  # pyright: ignore[reportIncompatibleVariableOverride]
    positions: nn.Parameter
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
        _check_choice("padding_mode", padding_mode, PADDING_MODES)
        if groups < 1 or in_channels % groups or out_channels % groups:
            got = f"{in_channels} to {out_channels} channels, groups={groups}"
            raise _refusal("channels divisible by groups", got, "Change groups.")
        stride = _pair(stride, 1)
        super().__init__(
            in_channels,
            out_channels,
            _pair(kernel_size, 1),
            stride,
            _pair_or_word(padding, stride),
            _pair(dilation, 1),
            transposed=False,
            output_padding=(0, 0),
            groups=groups,
            bias=bias,
            padding_mode=cast(Any, padding_mode),
            device=device,
            dtype=dtype,
        )
        self._add_shapes(sharing, interpolation, sigma, learn_sigma, shift, backend)

    def _add_shapes(
        self,
        sharing: Sharing = "channel",
        interpolation: str = "bilinear",
        sigma: float = 0.5,
        learn_sigma: bool = False,
        shift: float = 1e-3,
        backend: str | None = None,
    ) -> None:
        """What makes a convolution irregular: positions, and all that goes with them."""
        _check_choice("sharing", sharing, SHARINGS)
        _check_choice("interpolation", interpolation, INTERPOLATIONS)
        if backend is not None:
            _check_choice("backend", backend, tuple(BACKENDS))
        if not math.isfinite(shift) or shift < 0:
            raise _refusal("a finite shift of at least 0 pixels", f"shift={shift!r}", "Use e.g. shift=1e-3.")
        if interpolation == "bilinear" and learn_sigma:
            raise _refusal('interpolation="gaussian" to learn sigma', "bilinear", "Set interpolation.")
        if interpolation == "gaussian" and not SIGMA_RANGE[0] <= sigma <= SIGMA_RANGE[1]:
            raise _refusal(f"sigma in {list(SIGMA_RANGE)} pixels", f"sigma={sigma!r}", "Use e.g. 0.5.")
        self.sharing: Sharing = sharing
        self.interpolation, self.shift, self.backend = interpolation, shift, backend
        self.initial_sigma = sigma

        like = self.weight.detach()
        taps = self.kernel_size[0] * self.kernel_size[1]
        shapes = {
            "layer": (1,),
            "channel": (self.in_channels,),
            "none": (self.out_channels, self.in_channels // self.groups),
        }
        self.positions = nn.Parameter(like.new_empty(*shapes[sharing], taps, 2))
        self.register_buffer("slots", like.new_empty(taps, 2))
        if interpolation == "bilinear":
            self.sigma = None
        elif learn_sigma:
            self.sigma = nn.Parameter(torch.empty_like(self.positions))
        else:
            self.register_buffer("sigma", like.new_empty(()))
        self._reset_shapes()

    def reset_parameters(self) -> None:
        """Weights and bias as in `torch.nn.Conv2d`; positions as in `reset_positions`; slots and Gaussian widths."""
        super().reset_parameters()
        if hasattr(self, "positions"):  # not yet while the base class is made
            self._reset_shapes()

    @torch.no_grad()
    def _reset_shapes(self) -> None:
        """All that `_add_shapes` adds, buffers too: memory may only now have been allocated for them."""
        self.slots.copy_(regular_slots(self.kernel_size, self.dilation))
        if self.sigma is not None:
            self.sigma.fill_(self.initial_sigma)
        self.reset_positions()

    @torch.no_grad()
    def reset_positions(self, shift: float | None = None) -> None:
        """Put every position on its slot, plus uniform noise of half-width `shift` (default: the layer's own).

        Raises:
            ArgumentError: positions are computed (parametrised, pruned), so that what is put there would not last.
        """
        shift = self.shift if shift is None else shift
        if "positions" not in self._parameters:
            needed = "positions that are a parameter, to put them on their slots"
            fix = "Take that off first: torch.nn.utils.parametrize.remove_parametrizations, or prune.remove."
            raise _refusal(needed, "positions that are computed (parametrised or pruned)", fix)
        self.positions.copy_(self.slots.expand_as(self.positions))
        if shift:
            self.positions.add_(torch.empty_like(self.positions).uniform_(-shift, shift))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) or (C_in, H, W) -> (N, C_out, H_out, W_out) or (C_out, H_out, W_out), sizes as conv2d's."""
        if self.padding_mode == "zeros":
            padding = self.padding
        else:
            x, padding = F.pad(x, self._reversed_padding_repeated_twice, mode=self.padding_mode), 0
        return self._convolve(
            ConvolutionCall(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)
        )

    def _convolve(self, call: ConvolutionCall) -> Tensor:
        """The convolution that a call asks for, with this layer's positions."""
        x, padding = call.input, call.padding
        # (C, H, W), which conv2d takes, too; a symbolic trace is one of batches.
        is_single = not isinstance(x, torch.fx.Proxy) and x.ndim == 3
        x = x[None] if is_single else x
        if isinstance(padding, str):
            x, padding = _pad_for_word(x, padding, self.kernel_size, as_pair(call.dilation))
        found = irregular_conv2d(
            x,
            call.weight,
            self.positions,
            call.bias,
            stride=call.stride,
            padding=padding,
            dilation=call.dilation,
            groups=call.groups,
            interpolation=self.interpolation,
            sigma=self.sigma,
            backend=self.backend,
        )
        return found[0] if is_single else found

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
        """Make an irregular layer of a convolution: a copy with its weights, padding, dtype, device, mode and hooks.

        With `shift=0` and bilinear interpolation its output is the convolution's, to rounding. A subclass of `Conv2d`
        keeps its own forward (padding, a weight that it computes); only the convolution inside becomes irregular.

        Raises:
            ArgumentError: `conv` is no `torch.nn.Conv2d`, or one that cannot be made irregular; the error says why.
        """
        reason = reason_to_stay_regular(conv)
        if reason:
            raise _refusal("a torch.nn.Conv2d that can be made irregular", reason, "Convert another layer.")
        shapes = {
            "sharing": sharing,
            "interpolation": interpolation,
            "sigma": sigma,
            "learn_sigma": learn_sigma,
        }
        return make_layer_irregular(copy_module(conv), **shapes, shift=shift, backend=backend)

    def to_conv2d(self, *, dense: bool = False, largest: int = 31) -> nn.Conv2d:
        """The regular convolution with this layer's weights, a copy: every position snapped back to its slot.

        Args:
            dense: keep the positions instead, in a kernel over all that they read: a new `Conv2d` that computes what
                this layer does, for deployment. It has no hooks. `icnn_core.fix_positions` does it to a network.
            largest: side of that kernel in pixels, at most.

        Raises:
            ArgumentError: with `dense`: the kernel would be larger, a position is not finite, or no `Conv2d` computes
                the same (a subclass's own forward; another padding mode than zeros, and positions beyond the kernel).
        """
        if not dense:
            return make_layer_regular(copy_module(self))
        if type(self).forward is not IrregularConv2d.forward:
            raise _refusal(
                "a layer with the forward of Conv2d", type(self).regular_class.__name__, "Export it as it is."
            )
        return enclosing_conv2d(self, self.positions, self.sigma, largest, "to_conv2d")

    def extra_repr(self) -> str:
        parts = [
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        ]
        parts += [f"padding={self.padding!r}", f"dilation={self.dilation}", f"sharing={self.sharing!r}"]
        parts += [f"interpolation={self.interpolation!r}"] * (self.interpolation != "bilinear")
        parts += [f"groups={self.groups}"] * (self.groups != 1) + ["bias=False"] * (self.bias is None)
        parts += [f"padding_mode={self.padding_mode!r}"] * (self.padding_mode != "zeros")
        return ", ".join(parts)


def reason_to_stay_regular(conv: nn.Module) -> str:
    """Why a module cannot be made irregular, or "" if it can."""
    if isinstance(conv, IrregularConv2d):
        return "already irregular"
    if not isinstance(conv, nn.Conv2d):
        return f"not a Conv2d ({type(conv).__name__})"
    if isinstance(conv, nn.modules.conv._LazyConvXdMixin):
        return "lazy: run the network once first"
    if any(hasattr(parameter, "full_tensor") for parameter in conv.parameters()):
        return "sharded over processes: make the network irregular first"
    if any(parameter.is_complex() for parameter in conv.parameters()):
        return "complex weights"
    if "forward" in vars(conv):
        return "its forward was replaced on the module itself"
    own = type(conv)
    if own.forward is nn.Conv2d.forward and own._conv_forward is nn.Conv2d._conv_forward:
        return ""
    return reason_against(conv)


def make_layer_irregular(conv: nn.Conv2d, **options: Any) -> IrregularConv2d:
    """Make a convolution irregular in place: the module itself changes its class, as parametrisations do it.

    So whatever refers to it keeps working: parameters shared with others or held by an optimiser, hooks, pruning
    masks, other names of the module. Only positions (and slots, widths) are added. Ask `reason_to_stay_regular` first.

    Args:
        options: as of `IrregularConv2d.from_conv2d`.
    """
    regular = type(conv)
    trained = any(p.requires_grad for name, p in conv.named_parameters() if "bias" not in name)
    conv.__class__ = _irregular_class(regular, parametrised=parametrize.is_parametrized(conv))
    layer = cast(IrregularConv2d, conv)
    try:
        layer._add_shapes(**options)
    except Exception:
        conv.__class__ = regular
        raise
    layer.positions.requires_grad_(trained)
    return layer


def make_layer_regular(layer: IrregularConv2d) -> nn.Conv2d:
    """The way back, in place: the convolution that the layer was, with the weights that it has."""
    if parametrize.is_parametrized(layer, "positions"):
        parametrize.remove_parametrizations(layer, "positions")
    for name in ("positions", "slots", "sigma"):
        if hasattr(layer, name):
            delattr(layer, name)
    for name in ("sharing", "interpolation", "shift", "backend", "initial_sigma"):
        delattr(layer, name)
    module: nn.Module = layer
    module.__class__ = _regular_class(type(layer), parametrised=parametrize.is_parametrized(layer))
    return cast(nn.Conv2d, module)


def _irregular_class(regular: type[Any], *, parametrised: bool) -> type[Any]:
    if parametrised:
        return rebased(regular, _irregular_class(regular.__bases__[0], parametrised=False))
    return IrregularConv2d if regular is nn.Conv2d else _irregular_subclass(regular)


def _regular_class(irregular: type[Any], *, parametrised: bool) -> type[Any]:
    if parametrised:
        return rebased(irregular, _regular_class(irregular.__bases__[0], parametrised=False))
    return irregular.regular_class


@functools.lru_cache(maxsize=256)
def _irregular_subclass(regular: type[nn.Conv2d]) -> type[IrregularConv2d]:
    """A class with the forward of a subclass of Conv2d, within which its convolution is irregular."""

    def forward(self: IrregularConv2d, *args: Any, **kwargs: Any) -> Any:
        with Interception(weight_shape(self), self._convolve):
            return regular.forward(cast(Any, self), *args, **kwargs)

    def __reduce_ex__(self: IrregularConv2d, protocol: Any) -> Any:  # no module has this class by its name
        return _new_layer, (regular,), vars(self)

    own = {"forward": forward, "_conv_forward": regular._conv_forward, "regular_class": regular}
    own["__reduce_ex__"] = __reduce_ex__
    own |= {"__doc__": regular.__doc__, "__module__": regular.__module__}
    return type(f"Irregular{regular.__name__}", (IrregularConv2d, regular), own)


def _new_layer(regular: type[nn.Conv2d]) -> IrregularConv2d:
    """Of a subclass of `Conv2d` an irregular layer without contents, which whoever unpickles or copies it fills."""
    made = _irregular_subclass(regular)
    return made.__new__(made)


def _pad_for_word(
    x: Tensor, word: str, kernel_size: tuple[int, int], dilation: tuple[int, ...]
) -> tuple[Tensor, tuple[int, int]]:
    """Padding "same" or "valid" in pixels: the odd row that "same" may need is added at the end, as conv2d does."""
    if word == "valid":
        return x, (0, 0)
    (top, bottom), (left, right) = margins_of_same(kernel_size, dilation)
    if (top, left) != (bottom, right):
        x = F.pad(x, (0, right - left, 0, bottom - top))
    return x, (top, left)


def _pair(value: int | tuple[int, ...], least: int) -> tuple[int, int]:
    pair = value if isinstance(value, tuple | list) else (value, value)
    whole = all(isinstance(v, numbers.Integral) and not isinstance(v, bool) and v >= least for v in pair)
    if len(pair) != 2 or not whole:
        raise _refusal(f"an int or (y, x), each at least {least}", repr(value), "Give whole numbers.")
    return int(pair[0]), int(pair[1])


def _pair_or_word(padding: Pair | str, stride: tuple[int, int]) -> tuple[int, int] | str:
    if not isinstance(padding, str):
        return _pair(padding, 0)
    _check_choice("padding", padding, ("same", "valid"))
    if padding == "same" and stride != (1, 1):
        raise _refusal('stride 1 with padding "same"', f"stride={stride}", "Give the padding in pixels.")
    return padding


def _check_choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        fix = nearest_names(value, known)
        raise NameNotFoundError("IrregularConv2d", needed=f"a known {name}", got=f"{name}={value!r}", fix=fix)


def _refusal(needed: str, got: str, fix: str) -> ArgumentError:
    return ArgumentError("IrregularConv2d", needed=needed, got=got, fix=fix)
