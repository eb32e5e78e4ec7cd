"""The variants of a study: networks that differ from the regular or the irregular one in one thing each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from icnn_core.checkpoint import read_checkpoint
from icnn_core.errors import ArgumentError, CheckpointError, NameNotFoundError, nearest_names
from icnn_core.models.controls import DeformableConv2d, TwoConv2d, replace_modules, to_larger
from icnn_core.surgery import irregular_layers, make_regular, snap_to_slots

if TYPE_CHECKING:
    from icnn_core.training.config import TrainConfig

REGULAR, IRREGULAR = "regular", "irregular"
Change = Callable[[nn.Module, Mapping[str, Tensor], float | None], object]


@dataclass(frozen=True)
class Variant:
    """How a variant's training differs from the irregular network's.

    Attributes:
        what: in words, for help and documentation.
        of: the variant whose own settings it shares: "regular" or "irregular".
        settings: of `TrainConfig`.
        change: what is done to the network before training: (network, positions by layer, number).
        takes: what it takes from the trained irregular network of its seed: "positions", "weights" or nothing.
        number: "required", "optional" or not taken: a number behind the name, as in dilation-0.5. Where it is
            given, nothing is taken from the irregular network.
        scaled: the setting that the number multiplies.
    """

    what: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    change: Change | None = None
    takes: str = ""
    number: str = ""
    scaled: str = ""
    of: str = IRREGULAR


def _put(model: nn.Module, positions: Mapping[str, Tensor], number: float | None = None) -> None:
    for name, layer in irregular_layers(model).items():
        with torch.no_grad():
            layer.positions.copy_(positions[name])


def _throw(model: nn.Module, positions: Mapping[str, Tensor], number: float | None) -> None:
    """Normal around the slots: `number` pixels, or per layer and axis the root mean square of learnt displacements."""
    for name, layer in irregular_layers(model).items():
        with torch.no_grad():
            spread: Tensor | float
            if number is None:
                spread = (positions[name] - layer.slots).square().flatten(0, -2).mean(0).sqrt()
            else:
                spread = number
            layer.positions.copy_(layer.slots + spread * torch.randn_like(layer.positions))


def _permute(model: nn.Module, positions: Mapping[str, Tensor], number: float | None) -> None:
    """Shapes are those of channels, or of kernels and channels, whatever shares them."""
    for name, layer in irregular_layers(model).items():
        shapes = positions[name].flatten(0, -3)
        with torch.no_grad():
            layer.positions.copy_(shapes[torch.randperm(len(shapes))].view_as(layer.positions))


def _average(model: nn.Module, positions: Mapping[str, Tensor], number: float | None) -> None:
    _put(model, {name: shapes.flatten(0, -3).mean(0) for name, shapes in positions.items()})


def _hold(model: nn.Module, positions: Mapping[str, Tensor], number: float | None) -> None:
    snap_to_slots(model)
    for layer in irregular_layers(model).values():
        layer.positions.requires_grad_(False)


def _exchange(model: nn.Module, make: Callable[[nn.Conv2d], nn.Module], who: str) -> None:
    """Another layer in the irregular ones' place: no file can say how the network is built any more."""
    replace_modules(model, make_regular(model), make, who)
    model.architecture = None  # pyright: ignore[reportArgumentType]


def _deform(model: nn.Module, positions: Mapping[str, Tensor], number: float | None) -> None:
    rate = 1.0 if number is None else number
    _exchange(model, lambda conv: DeformableConv2d(conv, rate), "deformable")


