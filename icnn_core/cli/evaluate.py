"""`icnn evaluate`: measure a checkpoint on a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from icnn_core.cli._grouped import OwnNetwork, grouped
from icnn_core.cli._options import (
    DeviceOption,
    JsonOption,
    OverwriteOption,
    RootOption,
    SeedOption,
    parse_numbers,
    parse_size,
)
from icnn_core.cli.app import make_console, make_progress, print_json
from icnn_core.text import counted

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from icnn_core.evaluation import Evaluation, Inference
    from icnn_core.evaluation.samples import Measured


@grouped
def command(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CKPT", help="A checkpoint that names its network, or see --model.")
    ],
    data: Annotated[
        str | None, typer.Option(help="The data set; by default the one it was trained on.")
    ] = None,
    root: RootOption = None,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "val",
    images: Annotated[int | None, typer.Option(min=1, help="Use only the first N.")] = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="HxW", help="Resize images to this; by default what it was trained with."),
    ] = None,
    window: Annotated[
        str | None, typer.Option(metavar="N|HxW", help="Segment in windows of this size, e.g. 713.")
    ] = None,
    stride: Annotated[
        str | None, typer.Option(metavar="N|HxW", help="From window to window; by default 2/3 of it.")
    ] = None,
    scales: Annotated[
        str, typer.Option(metavar="S,…", help="Average over these scales, e.g. 0.5,0.75,1.")
    ] = "1",
    flip: Annotated[bool, typer.Option("--flip", help="Average with the mirrored image.")] = False,
    classes: Annotated[
        str | None, typer.Option(metavar="NAME|ID,…", help="Take means over these; by default over all.")
    ] = None,
    boundary: Annotated[
        float, typer.Option(min=0, max=1, help="Boundary IoU: band / diagonal; 0: leave it.")
    ] = 0.02,
    network: OwnNetwork = OwnNetwork(),
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out files that cannot be decoded, and list them.")
    ] = False,
    predictions: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for what is predicted: palette PNGs.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="DIR", help="Folder for evaluation.json and .csv; else none is written."
        ),
    ] = None,
    device: DeviceOption = "auto",
    seed: SeedOption = 0,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Segment images and print intersection over union per class, against the labels in their own size.

    Logits are averaged where windows overlap, over scales and mirrored. Void pixels never count. Classes that occur in
    no label and no prediction are left out of the means.

    Example: icnn evaluate runs/irregular/last.pt --root data/camvid --split test
    """
    seen, tiles, steps = (parse_size(text) if text else None for text in (size, window, stride))
    factors = parse_numbers(scales)
    names = [name.strip() for name in classes.split(",")] if classes is not None else []

    from contextlib import ExitStack

    import torch

    from icnn_core.cli._evaluation import print_evaluation, print_skipped, to_json, write_csv, write_json
    from icnn_core.evaluation import Inference
    from icnn_core.outputs import check_writable, one_call

    places = {"--out": out, "--predictions": predictions if predictions != out else None}
    folders = {option: folder for option, folder in places.items() if folder is not None}
    for folder in folders.values():
        check_writable(folder)
    torch.manual_seed(seed)
    inference = Inference(window=tiles, stride=steps, scales=factors, flip=flip)
    model, samples = _open(
        checkpoint, network, data=data, root=root, split=split, images=images, size=seen, skip_bad=skip_bad
    )
    identity = _identify(model, samples, split, inference, names, boundary or None)
    with ExitStack() as stack:
        for option, folder in folders.items():
            stack.enter_context(one_call(folder, "evaluate", identity, overwrite=overwrite, option=option))
        evaluation = _measure(model, samples, inference, names, boundary or None, predictions, device, split)
        result = {
            "checkpoint": str(checkpoint),
            "data": samples.data.name,
            "split": split,
            "images": samples.measured,
            "segmented": str(inference),
            "prepared": str(samples.transform.preparation),
            "boundary_ratio": boundary or None,
            "skipped": [str(path) for path in samples.skipped],
            "identity": identity,
        } | to_json(evaluation)
        if out is not None:
            write_json(out / "evaluation.json", result)
            write_csv(out / "evaluation.csv", evaluation)
    console = make_console(json=as_json)
    if as_json:
        print_json(result)
    print_evaluation(
        evaluation, f"{samples.data.name} {split}, {counted(samples.measured, 'image')}, {inference}", console
    )
    print_skipped(samples.skipped, console)
    if out is not None:
        console.print(f"Wrote evaluation.json and evaluation.csv into {out}")


def _open(checkpoint: Path, own: OwnNetwork, **chosen: Any) -> tuple[nn.Module, Measured]:
    from icnn_core.checkpoint import build_model, read_checkpoint
    from icnn_core.evaluation.samples import open_measured
    from icnn_core.models.factory import build_with, load_factory
    from icnn_core.preparation import preparation_of, tell_reader

    wanted = own.preparation()
    read = read_checkpoint(checkpoint, own.prefix)
    factory = load_factory(own.model) if own.model else None
    reader = load_factory(own.reader, "--reader") if own.reader else None
    samples = open_measured(read, **chosen, reader=reader)
    count = len(samples.data.classes)
    network = build_model(read, (lambda: build_with(factory, count)) if factory else None)
    tell_reader(network, own.reader)
    preparation = preparation_of(network).changed(**wanted)
    setattr(network, "icnn_preparation", preparation)  # noqa: B010
    samples.prepare_for(preparation)
    return network, samples


def _identify(
    network: nn.Module,
    samples: Measured,
    split: str,
    inference: Inference,
    names: list[str],
    boundary: float | None,
) -> dict[str, Any]:
    """What decides the numbers, see `icnn_core.identity`."""
    from icnn_core import __version__
    from icnn_core.evaluation import choose_classes
    from icnn_core.identity import describe_data, digest_weights

    return {
        "network": digest_weights(network),
        "images": describe_data(samples.data, len(samples)),
        "split": split,
        "size": samples.transform.size,
        "preparation": samples.transform.preparation.to_plain() | {"source": ""},
        "segmented": str(inference),
        "boundary_ratio": boundary,
        "mean_over": list(choose_classes(names, samples.data.classes)),
        "version": __version__,
    }


def _measure(
    network: nn.Module,
    samples: Measured,
    inference: Inference,
    names: list[str],
    boundary: float | None,
    predictions: Path | None,
    device: str,
    split: str,
) -> Evaluation:
    from icnn_core.datasets.pairs import PairsDataset
    from icnn_core.devices import choose_device
    from icnn_core.evaluation import choose_classes, evaluate
    from icnn_core.evaluation.palette_png import write_palette_png

    place, data = choose_device(device), samples.data
    numbers = data.labels.numbers if isinstance(data, PairsDataset) else ()

    def write(index: int, ids: np.ndarray) -> None:
        if predictions is not None and not samples.is_skipped(index):
            write_palette_png(predictions / f"{samples.stem(index)}.png", ids, data.palette, numbers)

    with make_progress() as bar:
        task = bar.add_task(f"evaluating on {split}", total=len(samples))
        return evaluate(
            network.to(place),
            samples,
            classes=data.classes,
            ignore_index=data.ignore_index,
            device=place,
            inference=inference,
            boundary=boundary,
            chosen=choose_classes(names, data.classes),
            on_image=lambda: bar.advance(task),
            on_prediction=write,
        )
