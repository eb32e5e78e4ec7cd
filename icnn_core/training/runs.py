"""Runs of a study: each is trained once, resumed where it stopped, measured on any split, and its result kept."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from icnn_core import __version__
from icnn_core.checkpoint import read_checkpoint
from icnn_core.errors import CheckpointError, IcnnError, TrainingError
from icnn_core.evaluation import evaluate
from icnn_core.evaluation.boundaries import DILATION_RATIO
from icnn_core.files import explain, write_text
from icnn_core.identity import check_identity, digest_weights
from icnn_core.optim import position_parameters
from icnn_core.training.config import TrainConfig, config_from
from icnn_core.training.folder import LAST
from icnn_core.training.loop import Progress, mean_displacement, train
from icnn_core.training.same_run import describe_run, describe_samples, describe_settings
from icnn_core.training.setup import Prepared, open_data, prepare

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """One training: the variant that it is of, its config (which holds the seed), and the folder that it fills."""

    variant: str
    config: TrainConfig
    folder: Path


@dataclass(frozen=True)
class RunResult:
    """What a finished run measured on one split.

    Attributes:
        variant, seed, split: which.
        mean_iou, pixel_accuracy: in [0, 1]. iou, boundary_iou: per class, in [0, 1].
        weights, positions: numbers of parameters; a position counts as two.
        displacement: mean distance of the positions from their slots, in pixels; None if no layer is irregular.
        seconds: that the training took, without what was resumed.
        train_iou: mean IoU on training images, where a study asks for it.
    """

    variant: str
    seed: int
    split: str
    mean_iou: float
    pixel_accuracy: float
    iou: dict[str, float]
    weights: int
    positions: int
    displacement: float | None
    seconds: float
    boundary_iou: dict[str, float] = field(default_factory=dict)
    train_iou: float | None = None

    def over(self, classes: Sequence[str]) -> RunResult:
        """The same, its mean IoU over those of `classes` that occur; 0 if none does."""
        values = [self.iou[name] for name in classes if name in self.iou]
        return replace(self, mean_iou=sum(values) / max(len(values), 1))


def finish_run(
    run: Run,
    splits: Sequence[str],
    *,
    device: torch.device | str = "cpu",
    build: Callable[[TrainConfig], Prepared] = prepare,
    retry: bool = False,
    on_progress: Callable[[Progress], object] = lambda progress: None,
) -> list[RunResult] | None:
    """Train, go on, or only measure: whatever is left to do of `run`. None if Ctrl-C ended it.

    What was measured is kept in `run.folder/result.json`, so that a finished run costs nothing the next time. So is the
    failure of one whose loss was lost: it would be lost again.

    Args:
        splits: to measure the last network on.
        build: makes the network of a config, on the config's data.
        retry: train a run that failed anew, whatever its settings were.

    Raises:
        TrainingError: training failed, now or before; it names variant and seed.
        CheckpointError: the folder holds a run of other settings, data or weights to start from, or cannot be written.
        IcnnError: as `prepare` and `train`.
    """
    known = _read_known(run, splits, forget_failure=retry)
    if "failed" in known:
        raise TrainingError(**known["failed"])
    if not known:
        trained = _train(run, device, build, on_progress)
        if trained is None:
            return None
        known = trained
    for split in splits:
        if split not in known["splits"] or not counts_path(run, split).exists():
            known["splits"][split] = _measure(run, split, device, build, known)
            _write_known(run, known)
    shared = {key: known[key] for key in ("weights", "positions", "displacement", "seconds")}
    shared |= {"variant": run.variant, "seed": run.config.seed}
    return [RunResult(split=split, **shared, **known["splits"][split]) for split in splits]


def _train(
    run: Run,
    device: torch.device | str,
    build: Callable[[TrainConfig], Prepared],
    on_progress: Callable[[Progress], object],
) -> dict[str, Any] | None:
    ready = build(run.config)
    resume = (run.folder / LAST).exists()
    _log.info("%s, seed %d: %s", run.variant, run.config.seed, "going on" if resume else "training")
    known: dict[str, Any] = {
        "variant": run.variant,
        "config": asdict(run.config),
        "version": __version__,
        "identity": _identity(run.config, ready.train_set, ready.sources),
    }
    try:
        result = train(
            ready.model,
            ready.train_set,
            ready.val_samples,
            ready.transform,
            run.config,
            run.folder,
            device=device,
            resume=resume,
            overwrite=not resume,
            sources=ready.sources,
            on_progress=on_progress,
        )
    except TrainingError as error:
        who = f"{run.variant}, seed {run.config.seed}: {error.who}"
        failed = {"who": who, "needed": error.needed, "got": error.got, "fix": error.fix}
        _write_known(run, known | {"failed": failed})
        raise TrainingError(**failed) from error
    if result.interrupted or result.evaluation is None:
        return None
    positions = sum(parameter.numel() for parameter in position_parameters(ready.model, frozen=True))
    known |= {
        "network": digest_weights(ready.model),
        "seconds": result.seconds,
        "displacement": mean_displacement(ready.model),
        "positions": positions,
        "weights": sum(parameter.numel() for parameter in nn.Module.parameters(ready.model)) - positions,
        "splits": {},
    }
    _write_known(run, known)
    return known


def _measure(
    run: Run,
    split: str,
    device: torch.device | str,
    build: Callable[[TrainConfig], Prepared],
    known: dict[str, Any],
) -> dict[str, Any]:
    """The last network of a finished run on a split; the counts of each image go into its folder."""
    ready = build(_measuring(run.config, split))
    ready.model.load_state_dict(read_checkpoint(run.folder / LAST).state)
    trained = {key: known[key] for key in ("network",) if key in known}
    check_identity(run.folder / LAST, trained, {"network": digest_weights(ready.model)}, CheckpointError)
    known.setdefault("data", {})[split] = describe_samples(ready.val_samples)
    data = ready.train_set
    evaluation = evaluate(
        ready.model.to(device),
        ready.val_samples,
        classes=data.classes,
        ignore_index=data.ignore_index,
        device=device,
        boundary=DILATION_RATIO,
        by_image=True,
    )
    assert evaluation.images is not None
    evaluation.images.write(counts_path(run, split))
    return evaluation.to_plain()


def _measuring(config: TrainConfig, split: str) -> TrainConfig:
    """The config that opens a split to be measured: of the training images, those trained on."""
    if split != config.train_split or config.train_images is None:
        return replace(config, val_split=split)
    return replace(
        config, val_split=split, val_images=min(config.train_images, config.val_images or config.train_images)
    )


def counts_path(run: Run, split: str) -> Path:
    """Where a finished run keeps the counts of each image of a split, see `ImageCounts`."""
    return run.folder / f"images-{split}.npz"


def _read_known(run: Run, splits: Sequence[str], *, forget_failure: bool = False) -> dict[str, Any]:
    """What `result.json` says, or {} if the run is not finished; compared with the run, and the data of `splits`.

    What a failure has left is removed if it is to be forgotten.
    """
    path = run.folder / "result.json"
    if not path.exists():
        return {}
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        before = describe_settings(config_from(known["config"])) | dict(known.get("identity", {}))
        before["version"], measured = known.get("version"), dict(known.get("data", {}))
        known["splits"] = dict(known.get("splits", {}))
        if "failed" in known:
            TrainingError(**known["failed"])
        elif "weights" not in known:
            raise ValueError("neither a result nor a failure")
    except (OSError, ValueError, KeyError, TypeError, IcnnError) as error:
        needed, fix = "the result of a run", "Delete its folder to train it anew."
        raise CheckpointError(str(path), needed=needed, got=explain(error)[0], fix=fix) from error
    if forget_failure and "failed" in known:
        for left in (run.folder / LAST, path):
            left.unlink(missing_ok=True)
        return {}
    train_set, _ = open_data(run.config)
    now = _identity(run.config, train_set, None)
    seen = measured.keys() & set(splits)
    before["measured"] = {split: measured[split] for split in seen}
    now["measured"] = {split: describe_samples(open_data(_measuring(run.config, split))[1]) for split in seen}
    check_identity(run.folder, _without_val(before), now, CheckpointError)
    return known


def _identity(
    config: TrainConfig, train_set: Any, sources: Mapping[str, str | None] | None
) -> dict[str, Any]:
    """What decides a run's weights; what they are measured on is kept by split."""
    return _without_val(describe_run(config, train_set, (), sources))


def _without_val(identity: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in identity.items() if key not in ("val_split", "val_data")}


def _write_known(run: Run, known: dict[str, Any]) -> None:
    write_text(run.folder / "result.json", json.dumps(known, indent=1) + "\n", CheckpointError)
