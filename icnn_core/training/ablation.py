"""The ablation: from where to the end a network is irregular, over the same seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from icnn_core.errors import ArgumentError, check_name
from icnn_core.layer_names import match_name
from icnn_core.training.ablation_table import CONTINUED, NONE
from icnn_core.training.config import TrainConfig, change_config, irregular_of_preset
from icnn_core.training.runs import Run
from icnn_core.training.variants import IRREGULAR, REGULAR, find_variant, vary

_BY_BACKBONE = {  # classifier, last stage, the later half of the stage before, that whole stage
    "resnet101": ("classifier", "res5a", "res4b11", "res4a"),  # the paper's
    "resnet50": ("classifier", "res5a", "res4d", "res4a"),
    "resnet34": ("classifier", "res5a", "res4d", "res4a"),
    "resnet18": ("classifier", "res5a", "res4b", "res4a"),
    "vgg16": ("classifier", "features.24", "features.19", "features.17"),  # conv5_1, conv4_2, conv4_1
    "squeezenet1_0": ("classifier", "features.12", "features.10", "features.7"),
    "tiny": ("classifier", "layer4", "layer3.conv2", "layer3"),
    "small": ("classifier", "layer4", "layer3.conv2", "layer3"),
}


def default_rows(backbone: str) -> tuple[str, ...]:
    """ "none", then from where to the end a network is irregular: the paper's rows, or a backbone's like.

    Raises:
        ArgumentError: a backbone of which none are known.
    """
    if backbone not in _BY_BACKBONE:
        needed = f"the rows, or one of the backbones {', '.join(_BY_BACKBONE)}"
        fix = "Name the modules yourself: --rows none,classifier,…, or with --variants --irregular NAME."
        raise ArgumentError("ablate", needed=needed, got=backbone, fix=fix)
    return (NONE, *_BY_BACKBONE[backbone])


def plan_runs(
    config: TrainConfig, rows: Sequence[str], seeds: Sequence[int], out: Path, *, from_regular: bool = False
) -> list[Run]:
    """The runs of an ablation, seed by seed, so that pairs are complete early.

    Args:
        config: what all have in common; its `irregular` and `seed` are replaced.
        rows: "none" first, then modules from which to the end the network is irregular.
        from_regular: every row starts from the weights of row "none" of the same seed, as in the paper. A row
            "continued" then says what training on for as long does for the regular network alone.

    Raises:
        ArgumentError: no row "none", no seed, or "continued" without `from_regular`.
    """
    rows, seeds = list(dict.fromkeys(rows)), list(dict.fromkeys(seeds))
    if NONE not in rows or not seeds or (CONTINUED in rows and not from_regular):
        needed = f'at least one seed, a row "{NONE}", and --from-regular for a row "{CONTINUED}"'
        got = f"rows {', '.join(rows) or 'empty'}; {len(seeds)} seeds"
        fix = f"Add {NONE}: the other rows are compared with it."
        raise ArgumentError("ablate", needed=needed, got=got, fix=fix)
    rows.insert(0, rows.pop(rows.index(NONE)))
    if from_regular and CONTINUED not in rows:
        rows.insert(1, CONTINUED)
    runs = []
    for seed in seeds:
        start = str(_folder(out, NONE, seed) / "last.pt")
        for row in rows:
            own = replace(config, seed=seed, irregular=None if row in (NONE, CONTINUED) else row)
            if row != NONE and from_regular:
                own = replace(own, init=start, weights=None)
            runs.append(Run(row, own, _folder(out, row, seed)))
    return runs


def default_start(config: TrainConfig) -> str:
    """The module from which a study's irregular variants are: the config's, or that of the backbone's last row.

    A preset's own is one of the preset's backbone, and none of another network.
    """
    start = None if irregular_of_preset(config) else config.irregular
    return start or default_rows(config.model or config.backbone or "")[-1]


def plan_variants(
    config: TrainConfig,
    variants: Sequence[str],
    seeds: Sequence[int],
    out: Path,
    own: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Run]:
    """The runs of a study of variants, seed by seed; those that others take from come first.

    Args:
        config: what all have in common: its `irregular` is where irregular layers begin, its `seed` is replaced.
        variants: names, see `icnn_core.training.variants`.
        own: settings of single variants, by name; those of "regular" and "irregular" go for the variants of them too.

    Raises:
        ArgumentError: no variant or seed, or a name's number; a setting's value, or one that the variants and seeds
            decide. NameNotFoundError: an unknown name; settings of a variant that the study has not.
    """
    variants, seeds, own = list(dict.fromkeys(variants)), list(dict.fromkeys(seeds)), own or {}
    if not variants or not seeds or config.irregular is None:
        needed = "at least one variant and seed, and the module from which on they are irregular"
        got = f"{len(variants)} variants, {len(seeds)} seeds, irregular={config.irregular!r}"
        raise ArgumentError("ablate", needed=needed, got=got, fix="Add them.")
    taking = any(find_variant(name)[0].takes and find_variant(name)[1] is None for name in variants)
    if taking and IRREGULAR not in variants:
        variants.insert(0, IRREGULAR)
    variants.sort(key=lambda name: (name != REGULAR, name != IRREGULAR))  # stable
    for name, settings in own.items():
        check_name(f"settings of {name}", "a variant of this study", name, {*variants, REGULAR, IRREGULAR})
        for setting in {"seed", "irregular", "variant", "positions_from"} & settings.keys():
            needed = f"no {setting}, which variants and seeds decide"
            got = f"{name}.{setting}={settings[setting]!r}"
            raise ArgumentError(f"settings of {name}", needed=needed, got=got, fix="Leave it out.")
    runs = []
    for seed in seeds:
        start = str(_folder(out, IRREGULAR, seed) / "last.pt")
        for name in variants:
            settings = {**own.get(find_variant(name)[0].of, {}), **own.get(name, {})}
            common = change_config(replace(config, seed=seed), settings)
            runs.append(Run(name, vary(common, name, start), _folder(out, name, seed)))
    return runs


def check_rows(model: nn.Module, rows: Sequence[str]) -> None:
    """Raise as `match_name` now, not hours later, if a row names no module of `model`, or several."""
    names = [name for name, _ in nn.Module.named_modules(model) if name]
    for row in rows:
        if row not in (NONE, CONTINUED):
            match_name(row, names, who="ablate")


def _folder(out: Path, row: str, seed: int) -> Path:
    return out / row.replace("/", "_") / f"seed-{seed}"
