"""From an image to logits on its own pixels, through a network that is left as it was found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from icnn_core.datasets.transforms import resized
from icnn_core.errors import ArgumentError, DeviceError, DtypeError, ShapeError
from icnn_core.evaluation.calling import segment
from icnn_core.preparation import Preparation


@dataclass(frozen=True)
class NetworkView:
    """What a network sees of an image, and how its logits come back to the image.

    Attributes:
        preparation: how the network wants images.
        size: (height, width) that the network sees, by antialiased bilinear resizing; None = what it was made for, or
            as it is.
        crop: (top, left, height, width) in image pixels, taken before resizing; None = the whole image.
        binary: a single logit is the foreground's, and the background's its negation.
    """

    preparation: Preparation
    size: tuple[int, int] | None = None
    crop: tuple[int, int, int, int] | None = None
    binary: bool = False

    def scale(self, height: int, width: int) -> tuple[float, float]:
        """Pixels of an image of this size to one that the network sees, (y, x)."""
        _, _, height, width = self.window(height, width)
        rows, columns = self.size or self.preparation.made_for(height, width) or (height, width)
        if self.preparation.fit == "resize":
            rows, columns = self.preparation.fitted_size(rows, columns)
        return height / rows, width / columns

    def window(self, height: int, width: int) -> tuple[int, int, int, int]:
        """The crop, or the whole image: (top, left, height, width).

        Raises:
            ArgumentError: the crop is empty or leaves the image.
        """
        top, left, rows, columns = self.crop or (0, 0, height, width)
        if top < 0 or left < 0 or rows < 1 or columns < 1 or top + rows > height or left + columns > width:
            needed = f"a crop (top, left, height, width) inside the image of {height} × {width}"
            fix = "Give a crop that lies in the image, or None."
            raise ArgumentError("NetworkView", needed=needed, got=f"{self.crop}", fix=fix)
        return top, left, rows, columns


def to_input(images: np.ndarray, preparation: Preparation, like: torch.Tensor) -> torch.Tensor:
    """(B, H, W[, C]) -> (B, c, H, W), as the network wants its values, on the device of `like`; float64 if `like` is,
    else float32.

    Raises:
        ShapeError, DtypeError: not a batch of images of real numbers, or with other channels than the network's.
    """
    images = np.asarray(images)
    images = images[..., None] if images.ndim == 3 else images
    if images.ndim != 4 or 0 in images.shape:
        needed = "an image of shape (H, W, channels) or (H, W)"
        fix = "Convert it: np.asarray(Image.open(path).convert('RGB'))."
        raise ShapeError("pixel_gradient", needed=needed, got=f"{images.shape[1:]}", fix=fix)
    if images.dtype.kind not in "uif" or (images.dtype.kind == "f" and not np.isfinite(images).all()):
        needed = "finite real numbers: uint8 from 0 to 255, or others as the network's mean and std want them"
        fix = "Give the image as it is on disk; mean and std are applied inside."
        raise DtypeError("pixel_gradient", needed=needed, got=str(images.dtype), fix=fix)
    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
    values = images.copy() if images.dtype == np.uint8 else images.astype(np.float64)
    x = torch.from_numpy(values).to(like.device).permute(0, 3, 1, 2)
    return preparation.normalise(x, dtype).contiguous()


def forward(
    model: nn.Module, x: torch.Tensor, view: NetworkView, like: torch.Tensor
) -> tuple[torch.Tensor, tuple[str, ...]]:
    """Logits (B, C, h, w) on the pixels of the image's window, and what a reader is told of the way: a shape that the
    network sees stretched by more than a tenth, sizes that it wants, logits of another size, a logit that has no rival.
    """
    top, left, height, width = view.window(*x.shape[-2:])
    seen = x[..., top : top + height, left : left + width]
    if wanted := view.size or view.preparation.made_for(height, width):
        seen = resized(seen, wanted)
    # A copy: networks may work in place on their input, which autograd forbids on the leaf itself.
    seen = seen.to(like.dtype, copy=True)
    notes: tuple[str, ...] = ()
    if not 0.9 < seen.shape[-1] * height / (seen.shape[-2] * width) < 1 / 0.9:
        notes = ("stretched from {} × {} to {} × {} for the network".format(height, width, *seen.shape[-2:]),)
    logits, told = segment(model, seen, view.preparation, binary=view.binary, who="pixel_gradient")
    if logits.shape[1] == 1:
        told = (*told, "one logit alone, so class 0 is predicted everywhere: two classes must be known to it")
    return resized(logits.to(x.dtype), (height, width)), (*notes, *told)


def reference_tensor(model: nn.Module, device: str | torch.device | None) -> torch.Tensor:
    """An empty tensor with the device and dtype that the network computes in.

    Raises:
        DeviceError: `device` is given and the network lies elsewhere.
    """
    weights = [t for t in (*parameters_of(model), *nn.Module.buffers(model)) if t.is_floating_point()]
    home = weights[0].new_empty(0) if weights else torch.empty(0)
    if any(t.is_inference() for t in weights):
        got = "parameters made under torch.inference_mode(), through which nothing can be differentiated"
        fix = "Build or load the network outside inference_mode."
        raise ArgumentError("pixel_gradient", needed="ordinary parameters", got=got, fix=fix)
    if device is None or not weights:
        return home.to(device) if device is not None else home
    wanted = torch.empty(0, device=device).device
    if wanted != home.device:
        needed, fix = f"the network on {wanted}", f'Move it first: model.to("{wanted}").'
        raise DeviceError("pixel_gradient", needed=needed, got=f"a network on {home.device}", fix=fix)
    return home


@contextmanager
def left_as_found(model: nn.Module) -> Iterator[None]:
    """Evaluation mode and frozen parameters inside; afterwards, also after an exception, everything as before: also the
    weights that hooks compute (weight norm, pruning), which the forward pass computes anew.
    """
    modules = list(nn.Module.modules(model))  # the network may have an attribute of this name
    training = [(m, m.training) for m in modules]
    computed = [(m, {k: v for k, v in vars(m).items() if isinstance(v, torch.Tensor)}) for m in modules]
    loose = [t for _, tensors in computed for t in tensors.values() if t.is_leaf]
    learnt = [t for t in (*parameters_of(model), *loose) if t.requires_grad]
    try:
        model.eval()
        for p in learnt:
            p.requires_grad_(False)
        yield
    finally:
        for module, mode in training:
            module.training = mode
        for module, tensors in computed:
            vars(module).update(tensors)
        for p in learnt:
            p.requires_grad_(True)


def parameters_of(model: nn.Module) -> Iterator[nn.Parameter]:
    """Its parameters, also where an attribute of the network is called `parameters` or `modules`."""
    return nn.Module.parameters(model)
