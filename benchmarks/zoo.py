"""Networks that nobody here wrote: made irregular, run, trained a step, and looked at.

    pip install "icnn-viz[zoo]"
    python benchmarks/zoo.py [--only NAME] [--list]

Each network is built by its library with random weights (nothing is downloaded), small where its configuration allows,
and put to the same questions: how many convolutions become irregular and why the others do not; whether its output is
the same with positions on their slots; whether three steps of training move positions; whether its checkpoint is read
back as shapes; whether a pixel of its output has a heatmap. Of timm it is encoders (`features_only`), whose
first map is looked at. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from icnn_core import StepBound, make_irregular, parameter_groups, write_checkpoint
from icnn_core.errors import ArgumentError, IcnnError
from icnn_core.evaluation.calling import segment
from icnn_core.preparation import Preparation, preparation_of
from icnn_core.surgery import irregular_layers
from icnn_viz import KernelDisplay
from icnn_viz.gradients import pixel_gradient

SIZE = (160, 128)
CLASSES = 5
_TIMM = (
    "resnet18", "resnetv2_50", "nf_resnet26", "convnext_atto", "tf_efficientnet_b0", "mobilenetv3_small_050",
    "regnety_002", "repvgg_a0", "ghostnet_050", "hrnet_w18_small", "densenet121", "dla34",
)  # fmt: skip
_SMP = (
    ("Unet", "resnet18"), ("UnetPlusPlus", "resnet18"), ("Unet", "efficientnet-b0"), ("FPN", "mobilenet_v2"),
    ("DeepLabV3Plus", "resnet18"), ("PSPNet", "resnet18"), ("Linknet", "resnet18"), ("MAnet", "resnet18"),
    ("PAN", "resnet18"), ("UPerNet", "resnet18"), ("Segformer", "mit_b0"), ("Unet", "tu-convnext_atto"),
)  # fmt: skip
_TORCHVISION = ("deeplabv3_mobilenet_v3_large", "fcn_resnet50", "lraspp_mobilenet_v3_large")
_VIT = {"hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 4}
_TRANSFORMERS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("Segformer", {"depths": [1] * 4, "hidden_sizes": [16] * 4, "decoder_hidden_size": 16}),
    (
        "MobileViT",  # its own small random weights make an output of 1e-51
        {"hidden_sizes": [16, 24, 32], "neck_hidden_sizes": [8, 8, 16, 16, 24, 32, 64], "initializer_range": 0.3},
    ),
    ("MobileNetV2", {}),
    ("UperNet", {}),
    ("DPT", _VIT | {"backbone_out_indices": [0, 1, 2, 3]}),
    ("Beit", _VIT | {"out_indices": [1, 2, 3, 4]}),
)  # fmt: skip
_MONAI: tuple[tuple[str, dict[str, Any]], ...] = (
    ("UNet", {"channels": (8, 16, 32), "strides": (2, 2), "num_res_units": 1}),
    ("BasicUNet", {"features": (8, 8, 16, 32, 64, 8)}),
    ("AttentionUnet", {"channels": (8, 16, 32), "strides": (2, 2)}),
    ("SegResNet", {"init_filters": 8}),
    ("DynUNet", {"kernel_size": (3, 3, 3), "strides": (1, 2, 2), "upsample_kernel_size": (2, 2)}),
)


def list_networks() -> Iterator[tuple[str, str, Callable[[], nn.Module]]]:
    """Library, name, and what builds it."""
    for name in _TIMM:
        yield "timm", name, lambda name=name: _timm(name)
    for kind, encoder in _SMP:
        yield "segmentation_models_pytorch", f"{kind}, {encoder}", lambda k=kind, e=encoder: _smp(k, e)
    for name in _TORCHVISION:
        yield "torchvision", name, lambda name=name: _torchvision(name)
    for kind, settings in _TRANSFORMERS:
        yield "transformers", kind, lambda k=kind, s=settings: _transformers(k, s)
    for kind, settings in _MONAI:
        yield "MONAI", kind, lambda k=kind, s=settings: _monai(k, s)


def examine(build: Callable[[], nn.Module]) -> dict[str, str]:
    """A row of the table."""
    torch.manual_seed(0)
    model = build().eval()
    how = preparation_of(model)
    images = how.normalise(torch.randint(0, 256, (2, how.channels, *SIZE), dtype=torch.uint8))
    with torch.no_grad():
        before, _ = segment(model, images)
        surgery = make_irregular(model, shift=0.0, sharing="layer")
        after, _ = segment(model, images)
    reasons = Counter(surgery.skipped.values())
    return {
        "irregular": str(len(surgery.replaced)),
        "left, and why": ", ".join(f"{count} {reason}" for reason, count in reasons.most_common()) or "none",
        "equal at shift 0": _yes(
            torch.allclose(before, after, rtol=1e-3, atol=1e-4 * float(before.abs().max()))
        ),
        "trains": _tried(lambda: _trains(model, images)),
        "kernels": _tried(lambda: _is_read(model, len(surgery.replaced))),
        "heatmap": _tried(lambda: _is_looked_at(model)),
    }


def _trains(model: nn.Module, images: Tensor) -> bool:
    """Whether three steps move the positions of all layers that the output depends on, and leave them finite."""
    layers = irregular_layers(model)
    before = {name: layer.positions.detach().clone() for name, layer in layers.items()}
    optimizer = torch.optim.AdamW(parameter_groups(model, lr=1e-3, position_lr=0.05))
    StepBound(optimizer, model)
    model.train()
    for _ in range(3):  # in the first, branches that begin at 0 give their layers no gradient
        optimizer.zero_grad()
        logits, _ = segment(model, images)
        target = logits.detach()[:, :, ::2].argmin(1).repeat_interleave(2, 1)
        torch.nn.functional.cross_entropy(logits, target).backward()
        optimizer.step()
    model.eval()
    used = {name: layer.positions for name, layer in layers.items() if layer.positions.grad is not None}
    moved = [not torch.equal(before[name], positions) for name, positions in used.items()]
    finite = all(bool(positions.isfinite().all()) for positions in used.values())
    if not all(moved):
        raise ArgumentError(
            "zoo", needed="positions that move", got=f"{sum(moved)} of {len(moved)} layers", fix="Look why."
        )
    return bool(moved) and finite


def _is_read(model: nn.Module, count: int) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        path = write_checkpoint(Path(folder) / "net.pt", model)
        return len(KernelDisplay.from_checkpoint(path).tables()["layers"]) == count


def _is_looked_at(model: nn.Module) -> bool:
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    found = pixel_gradient(model, image, (40, 21)).gradient
    if not (np.isfinite(found).all() and found.any()):
        kind = "is 0 everywhere" if np.isfinite(found).all() else "is not finite"
        raise ArgumentError("zoo", needed="a heatmap", got=f"one that {kind}", fix="Look why.")
    return True


def _tried(question: Callable[[], bool]) -> str:
    try:
        return _yes(question())
    except IcnnError as error:
        return f"no: {error}"
    except Exception as error:  # a fault of ours, or of the network: it stands in the table
        return f"**{type(error).__name__}**: {str(error)[:120]}"


def _yes(holds: bool) -> str:
    return "yes" if holds else "**no**"


def _timm(name: str) -> nn.Module:
    timm = importlib.import_module("timm")
    return timm.create_model(name, pretrained=False, features_only=True, out_indices=(2,))


def _smp(kind: str, encoder: str) -> nn.Module:
    smp = importlib.import_module("segmentation_models_pytorch")
    return getattr(smp, kind)(encoder, encoder_weights=None, classes=CLASSES)


def _torchvision(name: str) -> nn.Module:
    models = importlib.import_module("torchvision.models.segmentation")
    return getattr(models, name)(weights=None, weights_backbone=None, num_classes=CLASSES)


def _transformers(kind: str, settings: dict[str, Any]) -> nn.Module:
    transformers = importlib.import_module("transformers")
    if kind == "UperNet":
        small = {"depths": [1] * 4, "hidden_sizes": [8, 16, 24, 32]}
        backbone = transformers.ConvNextConfig(**small, out_features=[f"stage{n}" for n in (1, 2, 3, 4)])
        settings = {"backbone_config": backbone, "hidden_size": 32, "auxiliary_in_channels": 24}
    config = getattr(transformers, f"{kind}Config")(num_labels=CLASSES, **settings)
    model = getattr(transformers, f"{kind}ForSemanticSegmentation")(config)
    if kind == "DPT":
        model.icnn_preparation = Preparation(
            divisor=max(SIZE)
        )  # it takes squares alone; as `--divisor 160` would
    return model


def _monai(kind: str, settings: dict[str, Any]) -> nn.Module:
    nets = importlib.import_module("monai.networks.nets")
    return getattr(nets, kind)(spatial_dims=2, in_channels=1, out_channels=CLASSES, **settings)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="networks whose library or name holds this")
    parser.add_argument("--list", action="store_true", help="say which there are")
    chosen = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    networks = [each for each in list_networks() if chosen.only in f"{each[0]} {each[1]}"]
    if chosen.list:
        print("\n".join(f"{library}: {name}" for library, name, _ in networks))
        return
    heading: list[str] = []
    for library, name, build in networks:
        started = time.perf_counter()
        try:
            row = {"library": library, "network": name} | examine(build)
        except Exception as error:
            row = {
                "library": library,
                "network": name,
                "irregular": f"**{type(error).__name__}**: {str(error)[:160]}",
            }
        row["s"] = f"{time.perf_counter() - started:.0f}"
        if not heading:
            heading = [
                "library",
                "network",
                "irregular",
                "left, and why",
                "equal at shift 0",
                "trains",
                "kernels",
                "heatmap",
            ]
            print(f"| {' | '.join(heading)} |\n|{'---|' * len(heading)}")
        print(f"| {' | '.join(row.get(key, '').replace('|', '/') for key in heading)} |", flush=True)


if __name__ == "__main__":
    main()
