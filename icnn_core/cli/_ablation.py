"""The tables of an ablation, as files and on the terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from icnn_core.evaluation.images import ImageCounts
    from icnn_core.training.ablation_table import VariantSummary
    from icnn_core.training.config import TrainConfig
    from icnn_core.training.runs import Run, RunResult


class Report:
    """The tables so far, written anew after every run."""

    def __init__(
        self,
        plan: Sequence[Run],
        config: TrainConfig,
        preset: str,
        split: str,
        out: Path,
        classes: Sequence[str] = (),
        against: str = "none",
        names: Sequence[str] = (),
    ) -> None:
        self.rows = list(dict.fromkeys(run.variant for run in plan))
        self.runs = {(run.variant, run.config.seed): run for run in plan}
        self.split, self.names = split, names
        self.config, self.out, self.classes, self.against = config, out, classes, against
        over = f" over {', '.join(classes)}" if classes else ""
        network = config.model or config.backbone
        self.title = f"{preset}, {network}, {config.iterations} iterations, measured on {split}{over}"
        self.results: list[RunResult] = []
        self.counts: dict[tuple[str, int], ImageCounts] = {}
        self.failed: list[dict[str, Any]] = []
        self._summaries: list[VariantSummary] | None = None

    def add(self, result: RunResult, training: RunResult | None = None) -> RunResult:
        """Returns it with its mean over the classes asked for, and that on training images where they were measured."""
        from dataclasses import replace

        from icnn_core.evaluation.images import ImageCounts
        from icnn_core.training.runs import counts_path

        key = (result.variant, result.seed)
        self.counts[key] = ImageCounts.read(counts_path(self.runs[key], self.split))
        if self.classes:
            result, training = result.over(self.classes), training and training.over(self.classes)
        result = replace(result, train_iou=training and training.mean_iou)
        self.results.append(result)
        self._summaries = None
        self._write()
        return result

    def fail(self, run: Run, reason: str) -> None:
        """A run that brought nothing, and why."""
        self.failed.append({"variant": run.variant, "seed": run.config.seed, "reason": reason})
        self._write()

    def _write(self) -> None:
        from icnn_core.errors import DataError
        from icnn_core.files import write_text
        from icnn_core.training.ablation_table import to_csv, to_markdown

        summaries = self.summaries()
        texts = {
            "ablation.md": to_markdown(summaries, self.title, self._own_notes(), against=self.against),
            "ablation.csv": to_csv(summaries),
            "runs.csv": to_csv(self.results),
            "ablation.json": json.dumps(self.to_plain(), indent=1) + "\n",
        }
        for name, text in texts.items():
            write_text(self.out / name, text, DataError)

    def _own_notes(self) -> list[str]:
        from icnn_core.training.ablation_table import tell_classes

        failures = [f"Failed, and in no mean: {failure['reason']}" for failure in self.failed]
        return tell_classes(self.results, self.classes) + failures

    def summaries(self) -> list[VariantSummary]:
        from icnn_core.training.ablation_table import summarise, with_images

        if self._summaries is None:
            ids = [n for n, name in enumerate(self.names) if not self.classes or name in self.classes]
            found = summarise(self.results, self.rows, self.against)
            self._summaries = with_images(found, self.counts, ids, self.against)
        return self._summaries

    def to_plain(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "against": self.against,
            "config": asdict(self.config),
            "variants": [asdict(summary) for summary in self.summaries()],
            "runs": [asdict(result) for result in self.results],
            "failed": self.failed,
        }

    def to_table(self) -> Any:
        from rich.table import Table

        from icnn_core.training.ablation_table import headings, to_cells

        table = Table(title=self.title, title_justify="left")
        for number, heading in enumerate(headings(self.against)):
            table.add_column(heading, justify="right" if number else "left", overflow="fold")
        for summary in self.summaries():
            table.add_row(*to_cells(summary))
        return table

    def to_notes(self) -> list[str]:
        from icnn_core.training.ablation_table import to_notes

        return to_notes(self.summaries()) + self._own_notes()
