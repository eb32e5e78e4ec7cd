"""What several networks make of some pixels of one image: gradients, heatmaps and measures, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from icnn_core.datasets.labels import IGNORE_INDEX
from icnn_viz.heatmaps import connected_part, measure_heatmap, to_heatmap
from icnn_viz.records import Heatmap, PixelGradient

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from icnn_viz.gradients import Network, Target


@dataclass(frozen=True)
class Look:
    """One pixel through all networks.

    Attributes:
        gradients, heatmaps, measures: one per network, in their order.
        label: the pixel's true class, or "" if unknown.
        densities: where each network samples, if that was traced.
    """

    gradients: list[PixelGradient]
    heatmaps: list[Heatmap]
    measures: list[dict[str, float]]
    label: str
    densities: list[np.ndarray] = field(default_factory=list)

    @property
    def stem(self) -> str:
        """The name of its files."""
        y, x = self.gradients[0].pixel
        return f"heatmap-x{x}-y{y}"


def look_at(
    networks: Sequence[Network],
    image: np.ndarray,
    targets: Sequence[Target],
    *,
    method: str,
    reduction: str,
    smoothing: float,
    labels: np.ndarray | None = None,
    sampling: bool = False,
    seed: int = 0,
) -> list[Look]:
    """Every target through every network; what the first one predicts is the class (and component) for all of them.

    Args:
        labels: (H, W) true class ids of the image, if known: they give the measures of masks.
        sampling: trace where the networks sample, too, and their receptive fields.
    """
    columns = [networks[0].look(image, targets, method, seed)]
    fixed = [_fix(target, gradient) for target, gradient in zip(targets, columns[0], strict=True)]
    columns += [network.look(image, fixed, method, seed) for network in networks[1:]]
    looks = []
    shape = (image.shape[0], image.shape[1])
    for target, *gradients in zip(fixed, *columns, strict=True):
        heatmaps = [to_heatmap(gradient, reduction, smoothing) for gradient in gradients]
        classes = networks[0].classes
        traces = [network.trace(shape, target) if sampling else (None, None) for network in networks]
        measures = [
            measure(heatmap, labels, classes, reach)
            for heatmap, (_, reach) in zip(heatmaps, traces, strict=True)
        ]
        label = "" if labels is None else name_class(int(labels[gradients[0].pixel]), classes)
        densities = [density for density, _ in traces if density is not None]
        looks.append(Look(list(gradients), heatmaps, measures, label, densities))
    return looks


def to_frame(looks: Iterable[Look]) -> pd.DataFrame:
    """One row per pixel, network and measure: x, y, class, label, model, predicted, logit, measure, value."""
    import pandas as pd

    rows = [
        {**describe_model(look, number), "measure": name, "value": value}
        for look in looks
        for number, measures in enumerate(look.measures)
        for name, value in measures.items()
    ]
    return pd.DataFrame(rows)


def describe_model(look: Look, number: int) -> dict[str, Any]:
    """What one of the networks says at the pixel: x, y, class, label, model, predicted, logit."""
    gradient = look.gradients[number]
    y, x = gradient.pixel
    return {
        "x": x,
        "y": y,
        "class": gradient.class_name,
        "label": look.label,
        "model": gradient.model,
        "predicted": name_class(int(gradient.prediction[y, x]), gradient.classes),
        "logit": gradient.logit,
    }


def _fix(target: Target, found: PixelGradient) -> Target:
    region = target.region
    if isinstance(region, str):
        region = connected_part(found.prediction == found.prediction[found.pixel], found.pixel)
    return replace(target, class_id=found.class_id, region=region)


def measure(
    heatmap: Heatmap,
    labels: np.ndarray | None,
    classes: tuple[str, ...],
    reach: np.ndarray | None = None,
) -> dict[str, float]:
    """A heatmap's measures; with true labels those of masks too, with a receptive field `reach` what lies beyond it."""
    if labels is None:
        return measure_heatmap(heatmap, field=reach)
    numbers = labels[labels != IGNORE_INDEX]
    known = classes or tuple(str(n) for n in range(int(numbers.max(initial=-1)) + 1))
    if not 0 <= labels[heatmap.pixel] < len(known):  # void is no object
        return measure_heatmap(heatmap, labels=labels, classes=known, field=reach)
    here = labels == labels[heatmap.pixel]
    return measure_heatmap(
        heatmap,
        object_mask=connected_part(here, heatmap.pixel),
        class_mask=here,
        labels=labels,
        classes=known,
        field=reach,
    )


def name_class(class_id: int, classes: Sequence[str]) -> str:
    """A class's name, its number if no names are known, or "void"."""
    if not classes:
        return str(class_id)
    return classes[class_id] if 0 <= class_id < len(classes) else "void"
