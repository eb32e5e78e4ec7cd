"""`icnn convert`: a regular checkpoint to an irregular one, or back, without training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from icnn_core.cli._options import JsonOption, ModelOption, OverwriteOption, SeedOption, refuse_ignored
from icnn_core.cli.app import make_console, print_json

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
            help="Make irregular from this module to the end: layer3.11 or Caffe's res4b11. Left out: back to a "
            "regular network."
        ),
    ] = None,
    sharing: Annotated[str, typer.Option(help="Who shares a shape: layer, channel or none.")] = "channel",
    shift: Annotated[
        float, typer.Option(min=0, help="Half-width in pixels of the noise on the start.")
    ] = 1e-3,
    model: ModelOption = None,
    prefix: Annotated[
        str | None,
        typer.Option(
            "--prefix",
            metavar="TEXT",
            help="Of a state dict with --model: take the names that begin so, without it, e.g. teacher. (known ones go "
            "by themselves). The network may then stay as it is.",
            show_default=False,
        ),
    ] = None,
    seed: SeedOption = 0,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make a regular network irregular with the same weights, or snap an irregular one back to its slots.

    Example: icnn convert regular.pt --irregular res4b11 --out irregular.pt
    """
    if irregular is None:
        refuse_ignored(
            command, locals(), ("sharing", "shift", "seed"), "on the way back to a regular network"
        )
    import torch

    from icnn_core.checkpoint import build_model, read_checkpoint, write_checkpoint
    from icnn_core.models.factory import build_with, load_factory

    _check_out(checkpoint, out, overwrite)
    read = read_checkpoint(checkpoint, prefix)
    factory = load_factory(model) if model else None
    count = len(read.classes) or None
    network = build_model(read, (lambda: build_with(factory, count)) if factory else None)
    torch.manual_seed(seed)
    if irregular is None and prefix is not None and not read.irregular:
        names, said = (), f"Names without {prefix}: {len(read.state)} tensors."
    elif irregular is None:
        names, said = _snap(read, network)
    else:
        names, said = _deform(read, network, irregular, cast("Sharing", sharing), shift)
    write_checkpoint(
        out,
        network,
        classes=read.classes,
        palette=read.palette,
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
        raise ArgumentError(
            str(out),
            needed="another file than what is converted",
            got="the same one",
            fix="Choose another --out.",
        )
    check_target(out, overwrite=overwrite)


def _deform(
    read: Checkpoint, network: nn.Module, irregular: str, sharing: Sharing, shift: float
) -> tuple[tuple[str, ...], str]:
    from icnn_core.errors import CheckpointError
    from icnn_core.surgery import make_irregular

    surgery = make_irregular(network, irregular, sharing=sharing, shift=shift)
    if not surgery.replaced:
        reasons = "; ".join(f"{name}: {why}" for name, why in surgery.skipped.items())
        raise CheckpointError(
            str(read.path),
            needed=f"regular k×k convolutions from {irregular} on",
            got=reasons or "none",
            fix="Name an earlier module.",
        )
    return surgery.replaced, str(surgery)


def _snap(read: Checkpoint, network: nn.Module) -> tuple[tuple[str, ...], str]:
    from icnn_core.errors import CheckpointError
    from icnn_core.surgery import make_regular

    names = make_regular(network)
    if not names:
        raise CheckpointError(
            str(read.path),
            needed="irregular layers to snap back to their slots",
            got="a regular network",
            fix="Name the module from which it shall be irregular: --irregular.",
        )
    return names, f"{len(names)} layers snapped back to regular convolutions: {', '.join(names)}"
