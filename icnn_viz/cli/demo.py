"""`icnn-viz demo`: train a small pair, then look at its kernels and at one pixel's heatmap."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from icnn_core.cli._options import DeviceOption, OutOption, OverwriteOption, SeedOption, Theme, ThemeOption


def command(
    out: OutOption = Path("icnn-demo"),
    iterations: Annotated[int, typer.Option(min=2, help="For each of the two networks.")] = 250,
    device: DeviceOption = "auto",
    seed: SeedOption = 0,
    theme: ThemeOption = "light",
    overwrite: OverwriteOption = False,
) -> None:
    """Train a regular and an irregular network on drawn shapes, live, and look at both.

    Takes a few minutes on two cores and needs no download. Both networks see the same images in the same order.

    Example: icnn-viz demo --out demo
    """
    call = dict(locals())
    from icnn_core.outputs import describe_call, one_call
    from icnn_core.training.folder import check_folder
    from icnn_viz.data.pair import KINDS

    with one_call(out, "demo", describe_call(call), overwrite=overwrite) as again:
        for kind in KINDS:
            check_folder(out / kind, overwrite=again)
        _demonstrate(out, iterations, device, seed, theme)


def _demonstrate(out: Path, iterations: int, device: str, seed: int, theme: Theme) -> None:
    from icnn_core.cli.app import make_console, make_progress
    from icnn_viz.cli import heatmap, kernels
    from icnn_viz.data.pair import KINDS, surest_pixel, train_pair

    console = make_console()
    console.print(f"Training two small networks on drawn shapes, {iterations} iterations each.")
    with make_progress() as bar:
        tasks = {kind: bar.add_task(kind, total=iterations) for kind in KINDS}
        pair = train_pair(
            out,
            irregular="backbone.layer4",
            device=device,
            seed=seed,
            iterations=iterations,
            train_images=400,
            val_images=60,
            on_progress=lambda kind, progress: bar.update(tasks[kind], completed=progress.iteration),
        )
    for kind in KINDS:
        result = getattr(pair, kind)
        assert result.evaluation is not None
        console.print(f"{kind}: mean IoU {result.evaluation.mean_iou:.1%} after {result.seconds:.0f} s")

    console.rule("the shapes of its kernels")
    kernels.command([pair.irregular.checkpoint], out=out / "kernels", theme=theme, overwrite=True)
    y, x = surest_pixel(pair.irregular.checkpoint)
    console.rule(f"what pixel {x},{y} looks at")
    heatmap.command(
        pair.irregular.checkpoint,
        pixel=[f"{x},{y}"],
        regular=pair.regular.checkpoint,
        image=pair.sample,
        labels=pair.sample.with_name("sample-labels.png"),
        out=out / "heatmap",
        overwrite=True,
        device=device,
        theme=theme,
    )
    console.print(f"The networks: {pair.regular.checkpoint} and {pair.irregular.checkpoint}")
