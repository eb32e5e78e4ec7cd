"""`icnn ablate`: from where to the end should a network be irregular? Rows over seeds, resumable."""

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
    RootOption,
    SettingsOption,
    TrainImagesOption,
    ValImagesOption,
    WeightsOption,
    WorkersOption,
)
from icnn_core.cli.app import make_console, make_progress, print_json

if TYPE_CHECKING:
    from icnn_core.training.ablation_table import RowSummary
    from icnn_core.training.config import TrainConfig
    from icnn_core.training.runs import Run, RunResult

_ROWS = (
    "none, and modules from which to the end the network is irregular, separated by commas. By default the paper's, "
    "none,classifier,res5a,res4b11,res4a, or the backbone's like."
)
_REGULAR = (
    "Start every row from the trained network of row none, as in the paper, and add a row continued: the regular "
    "network trained on for as long."
)


def command(
    preset: Annotated[str, typer.Argument(help="The data and its settings, as of icnn train.")] = "shapes",
    root: RootOption = None,
    weights: WeightsOption = None,
    backbone: BackboneOption = None,
    model: ModelOption = None,
    rows: Annotated[str | None, typer.Option(metavar="NAMES", help=_ROWS, show_default=False)] = None,
    seeds: Annotated[int, typer.Option(min=1, metavar="N", help="How many seeds for each row.")] = 3,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="The first of them.")] = 0,
    from_regular: Annotated[bool, typer.Option("--from-regular", help=_REGULAR)] = False,
    split: Annotated[str, typer.Option("--split", help="Split to measure on: val or test.")] = "val",
    classes: Annotated[
        str | None,
        typer.Option("--classes", metavar="NAME|ID,…", help="Take mean IoU over these; by default over all."),
    ] = None,
    iterations: IterationsOption = None,
    batch_size: BatchSizeOption = None,
    train_images: TrainImagesOption = None,
    val_images: ValImagesOption = None,
    workers: WorkersOption = None,
    config: ConfigOption = None,
    settings: SettingsOption = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder of the runs and tables.")
    ] = Path("icnn-ablation"),
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Train every row over the same seeds and write ablation.md, .csv and .json, and runs.csv into --out.

    The same command goes on after Ctrl-C or worse: finished runs are kept, a half one is resumed. More seeds or rows
    may be asked for later.

    Example: icnn ablate voc --root VOCdevkit/VOC2012 --seeds 3 --out runs/voc
    """
    options = {key: str(v) if isinstance(v, Path) else v for key, v in locals().items()}
    from icnn_core.devices import choose_device
    from icnn_core.evaluation import choose_classes
    from icnn_core.models.factory import load_factory
    from icnn_core.training.ablation import check_rows, default_rows, plan_runs
    from icnn_core.training.config import make_config, parse_setting
    from icnn_core.training.setup import prepare

    _check_one_process()
    console = make_console(json=as_json)
    where = choose_device(device)
    overrides = dict(parse_setting(text) for text in settings or ())
    overrides |= {key: options[key] for key in _SETTINGS if options[key] is not None}
    common = make_config(preset, config, **overrides)
    names = [name.strip() for name in rows.split(",")] if rows else default_rows(model or common.backbone)
    plan = plan_runs(common, names, range(seed, seed + seeds), out, from_regular=from_regular)
    factory = load_factory(model) if model else None  # named on the command line, nowhere else
    first = prepare(plan[0].config, factory)
    check_rows(first.model, names)
    chosen = choose_classes(
        [c.strip() for c in classes.split(",")] if classes else [], first.train_set.classes
    )
    report = _Report(plan, common, preset, split, out, chosen)
    done = _run_all(plan, split, where, lambda c: prepare(c, factory), report, console)
    console.print(report.to_table())
    for note in report.to_notes():
        console.print(note)
    if as_json:
        print_json(report.to_plain())
    if not done:
        console.print("Interrupted: the same command goes on from there.")
        raise typer.Exit(130)
    console.print(f"Wrote {out / 'ablation.md'}. To see it: icnn-viz ablation {out}")


_SETTINGS = (
    *("root", "weights", "backbone", "model", "iterations", "batch_size"),
    *("train_images", "val_images", "workers"),
)


def _check_one_process() -> None:
    import os

    from icnn_core.errors import ArgumentError

    if (count := os.environ.get("WORLD_SIZE", "1")) != "1":
        raise ArgumentError(
            "icnn ablate",
            needed="one process",
            got=count,
            fix="Launch icnn train, once for each row and seed.",
        )


def _run_all(plan: Sequence[Run], split: str, device: Any, build: Any, report: _Report, console: Any) -> bool:
    """Do what is left of all runs, writing the tables after each; False if Ctrl-C ended it."""
    from icnn_core.training.runs import finish_run

    with make_progress() as bar:
        total = bar.add_task("runs", total=len(plan))
        for run in plan:
            name = f"{run.row}, seed {run.config.seed}"
            task = bar.add_task(name, total=run.config.iterations)
            found = finish_run(
                run,
                [split],
                device=device,
                build=build,
                on_progress=lambda progress, task=task: bar.update(task, completed=progress.iteration),
            )
            bar.remove_task(task)
            if found is None:
                return False
            bar.advance(total)
            shown = report.add(found[0])
            console.print(f"{name}: mean IoU {shown.mean_iou:.1%}")
    return True


class _Report:
    """The tables so far, written anew after every run."""

    def __init__(
        self,
        plan: Sequence[Run],
        config: TrainConfig,
        preset: str,
        split: str,
        out: Path,
        classes: Sequence[str] = (),
    ) -> None:
        self.rows = list(dict.fromkeys(run.row for run in plan))
        self.config, self.out, self.classes = config, out, classes
        over = f" over {', '.join(classes)}" if classes else ""
        network = config.model or config.backbone
        self.title = f"{preset}, {network}, {config.iterations} iterations, measured on {split}{over}"
        self.results: list[RunResult] = []

    def add(self, result: RunResult) -> RunResult:
        """Returns it with its mean over the classes asked for."""
        import json

        from icnn_core.errors import DataError
        from icnn_core.files import write_text
        from icnn_core.training.ablation_table import to_csv, to_markdown

        result = result.over(self.classes) if self.classes else result
        self.results.append(result)
        texts = {
            "ablation.md": to_markdown(self.summaries(), self.title),
            "ablation.csv": to_csv(self.summaries()),
            "runs.csv": to_csv(self.results),
            "ablation.json": json.dumps(self.to_plain(), indent=1) + "\n",
        }
        for name, text in texts.items():
            write_text(self.out / name, text, DataError)
        return result

    def summaries(self) -> list[RowSummary]:
        from icnn_core.training.ablation_table import summarise

        return summarise(self.results, self.rows)

    def to_plain(self) -> dict[str, Any]:
        from dataclasses import asdict

        return {
            "title": self.title,
            "config": asdict(self.config),
            "rows": [asdict(summary) for summary in self.summaries()],
            "runs": [asdict(result) for result in self.results],
        }

    def to_table(self) -> Any:
        from rich.table import Table

        from icnn_core.training.ablation_table import HEADINGS, to_cells

        table = Table(title=self.title, title_justify="left")
        for number, heading in enumerate(HEADINGS):
            table.add_column(heading, justify="right" if number else "left")
        for summary in self.summaries():
            table.add_row(*to_cells(summary))
        return table

    def to_notes(self) -> list[str]:
        from icnn_core.training.ablation_table import to_notes

        return to_notes(self.summaries())
