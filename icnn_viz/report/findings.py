"""What a report tells of: computed before, by whoever asks for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from icnn_viz.displays.looks import Look
from icnn_viz.records import PositionCloud

if TYPE_CHECKING:
    import pandas as pd

    from icnn_core.checkpoint import Checkpoint
    from icnn_viz.displays import KernelDisplay


@dataclass(frozen=True)
class Seen:
    """A pixel for the gallery, and in words where its image came from."""

    look: Look
    source: str = ""


@dataclass(frozen=True)
class Run:
    """Snapshots of the training: their iterations, and the clouds of all layers at each."""

    steps: Sequence[int]
    snapshots: Sequence[Sequence[PositionCloud]]


@dataclass(frozen=True)
class Findings:
    """Everything on the page.

    Attributes:
        checkpoints: by label; the first is the irregular network whose kernels are shown.
        display: its clouds and their Gaussians.
        tables: layers, gaussians, tests and claims, as `icnn-viz kernels` writes them.
        looks: pixels for the gallery; if there are none, `no_looks` says why.
        run: of the training, if its snapshots were kept.
        commands: what a user can type to get this page and its parts, each with a word on what it does.
        seed, device: as they were used.
        photo: whether images may be shown.
    """

    checkpoints: Mapping[str, Checkpoint]
    display: KernelDisplay
    tables: Mapping[str, pd.DataFrame]
    looks: Sequence[Seen] = ()
    no_looks: str = ""
    run: Run | None = None
    commands: Sequence[tuple[str, str]] = ()
    seed: int = 0
    device: str = "cpu"
    photo: bool = True
    notes: Sequence[str] = field(default=())
