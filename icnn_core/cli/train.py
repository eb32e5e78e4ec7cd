"""`icnn train`: train a regular or an irregular network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from icnn_core.cli.app import DeviceOption, JsonOption, make_console, make_progress, print_json

if TYPE_CHECKING:
    from icnn_core.training.config import TrainConfig
    from icnn_core.training.loop import Progress, TrainingResult


def command(
    preset: Annotated[
        str, typer.Argument(help="shapes (built in) or camvid: the data and its settings.")
    ] = "shapes",
    root: Annotated[Path | None, typer.Option("--root", help="Folder of the data set.")] = None,
    irregular: Annotated[
        str | None,
        typer.Option(
            help="Irregular from this module to the end, e.g. fc1, res4b11. Left out: a regular network."
        ),
    ] = None,
    sharing: Annotated[str | None, typer.Option(help="Who shares a shape: layer, channel or none.")] = None,
    backbone: Annotated[str | None, typer.Option(help="tiny, squeezenet1_0, resnet18, …")] = None,
    weights: Annotated[str | None, typer.Option(help="The backbone's weights: a file, or imagenet.")] = None,
    init: Annotated[Path | None, typer.Option(help="Start from this checkpoint's weights.")] = None,
    iterations: Annotated[int | None, typer.Option(min=1)] = None,
    batch_size: Annotated[int | None, typer.Option(min=1)] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate of the weights.")] = None,
    balance: Annotated[
        float | None, typer.Option(min=0, max=1, help="Weight rare classes: 0 not, 0.5 by half, 1 fully.")
    ] = None,
    position_lr: Annotated[
        float | None, typer.Option(help="Of the positions: pixels a step with adam; 0 freezes them.")
    ] = None,
    position_rule: Annotated[str | None, typer.Option(help="adam, or the paper's sgd.")] = None,
    train_images: Annotated[int | None, typer.Option(min=1, help="Use only the first N.")] = None,
    val_images: Annotated[int | None, typer.Option(min=1, help="Use only the first N.")] = None,
    val_split: Annotated[str | None, typer.Option(help="Split to measure on.")] = None,
    evaluate_every: Annotated[int | None, typer.Option(min=0, help="Iterations between evaluations.")] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes that load data.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="TOML file with settings; options here go before it.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", min=0, help="Same seed, same result.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder of the run.")] = Path(
        "icnn-run"
    ),
    device: DeviceOption = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run in --out stopped.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run that --out holds.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a network and write last.pt, best.pt and config.toml into --out.

    Ctrl-C ends the run after the current iteration and leaves a checkpoint that --resume goes on from.

    Example: icnn train camvid --root data/camvid --irregular features.12 --out runs/irregular
    """
    options = locals()
    overrides = {k: _plain(v) for k, v in options.items() if k in _SETTINGS}
    from icnn_core.training.config import make_config

    _train(
        make_config(preset, config, **overrides),
        out,
        device,
        resume=resume,
        overwrite=overwrite,
        as_json=as_json,
    )


_SETTINGS = (
    *(
        "root",
        "irregular",
        "sharing",
        "backbone",
        "weights",
        "init",
        "iterations",
        "batch_size",
        "lr",
        "balance",
    ),
    *(
        "position_lr",
        "position_rule",
        "train_images",
        "val_images",
        "val_split",
        "evaluate_every",
        "workers",
        "seed",
    ),
)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _train(
    config: TrainConfig, out: Path, device: str, *, resume: bool, overwrite: bool, as_json: bool
) -> None:
    from icnn_core.training.loop import train
    from icnn_core.training.setup import choose_device, prepare

    console = make_console(json=as_json)
    place = choose_device(device)
    prepared = prepare(config)
    if prepared.surgery is not None:
        console.print(str(prepared.surgery))
    with make_progress() as bar:
        task = bar.add_task("training", total=config.iterations)

        def show(progress: Progress) -> None:
            bar.update(task, completed=progress.iteration, description=_describe(progress))
            if progress.mean_iou is not None:
                console.print(f"iteration {progress.iteration}: mean IoU {progress.mean_iou:.1%}")

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
            on_progress=show,
        )
    _report(result, prepared.model, config, as_json=as_json)


def _describe(progress: Progress) -> str:
    parts = [f"loss {progress.loss:.3f}", f"{progress.images_per_second:.0f} images/s"]
    if progress.displacement is not None:
        parts.append(f"moved {progress.displacement:.2f} px")
    return ", ".join(parts)


def _report(result: TrainingResult, model: Any, config: TrainConfig, *, as_json: bool) -> None:
    from icnn_core.cli._evaluation import print_evaluation
    from icnn_core.training.loop import mean_displacement

    console = make_console(json=as_json)
    displacement = mean_displacement(model)
    evaluation = result.evaluation
    if as_json:
        print_json(
            {
                "checkpoint": result.checkpoint,
                "iterations": result.iterations_done,
                "interrupted": result.interrupted,
                "seconds": result.seconds,
                "mean_iou": evaluation.mean_iou if evaluation else None,
                "iou": evaluation.iou if evaluation else None,
                "mean_displacement": displacement,
            }
        )
    if evaluation is not None:
        print_evaluation(evaluation, f"{config.dataset} {config.val_split}", console)
    if displacement is not None:
        console.print(f"Positions lie {displacement:.2f} pixels from their slots on average.")
    console.print(f"{result.iterations_done} iterations in {result.seconds:.0f} s. Wrote {result.checkpoint}")
    if result.interrupted:
        console.print("Interrupted: the same command with --resume goes on from there.")
        raise typer.Exit(130)
