"""What decides the numbers of a run: its settings, what its weights start from, and its data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from icnn_core.checkpoint import Checkpoint, read_checkpoint
from icnn_core.errors import CheckpointError
from icnn_core.identity import check_identity, describe_data, digest_file, digest_weights
from icnn_core.training.config import TrainConfig, config_from

_TOLD_BY_DATA = {"dataset", "root", "sbd_root", "classes", "train_images", "val_images"}
_TOLD_BY_DIGESTS = {"weights", "init", "positions_from"}
_FREE = {"skip_bad", "workers", "evaluate_every", "checkpoint_every"}
"""Settings that may change in a run that is gone on with; the others must stay, paths for what they lead to."""


def describe_run(
    config: TrainConfig,
    train_set: Any,
    val_samples: Any,
    sources: Mapping[str, str | None] | None = None,
    processes: int = 1,
) -> dict[str, Any]:
    """The identity of a run, see `icnn_core.identity`.

    Args:
        sources: as `describe_sources` gives them, when the files were read; None reads them again.
        processes: that train together.

    Raises:
        IcnnError: a file that its weights start from cannot be read.
    """
    return {
        **describe_settings(config, processes),
        **(describe_sources(config) if sources is None else sources),
        "train_data": describe_samples(train_set),
        "val_data": describe_samples(val_samples),
    }


def describe_settings(config: TrainConfig, processes: int = 1) -> dict[str, Any]:
    """The settings that decide a run's numbers.

    How a batch is divided is one of them where its parts depend on it: their statistics, their dropout.
    """
    divided = config.batch_norm != "frozen" or config.dropout != 0
    values = asdict(config) | {"processes": processes}
    told = _TOLD_BY_DATA | _TOLD_BY_DIGESTS | _FREE | (set() if divided else {"accumulate", "processes"})
    if config.init is not None or config.model is not None:
        told |= {"backbone", "classifier_dilation", "dilation_factor", "dropout"}
    return {name: value for name, value in values.items() if name not in told}


def check_settings(last: Path, config: TrainConfig) -> None:
    """Nothing, if the settings are those of the run in `last`: seen before its network is built, or downloaded.

    Raises:
        CheckpointError: they are not; it names what differs.
    """
    if last.exists():
        saved = config_from(read_checkpoint(last).dataset.get("config", {}))
        before, now = describe_settings(saved), describe_settings(config)
        both = before.keys() & now.keys()  # another network has other settings, and its name differs
        check_identity(
            last,
            {k: v for k, v in before.items() if k in both},
            {k: v for k, v in now.items() if k in both},
            CheckpointError,
        )


def describe_sources(config: TrainConfig) -> dict[str, str | None]:
    """Digests of what the weights start from; its name where that is torchvision's.

    Raises:
        IcnnError: a file cannot be read.
    """
    weights, init = config.weights, config.init
    if weights is not None and Path(weights).is_file():
        weights = digest_file(weights)
    sources = {
        "weights": weights,
        "init": None if init is None else digest_weights(read_checkpoint(init, config.prefix).state),
    }
    if config.positions_from is not None:
        sources["positions_from"] = digest_weights(read_checkpoint(config.positions_from).state)
    return sources


def describe_samples(samples: Any) -> dict[str, Any]:
    """A data set, or the first images of one: those that are trained on or measured."""
    data = getattr(samples, "data", samples)
    if not hasattr(data, "classes"):
        return {"number": len(samples) if hasattr(samples, "__len__") else None}
    return describe_data(data, len(samples))


def saved_identity(checkpoint: Checkpoint, now: Mapping[str, Any]) -> dict[str, Any]:
    """The identity that a run's checkpoint holds; of one that holds none, its settings and classes alone.

    Raises:
        IcnnError: settings that this version does not know.
    """
    saved = dict(checkpoint.dataset.get("identity", {}))
    config = config_from(checkpoint.dataset.get("config", {}))
    found = describe_settings(config, saved.pop("processes", now.get("processes", 1)))
    if not saved:
        saved = {"train_data": now["train_data"] | {"classes": list(checkpoint.classes)}}
    return found | saved | {"version": checkpoint.package_version}
