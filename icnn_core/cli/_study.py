"""What `icnn ablate` is asked for, rows or variants, as runs; and what it refuses before any is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from icnn_core.training.config import TrainConfig
    from icnn_core.training.runs import Run


@dataclass(frozen=True)
class Asked:
    """The options of a study. `own`: settings of single variants, as "irregular.lr"."""

    rows: str | None
    variants: str | None
    irregular: str | None
    own: Mapping[str, Any]
    from_regular: bool


def plan_study(
    common: TrainConfig, asked: Asked, seeds: Sequence[int], out: Path
) -> tuple[list[Run], Sequence[str]]:
    """The runs, and the modules that the network must have.

    Raises:
        ArgumentError: options of the one kind of study beside the other's; as `plan_runs` and `plan_variants`.
    """
    from icnn_core.training.ablation import default_rows, default_start, plan_runs, plan_variants

    _check_kind(asked)
    if asked.variants is None:
        names = _split(asked.rows) if asked.rows else default_rows(common.model or common.backbone or "")
        return plan_runs(common, names, seeds, out, from_regular=asked.from_regular), names
    start = asked.irregular or default_start(common)
    settings: dict[str, dict[str, Any]] = {}
    for key, value in asked.own.items():
        name, _, setting = key.rpartition(".")
        settings.setdefault(name, {})[setting] = value
    names = _split(asked.variants)
    return plan_variants(replace(common, irregular=start), names, seeds, out, settings), [start]


def choose_against(against: str | None, plan: Sequence[Run]) -> str:
    """The variant that the others are compared with."""
    from icnn_core.errors import check_name

    known = list(dict.fromkeys(run.variant for run in plan))
    if against is not None:
        check_name("--against", "one of what is compared", against, known)
    return against or known[0]


def _split(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def _check_kind(asked: Asked) -> None:
    from icnn_core.errors import ArgumentError

    rows = {"--rows": asked.rows, "--from-regular": asked.from_regular}
    variants = {"--irregular": asked.irregular, **{f"--set {key}": True for key in asked.own}}
    wrong = [name for name, value in (variants if asked.variants is None else rows).items() if value]
    if wrong:
        needed = f"--variants with {wrong[0]}" if asked.variants is None else f"no {wrong[0]} with --variants"
        got = "the one alone" if asked.variants is None else "both"
        fix = "Add --variants, or leave it out." if asked.variants is None else "Leave one out."
        raise ArgumentError("icnn ablate", needed=needed, got=got, fix=fix)


def check_one_process() -> None:
    import os

    from icnn_core.cli._training import check_launch
    from icnn_core.errors import ArgumentError

    check_launch()
    if (count := os.environ.get("WORLD_SIZE", "1")) != "1":
        fix = "Launch icnn train, once for each row and seed."
        raise ArgumentError("icnn ablate", needed="one process", got=count, fix=fix)


def check_settings(overrides: dict[str, Any]) -> None:
    """Raise ArgumentError for a setting that the rows and seeds decide, and that would be passed over."""
    from icnn_core.errors import ArgumentError

    for name, option in (("seed", "--seed and --seeds"), ("irregular", "--rows or --irregular")):
        if name in overrides:
            needed, got = f"no --set {name}=, which differs from run to run", f"{name}={overrides[name]!r}"
            raise ArgumentError("icnn ablate", needed=needed, got=got, fix=f"Use {option}.")
