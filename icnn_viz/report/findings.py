"""What a report tells of, and how it is found out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icnn_core.errors import CheckpointError
from icnn_viz.records import PixelComparison

if TYPE_CHECKING:
    import pandas as pd

    from icnn_core.checkpoint import Checkpoint
    from icnn_viz.displays import KernelDisplay, TapDisplay
    from icnn_viz.displays.pixels import Network
    from icnn_viz.displays.sources import DclsLayers


@dataclass(frozen=True)
class Findings:
    """Everything on the page.

    Attributes:
        checkpoints: by the networks' names; the first is the irregular network whose kernels are shown.
        display: its clouds and their Gaussians.
        tables: layers, gaussians, tests, claims and effects, as `icnn-viz kernels` writes them.
        comparisons: pixels for the gallery; if there are none, `no_comparisons` says why.
        taps: where taps land for the first of them, if that is known.
        run: of the training, if its snapshots were kept.
        commands: what a user can type to get this page and its parts, each with a word on what it does.
        seed, device: as they were used.
        photo: whether images may be shown.
        rule: of pixels of a data set, whose logit was followed, in words; else "".
    """

    checkpoints: Mapping[str, Checkpoint]
    display: KernelDisplay
    tables: Mapping[str, pd.DataFrame]
    comparisons: Sequence[PixelComparison] = ()
    no_comparisons: str = ""
    taps: TapDisplay | None = None
    run: KernelDisplay | None = None
    commands: Sequence[tuple[str, str]] = ()
    seed: int = 0
    device: str = "cpu"
    photo: bool = True
    notes: Sequence[str] = field(default=())
    rule: str = ""


@dataclass(frozen=True)
class Pixels:
    """Which pixels are wanted: of a data set, or of an image at `places` (y, x); how many to choose.

    `target`: of a data set's pixels whose logit is followed, see `SurveyDisplay`. `reader`: the user's own function
    that reads images, by name. `preparation`: how the networks want images, as far as it is said.
    """

    data: str | None = None
    root: Path | None = None
    split: str = "val"
    image: Path | None = None
    places: Sequence[tuple[int, int]] = ()
    count: int = 4
    target: str = "true"
    reader: str | None = None
    preparation: Mapping[str, Any] = field(default_factory=dict)


def find_out(
    checkpoint: Path,
    regular: Path | None,
    pixels: Pixels,
    *,
    layers: Sequence[str] = (),
    commands: Sequence[tuple[str, str]] = (),
    photo: bool = True,
    model: str | None = None,
    prefix: str | None = None,
    dcls: DclsLayers | None = None,
    device: str = "auto",
    seed: int = 0,
) -> Findings:
    """Read, measure and look.

    Raises:
        IcnnError: a file, layer, data set, image or pixel that cannot be used.
    """
    from icnn_core.checkpoint import read_checkpoints
    from icnn_core.devices import choose_device
    from icnn_viz.displays.pixels import TARGETS, load_networks
    from icnn_viz.displays.sources import find_run, holds_positions_alone, read_network, read_positions

    alone = holds_positions_alone(checkpoint)
    paths = {"irregular": None if alone else checkpoint, "regular": regular}
    named = {name: path for name, path in paths.items() if path is not None}
    checkpoints = dict(zip(named, read_checkpoints(list(named.values()), prefix), strict=True))
    if alone:
        irregular, display = read_positions(checkpoint, layers)
    else:
        irregular, display = read_network(checkpoints.pop("irregular"), layers, dcls)
    checkpoints = {"irregular": irregular} | checkpoints
    load = partial(
        load_networks,
        checkpoint,
        regular,
        model=model,
        prefix=prefix,
        reader=pixels.reader,
        device=device,
        seed=seed,
        **pixels.preparation,
    )
    comparisons, no_comparisons, taps = _look(checkpoint, pixels, irregular, model, load, seed)
    run, note = (display if display.steps else None, "") if alone else find_run(checkpoint, display.clouds)
    return Findings(
        checkpoints=checkpoints,
        display=display,
        tables=display.tables(seed=seed),
        comparisons=comparisons,
        no_comparisons=no_comparisons,
        taps=taps,
        run=run,
        commands=commands,
        seed=seed,
        device=str(choose_device(device)),
        photo=photo,
        notes=(note,) * bool(note),
        rule=TARGETS[pixels.target] if comparisons and pixels.image is None else "",
    )


def _look(
    checkpoint: Path,
    pixels: Pixels,
    irregular: Checkpoint,
    model: str | None,
    load: Callable[[], list[Network]],
    seed: int,
) -> tuple[list[PixelComparison], str, TapDisplay | None]:
    """What pixels look at; or why none were looked at, in words; and where the taps land for the first of them."""
    from icnn_core.checkpoint import how_to_build
    from icnn_viz.displays.gallery import look_at_data, look_at_image
    from icnn_viz.displays.sources import holds_positions_alone
    from icnn_viz.displays.taps import taps_of

    if not pixels.count and not pixels.places:
        return [], "No pixels were looked at, as none were asked for.", None
    named = pixels.data or pixels.image
    if holds_positions_alone(checkpoint):
        if named:
            got, fix = "positions alone", "Give its checkpoint, or leave out --data and --image."
            raise CheckpointError(str(checkpoint), needed="a network, to look at pixels", got=got, fix=fix)
        return [], "No pixels were looked at: the file holds positions, not a network.", None
    if not named and irregular.dataset.get("name") != "shapes":
        return (
            [],
            "No pixels were looked at: add --data NAME --root DIR, or --image PATH, to the command.",
            None,
        )
    if irregular.architecture is None and model is None:
        if named:
            needed, got = "the description of a network, to look at pixels", "weights alone"
            raise CheckpointError(str(checkpoint), needed=needed, got=got, fix=how_to_build(irregular))
        return [], "No pixels were looked at: the file describes no network, and --model named none.", None
    networks = load()
    options = {"seed": seed, "reader": pixels.reader}
    if pixels.image is not None:
        comparisons = look_at_image(networks, pixels.image, pixels.places, pixels.count, **options)
    else:
        name, where = pixels.data or "shapes", (pixels.root, pixels.split)
        comparisons = look_at_data(networks, name, *where, pixels.count, target=pixels.target, **options)
    return comparisons, "", taps_of(networks, comparisons[0]) if comparisons else None
