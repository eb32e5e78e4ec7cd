"""What `icnn-viz heatmap` finds out about one pixel, and how it is written and printed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from rich.table import Table

    from icnn_viz.cli._networks import Network
    from icnn_viz.gradients import Target
    from icnn_viz.records import Heatmap, PixelGradient


@dataclass(frozen=True)
class Look:
    """One pixel through all networks.

    Attributes:
        gradients, heatmaps, measures: one per network, in their order.
        label: the pixel's true class, or "" if unknown.
    """

    gradients: list[PixelGradient]
    heatmaps: list[Heatmap]
    measures: list[dict[str, float]]
    label: str

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
    seed: int = 0,
) -> list[Look]:
    """Every target through every network; what the first one predicts is the class (and component) for all of them.

    Args:
        labels: (H, W) true class ids of the image, if known: they give the measures of masks.
    """
    from icnn_viz.heatmaps import to_heatmap

    columns = [networks[0].look(image, targets, method, seed)]
    fixed = [_fix(target, gradient) for target, gradient in zip(targets, columns[0], strict=True)]
    columns += [network.look(image, fixed, method, seed) for network in networks[1:]]
    looks = []
    for gradients in zip(*columns, strict=True):
        heatmaps = [to_heatmap(gradient, reduction, smoothing) for gradient in gradients]
        classes = networks[0].classes
        measures = [_measure(heatmap, labels, classes) for heatmap in heatmaps]
        label = "" if labels is None else _name(int(labels[gradients[0].pixel]), classes)
        looks.append(Look(list(gradients), heatmaps, measures, label))
    return looks


def write_looks(
    looks: Sequence[Look], folder: Path, formats: Iterable[str], *, photo: bool, gamma: float, theme: str
) -> list[Path]:
    """Per pixel the raw gradients (.npz) and the comparison; and measures.csv. Returns what was written."""
    from icnn_core.cli.app import make_progress
    from icnn_viz.cli._table import write_tables
    from icnn_viz.figures.comparison import draw_comparison
    from icnn_viz.figures.write import write_figure

    formats = list(dict.fromkeys(formats))
    written = []
    with make_progress() as progress:
        for look in progress.track(looks, description="drawing"):
            figure = draw_comparison(
                look.gradients,
                look.heatmaps,
                measures=look.measures,
                label=look.label,
                photo=photo,
                gamma=gamma,
                theme=theme,
            )
            written += [write_figure(figure, folder / f"{look.stem}.{kind}") for kind in formats]
            written.append(write_gradients(look, folder / f"{look.stem}.npz"))
    return written + write_tables({"measures": to_frame(looks)}, folder)


def write_gradients(look: Look, path: Path) -> Path:
    """The raw gradients: `irregular`, `regular` (3, H, W) float32, further ones as `other_2`, …; `pixel` (y, x);
    `class_id`; `models`, the networks' labels in this order; `method`.
    """
    import numpy as np

    from icnn_viz.figures.write import write_atomically

    names = ["irregular", "regular", *(f"other_{n}" for n in range(2, len(look.gradients)))]
    arrays: dict[str, Any] = {n: g.gradient for n, g in zip(names, look.gradients, strict=True)}
    first = look.gradients[0]
    arrays |= {
        "pixel": np.array(first.pixel),
        "class_id": np.array(first.class_id),
        "method": np.array(first.method),
    }
    arrays["models"] = np.array([g.model for g in look.gradients])
    return write_atomically(path, lambda temporary: np.savez_compressed(temporary, **arrays))


def to_frame(looks: Iterable[Look]) -> pd.DataFrame:
    """One row per pixel, network and measure: x, y, class, label, model, predicted, logit, measure, value."""
    import pandas as pd

    rows = [
        {**_describe(look, number), "measure": name, "value": value}
        for look in looks
        for number, measures in enumerate(look.measures)
        for name, value in measures.items()
    ]
    return pd.DataFrame(rows)


def to_json(look: Look) -> dict[str, Any]:
    """A pixel's findings as plain values."""
    shared = ("x", "y", "class", "label")
    models = [_describe(look, number) | {"measures": m} for number, m in enumerate(look.measures)]
    return {
        **{key: models[0][key] for key in shared},
        "class_id": look.gradients[0].class_id,
        "notes": list(look.heatmaps[0].notes),
        "models": [{key: value for key, value in model.items() if key not in shared} for model in models],
    }


def to_measure_table(look: Look) -> Table:
    """A pixel's measures for the terminal, one column per network."""
    from rich.table import Table

    from icnn_viz.figures.comparison import SHOWN, describe_target
    from icnn_viz.figures.panels import format_value
    from icnn_viz.heatmaps import MEASURES

    true = f"true class: {look.label}" if look.label else None
    table = Table(
        title=f"What {describe_target(look.gradients[0])} depends on", title_justify="left", caption=true
    )
    table.add_column("measure")
    for gradient in look.gradients:
        table.add_column(gradient.model, justify="right")
    table.add_row(
        "predicted class", *(str(_describe(look, n)["predicted"]) for n in range(len(look.gradients)))
    )
    table.add_row("logit", *(format_value(gradient.logit) for gradient in look.gradients))
    for name in SHOWN:
        if name in look.measures[0]:
            text, unit = MEASURES[name]
            values = (format_value(measures[name]) for measures in look.measures)
            table.add_row(f"{text} ({unit})" if unit else text, *values)
    return table


def _describe(look: Look, number: int) -> dict[str, Any]:
    gradient = look.gradients[number]
    y, x = gradient.pixel
    return {
        "x": x,
        "y": y,
        "class": gradient.class_name,
        "label": look.label,
        "model": gradient.model,
        "predicted": _name(int(gradient.prediction[y, x]), gradient.classes),
        "logit": gradient.logit,
    }


def _fix(target: Target, found: PixelGradient) -> Target:
    from icnn_viz.heatmaps import connected_part

    region = target.region
    if isinstance(region, str):
        region = connected_part(found.prediction == found.prediction[found.pixel], found.pixel)
    return replace(target, class_id=found.class_id, region=region)


def _measure(heatmap: Heatmap, labels: np.ndarray | None, classes: tuple[str, ...]) -> dict[str, float]:
    from icnn_viz.heatmaps import connected_part, measure_heatmap

    if labels is None:
        return measure_heatmap(heatmap)
    here = labels == labels[heatmap.pixel]
    known = classes or tuple(str(n) for n in range(int(labels.max()) + 1))
    return measure_heatmap(
        heatmap,
        object_mask=connected_part(here, heatmap.pixel),
        class_mask=here,
        labels=labels,
        classes=known,
    )


def _name(class_id: int, classes: Sequence[str]) -> str:
    if not classes:
        return str(class_id)
    return classes[class_id] if 0 <= class_id < len(classes) else "void"
