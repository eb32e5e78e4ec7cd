"""DeepLab with a large field of view: a dilated backbone, one 3 × 3 classifier with dilation 12, upsampling.

Reference: Chen et al., "DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, Atrous Convolution,
and Fully Connected CRFs", IEEE TPAMI 2018, arXiv 1606.00915. The paper's networks are these.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import torch
from torch import nn

from icnn_core.errors import ArgumentError, ShapeError, check_name
from icnn_core.models.architecture import Architecture
from icnn_core.models.backbones import BACKBONES, OUTPUT_STRIDE, Backbone, scale_dilations
from icnn_core.models.pretrained import load_backbone_weights

_WHO = "deeplab_largefov"


class DeepLabLargeFOV(nn.Module):
    """Logits per pixel: backbone, classifier, bilinear upsampling. Build it with `deeplab_largefov`.

    Attributes:
        backbone: torchvision's module names below it: "backbone.layer3.11.conv2".
        classifier: dropout and the layer "classifier.fc1".
        architecture: what rebuilds this network.
    """

    def __init__(self, backbone: Backbone, num_classes: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.backbone = backbone.module
        fc1 = nn.Conv2d(backbone.channels, num_classes, 3, padding=dilation, dilation=dilation)
        if not fc1.weight.is_meta:  # whose numbers would be drawn by a compiler, which takes seconds to load
            nn.init.normal_(fc1.weight, std=0.01)
        if fc1.bias is not None:
            nn.init.zeros_(fc1.bias)
        self.classifier = nn.Sequential(OrderedDict(dropout=nn.Dropout(dropout), fc1=fc1))
        self.offset = backbone.offset
        self.architecture: Architecture | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, num_classes, H, W) of images (N, 3, H, W), RGB in [0, 1] normalised with ImageNet's mean and std.

        Raises:
            ShapeError: x is not (N, 3, H, W) with H and W of at least 16.
        """
        if x.dim() != 4 or x.shape[1] != 3 or min(x.shape[2:]) < 2 * OUTPUT_STRIDE:
            needed = "images (N, 3, H, W), H and W at least 16"
            fix = "Add a batch axis, or enlarge the image."
            raise ShapeError("DeepLabLargeFOV", needed=needed, got=str(tuple(x.shape)), fix=fix)
        return upsample(self.classifier(self.backbone(x)), (x.shape[2], x.shape[3]), self.offset)


def upsample(logits: torch.Tensor, size: tuple[int, int], offset: float) -> torch.Tensor:
    """Bilinear upsampling by 8 that puts every logit where its feature looks.

    Pixel p reads the logits at (p - offset) / 8, held constant beyond the outermost features. For offset 3.5 and
    sizes 8·n this is `interpolate(align_corners=False)`, for offset 0 and sizes 8·n + 1 (the paper's crops) it is
    `align_corners=True`. A resize to the input's size alone would be up to half a feature off, for which learnt
    positions, but not a regular classifier, could make up.

    Args:
        logits: (N, C, h, w).
        size: (H, W) of the input image.
        offset: the input pixel on which feature 0 is centred, in y and in x.
    """
    rows = _interpolation(size[0], logits.shape[2], offset, logits)
    columns = _interpolation(size[1], logits.shape[3], offset, logits)
    return rows @ logits @ columns.T


def _interpolation(size: int, count: int, offset: float, like: torch.Tensor) -> torch.Tensor:
    """(size, count): the weights of linear interpolation, at most two in a row that are not 0."""
    place = (torch.arange(size, device=like.device, dtype=torch.float32) - offset) / OUTPUT_STRIDE
    place = place.clamp(0, count - 1)[:, None] - torch.arange(count, device=like.device)
    return (1 - place.abs()).clamp(min=0).to(like.dtype)


def deeplab_largefov(
    backbone: str,
    num_classes: int,
    *,
    weights: str | Path | None = None,
    classifier_dilation: int = 12,
    dropout: float = 0.0,
    dilation_factor: float = 1.0,
) -> DeepLabLargeFOV:
    """A network of output stride 8 whose classifier "classifier.fc1" is one 3 × 3 convolution.

    Args:
        backbone: "tiny" (about 0.14 million parameters, for training from scratch), "small" (the same,
            0.33 million, with 128 channels in the last stage), "squeezenet1_0", "resnet18", "resnet34", "resnet50",
            "resnet101" or "vgg16".
        num_classes: of the data set, background included, void not.
        weights: None (random), "imagenet" (torchvision's, downloaded) or the path of a file with torchvision's
            keys; see `load_backbone_weights`.
        classifier_dilation: the paper's is 12, in features: 96 pixels.
        dropout: probability with which a feature is dropped before the classifier.
        dilation_factor: multiplies every dilation above 1, the classifier's included; the product is rounded, and at
            least 1.

    Raises:
        NameNotFoundError: an unknown backbone.
        ArgumentError: a number out of range, or ImageNet weights for "tiny".
        CheckpointError: weights that cannot be read or are another network's.
    """
    check_name(_WHO, "a known backbone", backbone, BACKBONES)
    _check_count("num_classes", num_classes, 65536)
    _check_count("classifier_dilation", classifier_dilation, 1024)
    if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise ArgumentError(_WHO, needed="dropout in [0, 1)", got=repr(dropout), fix="Try 0.5.")
    if (
        isinstance(dilation_factor, bool)
        or not isinstance(dilation_factor, int | float)
        or not 0 < dilation_factor <= 64
    ):
        raise ArgumentError(
            _WHO, needed="dilation_factor in (0, 64]", got=repr(dilation_factor), fix="Try 0.5."
        )
    if backbone in ("tiny", "small") and weights == "imagenet":
        needed = "a torchvision backbone for ImageNet weights"
        raise ArgumentError(_WHO, needed=needed, got=backbone, fix="Leave weights out, or name a file.")
    built = BACKBONES[backbone](backbone)
    if weights is not None:
        load_backbone_weights(built.module, backbone, weights)
    model = DeepLabLargeFOV(built, num_classes, classifier_dilation, float(dropout))
    arguments = {
        "backbone": backbone,
        "num_classes": num_classes,
        "classifier_dilation": classifier_dilation,
        "dropout": float(dropout),
    }
    if dilation_factor != 1:
        scale_dilations(model, dilation_factor)
        arguments["dilation_factor"] = float(dilation_factor)
    model.architecture = Architecture(_WHO, arguments)
    return model


def _check_count(name: str, value: object, largest: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= largest:
        raise ArgumentError(
            _WHO, needed=f"{name} from 1 to {largest}", got=repr(value), fix="Give a whole number."
        )
