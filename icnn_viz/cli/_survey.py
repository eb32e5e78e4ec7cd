"""`icnn-viz heatmap --data`: many pixels of a labelled data set through all networks, every measure into a table."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icnn_core.errors import ArgumentError
from icnn_viz.cli._inputs import check_classes
from icnn_viz.cli._rows import KEY, RowFile, read_rows
from icnn_viz.cli._survey_summary import GROUPS, to_difference_table, write_summary
from icnn_viz.cli._table import to_records
from icnn_viz.gradients import Network

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from rich.console import Console

    from icnn_core.datasets.registry import SegmentationDataset
    from icnn_viz.heatmaps import LabelledPixel
    from icnn_viz.records import PixelGradient


@dataclass(frozen=True)
class Survey:
    """What decides a survey's rows; a folder holds the rows of one survey alone.

    Attributes:
        networks: label -> digest of the file it came from.
        data, split: the data set.
        pixels: how many pixels.
        stratify: factors whose combinations get even shares.
        method, reduction, smoothing, seed: as for one pixel.
    """

    networks: dict[str, str]
    data: str
    split: str
    pixels: int
    stratify: tuple[str, ...]
    method: str
    reduction: str
    smoothing: float
    seed: int


@dataclass(frozen=True)
class Progress:
    """How far a survey is: pixels done of all, and where this process spent its time, in seconds."""

    done: int
    total: int
    seconds: float
    seconds_in_networks: float


def look_over(
    networks: Sequence[Network],
    root: Path | None,
    asked: Mapping[str, Any],
    formats: Sequence[str],
    theme: str,
    console: Console,
) -> dict[str, Any]:
    """Run a survey, or go on with it, and write its summary when all pixels are done. Returns what `--json` says.

    Args:
        root: the data set's folder.
        asked: the command's options: data, split, pixels, stratify, method, reduction, smoothing, seed, checkpoint,
            regular, out.

    Raises:
        IcnnError: the data set, the folder or an option cannot be used.
    """
    from icnn_core.datasets.registry import open_dataset
    from icnn_viz.cli._views import choose_to_open

    folder = Path(asked["out"])
    files = [asked["checkpoint"], asked["regular"]]
    survey = Survey(
        networks={
            n.label: digest(f or files[0]) for n, f in itertools.zip_longest(networks, files[: len(networks)])
        },
        **{
            name: asked[name]
            for name in ("data", "split", "pixels", "stratify", "method", "reduction", "smoothing", "seed")
        },
    )
    dataset = open_dataset(survey.data, root, survey.split)
    progress = run_survey(networks, dataset, survey, folder)
    told = {"data": survey.data, "split": survey.split, **asdict(progress)}
    if progress.done < progress.total:
        console.print(
            f"{progress.done} of {progress.total} pixels are done; other processes are at work on the rest."
        )
        return told | {"written": []}
    rows, labels = finished_rows(folder, len(networks)), [network.label for network in networks]
    summary, written = write_summary(rows, labels, dataset.classes, survey, folder, formats, theme)
    console.print(to_difference_table(summary, *labels[:2]))
    if blank := rows.loc[rows["energy"] == 0, KEY].nunique():
        console.print(
            f"At {blank} of {progress.total} pixels a map is zero everywhere: left out of its measures but energy."
        )
    if progress.seconds > 1:
        share = progress.seconds_in_networks / progress.seconds
        console.print(f"{progress.seconds:.0f} s, {share:.0%} of it in the networks.")
    console.print(f"{len(written)} files in {folder}. Open {choose_to_open(written)}.")
    whole = summary.loc[summary["group"] == "all"].drop(columns=["group", "stratum"])
    return told | {"differences": to_records(whole), "written": written}


def digest(path: Path) -> str:
    """A short SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def shard() -> tuple[int, int]:
    """This process's number and how many there are, as `accelerate launch` and `torchrun` tell them."""
    return int(os.environ.get("RANK", 0)), max(1, int(os.environ.get("WORLD_SIZE", 1)))


def run_survey(
    networks: Sequence[Network], dataset: SegmentationDataset, survey: Survey, folder: Path
) -> Progress:
    """Look at all pixels of this process's share that no row tells of yet.

    Rows go to `folder`/rows/<process>.csv as they come; a run that was killed goes on where it stopped.

    Raises:
        CheckpointError: the data set has other classes than the networks.
        ArgumentError: the folder holds another survey.
    """
    from icnn_core.cli.app import make_progress

    check_classes(networks, dataset, survey.data)
    started, in_networks = time.perf_counter(), 0.0
    check_settings(survey, folder)
    plan = load_plan(dataset, survey, folder)
    rank, world = shard()
    known = set(finished_rows(folder, len(networks))[KEY])
    todo = [(number, p) for number, p in enumerate(plan) if number not in known and p.image % world == rank]
    rows = RowFile(folder / "rows" / f"{rank}.csv", len(networks))
    waiting: Future[None] | None = None
    # Rows are measured and written while the networks are at work on the next image.
    with make_progress() as progress, ThreadPoolExecutor(1) as writer:
        task = progress.add_task("looking", total=len(todo))
        for index, group in itertools.groupby(todo, key=lambda item: item[1].image):
            numbers, pixels = zip(*group, strict=True)
            tensor, mask = dataset[index]
            image, labels = tensor.permute(1, 2, 0).numpy(), mask.numpy()
            begun = time.perf_counter()
            gradients = _gradients(networks, image, pixels, survey)
            in_networks += time.perf_counter() - begun
            if waiting is not None:
                waiting.result()
            waiting = writer.submit(
                _write_rows, rows, numbers, pixels, gradients, labels, dataset.classes, survey
            )
            progress.advance(task, len(numbers))
        if waiting is not None:
            waiting.result()
    done = len(set(finished_rows(folder, len(networks))[KEY]))
    return Progress(done, len(plan), time.perf_counter() - started, in_networks)


