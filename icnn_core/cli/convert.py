"""`icnn convert`: a regular checkpoint to an irregular one, or back, without training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from icnn_core.cli._options import (
    JsonOption,
    ModelOption,
    OverwriteOption,
    PrefixOption,
    SeedOption,
    refuse_ignored,
)
from icnn_core.cli.app import make_console, print_json
from icnn_core.text import counted

if TYPE_CHECKING:
    from torch import nn

    from icnn_core.checkpoint import Checkpoint
    from icnn_core.nn import Sharing


def command(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CKPT", help="A checkpoint that names its network, or see --model.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The checkpoint to write.")],
    irregular: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Make irregular from this module to the end: layer3.11 or Caffe's res4b11; none: back to a regular "
            "network. Left out: the whole network. With --prefix none leaves a regular network as it is.",
        ),
    ] = None,
    classes: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Names (and a palette) of the classes to keep with it: classes.txt or .json."
        ),
    ] = None,
    sharing: Annotated[str, typer.Option(help="Who shares a shape: layer, channel or none.")] = "channel",
    shift: Annotated[
        float, typer.Option(min=0, help="Half-width in pixels of the noise on the start.")
    ] = 1e-3,
    model: ModelOption = None,
    prefix: PrefixOption = None,
    seed: SeedOption = 0,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make a regular network irregular with the same weights, or snap an irregular one back to its slots.

    Example: icnn convert regular.pt --irregular res4b11 --out irregular.pt
    """
    if irregular == "none":
        refuse_ignored(
            command, locals(), ("sharing", "shift", "seed"), "on the way back to a regular network"
        )
    import torch

    from icnn_core.checkpoint import build_model, read_checkpoint, write_checkpoint
    from icnn_core.datasets.folder import read_class_file
    from icnn_core.models.factory import build_with, load_factory

    _check_out(checkpoint, out, overwrite)
    read = read_checkpoint(checkpoint, prefix)
    factory = load_factory(model) if model else None
    labels = read_class_file(classes) if classes is not None else None
    count = len(labels.classes if labels else read.classes) or None
    network = build_model(read, (lambda: build_with(factory, count)) if factory else None)
    torch.manual_seed(seed)
    if irregular == "none" and prefix is not None and not read.irregular:
        names, said = (), f"Names without {prefix}: {len(read.state)} tensors."
    elif irregular == "none":
        names, said = _snap(read, network)
    else:
        names, said = _deform(read, network, irregular, cast("Sharing", sharing), shift)
    write_checkpoint(
        out,
        network,
        classes=labels.classes if labels else read.classes,
        palette=labels.palette if labels else read.palette,
        ignore_index=read.ignore_index,
        dataset=read.dataset,
    )
    if as_json:
        print_json({"checkpoint": checkpoint, "written": out, "layers": names, "irregular": irregular})
    console = make_console(json=as_json)
    console.print(said)
    console.print(f"Wrote {out}")


def _check_out(checkpoint: Path, out: Path, overwrite: bool) -> None:
    from icnn_core.errors import ArgumentError
    from icnn_core.outputs import check_target

    if checkpoint.exists() and out.exists() and out.samefile(checkpoint):
        needed = "another file than what is converted"
        raise ArgumentError(str(out), needed=needed, got="the same one", fix="Choose another --out.")
    check_target(out, overwrite=overwrite)


def _deform(
    read: Checkpoint, network: nn.Module, irregular: str | None, sharing: Sharing, shift: float
) -> tuple[tuple[str, ...], str]:
    from icnn_core.errors import CheckpointError
    from icnn_core.surgery import make_irregular

    surgery = make_irregular(network, irregular, sharing=sharing, shift=shift)
    if not surgery.replaced:
        reasons = "; ".join(f"{name}: {why}" for name, why in surgery.skipped.items())
        raise CheckpointError(
            str(read.path),
            needed=f"regular k×k convolutions{f' from {irregular} on' if irregular else ''}",
            got=reasons or "none",
            fix="Name an earlier module."
            if irregular
            else "To go back to a regular network say --irregular none.",
        )
    return surgery.replaced, str(surgery)


def _snap(read: Checkpoint, network: nn.Module) -> tuple[tuple[str, ...], str]:
    from icnn_core.errors import CheckpointError
    from icnn_core.surgery import make_regular

    names = make_regular(network)
    if not names:
        needed = "irregular layers to snap back to their slots"
        fix = "To make it irregular leave out --irregular none, or name a module."
        raise CheckpointError(str(read.path), needed=needed, got="a regular network", fix=fix)
    return names, f"{counted(len(names), 'layer')} snapped back to regular: {', '.join(names)}"
