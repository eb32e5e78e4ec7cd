"""What `icnn-viz report` finds out before it draws: kernels, pixels and what they look at, the training's snapshots."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icnn_core.errors import CheckpointError, IcnnError
from icnn_viz.cli._options import BUILTIN

if TYPE_CHECKING:
    import numpy as np

    from icnn_core.checkpoint import Checkpoint
    from icnn_viz.gradients import Network
    from icnn_viz.heatmaps import LabelledPixel
    from icnn_viz.records import PositionCloud
    from icnn_viz.report import Findings, Run, Seen

_MOST_IMAGES = 24  # of a data set, among which pixels are chosen
_LONGEST = 2048


@dataclass(frozen=True)
class Asked:
    """The command's options. `places` are (y, x) in `image`."""

    checkpoint: Path
    regular: Path | None
    layers: tuple[str, ...]
    data: str | None
    root: Path | None
    split: str
    image: Path | None
    places: tuple[tuple[int, int], ...]
    pixels: int
    photo: bool
    model: str | None
    device: str
    seed: int


@dataclass(frozen=True)
class _View:
    """An image, the labels of its pixels if they are known, and the pixels to look at."""

    image: np.ndarray
    labels: np.ndarray | None
    pixels: list[tuple[int, int]]
    source: str


def find_out(asked: Asked) -> Findings:
    """Read, measure and look.

    Raises:
        IcnnError: a file, layer, data set, image or pixel that cannot be used.
    """
    from icnn_core.checkpoint import read_checkpoint
    from icnn_core.devices import choose_device
    from icnn_viz.cli._table import make_tables
    from icnn_viz.displays import KernelDisplay
    from icnn_viz.report import Findings

    irregular = read_checkpoint(asked.checkpoint)
    checkpoints = {"irregular": irregular}
    if asked.regular:
        checkpoints["regular"] = read_checkpoint(asked.regular)
    display = KernelDisplay.from_checkpoint(asked.checkpoint, asked.layers)
    looks, no_looks = _look(asked, irregular)
    run, note = _find_run(asked.checkpoint, display.clouds)
    return Findings(
        checkpoints=checkpoints,
        display=display,
        tables=make_tables(display.clouds, display.fits, asked.seed),
        looks=looks,
        no_looks=no_looks,
        run=run,
        commands=_list_commands(asked),
        seed=asked.seed,
        device=str(choose_device(asked.device)),
        photo=asked.photo,
        notes=(note,) * bool(note),
    )


def _look(asked: Asked, irregular: Checkpoint) -> tuple[list[Seen], str]:
    """What pixels look at; or why none were looked at, in words."""
    from icnn_core.models.factory import load_factory
    from icnn_viz.displays.looks import look_at
    from icnn_viz.gradients import Target, load_pair
    from icnn_viz.report import Seen

    if not asked.pixels and not asked.places:
        return [], "No pixels were looked at, as none were asked for."
    wanted = asked.data or asked.image or irregular.dataset.get("name") == "shapes"
    if not wanted:
        return [], "No pixels were looked at: add --data NAME --root DIR, or --image PATH, to the command."
    if irregular.architecture is None and asked.model is None:
        if asked.data or asked.image:
            raise CheckpointError(
                str(asked.checkpoint),
                needed="the description of a network, to look at pixels",
                got="weights alone",
                fix="Name a function that builds it: --model package.module:factory.",
            )
        return [], "No pixels were looked at: the file describes no network, and --model named none."
    factory = load_factory(asked.model) if asked.model else None
    networks = load_pair(
        asked.checkpoint, asked.regular, factory=factory, device=asked.device, seed=asked.seed
    )
    looks = []
    for view in _views(asked, networks):
        found = look_at(
            networks, view.image, [Target(pixel) for pixel in view.pixels], method="gradient", reduction="max",
            smoothing=0.0, labels=view.labels, seed=asked.seed,
        )  # fmt: skip
        looks += [Seen(look, view.source) for look in found]
    return looks, ""


def _views(asked: Asked, networks: Sequence[Network]) -> Iterator[_View]:
    from icnn_viz.cli._inputs import check_pixel, read_image

    if asked.image is None:
        yield from _from_data(asked, networks)
        return
    image = read_image(asked.image, _LONGEST)
    for place in asked.places:
        check_pixel(place, image)
    places = list(asked.places) or _choose_seen(asked, networks[0], image)
    yield _View(image, None, places, asked.image.name)