def finished_rows(folder: Path, networks: int) -> pd.DataFrame:
    """The rows of all processes so far, by pixel."""
    return read_rows(sorted((folder / "rows").glob("[!.]*.csv")), networks)


def check_settings(survey: Survey, folder: Path) -> None:
    """Write what the survey is into `folder`, or compare it with what lies there.

    Raises:
        ArgumentError: another survey lies there.
    """
    from icnn_viz.figures.write import write_atomically

    path, wanted = folder / "survey.json", json.loads(json.dumps(asdict(survey)))
    if not path.exists():
        write_atomically(path, lambda temporary: temporary.write_text(json.dumps(wanted, indent=2)))
        return
    there = json.loads(path.read_text(encoding="utf-8"))
    differ = [key for key in wanted if wanted[key] != there.get(key)]
    if differ:
        raise ArgumentError(
            str(folder),
            needed="a folder of this survey, or none",
            got=f"one with another {', '.join(differ)}",
            fix="Choose another folder with --out, or remove this one.",
        )


def load_plan(dataset: SegmentationDataset, survey: Survey, folder: Path) -> list[LabelledPixel]:
    """The pixels to look at, in order: chosen once, from one image a pixel or 50, and kept in `folder`/plan.csv."""
    import numpy as np
    import pandas as pd

    from icnn_core.cli.app import make_progress
    from icnn_viz.cli._table import write_tables
    from icnn_viz.heatmaps import LabelledPixel, choose_pixels, find_pixels

    path = folder / "plan.csv"
    if path.exists():
        return [
            LabelledPixel(
                int(row["image"]),
                (int(row["y"]), int(row["x"])),
                int(row["label"]),
                float(row["boundary"]),
                float(row["elongation"]),
                int(row["area"]),
            )
            for row in pd.read_csv(path).to_dict("records")
        ]
    images = sorted(
        np.random.default_rng(survey.seed).permutation(len(dataset))[: max(50, survey.pixels)].tolist()
    )
    candidates: list[LabelledPixel] = []
    with make_progress() as progress:
        for index in progress.track(images, description="choosing pixels"):
            candidates += find_pixels(index, dataset[index][1].numpy(), dataset.ignore_index, survey.seed)
    plan = choose_pixels(candidates, survey.pixels, survey.stratify, survey.seed)
    rows = [
        {"image": p.image, "x": p.pixel[1], "y": p.pixel[0], "label": p.label}
        | {"boundary": p.boundary, "elongation": p.elongation, "area": p.area}
        for p in plan
    ]
    write_tables({"plan": pd.DataFrame(rows)}, folder)
    return plan


def _gradients(
    networks: Sequence[Network], image: np.ndarray, pixels: Sequence[LabelledPixel], survey: Survey
) -> list[list[PixelGradient]]:
    """Per network the gradients of the pixels' true classes."""
    from icnn_viz.gradients import Target

    targets = [Target(pixel.pixel, pixel.label) for pixel in pixels]
    return [network.look(image, targets, survey.method, survey.seed) for network in networks]


def _write_rows(
    rows: RowFile,
    numbers: Sequence[int],
    pixels: Sequence[LabelledPixel],
    gradients: Sequence[Sequence[PixelGradient]],
    labels: np.ndarray,
    classes: Sequence[str],
    survey: Survey,
) -> None:
    """Per pixel a row for each network."""
    for number, pixel, *of_pixel in zip(numbers, pixels, *gradients, strict=True):
        part, same = _masks(labels, pixel)
        rows.append(
            [{KEY: number, **_row(pixel, g, part, same, labels, tuple(classes), survey)} for g in of_pixel]
        )


def _masks(labels: np.ndarray, pixel: LabelledPixel) -> tuple[np.ndarray, np.ndarray]:
    from icnn_viz.heatmaps import connected_part

    same = labels == pixel.label
    return connected_part(same, pixel.pixel), same


def _row(
    pixel: LabelledPixel,
    gradient: PixelGradient,
    part: np.ndarray,
    same: np.ndarray,
    labels: np.ndarray,
    classes: tuple[str, ...],
    survey: Survey,
) -> dict[str, Any]:
    from icnn_viz.heatmaps import measure_heatmap, to_heatmap

    y, x = pixel.pixel
    predicted = int(gradient.prediction[y, x])
    heatmap = to_heatmap(gradient, survey.reduction, survey.smoothing)
    return {
        "image": pixel.image,
        "x": x,
        "y": y,
        **{column: pixel.stratum(factor, classes) for factor, column in GROUPS.items()},
        "area": pixel.area,
        "model": gradient.model,
        "predicted": classes[predicted],
        "correct": int(predicted == pixel.label),
        "logit": gradient.logit,
        **measure_heatmap(heatmap, object_mask=part, class_mask=same, labels=labels, classes=classes),
    }
