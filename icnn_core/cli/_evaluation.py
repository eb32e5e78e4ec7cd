"""How an evaluation looks on the terminal and in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icnn_core.errors import DataError
from icnn_core.files import write_text

if TYPE_CHECKING:
    from rich.console import Console

    from icnn_core.training.evaluate import Evaluation


def write_json(path: Path, result: dict[str, Any]) -> None:
    """Write `result`, whole or not at all.

    Raises:
        DataError: the folder cannot be written.
    """
    write_text(path, json.dumps(result, indent=2) + "\n", DataError)


def print_evaluation(evaluation: Evaluation, title: str, console: Console) -> None:
    """A table of the IoU per class, and the means below it."""
    from rich.table import Table

    table = Table("class", "IoU %", title=title, title_justify="left")
    table.columns[1].justify = "right"
    for name, iou in evaluation.iou.items():
        table.add_row(name, f"{100 * iou:.1f}")
    table.add_section()
    table.add_row("mean IoU", f"{100 * evaluation.mean_iou:.1f}")
    table.add_row("pixel accuracy", f"{100 * evaluation.pixel_accuracy:.1f}")
    console.print(table)
    absent = [name for name in evaluation.classes if name not in evaluation.iou]
    if absent:
        console.print(f"Left out of the mean, since they never occur: {', '.join(absent)}")
