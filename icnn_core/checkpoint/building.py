"""A checkpoint to the network that it was written from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

from torch import Tensor, nn

from icnn_core.checkpoint.contents import Checkpoint, IrregularLayer, refuse
from icnn_core.models.registry import build_architecture
from icnn_core.nn import IrregularConv2d, Sharing, make_layer_irregular, reason_to_stay_regular


def build_model(checkpoint: Checkpoint, factory: Callable[[], nn.Module] | None = None) -> nn.Module:
    """Build the checkpoint's network, in evaluation mode, with its weights and irregular layers.

    Args:
        factory: builds the regular network, for files that name no architecture of this package.

    Raises:
        CheckpointError: the file names no network and no factory is given, its weights do not fit, or positions of a
            layer are not finite.
    """
    path = checkpoint.path
    if checkpoint.non_finite_layers:
        lost = checkpoint.non_finite_layers[0]
        raise refuse(path, f"finite positions in {lost}", "NaN or infinity", "Use an earlier checkpoint.")
    if factory is None and checkpoint.architecture is None:
        raise refuse(
            path,
            "the description of a network",
            "weights alone",
            "Name a function that builds it: --model package.module:factory.",
        )
    if factory is not None:
        model = factory()
    else:
        assert checkpoint.architecture is not None
        model = build_architecture(checkpoint.architecture.name, checkpoint.architecture.arguments)
    for layer in checkpoint.irregular:
        _make_layer_irregular(path, model, layer, checkpoint.state.get(f"{layer.name}.sigma"))
    try:
        model.load_state_dict(checkpoint.state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise refuse(
            path, f"weights of {type(model).__name__}", reason, "Name the network it was written for."
        ) from error
    return model.eval()


def _make_layer_irregular(path: Path, model: nn.Module, layer: IrregularLayer, sigma: Tensor | None) -> None:
    try:
        module = model.get_submodule(layer.name)
    except AttributeError as error:
        raise refuse(
            path, f"a network with a layer {layer.name}", "none", "Name the network it was written for."
        ) from error
    if isinstance(module, IrregularConv2d):
        return
    reason = reason_to_stay_regular(module)
    if reason:
        raise refuse(path, f"a convolution at {layer.name}", reason, "Name the network it was written for.")
    make_layer_irregular(
        cast(nn.Conv2d, module),
        sharing=cast(Sharing, layer.sharing),
        interpolation=layer.interpolation,
        learn_sigma=sigma is not None and sigma.ndim > 0,
        shift=0.0,
    )
