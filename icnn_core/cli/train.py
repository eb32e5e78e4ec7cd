"""`icnn train`: train a regular or an irregular network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from icnn_core.cli._grouped import OwnNetwork, grouped
from icnn_core.cli._options import (
    BackboneOption,
    BatchSizeOption,
    ConfigOption,
    DeviceOption,
    IterationsOption,
    JsonOption,
    RootOption,
    SettingsOption,
    TrainImagesOption,
    ValImagesOption,
    WeightsOption,
    WorkersOption,
    parse_numbers,
    parse_size,
)
from icnn_core.cli._placeholders import defaults_by_preset
from icnn_core.cli.app import make_console

if TYPE_CHECKING:
    from icnn_core.training.config import TrainConfig

_SIZE = "HEIGHTxWIDTH or one number, in pixels; none for"
_OPTIONS = ("sharing", "position_lr", "position_rule", "reader")  # of what runs may pass over
_IRREGULAR = "Irregular from this module to the end, e.g. fc1, res4b11; none for a regular network."


@grouped
def command(
    preset: Annotated[
        str, typer.Argument(help="shapes (built in), camvid, folder, voc, voc-context or cityscapes.")
    ] = "shapes",
    root: RootOption = None,
    irregular: Annotated[str | None, typer.Option(help=_IRREGULAR)] = None,
    sharing: Annotated[str | None, typer.Option(help="Who shares a shape: layer, channel or none.")] = None,
    backbone: BackboneOption = None,
    weights: WeightsOption = None,
    network: OwnNetwork = OwnNetwork(),
    classes: Annotated[
        Path | None,
        typer.Option(
            help="Names (and a palette) of a folder's classes: classes.txt or .json; by default the folder's."
        ),
    ] = None,
    init: Annotated[Path | None, typer.Option(help="Start from this checkpoint's weights.")] = None,
    iterations: IterationsOption = None,
    batch_size: BatchSizeOption = None,
    accumulate: Annotated[
        int | None, typer.Option(min=1, help="See a batch in so many parts, to save memory.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="no (float32), bf16 or fp16.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate of the weights.")] = None,
    position_lr: Annotated[
        float | None, typer.Option(help="Of the positions: pixels a step with adam; 0 freezes them.")
    ] = None,
    position_rule: Annotated[str | None, typer.Option(help="adam, or the paper's sgd.")] = None,
    batch_norm: Annotated[str | None, typer.Option(help="frozen, train or sync.")] = None,
    balance: Annotated[
        float | None, typer.Option(min=0, max=1, help="Weight rare classes: 0 not, 0.5 by half, 1 fully.")
    ] = None,
    size: Annotated[str | None, typer.Option(help=f"Resize images: {_SIZE} their own.")] = None,
    crop: Annotated[str | None, typer.Option(help=f"Train on random crops: {_SIZE} whole images.")] = None,
    scale: Annotated[str | None, typer.Option(help="Range of the random scale, e.g. 0.5,1.5.")] = None,
    train_split: Annotated[str | None, typer.Option(help="Split to train on.")] = None,
    val_split: Annotated[str | None, typer.Option(help="Split to measure on.")] = None,
    train_images: TrainImagesOption = None,
    val_images: ValImagesOption = None,
    skip_bad: Annotated[
        bool | None, typer.Option("--skip-bad", help="Leave out images that cannot be decoded; list them.")
    ] = None,
    evaluate_every: Annotated[int | None, typer.Option(min=0, help="Iterations between evaluations.")] = None,
    checkpoint_every: Annotated[
        int | None, typer.Option(min=0, help="Iterations between checkpoints to resume from.")
    ] = None,
    workers: WorkersOption = None,
    config: ConfigOption = None,
    settings: SettingsOption = None,
    seed: Annotated[int | None, typer.Option(metavar="N", min=0, help="Same seed, same result.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder of the run.")] = Path(
        "icnn-run"
    ),
    device: DeviceOption = "auto",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where the run in --out stopped, or was killed.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run that --out holds.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a network and write last.pt, best.pt and config.toml into --out.

    Ctrl-C ends the run after the current iteration and leaves a checkpoint that --resume goes on from. On several
    GPUs or machines: accelerate launch -m icnn_core.cli train …

    Example: icnn train camvid --root data/camvid --irregular features.12 --out runs/irregular
    """
    options = {key: _plain(key, value) for key, value in (locals() | vars(network)).items()}
    from icnn_core.cli._training import check_launch
    from icnn_core.training.config import make_config, parse_setting, setting_names
    from icnn_core.training.folder import LAST, check_folder
    from icnn_core.training.same_run import check_settings

    check_launch()
    check_folder(out, resume=resume, overwrite=overwrite)
    chosen = dict(parse_setting(text) for text in settings or ())
    chosen |= {key: options[key] for key in setting_names() & options.keys() if options[key] is not None}
    settled = make_config(preset, config, **chosen)
    _check_used(settled, chosen)
    if resume:
        check_settings(out / LAST, settled)
    _train(settled, out, device, resume=resume, overwrite=overwrite, as_json=as_json)


