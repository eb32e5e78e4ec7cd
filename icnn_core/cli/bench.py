"""`icnn bench`: how fast the layer is on this machine, beside a convolution."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from icnn_core.cli._options import DeviceOption, JsonOption, OverwriteOption, SeedOption
from icnn_core.cli.app import make_console, make_progress, print_json

if TYPE_CHECKING:
    from icnn_core.ops.benchmark import Timing


def command(
    layer: Annotated[
        list[str] | None, typer.Option(help="Only these layers: res4, fc1, shallow, …; repeatable.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=2, help="Rounds, each of every method once.")] = 7,
    peers: Annotated[
        bool, typer.Option("--peers", help="Time deform_conv2d and, if installed, DCLS too: slow.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="Folder for bench.json; else none is written."),
    ] = None,
    device: DeviceOption = "auto",
    seed: SeedOption = 0,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Time conv2d and this layer's back ends, interleaved, with near and far positions; ratios to conv2d.

    Example: icnn bench --layer res4 --layer fc1 --out bench
    """
    call = dict(locals())
    from contextlib import nullcontext
    from dataclasses import asdict

    import torch

    from icnn_core.cli._evaluation import write_json
    from icnn_core.devices import choose_device
    from icnn_core.ops.benchmark import LAYERS, SPREADS, Case, describe_machine, find_layer, time_case
    from icnn_core.outputs import describe_call, one_call

    torch.manual_seed(seed)
    place = choose_device(device)
    cases = [Case(find_layer(name), spread, name) for name in layer or LAYERS for spread in SPREADS.values()]
    timings = []
    folder = one_call(out, "bench", describe_call(call), overwrite=overwrite) if out else nullcontext()
    with folder, make_progress() as bar:
        task = bar.add_task("timing", total=len(cases))
        for case in cases:
            timings += time_case(case, rounds=rounds, peers=peers, device=place)
            bar.advance(task)
        machine = describe_machine(place)
        result = machine | {"rounds": rounds, "timings": [asdict(timing) for timing in timings]}
        if out is not None:
            write_json(out / "bench.json", result)
    if as_json:
        print_json(result)
    _print(timings, ", ".join(map(str, machine.values())) + ": time / conv2d", as_json)


def _print(timings: list[Timing], title: str, as_json: bool) -> None:
    from rich.table import Table

    methods = list(dict.fromkeys(timing.method for timing in timings))
    table = Table("layer", "positions", "pass", *methods, title=title, title_justify="left")
    rows: dict[tuple[str, float, bool], dict[str, float]] = {}
    for timing in timings:
        rows.setdefault((timing.case, timing.spread, timing.backward), {})[timing.method] = timing.ratio
    for (name, spread, backward), ratios in rows.items():
        cells = [f"{ratios[method]:.2f}" if method in ratios else "–" for method in methods]
        table.add_row(name, f"σ {spread:g}", "forward+backward" if backward else "forward", *cells)
    make_console(json=as_json).print(table)
