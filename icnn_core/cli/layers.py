"""`icnn layers`: the convolutions of a network, and what --irregular would do to each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from icnn_core.cli._options import JsonOption, ModelOption, PrefixOption, refuse_ignored
from icnn_core.cli.app import make_console, print_json

if TYPE_CHECKING:
    from torch import nn


def command(
    checkpoint: Annotated[
        Path | None,
        typer.Argument(metavar="[CKPT]", help="A checkpoint that names its network, or see --model."),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="A built-in network instead: tiny, squeezenet1_0, resnet101, …"),
    ] = None,
    model: ModelOption = None,
    prefix: PrefixOption = None,
    irregular: Annotated[str | None, typer.Option(metavar="NAME", help="Mark what this would take.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List a network's convolutions in its own order, under the names that --irregular takes.

    With Caffe's names where the network has such, kernels, dilations, channels, the stride of the features that each
    reads (in image pixels), and whether it can become irregular, or why not.

    Example: icnn layers --backbone resnet101 --irregular res4b11
    """
    if (checkpoint is None) and ((backbone is None) == (model is None)):
        raise typer.BadParameter("name one: a checkpoint, --backbone or --model.")
    if backbone is not None and (checkpoint is not None or model is not None):
        raise typer.BadParameter("stands alone.", param_hint="--backbone")
    if checkpoint is None:
        refuse_ignored(command, locals(), ("prefix",), "without a checkpoint")

    from icnn_core.layer_table import list_layers

    layers = list_layers(_build(checkpoint, backbone, model, prefix), irregular)
    if as_json:
        print_json({"layers": [vars(layer) for layer in layers]})
        return
    from rich.table import Table

    table = Table(
        caption="stride: image pixels between features that the layer reads; – where a trial did not come"
    )
    for title in ("name", "Caffe's", "kernel", "dilation"):
        table.add_column(title, overflow="fold")
    for title in ("channels", "stride"):
        table.add_column(title, justify="right", overflow="fold")
    table.add_column("irregular", overflow="fold")
    for layer in layers:
        kernel, dilation = ("×".join(map(str, pair)) for pair in (layer.kernel_size, layer.dilation))
        channels = f"{layer.in_channels} → {layer.out_channels}" + f" / {layer.groups}" * (layer.groups > 1)
        stride = "–" if layer.stride is None else f"{layer.stride:g}"
        table.add_row(layer.name, layer.caffe or "", kernel, dilation, channels, stride, layer.says)
    console = make_console()
    console.print(table)
    able = sum(layer.reason == "" for layer in layers)
    console.print(f"{able} of {len(layers)} convolutions can become irregular.")


def _build(checkpoint: Path | None, backbone: str | None, model: str | None, prefix: str | None) -> nn.Module:
    from icnn_core.checkpoint import build_model, read_checkpoint
    from icnn_core.models.deeplab import deeplab_largefov
    from icnn_core.models.factory import build_with, load_factory

    factory = load_factory(model) if model else None
    if checkpoint is not None:
        read = read_checkpoint(checkpoint, prefix)
        count = len(read.classes) or None
        return build_model(read, (lambda: build_with(factory, count)) if factory else None)
    return build_with(factory) if factory else deeplab_largefov(str(backbone), 2)
