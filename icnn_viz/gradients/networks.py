"""The networks to compare: two checkpoints, or one against itself without its shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from icnn_core.checkpoint import Checkpoint, build_model, read_checkpoints
from icnn_core.checkpoint.contents import check_whole
from icnn_core.devices import choose_device
from icnn_core.errors import ArgumentError, CheckpointError
from icnn_core.models.factory import build_with
from icnn_core.preparation import Preparation, preparation_of
from icnn_viz.gradients.controls import randomised, snapped
from icnn_viz.gradients.pixel import pixel_gradients
from icnn_viz.gradients.sampling import receptive_field, sampling_density
from icnn_viz.gradients.targets import Target
from icnn_viz.records import PixelGradient

SNAPPED = "irregular, snapped to slots"


@dataclass(frozen=True)
class Network:
    """A network to look at.

    Attributes:
        name: shown to the reader.
        model: in evaluation mode, on its device.
        size: (height, width) that it is to see; None = what it says itself, or the image's.
        classes: names by class id, perhaps none.
        preparation: how it wants images; None = what it says itself.
    """

    name: str
    model: nn.Module
    size: tuple[int, int] | None
    classes: tuple[str, ...]
    preparation: Preparation | None = None

    @property
    def prepared(self) -> Preparation:
        """How it wants images, see `preparation_of`."""
        return self.preparation or preparation_of(self.model)

    def look(
        self, image: np.ndarray, targets: Sequence[Target], method: str, seed: int
    ) -> list[PixelGradient]:
        """The gradients of several targets in one image."""
        return pixel_gradients(
            self.model,
            image,
            targets,
            method=method,
            network=self.name,
            classes=self.classes,
            size=self.size,
            preparation=self.prepared,
            seed=seed,
        )

    def trace(self, shape: tuple[int, int], target: Target) -> tuple[np.ndarray, np.ndarray]:
        """Where the network samples from a pixel's class, (H, W), and its theoretical receptive field, (H, W) bool."""
        seen = {"size": self.size, "preparation": self.prepared}
        density = sampling_density(self.model, shape, target.pixel, class_id=target.class_id, **seen)
        return density, receptive_field(self.model, shape, target.pixel, **seen)


def to_networks(
    who: str,
    models: nn.Module | Mapping[str, nn.Module | Network],
    *,
    classes: Sequence[str] = (),
    size: tuple[int, int] | None = None,
    preparation: Preparation | None = None,
    **said: Any,
) -> list[Network]:
    """Networks in memory by the name that is shown, or one; what is a `Network` stays as it is.

    Args:
        who: asks for them, for an error.
        preparation: how they want images; None = what each says itself.
        said: what of that the user says, see `Preparation`; None = as it is.

    Raises:
        ArgumentError: what is no network.
    """
    named = models if isinstance(models, Mapping) else {"network": models}
    networks = []
    for name, model in named.items():
        if isinstance(model, Network):
            networks.append(model)
            continue
        if not (hasattr(model, "state_dict") and callable(model)):
            needed, fix = f"networks (torch.nn.Module), here {name!r}", "Of files: from_checkpoints."
            raise ArgumentError(who, needed=needed, got=type(model).__name__, fix=fix)
        wanted = (preparation or preparation_of(model)).changed(**said)
        networks.append(Network(name, model, size, tuple(classes), wanted))
    return networks


def load_pair(
    irregular: Path,
    regular: Path | None,
    *,
    factory: Callable[[], Any] | None = None,
    prefix: str | None = None,
    size: tuple[int, int] | None = None,
    device: str = "auto",
    controls: bool = False,
    seed: int = 0,
    **preparation: Any,
) -> list[Network]:
    """The irregular network and, beside it, the regular one or itself with its positions snapped to the slots.

    Each is labelled for what it is: two of a kind are "irregular" and "irregular, second".

    Args:
        controls: add the irregular network snapped, unless it is there, and with random weights (drawn by `seed`).
        factory: builds the regular network, for files that name none of this package.
        prefix: of names in those of the files that are plain state dicts, see `read_checkpoint`.
        size: what the networks see; None = what they were trained with.
        preparation: what of how they want images the user says, see `Preparation`.

    Raises:
        CheckpointError: a file that cannot be used, two different sets of classes, or nothing to compare.
        DeviceError: no such device.
    """
    place = choose_device(device)
    first, *others = read_checkpoints([irregular, *([regular] if regular else [])], prefix)
    second = others[0] if others else None
    if second is None and not first.irregular:
        check_whole(first)
        needed, got = "irregular layers, or a second network", "a network without irregular layers alone"
        fix = "Name the other network with --regular."
        raise CheckpointError(str(irregular), needed=needed, got=got, fix=fix)
    if second is not None and first.classes and second.classes and first.classes != second.classes:
        needed = f"the classes of {irregular}: {_listed(first.classes)}"
        fix = "Compare networks that tell the same classes apart."
        raise CheckpointError(str(regular), needed=needed, got=_listed(second.classes), fix=fix)
    network = _build(first, _kind(first), factory, size, place, preparation)
    networks = [network]
    if second is not None:
        name = _kind(second) if _kind(second) != network.name else f"{network.name}, second"
        networks.append(_build(second, name, factory, size, place, preparation, first.classes))
    if second is None or (controls and first.irregular):
        networks.append(replace(network, name=SNAPPED, model=snapped(network.model)))
    if controls:
        name = f"{network.name}, random weights"
        networks.append(replace(network, name=name, model=randomised(network.model, seed)))
    return networks


def load_network(
    path: Path,
    *,
    factory: Callable[[], Any] | None = None,
    prefix: str | None = None,
    size: tuple[int, int] | None = None,
    device: str = "auto",
    **preparation: Any,
) -> Network:
    """One network, labelled for what it is; arguments and errors as of `load_pair`."""
    [read] = read_checkpoints([path], prefix)
    return _build(read, _kind(read), factory, size, choose_device(device), preparation)


def _kind(checkpoint: Checkpoint) -> str:
    """What a network is, whichever place it was given."""
    return "irregular" if checkpoint.irregular else "regular"


def _build(
    checkpoint: Checkpoint,
    name: str,
    factory: Callable[[], Any] | None,
    size: tuple[int, int] | None,
    place: Any,
    preparation: Mapping[str, Any],
    classes: tuple[str, ...] = (),
) -> Network:
    if checkpoint.non_finite_layers:
        got = f"NaN or infinite ones in {checkpoint.non_finite_layers[0]}"
        fix = "Train again with a lower position_lr."
        raise CheckpointError(str(checkpoint.path), needed="finite positions", got=got, fix=fix)
    count = len(checkpoint.classes or classes) or None
    model = build_model(checkpoint, (lambda: build_with(factory, count)) if factory else None).to(place)
    trained = checkpoint.dataset.get("size")
    seen = size or (None if trained is None else (int(trained[0]), int(trained[1])))
    wanted = preparation_of(model).changed(**preparation)
    return Network(name, model, seen, checkpoint.classes or classes, wanted)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f", … ({len(names)} in all)" if len(names) > 6 else "")
