"""`icnn convert`: a regular checkpoint to an irregular one, or back, without training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from icnn_core.cli.app import SeedOption, make_console


def command(
    checkpoint: Annotated[Path, typer.Argument(metavar="CKPT", help="A checkpoint that names its network.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The checkpoint to write.")],
    irregular: Annotated[
        str | None,
        typer.Option(help="Make irregular from this module to the end. Left out: back to a regular network."),
    ] = None,
    sharing: Annotated[str, typer.Option(help="Who shares a shape: layer, channel or none.")] = "channel",
    shift: Annotated[float, typer.Option(help="Half-width in pixels of the noise on the start.")] = 1e-3,
    seed: SeedOption = 0,
) -> None:
    """Make a regular network irregular with the same weights, or snap an irregular one back to its slots.

    Example: icnn convert regular.pt --irregular res4b11 --out irregular.pt
    """
    from typing import cast

    import torch

    from icnn_core.checkpoint import build_model, read_checkpoint, write_checkpoint
    from icnn_core.errors import CheckpointError
    from icnn_core.nn import Sharing
    from icnn_core.surgery import make_irregular, make_regular

    read = read_checkpoint(checkpoint)
    model = build_model(read)
    torch.manual_seed(seed)
    console = make_console()
    if irregular is not None:
        surgery = make_irregular(model, irregular, sharing=cast(Sharing, sharing), shift=shift)
        if not surgery.replaced:
            raise CheckpointError(
                str(checkpoint),
                needed=f"regular k×k convolutions from {irregular} on",
                got="; ".join(f"{name}: {why}" for name, why in surgery.skipped.items()) or "none",
                fix="Name an earlier module.",
            )
        console.print(str(surgery))
    else:
        console.print(f"{len(make_regular(model))} layers snapped back to regular convolutions")
    write_checkpoint(
        out,
        model,
        classes=read.classes,
        palette=read.palette,
        ignore_index=read.ignore_index,
        dataset=read.dataset,
    )
    console.print(f"Wrote {out}")
