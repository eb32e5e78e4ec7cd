"""What one output pixel depends on: the gradient of its logit with respect to the image."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn

from icnn_core.errors import ArgumentError, check_name
from icnn_core.preparation import Preparation, preparation_of
from icnn_viz.gradients.methods import METHODS, Maps, attribute, backward
from icnn_viz.gradients.model import NetworkView, forward, left_as_found, reference_tensor, to_input
from icnn_viz.gradients.relu import RULES, relu_rule
from icnn_viz.gradients.targets import Rectangle, Target, resolve
from icnn_viz.pictures import to_picture
from icnn_viz.records import PixelGradient


def pixel_gradient(
    model: nn.Module, image: np.ndarray, pixel: tuple[int, int] | Target, **options: Any
) -> PixelGradient:
    """The gradient of one pixel of one image. Options, result and errors: see `pixel_gradients`."""
    return pixel_gradients(model, image, [pixel], **options)[0]


def pixel_gradients(
    model: nn.Module,
    image: np.ndarray,
    pixels: Sequence[tuple[int, int] | Target],
    *,
    class_id: int | None = None,
    against: int | None = None,
    region: np.ndarray | Rectangle | str | None = None,
    **options: Any,
) -> list[PixelGradient]:
    """The gradients of several pixels of one image, which share one forward pass.

    Args:
        image: (H, W, 3) uint8, RGB; or (H, W) or (H, W, C) of any real numbers, see `Preparation`.
        pixels: (y, x), 0-based, in pixels of `image`, or `Target`s.
        class_id, against, region: as in `Target`, for pixels given as (y, x).
        options: those of `batch_gradients`, with its result and errors.
    """
    targets = [p if isinstance(p, Target) else Target(p, class_id, against, region) for p in pixels]
    return batch_gradients(model, np.asarray(image)[None], [targets], **options)[0]


def batch_gradients(
    model: nn.Module,
    images: np.ndarray,
    targets: Sequence[Sequence[Target]],
    *,
    method: str = "gradient",
    network: str = "network",
    classes: Sequence[str] = (),
    preparation: Preparation | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    divisor: int | None = None,
    output: str | None = None,
    size: tuple[int, int] | None = None,
    crop: Rectangle | None = None,
    device: str | torch.device | None = None,
    seed: int = 0,
) -> list[list[PixelGradient]]:
    """∂target/∂image for several targets per image: one forward pass an image for all of them.

    The way from image to scalar is (rgb/255 - mean)/std → crop → resize to `size` → pad to `divisor` → model →
    back → target, and all of it is differentiated. So a gradient lies on the pixels of the image as given, in logits
    per unit of normalised input. Every output gradient is zero but the target's (paper, section 4.3, after
    Zeiler & Fergus 2014).

    Methods:
        gradient: ∂target/∂image (Simonyan et al. 2014), the paper's.
        deconvnet, guided: the same with another rule at ReLUs (Zeiler & Fergus 2014; Springenberg et al.
            2015). Partly edge detectors: randomised weights change them little (Adebayo et al. 2018).
        gradient*input: times the normalised image (Shrikumar et al. 2017).
        integrated: times the image, averaged on the way from the mean colour to the image at 50
            Gauss–Legendre nodes; sums to target(image) - target(mean colour) (Sundararajan et al. 2017).
        smoothgrad: mean over 25 images with Gaussian noise of 15 % of the image's range (Smilkov et al.
            2017), seeded.

    Args:
        model: returns logits (N, C, H, W), or what `icnn_core.evaluation.to_logits` finds them in. Logits of
            another size than the input are upsampled bilinearly, which the record's `notes` say. It runs in
            evaluation mode with frozen parameters, in the dtype of its parameters, and is left as it was found: modes,
            requires_grad, .grad, hooks.
        images: (B, H, W, 3) uint8, RGB; or (B, H, W[, C]) of any real numbers.
        targets: for each image its targets.
        network: its name, shown to the reader.
        classes: names by class id.
        preparation: how the network wants images; None = what it says itself, see `preparation_of`.
        mean, std, divisor, output: of the preparation, where it is to be another.
        size: (height, width) that the network sees; None = what it was made for, or that of the image (or crop).
        crop: (top, left, height, width) in image pixels.
        device: where the network must lie; None = wherever it is.
        seed: of smoothgrad's noise.

    Returns:
        For each image one `PixelGradient` per target, in order. Outside a crop gradients are 0 and
        predictions -1.

    Raises:
        ArgumentError: pixel or crop outside the image, empty region, or an output that does not depend on the
            image.
        NameNotFoundError: no such method or class.
        UnsupportedError: "deconvnet" or "guided" where the network's ReLUs cannot be reached.
        ShapeError, DtypeError, DeviceError: the image, the network's output or its place is not as said
            above.
    """
    check_name("pixel_gradient", "a known method", method, METHODS)
    changes = {"mean": mean, "std": std, "divisor": divisor, "output": output}
    preparation = (preparation or preparation_of(model)).changed(**changes)
    view = NetworkView(preparation, size, crop, binary=len(classes) == 2)
    like = reference_tensor(model, device)
    rule = relu_rule(model, method) if method in RULES else nullcontext()
    if len(images) > 1:  # one at a time: whatever a network does over a batch, it cannot mix them
        options = {
            "method": method,
            "network": network,
            "classes": classes,
            "preparation": preparation,
            "seed": seed,
        }
        options |= {"size": size, "crop": crop, "device": device}
        pairs = zip(np.asarray(images), targets, strict=True)
        return [batch_gradients(model, image[None], [of_it], **options)[0] for image, of_it in pairs]
    with torch.inference_mode(False), torch.enable_grad(), left_as_found(model), rule:
        leaf = to_input(images, preparation, like).requires_grad_()
        window = view.window(*leaf.shape[-2:])
        logits, notes = forward(model, leaf, view, like)
        _check_differentiable(logits)
        prediction = logits.detach().max(1).indices.cpu().numpy()  # argmax, 5 times as fast on a CPU
        shape = (leaf.shape[2], leaf.shape[3])
        plan = [
            [resolve(target, i, window, prediction[i], logits.shape[1], shape=shape) for target in of_image]
            for i, of_image in enumerate(targets)
        ]
        values = [[target.scalar(logits.detach()).item() for target in of_image] for of_image in plan]

        def passes(points: torch.Tensor) -> Maps:
            return backward(forward(model, points, view, like)[0], points, plan)

        maps = attribute(method, leaf, lambda: backward(logits, leaf, plan), passes, seed)
    shown = _on_image(prediction, window, leaf.shape)
    return [
        [
            PixelGradient(
                network=network,
                image=to_picture(images[i]),
                pixel=target.pixel,
                gradient=gradient.float().cpu().numpy(),
                class_id=target.class_id,
                classes=tuple(classes),
                prediction=shown[i],
                logit=value,
                method=method,
                target=target.text,
                notes=notes,
                against=target.against,
                scale=view.scale(*shape),
            )
            for target, gradient, value in zip(plan[i], maps[i], values[i], strict=True)
        ]
        for i in range(len(leaf))
    ]


def _check_differentiable(logits: torch.Tensor) -> None:
    if not logits.requires_grad:
        needed = "a network that can be differentiated with respect to its input"
        fix = "Remove no_grad, detach or argmax from its forward."
        raise ArgumentError("pixel_gradient", needed=needed, got="an output without a gradient", fix=fix)


def _on_image(prediction: np.ndarray, window: Rectangle, shape: Sequence[int]) -> np.ndarray:
    top, left, height, width = window
    if (height, width) == tuple(shape[-2:]):
        return prediction
    shown = np.full((len(prediction), *shape[-2:]), -1, prediction.dtype)
    shown[:, top : top + height, left : left + width] = prediction
    return shown
