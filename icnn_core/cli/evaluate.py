"""`icnn evaluate`: measure a checkpoint on a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from icnn_core.cli.app import DeviceOption, JsonOption, SeedOption, make_console, make_progress, print_json


def command(
    checkpoint: Annotated[Path, typer.Argument(metavar="CKPT", help="A checkpoint that names its network.")],
    data: Annotated[
        str | None, typer.Option("--data", help="The data set; by default the one it was trained on.")
    ] = None,
    root: Annotated[Path | None, typer.Option("--root", help="Folder of the data set.")] = None,
    split: Annotated[str, typer.Option("--split", help="train, val or test.")] = "val",
    images: Annotated[int | None, typer.Option("--images", min=1, help="Use only the first N.")] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="Folder for evaluation.json; else none is written."),
    ] = None,
    device: DeviceOption = "auto",
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Segment whole images and print the intersection over union per class, against the labels in their own size.

    Example: icnn evaluate runs/irregular/last.pt --root data/camvid --split test
    """
    import torch

    from icnn_core.checkpoint import build_model, read_checkpoint
    from icnn_core.cli._evaluation import print_evaluation, write_json
    from icnn_core.training.evaluate import evaluate
    from icnn_core.training.setup import choose_device, open_measured

    torch.manual_seed(seed)
    read = read_checkpoint(checkpoint)
    samples = open_measured(read, data, root, split, images)
    where = choose_device(device)
    model = build_model(read).to(where)
    with make_progress() as bar:
        task = bar.add_task(f"evaluating on {split}", total=len(samples))
        evaluation = evaluate(
            model,
            samples,
            classes=samples.data.classes,
            ignore_index=samples.data.ignore_index,
            device=where,
            on_image=lambda: bar.advance(task),
        )
    result = {
        "checkpoint": str(checkpoint),
        "data": samples.data.name,
        "split": split,
        "images": len(samples),
        "mean_iou": evaluation.mean_iou,
        "pixel_accuracy": evaluation.pixel_accuracy,
        "iou": evaluation.iou,
    }
    if out is not None:
        write_json(out / "evaluation.json", result)
    if as_json:
        print_json(result)
    print_evaluation(evaluation, f"{samples.data.name} {split}", make_console(json=as_json))
