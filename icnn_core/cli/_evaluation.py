"""How an evaluation looks on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from icnn_core.training.evaluate import Evaluation


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