def _from_data(asked: Asked, networks: Sequence[Network]) -> Iterator[_View]:
    """Pixels of objects in some labelled images, as many of every class as can be."""
    import numpy as np

    from icnn_core.datasets.registry import open_dataset
    from icnn_viz.cli._inputs import check_classes
    from icnn_viz.heatmaps import choose_pixels, find_pixels

    name = asked.data or "shapes"
    dataset = open_dataset(name, asked.root, asked.split)
    check_classes(networks, dataset, name)
    images = np.random.default_rng(asked.seed).permutation(len(dataset))[:_MOST_IMAGES]
    candidates: list[LabelledPixel] = []
    for index in sorted(images.tolist()):
        candidates += find_pixels(index, dataset[index][1].numpy(), dataset.ignore_index, asked.seed)
    chosen = choose_pixels(candidates, asked.pixels, seed=asked.seed)
    for index, group in groupby(chosen, key=lambda pixel: pixel.image):
        tensor, mask = dataset[index]
        image = tensor.permute(1, 2, 0).numpy()
        yield _View(image, mask.numpy(), [pixel.pixel for pixel in group], f"{name} {asked.split} {index}")


def _choose_seen(asked: Asked, network: Network, image: np.ndarray) -> list[tuple[int, int]]:
    """Pixels of the things that the network sees in the image; its middle if all are too small."""
    from icnn_viz.gradients import Target
    from icnn_viz.heatmaps import choose_pixels, find_pixels

    middle = (image.shape[0] // 2, image.shape[1] // 2)
    seen = network.look(image, [Target(middle)], "gradient", asked.seed)[0].prediction
    candidates = find_pixels(0, seen, -1, asked.seed)
    if not candidates:
        return [middle]
    return [pixel.pixel for pixel in choose_pixels(candidates, asked.pixels, seed=asked.seed)]


def _find_run(checkpoint: Path, clouds: Sequence[PositionCloud]) -> tuple[Run | None, str]:
    """The snapshots beside a checkpoint, if they are of its layers; or what is wrong with them, in words."""
    from icnn_viz.positions import read_snapshots
    from icnn_viz.report import Run

    folder = checkpoint.parent / "snapshots"
    if not folder.is_dir():
        return None, ""
    try:
        steps, snapshots = read_snapshots(folder)
    except IcnnError as error:
        return (
            None,
            f"The snapshots beside the checkpoint cannot be used: {str(error).replace(f'{folder}/', '')}",
        )
    names = {cloud.layer: cloud.positions.shape for cloud in clouds}
    chosen = [
        [cloud for cloud in one if names.get(cloud.layer) == cloud.positions.shape] for one in snapshots
    ]
    if len(chosen[0]) != len(clouds):
        return None, "The snapshots beside the checkpoint are of another network and were left out."
    return Run(steps, chosen), ""


def _list_commands(asked: Asked) -> list[tuple[str, str]]:
    """The command as it was typed, and those that give its parts with more choice."""
    from icnn_viz.data import builtin_path

    # The commands take the built-in networks by themselves.
    irregular, regular = (builtin_path(name) for name in BUILTIN[:2])
    pair = [] if asked.checkpoint == irregular else [str(asked.checkpoint)]
    named = asked.regular is not None and (pair or asked.regular != regular)
    of_image = ["--regular", str(asked.regular)] if named else []
    commands = [(_join("icnn-viz", *sys.argv[1:]), "This page:")]
    commands.append(
        (
            _join("icnn-viz", "kernels", *pair, "--view", "all"),
            "All figures and tables of the kernels as files:",
        )
    )
    if asked.image:
        spots = [part for y, x in asked.places for part in ("--pixel", f"{x},{y}")]
        place: list[Any] = ["--image", asked.image, *(spots or ["--pixel", "x,y"])]
        commands.append(
            (_join("icnn-viz", "heatmap", *pair, *of_image, *place), "Heatmaps, with other methods too:")
        )
    if asked.data:
        root = ["--root", asked.root] if asked.root else []
        survey: list[Any] = ["--data", asked.data, *root, "--split", asked.split, "--pixels", 200]
        words = "The measures over many pixels, with intervals (some pictures prove nothing):"
        commands.append((_join("icnn-viz", "heatmap", *pair, *of_image, *survey), words))
    return commands


def _join(*parts: Any) -> str:
    return shlex.join(str(part) for part in parts)