_NONE, _FROZEN = {"irregular": None}, {"position_lr": 0.0}
VARIANTS: dict[str, Variant] = {
    REGULAR: Variant("the network without irregular layers", _NONE, of=REGULAR),
    "dilation": Variant(
        "regular, all dilations times a number", _NONE, number="required", scaled="dilation_factor", of=REGULAR
    ),
    "regular-5x5": Variant(
        "regular, 5×5 kernels for the irregular layers'",
        change=lambda model, *_: _exchange(model, to_larger, "regular-5x5"), of=REGULAR,
    ),
    "two-regular": Variant(
        "regular, two kernels for each of the irregular layers', the second at twice the dilation",
        change=lambda model, *_: _exchange(model, TwoConv2d, "two-regular"), of=REGULAR,
    ),
    IRREGULAR: Variant("positions are learnt"),
    "irregular-dilation": Variant(
        "irregular, all dilations times a number", number="required", scaled="dilation_factor"
    ),
    "irregular-gaussian": Variant(
        "Gaussian interpolation, its widths learnt", {"interpolation": "gaussian", "learn_sigma": True}
    ),
    "gaussian-slots": Variant(
        "Gaussian interpolation at the slots, frozen; its widths learnt: what it smooths, without shapes",
        {"interpolation": "gaussian", "learn_sigma": True},
        _hold,
    ),
    "sharing-layer": Variant("one learnt shape for all channels of a layer", {"sharing": "layer"}),
    "sharing-none": Variant("a learnt shape for each kernel and channel", {"sharing": "none"}),
    "thrown": Variant(
        "random positions, frozen: normal, of the learnt ones' root mean square, or a number of pixels",
        _FROZEN,
        _throw,
        "positions",
        "optional",
    ),
    "learnt-frozen": Variant("learnt positions, frozen; the weights trained anew", _FROZEN, _put, "positions"),
    "permuted": Variant("learnt positions dealt out anew among the channels, frozen", _FROZEN, _permute, "positions"),
    "mean": Variant("the mean learnt shape for all channels, frozen", _FROZEN, _average, "positions"),
    "snapped": Variant(
        "the trained irregular network, its positions put on their slots; not trained on",
        {"irregular": None, "weights": None, "iterations": 0},
        lambda model, *_: snap_to_slots(model),
        "weights",
    ),
    "deformable": Variant(
        "deformable convolutions; a number is the offsets' share of the rate", change=_deform, number="optional"
    ),
}  # fmt: skip


def find_variant(name: str) -> tuple[Variant, float | None]:
    """The variant of a name, and the number behind it: dilation-0.5.

    Raises:
        NameNotFoundError: an unknown name. ArgumentError: a number is missing, or is none above 0.
    """
    known, number = name, ""
    if name not in VARIANTS:
        known, _, number = name.rpartition("-")
    if known not in VARIANTS or (number and not VARIANTS[known].number):
        raise NameNotFoundError(
            "variants", needed="a known variant", got=repr(name), fix=nearest_names(name, VARIANTS)
        )
    try:
        value = float(number) if number else None
    except ValueError:
        value = -1.0
    if (value is None and VARIANTS[known].number == "required") or (
        value is not None and not 0 < value < 1e6
    ):
        raise ArgumentError(
            "variants", needed=f"a number above 0 behind {known}-", got=repr(name), fix=f"E.g. {known}-0.5."
        )
    return VARIANTS[known], value


def vary(config: TrainConfig, name: str, irregular: str) -> TrainConfig:
    """The config of a variant, from the one that all have in common, which holds the irregular network's start.

    Args:
        irregular: the last checkpoint of the irregular network of the same seed, for variants that take from it.

    Raises:
        As `find_variant`. ArgumentError: dilations of a network whose own are not known.
    """
    variant, number = find_variant(name)
    settings = dict(variant.settings)
    if variant.scaled:
        before = getattr(config, variant.scaled)
        if before is None or number is None or config.model is not None or config.init is not None:
            needed = "a network of this package, trained from its start"
            raise ArgumentError(name, needed=needed, got="another", fix="Leave it out.")
        settings[variant.scaled] = before * number
    if variant.change is not None:
        settings["variant"] = name
    if variant.takes == "weights":
        settings["init"] = irregular
    elif variant.takes and number is None:
        settings["positions_from"] = irregular
    return replace(config, **settings)


def apply_variant(model: nn.Module, config: TrainConfig) -> None:
    """Do to a network, in place, what `config.variant` says.

    Raises:
        As `find_variant`. ArgumentError: no layer to change. CheckpointError: `positions_from` has no such positions.
    """
    name = str(config.variant)
    variant, number = find_variant(name)
    if variant.change is None:
        return
    layers = irregular_layers(model)
    if not layers:
        raise ArgumentError(
            name, needed="irregular layers", got="none", fix="Set irregular to a module's name."
        )
    positions: dict[str, Tensor] = {}
    if variant.takes == "positions" and number is None:
        if config.positions_from is None:
            raise ArgumentError(
                name, needed="a checkpoint with positions", got="none", fix="Set positions_from to it."
            )
        read = read_checkpoint(config.positions_from)
        for layer, module in layers.items():
            found = read.tensor(f"{layer}.positions")
            if found is None or found.shape != module.positions.shape:
                needed = f"positions of {layer}, {tuple(module.positions.shape)}"
                got = "none" if found is None else str(tuple(found.shape))
                fix = "Name the network that is irregular in the same layers."
                raise CheckpointError(config.positions_from, needed=needed, got=got, fix=fix)
            positions[layer] = found
    if variant is VARIANTS["deformable"] and number is not None and config.optimizer == "sgd":
        number = math.sqrt(number)  # it scales what a layer gives, and so its gradient, too: under SGD twice
    variant.change(model, positions, number)
