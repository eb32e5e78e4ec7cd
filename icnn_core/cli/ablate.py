"""`icnn ablate`: from where on should a network be irregular, and what of it helps? Over seeds, resumable."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from icnn_core.cli._options import (
    BackboneOption,
    BatchSizeOption,
    ConfigOption,
    DeviceOption,
    IterationsOption,
    JsonOption,
    ModelOption,
    OverwriteOption,
    RootOption,
    SettingsOption,
    TrainImagesOption,
    ValImagesOption,
    WeightsOption,
    WorkersOption,
)
from icnn_core.cli.app import make_console, make_progress, print_json

if TYPE_CHECKING:
    from icnn_core.cli._ablation import Report
    from icnn_core.training.runs import Run

_ROWS = (
    "none, and modules from which to the end the network is irregular, separated by commas. By default the paper's, "
    "none,classifier,res5a,res4b11,res4a, or the backbone's like."
)
_VARIANTS = (
    "Compare variants instead: regular, irregular, dilation-0.5, irregular-dilation-0.5, regular-5x5, two-regular, "
    "irregular-gaussian, gaussian-slots, sharing-layer, sharing-none, thrown, thrown-0.5, learnt-frozen, permuted, "
    "mean, snapped, deformable, separated by commas; see docs/ablation.md."
)
_IRREGULAR = (
    "With --variants: from which module on. By default the preset's, else that of the backbone's last row."
)
_REGULAR = (
    "Start every row of --rows from the trained network of row none, as in the paper, and add a row continued: the "
    "regular network trained on for as long."
)


def command(
    preset: Annotated[str, typer.Argument(help="The data and its settings, as of icnn train.")] = "shapes",
    root: RootOption = None,
    weights: WeightsOption = None,
    backbone: BackboneOption = None,
    model: ModelOption = None,
    rows: Annotated[str | None, typer.Option(metavar="NAMES", help=_ROWS)] = None,
    variants: Annotated[str | None, typer.Option(metavar="NAMES", help=_VARIANTS)] = None,
    irregular: Annotated[str | None, typer.Option(metavar="NAME", help=_IRREGULAR)] = None,
    against: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What the others are compared with. By default none or regular."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, metavar="N", help="How many seeds for each row.")] = 3,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="The first of them.")] = 0,
    train_iou: Annotated[
        bool, typer.Option("--train-iou", help="Measure on the training images, too: for what is overfitted.")
    ] = False,
    from_regular: Annotated[bool, typer.Option("--from-regular", help=_REGULAR)] = False,
    split: Annotated[str, typer.Option(help="Split to measure on: val or test.")] = "val",
    classes: Annotated[
        str | None, typer.Option(metavar="NAME|ID,…", help="Take mean IoU over these; by default over all.")
    ] = None,
    iterations: IterationsOption = None,
    batch_size: BatchSizeOption = None,
    train_images: TrainImagesOption = None,
    val_images: ValImagesOption = None,
    workers: WorkersOption = None,
    config: ConfigOption = None,
    settings: SettingsOption = None,
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="Train runs anew that failed, e.g. since their loss was lost."),
    ] = False,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder of the runs and tables.")
    ] = Path("icnn-ablation"),
    overwrite: OverwriteOption = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Train every row, or variant, over the same seeds and write ablation.md, .csv and .json, and runs.csv into --out.

    The same command goes on after Ctrl-C or worse: finished runs are kept, a half one is resumed. More seeds or rows
    may be asked for later. A run that fails is named in the tables, and the others go on.

    Example: icnn ablate voc --root VOCdevkit/VOC2012 --seeds 3 --out runs/voc
    """
    options = {key: str(v) if isinstance(v, Path) else v for key, v in locals().items()}
    from icnn_core.cli._ablation import Report
    from icnn_core.cli._study import Asked, check_one_process, check_settings, choose_against, plan_study
    from icnn_core.devices import choose_device
    from icnn_core.evaluation import choose_classes
    from icnn_core.models.factory import load_factory
    from icnn_core.outputs import check_writable, one_call
    from icnn_core.training.ablation import check_rows
    from icnn_core.training.config import make_config, parse_setting
    from icnn_core.training.setup import prepare

    check_one_process()
    check_writable(out)
    console = make_console(json=as_json)
    where = choose_device(device)
    overrides = dict(parse_setting(text) for text in settings or ())
    check_settings(overrides)
    own = {key: overrides.pop(key) for key in list(overrides) if "." in key}
    overrides |= {key: options[key] for key in _SETTINGS if options[key] is not None}
    common = make_config(preset, config, **overrides)
    asked = Asked(rows, variants, irregular, own, from_regular=from_regular)
    plan, modules = plan_study(common, asked, range(seed, seed + seeds), out)
    compared = choose_against(against, plan)
    factory = load_factory(model) if model else None  # named on the command line, nowhere else
    first = prepare(plan[0].config, factory)
    check_rows(first.model, modules)
    chosen = choose_classes(
        [c.strip() for c in classes.split(",")] if classes else [], first.train_set.classes
    )
    report = Report(plan, common, preset, split, out, chosen, compared, first.train_set.classes)
    settings_of_runs = {"device": where, "build": lambda c: prepare(c, factory), "retry": retry_failed}
    if overwrite:
        _need_idle(plan)
    with one_call(out, "ablate", {}, overwrite=overwrite, goes_on=True):
        splits = [split, common.train_split] if train_iou else [split]
        done = _run_all(plan, splits, settings_of_runs, report, console)
    console.print(report.to_table())
    for note in report.to_notes():
        console.print(note)
    if as_json:
        print_json(report.to_plain())
    if not done:
        console.print("Interrupted: the same command goes on from there.")
        raise typer.Exit(130)
    console.print(f"Wrote {out / 'ablation.md'}. To see it: icnn-viz ablation {out}")
    if report.failed:
        console.print("With --retry-failed the same command trains anew what failed.")
        raise typer.Exit(1)