command.defaults_by_preset = defaults_by_preset  # type: ignore[attr-defined]


def _check_used(config: TrainConfig, given: Mapping[str, Any]) -> None:
    """A usage error for settings that this run would pass over."""
    without: dict[str, tuple[tuple[str, ...], str]] = {}
    if config.irregular is None:
        why = "on a regular network" if config.init is None else "on what --init brings"
        names = ("sharing", "shift", "interpolation", "sigma", "learn_sigma")
        if config.init is None:
            names += ("position_lr", "position_rule", "position_warmup", "step_bound")
        without[why] = names, "add --irregular MODULE"
    elif config.interpolation != "gaussian":
        without["with bilinear interpolation"] = ("sigma", "learn_sigma"), "add --set interpolation=gaussian"
    if "sgd" not in (config.optimizer, config.position_rule if config.irregular or config.init else None):
        without["without SGD"] = ("momentum",), "add --set optimizer=sgd"
    if config.dataset != "folder":
        without["but on a folder"] = ("reader",), "take the preset folder"
    for why, (names, fix) in without.items():
        for name in names:
            if name in given:
                option = "--" + name.replace("_", "-") if name in _OPTIONS else f"--set {name}"
                raise typer.BadParameter(f"has no effect {why}: {fix}, or leave it out.", param_hint=option)


def _plain(key: str, value: Any) -> Any:
    """A setting as TOML would hold it."""
    if isinstance(value, Path):
        return str(value)
    if key in ("size", "crop") and value not in (None, "none"):
        return parse_size(value)
    if key in ("scale", "mean", "std") and value not in (None, "none"):
        return parse_numbers(value)
    return value


def _train(
    config: TrainConfig, out: Path, device: str, *, resume: bool, overwrite: bool, as_json: bool
) -> None:
    from icnn_core.cli._training import is_main_process, report, shown_progress
    from icnn_core.devices import choose_device
    from icnn_core.models.factory import load_factory
    from icnn_core.training.loop import train
    from icnn_core.training.processes import leave_processes
    from icnn_core.training.scalars import scalar_writer
    from icnn_core.training.setup import prepare

    console = make_console(json=as_json)
    console.quiet = console.quiet or not is_main_process()
    place = choose_device(device)
    # The name is the command line's: make_config takes it from nowhere else.
    factory = load_factory(config.model) if config.model else None
    reader = load_factory(config.reader, "--reader") if config.reader else None
    prepared = prepare(config, factory, reader)
    if (wanted := getattr(prepared.model, "icnn_preparation", None)) is not None:
        console.print(f"Images: {wanted}")
    if prepared.surgery is not None:
        console.print(str(prepared.surgery))
    with shown_progress(console, config.iterations) as show, scalar_writer(out) as write:
        result = train(
            prepared.model,
            prepared.train_set,
            prepared.val_samples,
            prepared.transform,
            config,
            out,
            device=place,
            resume=resume,
            overwrite=overwrite,
            sources=prepared.sources,
            on_progress=lambda progress: (show(progress), write(progress)),
        )
    leave_processes()
    if is_main_process():
        report(result, prepared.model, config, console, as_json=as_json)
    if result.interrupted:
        console.print("Interrupted: the same command with --resume goes on from there.")
        raise typer.Exit(130)
