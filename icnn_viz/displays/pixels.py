"""What several networks make of some pixels of an image, side by side: here alone a PixelComparison is made."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol
from unicodedata import normalize

from icnn_core.datasets.labels import IGNORE_INDEX
from icnn_core.errors import ArgumentError, NameNotFoundError, ShapeError, nearest_names
from icnn_core.preparation import tell_reader
from icnn_viz.gradients import METHODS as METHODS
from icnn_viz.gradients import Network as Network
from icnn_viz.gradients import load_pair
from icnn_viz.gradients.targets import Target, check_class, check_pixel
from icnn_viz.heatmaps import REDUCTIONS as REDUCTIONS
from icnn_viz.heatmaps import measure_heatmap, to_heatmap
from icnn_viz.heatmaps import reduction_of as reduction_of
from icnn_viz.masks import connected_part
from icnn_viz.records import PixelComparison, PixelGradient, name_class

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pandas as pd


TARGETS = {"true": "true class", "predicted": "class that the first network predicts"}
"""Whose logit is followed at a labelled pixel, in words."""


class Looker(Protocol):
    """A network that can be asked for gradients."""

    @property
    def name(self) -> str: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    def look(
        self, image: np.ndarray, targets: Sequence[Target], method: str, seed: int
    ) -> list[PixelGradient]: ...


@dataclass(frozen=True)
class Question:
    """What is asked of a pixel.

    Attributes:
        image: the key of one of several images, or "".
        pixel: (y, x).
        method: of attribution.
        class_id: None = the class that the first network predicts at the pixel.
        smoothing, reduction: of the maps, see `to_heatmap`; "" reduces as the method is read.
        difference: of two maps, see `draw_comparison`.
    """

    image: str
    pixel: tuple[int, int]
    method: str = "gradient"
    class_id: int | None = None
    smoothing: float = 0.0
    reduction: str = ""
    difference: str = "shares"


def compare_pixels(
    networks: Sequence[Network],
    image: np.ndarray,
    targets: Sequence[Target],
    *,
    method: str = "gradient",
    reduction: str = "",
    smoothing: float = 0.0,
    labels: np.ndarray | None = None,
    sampling: bool = False,
    seed: int = 0,
    source: str = "",
) -> list[PixelComparison]:
    """Every target through every network; what the first one predicts is the class (and component) for all of them.

    Args:
        labels: (H, W) true class ids of the image, if known: they give the measures of masks.
        sampling: trace where the networks sample, too, and their receptive fields.
        source: of the image, in words.
    """
    started = time.perf_counter()
    columns = follow(networks, image, targets, method, seed)
    seconds = (time.perf_counter() - started) / max(len(columns), 1)
    shape, records = (image.shape[0], image.shape[1]), []
    for target, gradients in columns:
        traces = [network.trace(shape, target) for network in networks] if sampling else []
        fields = [field for _, field in traces]
        record = to_comparison(
            gradients, reduction, smoothing, labels, fields, source=source, seconds=seconds
        )
        records.append(replace(record, densities=[density for density, _ in traces]))
    return records


def follow(
    networks: Sequence[Network], image: np.ndarray, targets: Sequence[Target], method: str, seed: int
) -> list[tuple[Target, list[PixelGradient]]]:
    """Per target its gradients, one per network, and what it became: what the first network predicts, for all."""
    columns = [networks[0].look(image, targets, method, seed)]
    fixed = [_fix(target, gradient) for target, gradient in zip(targets, columns[0], strict=True)]
    columns += [network.look(image, fixed, method, seed) for network in networks[1:]]
    return [(target, list(gradients)) for target, *gradients in zip(fixed, *columns, strict=True)]


def choose_targets(pixels: Iterable[tuple[int, int]], labels: np.ndarray | None, rule: str) -> list[Target]:
    """What is followed at pixels of a data set, by one of the rules of `TARGETS`."""
    is_true = rule == "true" and labels is not None
    return [Target(pixel, int(labels[pixel]) if is_true else None) for pixel in pixels]  # type: ignore[index]


def to_comparison(
    gradients: Sequence[PixelGradient],
    reduction: str = "",
    smoothing: float = 0.0,
    labels: np.ndarray | None = None,
    fields: Sequence[np.ndarray] = (),
    *,
    classes: Sequence[str] = (),
    source: str = "",
    seconds: float = 0.0,
) -> PixelComparison:
    """The record of a pixel whose gradients are known: maps, measures and the true class.

    Args:
        labels: as of `compare_pixels`.
        fields: receptive fields, one per network, if they were traced.
        classes: names by class id; by default those that the gradients know.

    Raises:
        ShapeError: labels of another size than the image.
    """
    names, pixel = tuple(classes) or gradients[0].classes, gradients[0].pixel
    labels = None if labels is None else check_labels(labels, gradients[0].image.shape[:2])
    heatmaps = [to_heatmap(gradient, reduction, smoothing) for gradient in gradients]
    masks = {} if labels is None else to_masks(labels, pixel, names)
    measures = [
        measure_heatmap(heatmap, **masks, field=fields[number] if fields else None)
        for number, heatmap in enumerate(heatmaps)
    ]
    label = "" if labels is None else _name_label(int(labels[pixel]), names)
    return PixelComparison(list(gradients), heatmaps, measures, source, label, seconds=seconds, labels=labels)


def _name_label(label: int, names: Sequence[str]) -> str:
    """A true class's name or number; void is no class, whether names are known or not."""
    return "void" if label == IGNORE_INDEX and not names else name_class(label, names, "void")