_SETTINGS = (
    *("root", "weights", "backbone", "model", "iterations", "batch_size"),
    *("train_images", "val_images", "workers"),
)


def _need_idle(plan: Sequence[Run]) -> None:
    """Raise TrainingError if another process is at work on one of the runs: they are to be removed."""
    from icnn_core.errors import TrainingError
    from icnn_core.locking import locked_folder

    for run in plan:
        if run.folder.exists():
            with locked_folder(run.folder, TrainingError):
                pass


def _run_all(
    plan: Sequence[Run], splits: Sequence[str], settings: dict[str, Any], report: Report, console: Any
) -> bool:
    """Do what is left of all runs, writing the tables after each; False if Ctrl-C ended it.

    A run that fails is told in the tables, and so are those that start from its network.
    """
    from icnn_core.errors import TrainingError
    from icnn_core.training.runs import finish_run

    failed: set[Path] = set()
    with make_progress() as bar:
        total = bar.add_task("runs", total=len(plan))
        for run in plan:
            name = f"{run.variant}, seed {run.config.seed}"
            task = bar.add_task(name, total=run.config.iterations)
            try:
                needed = [
                    Path(f).parent for f in (run.config.init, run.config.positions_from) if f is not None
                ]
                if failed.intersection(needed):
                    needed = "the network it starts from"
                    raise TrainingError(name, needed=needed, got="one that failed", fix="Retry that first.")
                found = finish_run(
                    run,
                    splits,
                    **settings,
                    on_progress=lambda progress, task=task: bar.update(task, completed=progress.iteration),
                )
            except TrainingError as error:
                failed.add(run.folder)
                report.fail(run, str(error))
                console.print(f"Failed: {error}")
                bar.remove_task(task)
                bar.advance(total)
                continue
            bar.remove_task(task)
            if found is None:
                return False
            bar.advance(total)
            shown = report.add(*found)
            console.print(f"{name}: mean IoU {shown.mean_iou:.1%}")
    return True
