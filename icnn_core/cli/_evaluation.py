"""How an evaluation looks on the terminal and in files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icnn_core.errors import DataError
from icnn_core.files import write_text
from icnn_core.text import counted, to_csv

if TYPE_CHECKING:
    from rich.console import Console

    from icnn_core.evaluation import Evaluation

_SHOWN = 20  # skipped files in a list


def write_json(path: Path, result: dict[str, Any]) -> None:
    """Write `result`, whole or not at all.

    Raises:
        DataError: the folder cannot be written.
    """
    write_text(path, json.dumps(result, indent=2) + "\n", DataError)


def write_csv(path: Path, evaluation: Evaluation) -> None:
    """Write a row per class: shares in [0, 1], empty where the class never occurs; whole or not at all.

    Raises:
        DataError: the folder cannot be written.
    """
    write_text(path, to_csv(to_rows(evaluation)), DataError)


def to_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """What is known of every class, in order; None where it never occurs."""
    return [
        {
            "class_id": label,
            "class": name,
            "iou": evaluation.iou.get(name),
            "boundary_iou": evaluation.boundary_iou.get(name),
            "in_mean": name in evaluation.averaged,
            "label_pixels": int(evaluation.confusion[label].sum()),
            "predicted_pixels": int(evaluation.confusion[:, label].sum()),
        }
        for label, name in enumerate(evaluation.classes)
    ]


def to_json(evaluation: Evaluation) -> dict[str, Any]:
    """The measures as plain values, null where no pixel is labelled."""
    counted = bool(evaluation.confusion.sum())
    return {
        "mean_iou": evaluation.mean_iou if counted else None,
        "mean_boundary_iou": evaluation.mean_boundary_iou if counted else None,
        "pixel_accuracy": evaluation.pixel_accuracy if counted else None,
        "mean_over": list(evaluation.averaged),
        "never_occur": list(evaluation.absent),
        "iou": evaluation.iou,
        "boundary_iou": evaluation.boundary_iou,
    }


def print_evaluation(evaluation: Evaluation, title: str, console: Console) -> None:
    """A table of the measures per class, the means below it, and which classes those are over."""
    from rich.table import Table

    labelled = max(int(evaluation.confusion.sum()), 1)
    edges = evaluation.mean_boundary_iou is not None
    headings = ["class", "IoU %", *(["boundary IoU %"] if edges else []), "of the pixels %"]
    table = Table(*headings, title=title, title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in to_rows(evaluation):
        if row["iou"] is not None:
            values = [row["iou"], *([row["boundary_iou"]] if edges else []), row["label_pixels"] / labelled]
            name = row["class"] if row["in_mean"] else f"({row['class']})"
            table.add_row(name, *(f"{100 * value:.1f}" for value in values))
    table.add_section()
    means = [evaluation.mean_iou, *([evaluation.mean_boundary_iou or 0.0] if edges else [])]
    table.add_row("mean IoU", *(f"{100 * value:.1f}" for value in means))
    table.add_row("pixel accuracy", f"{100 * evaluation.pixel_accuracy:.1f}")
    console.print(table)
    for line in _remarks(evaluation):
        console.print(line)


def print_skipped(files: Sequence[Path], console: Console) -> None:
    """Say how many files could not be decoded, and which; nothing if there were none."""
    if not files:
        return
    console.print(f"Skipped {counted(len(files), 'image')} that cannot be decoded, or whose masks cannot:")
    for path in files[:_SHOWN]:
        console.print(f"  {path}")
    if len(files) > _SHOWN:
        console.print(f"  … and {len(files) - _SHOWN} more (all of them with --json)")


def _remarks(evaluation: Evaluation) -> list[str]:
    lines = []
    if not evaluation.confusion.sum():
        lines.append("No pixel is labelled: nothing was measured.")
    if evaluation.chosen:
        count = f"{len(evaluation.averaged)} of {len(evaluation.classes)} classes"
        lines.append(
            f"The means are over {count}: {', '.join(evaluation.averaged)}. Others are in parentheses."
        )
    if evaluation.absent:
        lines.append(f"Left out of the mean, since they never occur: {', '.join(evaluation.absent)}")
    return lines
