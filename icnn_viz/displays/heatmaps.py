"""HeatmapDisplay: what some pixels of an image depend on in several networks, computed once, drawn at will."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from icnn_core.errors import ArgumentError, NameNotFoundError, check_name
from icnn_core.preparation import Preparation
from icnn_viz.displays.images import to_pixels
from icnn_viz.displays.page import to_html_table, to_image_tag
from icnn_viz.displays.pixels import compare_pixels, find_class, to_frame
from icnn_viz.gradients import Network, Target, load_pair, to_networks

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure
    from torch import nn

    from icnn_viz.displays.drawings import Track
    from icnn_viz.displays.images import ImageLike
    from icnn_viz.records import PixelComparison

HEATMAP_VIEWS = ("comparison", "overlay", "sampling", "grid")
"""Views of one pixel; "grid" is of all pixels."""
Pixels = tuple[int, int] | Target | Sequence[tuple[int, int] | Target]


class HeatmapDisplay:
    """Gradients, heatmaps and measures of some pixels through one network or several.

    `plot` draws one view, keeps it as `figure_` and returns the display; it never shows and never saves. In a notebook
    the display shows the measures and the figure last drawn.

    Args:
        records: one a pixel, all through the same networks.

    Attributes:
        records: as given; a record holds `gradients`, `heatmaps` and `measures`, one per network.
        figure_: the figure last drawn, or None.

    Raises:
        ArgumentError: no pixel.
    """

    def __init__(self, records: Iterable[PixelComparison]) -> None:
        self.records = list(records)
        if not self.records:
            raise _refuse("at least one pixel", "none", "Give pixels as (y, x).")
        self.figure_: Figure | None = None

    @classmethod
    def from_models(
        cls,
        models: nn.Module | Mapping[str, nn.Module],
        image: ImageLike,
        pixels: Pixels,
        *,
        classes: Sequence[str] = (),
        size: tuple[int, int] | None = None,
        preparation: Preparation | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        divisor: int | None = None,
        output: str | None = None,
        **options: Any,
    ) -> Self:
        """Of networks in memory.

        Args:
            models: networks by the name that is shown, the difference drawn is the first minus the second; or one.
            image: (H, W, 3) uint8, RGB; or a PIL image, or the path of one; or others, see `pixel_gradients`.
            pixels: (y, x) in pixels of the image, or a `Target`; or several.
            classes: names by class id.
            size, preparation, mean, std, divisor, output: how the networks see the image, see `pixel_gradients`.
            options: of `from_networks`.

        Raises:
            IcnnError: as of `pixel_gradients`.
        """
        said = {"mean": mean, "std": std, "divisor": divisor, "output": output}
        seen = {"classes": classes, "size": size, "preparation": preparation}
        networks = to_networks("HeatmapDisplay", models, **seen, **said)
        return cls.from_networks(networks, image, pixels, **options)

    @classmethod
    def from_checkpoints(
        cls,
        irregular: str | Path,
        regular: str | Path | None,
        image: ImageLike,
        pixels: Pixels,
        *,
        controls: bool = False,
        size: tuple[int, int] | None = None,
        device: str = "auto",
        seed: int = 0,
        **options: Any,
    ) -> Self:
        """Of two files, or of one (`regular` None) beside itself with its positions snapped to the slots.

        Args:
            controls: add the irregular network snapped, and with random weights. See `load_pair`.
            image, pixels: as in `from_models`.
            options: of `from_networks`.

        Raises:
            CheckpointError: a file that cannot be used. IcnnError: as of `pixel_gradients`.
        """
        networks = load_pair(
            Path(irregular),
            None if regular is None else Path(regular),
            size=size,
            device=device,
            controls=controls,
            seed=seed,
        )
        return cls.from_networks(networks, image, pixels, seed=seed, **options)

    @classmethod
    def from_networks(
        cls,
        networks: Sequence[Network],
        image: ImageLike,
        pixels: Pixels,
        *,
        class_id: int | str | None = None,
        method: str = "gradient",
        reduction: str = "",
        smoothing: float = 0.0,
        labels: np.ndarray | None = None,
        sampling: bool = False,
        seed: int = 0,
    ) -> Self:
        """Of networks that know how to be looked at (`load_pair`).

        Args:
            class_id: whose logit, for all networks, by number or name; None = the class that the first network predicts
                at the pixel.
            method: of attribution, see `pixel_gradients`.
            reduction, smoothing: of the heatmaps, see `to_heatmap`.
            labels: (H, W) true class ids of the image: they give the measures of masks.
            sampling: trace where the networks sample, too, which the view "sampling" needs.
            seed: of smoothgrad's noise.
        """
        if not networks or len({network.name for network in networks}) < len(networks):
            got = ", ".join(network.name for network in networks) or "none"
            raise _refuse("networks, each of its own name", got, "Give each another name.")
        number = find_class(class_id, networks[0].classes) if isinstance(class_id, str) else class_id
        targets = [p if isinstance(p, Target) else Target(p, number) for p in _listed(pixels)]
        image = to_pixels(image)
        choice = {"method": method, "reduction": reduction, "smoothing": smoothing, "seed": seed}
        return cls(compare_pixels(networks, image, targets, labels=labels, sampling=sampling, **choice))

    def plot(self, view: str = "comparison", pixel: int = 0, *, theme: str = "light", **options: Any) -> Self:
        """Draw a view: of one pixel (comparison, overlay, sampling) or of all (grid).

        Args:
            pixel: index among the display's pixels.
            options: of the view: see `draw_comparison`, `draw_overlay`, `draw_sampling`, `draw_grid`.

        Raises:
            NameNotFoundError: an unknown view or pixel. ArgumentError: "sampling" where nothing was traced.
        """
        self.figure_ = self.draw(view, pixel, theme=theme, **options)
        return self

    def draw(self, view: str, pixel: int = 0, *, theme: str = "light", **options: Any) -> Figure:
        """The figure that `plot` keeps."""
        from icnn_viz.figures.comparison import draw_comparison
        from icnn_viz.figures.grid import draw_grid
        from icnn_viz.figures.overlay import draw_overlay
        from icnn_viz.figures.sampling import draw_sampling

        record = self._find(view, pixel)
        if view == "grid":
            columns = [each.gradients for each in self.records], [each.heatmaps for each in self.records]
            return draw_grid(*columns, theme=theme, **options)
        shown: dict[str, Any] = {"true_class": record.true_class, "theme": theme} | options
        maps = record.gradients, record.heatmaps
        if view == "sampling":
            if not record.densities:
                raise _refuse("traces of where the networks sample", "none", "Compute with sampling=True.")
            return draw_sampling(*maps, record.densities, **shown)
        if view == "overlay":
            return draw_overlay(*maps, **shown)
        return draw_comparison(*maps, measures=record.measures, labels=record.labels, **shown)

    def in_grids(self) -> list[Self]:
        """Displays of as many of the pixels as the view "grid" holds, in their order; none of a single pixel."""
        from icnn_viz.figures.grid import MOST_COLUMNS

        starts = range(0, len(self.records), MOST_COLUMNS) if len(self.records) > 1 else ()
        return [type(self)(self.records[start : start + MOST_COLUMNS]) for start in starts]

    def write(
        self, folder: str | Path, formats: Sequence[str] = ("png",), *, track: Track = iter, **style: Any
    ) -> list[Path]:
        """Write figures (`style` as of `draw_pixels`), raw gradients (.npz) and measures.csv into a folder."""
        from icnn_viz.displays.drawings import draw_pixels, stem_of, write_drawings, write_gradients
        from icnn_viz.displays.tables import write_tables

        folder = Path(folder)
        written = write_drawings(draw_pixels(self, **style), formats, folder, track)
        written += [write_gradients(record, folder / f"{stem_of(record)}.npz") for record in self.records]
        return written + write_tables({"measures": self.to_frame()}, folder)

    def to_frame(self) -> pd.DataFrame:
        """One row per pixel, network and measure: x, y, class, against, label, model, predicted, logit, measure, value.

        "against" is the class whose logit is subtracted, or "".
        """
        return to_frame(self.records)

    def summary(self) -> pd.DataFrame:
        """The measures, one column per network, one row per pixel and measure, in the order of `measure_rows`;
        "against" is there where a logit is subtracted."""
        import pandas as pd

        from icnn_viz.figures.measure_table import measure_rows

        differs = any(record.gradients[0].against_name for record in self.records)
        rows = [
            {"x": record.pixel[1], "y": record.pixel[0], "class": record.gradients[0].class_name}
            | ({"against": record.gradients[0].against_name} if differs else {})
            | {"measure": row.name, **dict(zip(record.networks, row.values, strict=True)), "unit": row.unit}
            for record in sorted(self.records, key=lambda record: record.pixel[::-1])
            for row in measure_rows(record)
        ]
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        places = ", ".join("({}, {})".format(*record.pixel) for record in self.records[:6])
        more = ", …" if len(self.records) > 6 else ""
        return f"HeatmapDisplay of (y, x) {places}{more} through {' | '.join(self.records[0].networks)}"

    def _repr_html_(self) -> str:
        from icnn_viz.figures.panels import format_alike

        shown = self.summary()
        networks = self.records[0].networks
        alike = [format_alike(values) for values in shown[networks].to_numpy()]
        shown[networks] = shown[networks].astype(object)
        shown[networks] = alike
        note = "energy and peak are in the unit of the heatmap; –: a map that is zero everywhere has none"
        return f"<div>{to_html_table(shown, note)}{to_image_tag(self.figure_)}</div>"

    def _find(self, view: str, pixel: int) -> PixelComparison:
        check_name("HeatmapDisplay", "a view", view, HEATMAP_VIEWS)
        if not -len(self.records) <= pixel < len(self.records):
            needed = f"the index of a pixel, below {len(self.records)}"
            raise NameNotFoundError("HeatmapDisplay", needed=needed, got=str(pixel), fix="Count from 0.")
        return self.records[pixel]


def _listed(pixels: Pixels) -> Sequence[tuple[int, int] | Target]:
    """Several pixels, also where one was given."""
    if isinstance(pixels, Target):
        return [pixels]
    given: list[Any] = (
        list(pixels) if isinstance(pixels, Iterable) and not isinstance(pixels, str) else [None]
    )
    given = [tuple(given)] if len(given) == 2 and all(_is_number(value) for value in given) else given
    for pixel in given:
        if not isinstance(pixel, Target) and not (
            hasattr(pixel, "__len__") and len(pixel) == 2 and all(_is_number(value) for value in pixel)
        ):
            raise _refuse("pixels as (y, x), whole numbers, or Targets", repr(pixels)[:80], "Count from 0.")
    return [p if isinstance(p, Target) else (int(p[0]), int(p[1])) for p in given]


def _is_number(value: object) -> bool:
    return hasattr(value, "__index__")


def _refuse(needed: str, got: str, fix: str) -> ArgumentError:
    return ArgumentError("HeatmapDisplay", needed=needed, got=got, fix=fix)
