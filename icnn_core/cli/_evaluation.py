"""How an evaluation looks on the terminal and in a file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icnn_core.errors import DataError

if TYPE_CHECKING:
    from rich.console import Console

    from icnn_core.training.evaluate import Evaluation


def write_json(path: Path, result: dict[str, Any]) -> None:
    """Write `result`, under a temporary name that is then renamed.

    Raises:
        DataError: the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(
            str(path), needed="a folder that can be written", got=str(error), fix="Choose another --out."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


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
