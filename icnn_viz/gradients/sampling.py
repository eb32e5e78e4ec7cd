"""Where a network samples: its structure traced back from one pixel, whatever the image.

The network's arithmetic is followed in a second network that is linear and positive (`structure.Structure`). Its
gradient adds up all ways from the pixel back to the image, each way with the product of its magnitudes: the composed
positions of its kernels, as a density.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from icnn_core.errors import ArgumentError, UnsupportedError
from icnn_core.ops.irregular_conv import irregular_conv2d
from icnn_core.preparation import Preparation, preparation_of
from icnn_viz.gradients.controls import PLACES
from icnn_viz.gradients.model import NetworkView, forward, left_as_found, reference_tensor
from icnn_viz.gradients.structure import Structure
from icnn_viz.gradients.targets import Rectangle, Target, resolve

_SCALES = (1.0, 1e-280, 1e280)
_LEAVING = (Tensor.numpy, Tensor.tolist, Tensor.__array__, Tensor.__dlpack__)


def sampling_density(
    model: nn.Module,
    shape: tuple[int, int],
    pixel: tuple[int, int],
    *,
    class_id: int | None = None,
    size: tuple[int, int] | None = None,
    crop: Rectangle | None = None,
    preparation: Preparation | None = None,
) -> np.ndarray:
    """Where in the image the kernels on all ways to one output pixel sample, by |w|: a density, (H, W) float64.

    It depends on positions and weights alone, not on an image. Every way counts with the product of its magnitudes: of
    effective weights, and of what resizes. Where values of the image decide, all candidates count alike: max pools,
    softmax and matrix products of two values average, activations and gates pass everything on. A norm scales and,
    where it has no running statistics, passes on three ways: the element itself, the mean, and the deviation. The sum
    is 1; what falls outside the image is left out.

    Args:
        shape: (height, width) of the image.
        pixel: (y, x), 0-based, in the image.
        class_id: the class's weights in the last layer; None = all classes'.
        size, crop, preparation: as in `batch_gradients`.

    Raises:
        UnsupportedError: an operation that cannot be followed; it is named.
        ArgumentError, NameNotFoundError: pixel outside the image, no such class, no way to the image, or weights that
            are not finite.
    """
    total = 0.0
    for scale in _SCALES:  # the products of many layers' weights may exceed what a number holds
        traced = _trace(
            "sampling_density", model, shape, Target(pixel, class_id), size, crop, preparation, scale
        )
        total = float(traced.sum())
        if np.isfinite(total) and total:
            return traced / total
    needed = "ways from the image to the pixel, through finite weights that are not all 0"
    got = "none" if not total else f"a sum of {total}"
    fix = "Look for weights that are 0, infinite or not a number; or use receptive_field."
    raise ArgumentError("sampling_density", needed=needed, got=got, fix=fix)


def receptive_field(
    model: nn.Module,
    shape: tuple[int, int],
    pixel: tuple[int, int],
    *,
    size: tuple[int, int] | None = None,
    crop: Rectangle | None = None,
    preparation: Preparation | None = None,
) -> np.ndarray:
    """The theoretical receptive field of one output pixel, (H, W) bool: what could reach it with any weights.

    Gates, attention and norms' statistics included. Learnt positions bound it as they stand, and so do masks that are
    no parameters. (For regular convolutions: Araujo et al., Computing receptive fields of convolutional neural
    networks, Distill 2019.) Arguments and errors: as of `sampling_density`.
    """
    return _trace("receptive_field", model, shape, Target(pixel), size, crop, preparation) > 0


def _trace(
    who: str,
    model: nn.Module,
    shape: tuple[int, int],
    target: Target,
    size: tuple[int, int] | None,
    crop: Rectangle | None,
    preparation: Preparation | None,
    scale: float = 1.0,
) -> np.ndarray:
    preparation = preparation or preparation_of(model)
    view = NetworkView(preparation, size, crop, binary=True)
    window = view.window(*shape)
    like = reference_tensor(model, None)
    weighted = who == "sampling_density"
    image = torch.zeros(1, preparation.channels, *shape, device=like.device)
    structure = Structure(who, weighted=weighted, instead=None if weighted else _any_weights(model))
    with torch.inference_mode(False), torch.no_grad(), left_as_found(model), _plainly():
        leaf = structure.follow(image)
        with _Followed(who, structure), structure:
            logits, _ = forward(model, image, view, like)
        found = resolve(target, 0, window, np.zeros(window[2:], np.int64), logits.shape[1], who)
        shadow = structure.of(logits)
        if shadow is None:
            needed = "an output that depends on the image"
            fix = "Do not leave PyTorch (for NumPy, say) within the network's forward."
            raise ArgumentError(who, needed=needed, got="one that does not", fix=fix)
        with torch.enable_grad():
            scores = shadow[0] if target.class_id is None else shadow[0, found.class_id]
            (gradient,) = torch.autograd.grad(scores[(..., *found.at)].sum() * scale, leaf)
    return gradient[0].sum(0).cpu().numpy()


def _any_weights(model: nn.Module) -> dict[Tensor, Tensor]:
    """For every learnt weight another, drawn so that no sum of them is 0 by chance; places stay."""
    generator = torch.Generator().manual_seed(0)
    return {
        parameter: (torch.rand(parameter.shape, generator=generator) + 0.5).to(parameter)
        for name, parameter in nn.Module.named_parameters(model)
        if name.rpartition(".")[2] not in PLACES
    }


class _Followed(TorchFunctionMode):
    """What is not seen operation by operation.

    Irregular layers compute with |w|: taps that share a pixel do not cancel, whichever back end adds them up. And what
    depends on the image must not leave PyTorch.
    """

    def __init__(self, who: str, structure: Structure) -> None:
        super().__init__()
        self.who, self.structure = who, structure

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _LEAVING and self.structure.of(args[0]) is not None:
            needed, got = "a forward within PyTorch", f"{func.__name__} of what depends on the image"
            raise UnsupportedError(self.who, needed=needed, got=got, fix="Use the gradient instead.")
        if func is irregular_conv2d:
            x, weight, *others = args
            args = (x, weight.abs(), *others)
        return func(*args, **(kwargs or {}))


@contextmanager
def _plainly() -> Iterator[None]:
    """Every module by its operations: no compiled graphs, no fused shortcuts for inference."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with (
            sdpa_kernel(SDPBackend.MATH),
            torch.compiler.set_stance("force_eager"),
            warnings.catch_warnings(),
        ):
            warnings.filterwarnings("ignore", "None of the inputs have requires_grad")  # of checkpoints
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
