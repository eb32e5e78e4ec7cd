"""A checkpoint to the network that it was written from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from icnn_core.checkpoint.contents import Checkpoint, IrregularLayer, refuse
from icnn_core.checkpoint.effective import is_source
from icnn_core.errors import IcnnError
from icnn_core.folding import refuse_folding
from icnn_core.models.registry import build_architecture
from icnn_core.nn import IrregularConv2d, Sharing, make_layer_irregular, reason_to_stay_regular
from icnn_core.weights.names import describe_mismatch, find_heads, first_parts, shared_prefix


def build_model(
    checkpoint: Checkpoint, factory: Callable[[], nn.Module] | None = None, *, classes: int | None = None
) -> nn.Module:
    """Build the checkpoint's network, in evaluation mode, with its weights and irregular layers.

    Args:
        factory: builds the regular network, for files that name no architecture of this package.
        classes: to go on with so many, whatever the file's network has: what differs in its first axis alone, as a
            head for other classes, starts anew, which is logged. The factory's network must have so many.

    Raises:
        CheckpointError: the file names no network and no factory is given, its weights do not fit, or positions of a
            layer are not finite.
    """
    path = checkpoint.path
    if checkpoint.non_finite_layers:
        lost = checkpoint.non_finite_layers[0]
        raise refuse(path, f"finite positions in {lost}", "NaN or infinity", "Use an earlier checkpoint.")
    if factory is None and checkpoint.architecture is None:
        raise refuse(path, "the description of a network", "weights alone", how_to_build(checkpoint))
    model = _build_architecture(checkpoint, classes) if factory is None else factory()
    state, layers, effective = _fit_names(checkpoint, model)
    for layer in layers:
        _make_layer_irregular(path, model, layer, state)
    refuse_folding(model)
    own = model.state_dict(keep_vars=True)
    first = {id(tensor): name for name, tensor in reversed(own.items()) if name in state}
    for name, tensor in own.items():  # some programs store a tensor once that has two names
        if name not in state and id(tensor) in first:
            state[name] = state[first[id(tensor)]]
    for name in [name for name in effective if name in own]:  # the network computes it no more
        state = {key: value for key, value in state.items() if not is_source(key, name)}
        state[name] = effective[name]
    if classes is not None:
        state |= find_heads(state, own, path)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        said = describe_mismatch(state, own) or " ".join(str(error).split())[:300]
        raise refuse(path, f"weights of {type(model).__name__}", said, _other_network(state)) from error
    if checkpoint.preparation is not None:
        setattr(model, "icnn_preparation", checkpoint.preparation)  # noqa: B010
    if (reader := _named(checkpoint, "reader")) is not None:
        setattr(model, "icnn_reader", reader)  # noqa: B010
    return model.eval()


def how_to_build(checkpoint: Checkpoint) -> str:
    """What to do about a file that describes no network: the run that wrote it may have said what built it."""
    named = _named(checkpoint, "model")
    if named is not None:
        return (
            f"It was trained with --model {named}: say so again, for no code is run because a file names it."
        )
    return "Name a function that builds it: --model package.module:factory."


def _named(checkpoint: Checkpoint, what: str) -> str | None:
    """The user's own function that a run's settings name."""
    config = checkpoint.dataset.get("config")
    named = config.get(what) if isinstance(config, Mapping) else None
    return named[:120] if isinstance(named, str) and named != "none" else None


def _other_network(state: Mapping[str, Tensor]) -> str:
    """What to do where a network has other names."""
    prefix = shared_prefix(state)
    parts = f"All names in the file begin with {prefix[:80]}" if prefix else first_parts(state)
    if not parts:
        return "Name the network it was written for."
    told = parts if prefix else f"They begin with {parts}"
    give = "--prefix, or read_checkpoint(prefix=), strips one"
    return f"Name the network it was written for. {told}; {give}."


def _build_architecture(checkpoint: Checkpoint, classes: int | None) -> nn.Module:
    """The network that the file describes, if its weights are the file's: so nothing is allocated that is not there."""
    path, told = checkpoint.path, checkpoint.architecture
    assert told is not None
    try:
        with torch.device("meta"):
            shapes = {
                name: tensor.shape
                for name, tensor in build_architecture(told.name, told.arguments).state_dict().items()
            }
    except IcnnError:
        raise
    except Exception as error:  # whatever arguments of another type provoke
        raise refuse(
            path, f"arguments of {told.name}", f"{type(error).__name__}: {error}"[:200], "Write it again."
        ) from error
    for name, shape in shapes.items():
        found = checkpoint.tensor(name)
        if found is None or found.shape != shape:
            got = "none" if found is None else str(tuple(found.shape))
            needed = f"{name} of shape {tuple(shape)}"
            raise refuse(path, needed, f"{got}: size mismatch", "Name the network it was written for.")
    return build_architecture(told.name, {**told.arguments, **({"num_classes": classes} if classes else {})})


def _fit_names(
    checkpoint: Checkpoint, model: nn.Module
) -> tuple[dict[str, Tensor], list[IrregularLayer], dict[str, Tensor]]:
    """The file's names as this network has them: with what was stripped, or without a prefix that all share."""
    own = {name for name, _ in model.named_parameters()}
    state, layers, effective = checkpoint.state, list(checkpoint.irregular), checkpoint.effective
    if not own or own <= {*state, *effective} or checkpoint.architecture is not None:
        return dict(state), layers, effective
    parts = checkpoint.stripped.split(".")[:-1]
    added = ["".join(f"{part}." for part in parts[number:]) for number in range(len(parts))]
    shared = shared_prefix(state).split(".")[:-1]
    removed = ["".join(f"{part}." for part in shared[: number + 1]) for number in range(len(shared))]
    renamings = [lambda name, p=p: p + name for p in added] + [
        lambda name, p=p: name.removeprefix(p) for p in removed
    ]
    for rename in renamings:
        if own <= {rename(name) for name in (*state, *effective)}:
            return (
                {rename(name): tensor for name, tensor in state.items()},
                [replace(layer, name=rename(layer.name)) for layer in layers],
                {rename(name): tensor for name, tensor in effective.items()},
            )
    return dict(state), layers, effective


def _make_layer_irregular(
    path: Path, model: nn.Module, layer: IrregularLayer, state: Mapping[str, Tensor]
) -> None:
    sigma = state.get(f"{layer.name}.sigma")
    try:
        module = model.get_submodule(layer.name)
    except AttributeError as error:
        raise refuse(path, f"a network with a layer {layer.name}", "none", _other_network(state)) from error
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