def load_networks(
    checkpoint: Path,
    regular: Path | None,
    *,
    model: str | None = None,
    reader: str | None = None,
    **options: Any,
) -> list[Network]:
    """The networks to compare; `model` names what builds the regular one, "package.module:factory", `reader` what reads
    the images that they will see; `options` as of `load_pair`."""
    from icnn_core.models.factory import load_factory

    networks = load_pair(checkpoint, regular, factory=load_factory(model) if model else None, **options)
    tell_reader(networks[0].model, reader)
    return networks


def make_targets(
    pixels: Iterable[tuple[int, int]],
    image: np.ndarray,
    classes: Sequence[str] = (),
    name: str | None = None,
    against: str | None = None,
    *,
    component: bool = False,
) -> list[Target]:
    """What is followed at pixels (y, x) of an image, its classes by name or number; see `Target`.

    Raises:
        ArgumentError: a pixel outside the image, or a class against itself. NameNotFoundError: no such class.
    """
    first, second = (
        find_class(text, classes, who) if text else None
        for text, who in ((name, "--class"), (against, "--against"))
    )
    if first is not None and first == second:
        raise ArgumentError(
            "--against", needed="another class", got="the class itself", fix="Nothing would be left."
        )
    targets = [Target(pixel, first, second, "component" if component else None) for pixel in pixels]
    for target in targets:
        check_pixel(target.pixel, (0, 0, image.shape[0], image.shape[1]), "--pixel")
    return targets


def ask(network: Looker, image: np.ndarray, question: Question, seed: int = 0) -> PixelGradient:
    """One network's gradient of what is asked.

    Raises:
        IcnnError: a pixel outside the image, and as of `pixel_gradients`.
    """
    check_pixel(question.pixel, (0, 0, image.shape[0], image.shape[1]), "pixel")
    [gradient] = network.look(image, [Target(question.pixel, question.class_id)], question.method, seed)
    return gradient


def find_class(name: str, classes: Sequence[str], who: str = "class") -> int:
    """A class's name (case does not matter) or number, to its id.

    Raises:
        NameNotFoundError: no such class.
    """
    if name.isdigit():
        if classes:
            check_class(int(name), len(classes), who)
        return int(name)
    wanted, *lowered = (normalize("NFC", each).lower() for each in (name, *classes))
    if wanted in lowered:
        return lowered.index(wanted)
    fix = (
        nearest_names(name, classes) if classes else "The checkpoint knows no names: give the class's number."
    )
    raise NameNotFoundError(who, needed="a class of the network", got=repr(name), fix=fix)


def to_frame(records: Iterable[PixelComparison]) -> pd.DataFrame:
    """One row per pixel, network and measure: as of `describe_networks`, then measure, value."""
    import pandas as pd

    rows = [
        {**described, "measure": name, "value": value}
        for record in records
        for described, measures in zip(describe_networks(record), record.measures, strict=True)
        for name, value in measures.items()
    ]
    return pd.DataFrame(rows)


def describe_networks(record: PixelComparison) -> list[dict[str, Any]]:
    """What each network says at the pixel: x, y, class, against (whose logit is subtracted, or ""), label, model,
    predicted, logit."""
    y, x = record.pixel
    return [
        {"x": x, "y": y, "class": gradient.class_name, "against": gradient.against_name}
        | {"label": record.true_class, "model": gradient.network}
        | {"predicted": gradient.predicted_name, "logit": gradient.logit}
        for gradient in record.gradients
    ]


def to_plain(record: PixelComparison) -> dict[str, Any]:
    """A pixel's findings as plain values: what is asked, the notes, and of each network its answer and measures."""
    shared, described = ("x", "y", "class", "against", "label"), describe_networks(record)
    models = [model | {"measures": each} for model, each in zip(described, record.measures, strict=True)]
    return {
        **{key: described[0][key] for key in shared},
        "class_id": record.gradients[0].class_id,
        "notes": list(record.heatmaps[0].notes),
        "models": [{key: value for key, value in model.items() if key not in shared} for model in models],
    }


def _fix(target: Target, found: PixelGradient) -> Target:
    region = target.region
    if isinstance(region, str):
        region = connected_part(found.prediction == found.prediction[found.pixel], found.pixel)
    return replace(target, class_id=found.class_id, region=region)


def check_labels(labels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Class ids as (H, W) int64, whatever whole numbers they are.

    Raises:
        ShapeError: they have another size than the image, (H, W).
    """
    if labels.shape != shape:
        got, fix = str(labels.shape), "Give the labels of this image, a number a pixel."
        raise ShapeError("labels", needed=f"class ids of the image's size, {shape}", got=got, fix=fix)
    return labels.astype(int)


def to_masks(labels: np.ndarray, pixel: tuple[int, int], classes: tuple[str, ...]) -> dict[str, Any]:
    """The whole scene; and the object that holds a pixel and all of its class, unless it is void (no class)."""
    known = classes or tuple(str(n) for n in range(int(labels[labels != IGNORE_INDEX].max(initial=-1)) + 1))
    scene = {"labels": labels, "classes": known}
    if not 0 <= int(labels[pixel]) < len(known):
        return scene
    here = labels == labels[pixel]
    return scene | {"object_mask": connected_part(here, pixel), "class_mask": here}
