"""How what `icnn-viz heatmap` finds out about a pixel is written and printed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icnn_viz.displays.looks import Look, describe_model, to_frame

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table


def write_looks(
    looks: Sequence[Look],
    folder: Path,
    formats: Iterable[str],
    *,
    photo: bool,
    overlay: bool,
    gamma: float,
    theme: str,
) -> list[Path]:
    """Figures, per pixel the raw gradients (.npz), and measures.csv. Returns what was written."""
    from icnn_core.cli.app import make_progress
    from icnn_viz.cli._table import write_tables
    from icnn_viz.figures.write import write_figure

    written = []
    pictures = list_pictures(looks, photo=photo, overlay=overlay, gamma=gamma, theme=theme)
    with make_progress() as progress:
        for stem, draw in progress.track(pictures, description="drawing"):
            figure = draw()
            written += [write_figure(figure, folder / f"{stem}.{kind}") for kind in dict.fromkeys(formats)]
    written += [write_gradients(look, folder / f"{look.stem}.npz") for look in looks]
    return written + write_tables({"measures": to_frame(looks)}, folder)


def list_pictures(
    looks: Sequence[Look], *, photo: bool, overlay: bool, gamma: float, theme: str
) -> list[tuple[str, Callable[[], Figure]]]:
    """Names of files, without suffix, and what draws them: per pixel the comparison and more, then grids of pixels."""
    from icnn_viz.figures.comparison import draw_comparison
    from icnn_viz.figures.grid import MOST_COLUMNS, draw_grid
    from icnn_viz.figures.overlay import draw_overlay
    from icnn_viz.figures.sampling import draw_sampling

    style = {"gamma": gamma, "theme": theme}
    pictures: list[tuple[str, Callable[[], Figure]]] = []
    for look in looks:
        of_pixel = (look.gradients, look.heatmaps)
        named = style | {"label": look.label}
        compare = partial(draw_comparison, *of_pixel, measures=look.measures, photo=photo, **named)
        pictures.append((look.stem, compare))
        if overlay:
            pictures.append((f"{look.stem}-overlay", partial(draw_overlay, *of_pixel, **named)))
        if look.densities:
            pictures.append(
                (f"{look.stem}-sampling", partial(draw_sampling, *of_pixel, look.densities, **named))
            )
    for start in range(0, len(looks) if len(looks) > 1 else 0, MOST_COLUMNS):
        part = looks[start : start + MOST_COLUMNS]
        stem = "grid" if len(looks) <= MOST_COLUMNS else f"grid-{start // MOST_COLUMNS + 1}"
        columns = [look.gradients for look in part], [look.heatmaps for look in part]
        pictures.append((stem, partial(draw_grid, *columns, photo=photo, **style)))
    return pictures


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


def to_json(look: Look) -> dict[str, Any]:
    """A pixel's findings as plain values."""
    shared = ("x", "y", "class", "label")
    models = [describe_model(look, number) | {"measures": m} for number, m in enumerate(look.measures)]
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
        "predicted class", *(str(describe_model(look, n)["predicted"]) for n in range(len(look.gradients)))
    )
    table.add_row("logit", *(format_value(gradient.logit) for gradient in look.gradients))
    for name in SHOWN:
        if name in look.measures[0]:
            text, unit = MEASURES[name]
            values = (format_value(measures[name]) for measures in look.measures)
            table.add_row(f"{text} ({unit})" if unit else text, *values)
    return table
