"""Which settings a run uses: a network that a file or the user's code brings leaves some without a part in it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from icnn_core.errors import ArgumentError

if TYPE_CHECKING:
    from icnn_core.training.config import TrainConfig

_OF_THE_NETWORK = ("backbone", "classifier_dilation", "dilation_factor", "dropout", "weights")


def settle_network(config: TrainConfig, given: Collection[str]) -> TrainConfig:
    """The config with the network that it leads to: that of `init`, of the user's `model`, or of its settings.

    Args:
        given: names of the settings that the user gave, beyond the preset's.

    Raises:
        ArgumentError: one of them says otherwise than the network that is used, and would be passed over.
        CheckpointError: `init` cannot be read.
    """
    filled = config.model is not None and "weights" in given and config.weights not in (None, "imagenet")
    if config.prefix is not None and config.init is None and not filled:
        needed = "a state dict that the prefix is of"
        got = f"prefix={config.prefix} without init, or weights beside model"
        raise ArgumentError("train", needed=needed, got=got, fix="Name one, or leave the prefix out.")
    if config.init is None and config.model is None:
        return config
    used: dict[str, Any] = dict.fromkeys(_OF_THE_NETWORK)
    if config.init is None and filled:
        used["weights"] = config.weights  # the user's own network starts from a file, as a built-in one does
    if config.init is not None:
        from icnn_core.checkpoint import read_checkpoint

        architecture = read_checkpoint(config.init, config.prefix).architecture
        if architecture is not None and config.model is None:
            used |= {key: architecture.arguments[key] for key in used if key in architecture.arguments}
    for name in _OF_THE_NETWORK:
        asked = getattr(config, name)
        if name in given and asked not in (None, used[name]):
            source = f"init={config.init}" if config.init is not None else f"model={config.model}"
            raise ArgumentError(
                "train",
                needed=f"no {name} beside {source}, which brings a network of its own",
                got=f"{name}={asked!r}" + (f"; it has {used[name]!r}" if used[name] is not None else ""),
                fix="Give a file with this network's weights."
                if asked == "imagenet" and config.init is None
                else f"Leave {name} out, or the other.",
            )
    return replace(config, **used)
