"""Where a network samples: its structure traced back from one pixel, whatever the image.

A copy of the network is made linear and positive: activations pass everything, max pools average, weights become
their magnitudes. The gradient of such a network adds up all ways from the pixel back to the image, each way with the
product of its weights: the composed positions of its kernels, as a density.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from icnn_core.errors import UnsupportedError
from icnn_viz.gradients.model import Preparation, forward, reference_tensor
from icnn_viz.gradients.relu import ACTIVATIONS, call_of, is_relu_clamp
from icnn_viz.gradients.targets import Box, Target, resolve

_NORMS = {"group_norm", "layer_norm", "instance_norm", "local_response_norm", "normalize"}


class _Linear(TorchFunctionMode):
    """While active, what is not linear passes its input on, and max pools average."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name, _, x = call_of(func, args, kwargs)
        if not (isinstance(x, torch.Tensor) and x.requires_grad):
            return func(*args, **kwargs)
        if name in ACTIVATIONS | _NORMS | {"relu"} or is_relu_clamp(name, args, kwargs):
            return x
        if name == "maximum":
            return args[0] + args[1]
        if "adaptive_max_pool" in name:
            return F.adaptive_avg_pool2d(x, args[1] if len(args) > 1 else kwargs["output_size"])
        if "max_pool" in name:
            return _average(*args, **kwargs)
        return func(*args, **kwargs)


def sampling_density(
    model: nn.Module,
    shape: tuple[int, int],
    pixel: tuple[int, int],
    *,
    class_id: int | None = None,
    size: tuple[int, int] | None = None,
    crop: Box | None = None,
) -> np.ndarray:
    """Where in the image the kernels on all ways to one output pixel sample, by |w|: a density, (H, W) float64.

    It depends on positions and weights alone, not on an image. Batch normalisation counts with its scale; other
    normalisations and activations are passed over. The sum is 1; what falls outside the image is left out.

    Args:
        shape: (height, width) of the image.
        pixel: (y, x), 0-based, in the image.
        class_id: the class's weights in the last layer; None = all classes'.
        size, crop: as in `batch_gradients`.

    Raises:
        UnsupportedError: a max pool with dilation.
        ArgumentError, NameNotFoundError: pixel outside the image, no such class.
    """
    traced = _trace(_positive(model, torch.abs), shape, Target(pixel, class_id), size, crop)
    total = traced.sum()
    return traced / total if total else traced


def receptive_field(
    model: nn.Module,
    shape: tuple[int, int],
    pixel: tuple[int, int],
    *,
    size: tuple[int, int] | None = None,
    crop: Box | None = None,
) -> np.ndarray:
    """The theoretical receptive field of one output pixel, (H, W) bool: what could reach it with any weights.

    Learnt positions bound it as they stand. (For regular ones: Araujo et al., Computing receptive fields of
    convolutional neural networks, Distill 2019.) Arguments and errors: as of `sampling_density`.
    """
    traced = _trace(_positive(model, _even), shape, Target(pixel), size, crop)
    return traced > 0


def _positive(model: nn.Module, change: Any) -> nn.Module:
    """A float64 copy whose weights are changed; positions, biases and statistics are kept."""
    reference_tensor(model, None)
    positive = copy.deepcopy(model).eval().requires_grad_(False).double()
    with torch.no_grad():
        for module in positive.modules():
            for name, parameter in module.named_parameters(recurse=False):
                if name.endswith("weight"):
                    parameter.copy_(change(parameter))
    return positive


def _even(weight: torch.Tensor) -> torch.Tensor:
    return torch.full_like(weight, 1 / max(1, weight[0].numel()))


def _trace(
    model: nn.Module, shape: tuple[int, int], target: Target, size: tuple[int, int] | None, crop: Box | None
) -> np.ndarray:
    preparation = Preparation(size=size, crop=crop)
    window = preparation.window(*shape)
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0, dtype=torch.float64))
    with torch.inference_mode(False), torch.enable_grad(), _Linear():
        leaf = torch.ones(1, 3, *shape, dtype=torch.float64, device=like.device, requires_grad=True)
        logits, _ = forward(model, leaf, preparation, like)
        nothing = np.zeros(window[2:], np.int64)
        found = resolve(target, 0, window, nothing, logits.shape[1])
        scores = logits[0] if target.class_id is None else logits[0, found.class_id]
        (gradient,) = torch.autograd.grad(scores[(..., *found.at)].sum(), leaf)
    return gradient[0].sum(0).cpu().numpy()


def _average(
    x: torch.Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> torch.Tensor:
    if return_indices or any(
        d != 1 for d in (dilation if isinstance(dilation, tuple | list) else (dilation,))
    ):
        raise UnsupportedError(
            "sampling_density",
            needed="max pools without dilation and without indices",
            got="another one",
            fix="Use the gradient instead.",
        )
    return F.avg_pool2d(x, kernel_size, stride, padding, ceil_mode)
