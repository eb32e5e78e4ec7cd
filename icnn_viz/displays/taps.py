"""TapDisplay: where the taps of a network's layers land on an image for one of its pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from icnn_core.errors import ArgumentError, IcnnError
from icnn_core.preparation import Preparation, tell_reader
from icnn_viz.displays.drawings import PAGE, Drawing, Track, write_drawings
from icnn_viz.displays.images import to_pixels
from icnn_viz.displays.page import to_html_table, to_image_tag
from icnn_viz.displays.pixels import find_class
from icnn_viz.displays.tables import write_tables
from icnn_viz.gradients import Network, to_networks
from icnn_viz.gradients.networks import load_network
from icnn_viz.taps import LAYOUTS as LAYOUTS
from icnn_viz.taps import MOST, OffsetSource, Watched, watch

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go
    from matplotlib.figure import Figure
    from torch import nn

    from icnn_viz.displays.images import ImageLike
    from icnn_viz.records import PixelComparison, PixelTaps

DEPTH = 3
"""Layers one after another that are shown."""


class TapDisplay:
    """The taps of a layer, then of two and three layers, for one pixel: on their regular places, and where they were
    learnt.

    `plot` draws, keeps the figure as `figure_` and returns the display; it never shows and never saves.

    Args:
        learnt: a network that has seen the image.
        regular: another one to compare with; None = the same with its taps on their slots.
        pixel: (y, x) in pixels of the image.
        layer: its name or the end of it; None = see `Watched.taps`.
        class_id: whose weights count, by number or name; None = of the class that the first network predicts there.
        depth: how many layers one after another.
        most: points that are kept, the heaviest.

    Attributes:
        rows: for one layer, two, …: what is shown left and right.
        figure_: the figure last drawn, or None.

    Raises:
        IcnnError: as of `Watched.taps`.
    """

    def __init__(
        self,
        learnt: Watched,
        regular: Watched | None = None,
        *,
        pixel: tuple[int, int],
        layer: str | None = None,
        class_id: int | str | None = None,
        depth: int = DEPTH,
        most: int = MOST,
    ) -> None:
        if depth < 1:
            raise ArgumentError("TapDisplay", needed="a depth from 1", got=str(depth), fix="Try 3.")
        self._learnt, self._regular, self._most = learnt, regular, most
        number = find_class(class_id, learnt.classes) if isinstance(class_id, str) else class_id
        self._class = learnt.predicted(pixel) if number is None else number
        self.pixel, self.rows = pixel, list[tuple["PixelTaps", "PixelTaps"]]()
        for count in range(1, depth + 1):
            taps = self._taps(learnt, layer, count)
            if len(taps.layers) < count:
                break
            self.rows.append((self._beside(taps, count), taps))
        self.figure_: Figure | None = None

    @classmethod
    def from_models(
        cls, models: nn.Module | Mapping[str, nn.Module], image: ImageLike, pixel: tuple[int, int],
        *, classes: Sequence[str] = (), size: tuple[int, int] | None = None, preparation: Preparation | None = None,
        **options: Any,
    ) -> Self:  # fmt: skip
        """Of a network in memory, or two by name, the second the regular one; `options` as of `from_networks`."""
        networks = to_networks("TapDisplay", models, classes=classes, size=size, preparation=preparation)
        return cls.from_networks(networks, image, pixel, **options)

    @classmethod
    def from_checkpoints(
        cls, learnt: str | Path, regular: str | Path | None, image: ImageLike, pixel: tuple[int, int],
        *, size: tuple[int, int] | None = None, device: str = "auto", **options: Any,
    ) -> Self:  # fmt: skip
        """Of one file or two; `options` as of `from_networks`.

        Raises:
            CheckpointError: a file that cannot be used. IcnnError: as of `Watched.taps`.
        """
        paths = [Path(path) for path in (learnt, regular) if path is not None]
        networks = [load_network(path, size=size, device=device) for path in paths]
        return cls.from_networks(networks, image, pixel, **options)

    @classmethod
    def from_networks(
        cls, networks: Sequence[Network], image: ImageLike, pixel: tuple[int, int],
        *, offsets: OffsetSource | None = None, **options: Any,
    ) -> Self:  # fmt: skip
        """Of one network or two that know how to be looked at.

        Args:
            offsets: of the first network, where a module of its own applies them.
            options: layer, class_id, depth, most.
        """
        learnt, *others = watch_all(networks, to_pixels(image), offsets)
        return cls(learnt, others[0] if others else None, pixel=pixel, **options)

    @property
    def class_name(self) -> str:
        """Whose weights count, or ""."""
        return self.rows[0][1].class_name

    def notes(self) -> list[str]:
        """What a reader must be told."""
        return list(dict.fromkeys(note for row in self.rows for taps in row for note in taps.notes))

    def plot(self, *, theme: str = "light") -> Self:
        """Draw all rows."""
        self.figure_ = self.draw(theme=theme)
        return self

    def draw(self, *, theme: str = "light") -> Figure:
        """The figure that `plot` keeps."""
        from icnn_viz.figures.taps import draw_taps

        return draw_taps(self.rows, theme=theme)

    def page(self, *, theme: str = "light") -> go.Figure:
        """To turn in a browser: a slider over the network's layers, and one from the regular places to the learnt."""
        from icnn_viz.figures.tap_pages import draw_taps_interactive

        taps = []
        for name in self._learnt.names():
            try:
                taps.append(self._taps(self._learnt, name, 1))
            except IcnnError:  # off the way to this pixel
                continue
        chosen = next(
            (n for n, one in enumerate(taps) if one.layers == self.rows[0][1].layers), len(taps) - 1
        )
        return draw_taps_interactive(taps, chosen, theme=theme)

    def write(
        self,
        folder: str | Path,
        formats: Sequence[str] = ("png", "html"),
        *,
        theme: str = "light",
        track: Track = iter,
    ) -> list[Path]:
        """Write the figure, the page and taps.csv into a folder."""
        stem = "taps-x{1}-y{0}".format(*self.pixel)
        drawings = [Drawing(stem, partial(self.draw, theme=theme))]
        drawings.append(Drawing(stem, partial(self.page, theme=theme), PAGE))
        written = write_drawings(drawings, formats, Path(folder), track)
        return written + write_tables({"taps": self.to_frame()}, Path(folder))

    def to_frame(self) -> pd.DataFrame:
        """One row a point, see `PixelTaps`; with `places` ("regular" or "learnt"), `pixel_x`, `pixel_y` and `class`."""
        import pandas as pd

        tables = []
        for row in self.rows:
            for places, taps in zip(("regular", "learnt"), row, strict=True):
                table = taps.to_frame()
                table.insert(0, "places", places)
                tables.append(table)
        y, x = self.pixel
        table = pd.concat(tables, ignore_index=True)
        return table.assign(pixel_x=x, pixel_y=y, **{"class": self.class_name})

    def summary(self) -> pd.DataFrame:
        """One row a panel: layers, places, points, share of the weight, share beyond borders, mean move (px)."""
        import numpy as np
        import pandas as pd

        rows = []
        for row in self.rows:
            for places, taps in zip(("regular", "learnt"), row, strict=True):
                moved = np.linalg.norm(taps.at - taps.regular, axis=1)
                weight = np.abs(taps.weight)
                mean = float((moved * weight).sum() / weight.sum()) if weight.sum() else 0.0
                rows.append(
                    {"layers": " < ".join(taps.layers), "places": places, "points": len(taps.at),
                     "held": taps.held, "beyond": taps.beyond, "moved": mean}
                )  # fmt: skip
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        names = " < ".join(self.rows[-1][1].layers)
        return f"TapDisplay of {names} at (y, x) = {self.pixel}"

    def _repr_html_(self) -> str:
        note = "held, beyond: shares of the weight; moved: mean way from the regular places (px of the image)"
        return f"<div>{to_html_table(self.summary(), note)}{to_image_tag(self.figure_)}</div>"

    def _taps(self, watched: Watched, layer: str | None, depth: int, *, snapped: bool = False) -> PixelTaps:
        options = {"depth": depth, "class_id": self._class, "most": self._most, "snapped": snapped}
        return watched.taps(self.pixel, layer, **options)

    def _beside(self, taps: PixelTaps, depth: int) -> PixelTaps:
        if self._regular is None:
            return self._taps(self._learnt, taps.layers[0], depth, snapped=True).snapped()
        name = taps.layers[0] if taps.layers[0] in self._regular.names() else None
        return self._taps(self._regular, name, depth).snapped()


def load_networks(
    learnt: Path, regular: Path | None, *, model: str | None = None, reader: str | None = None, **options: Any
) -> list[Network]:
    """One network or two, whatever layers they have; `model` names what builds the regular one, `reader` what reads the
    images that they will see; `options` as of `load_network`.

    Raises:
        CheckpointError: a file that cannot be used. NameNotFoundError: no such function.
    """
    from icnn_core.models.factory import load_factory

    factory = load_factory(model) if model else None
    networks = [
        load_network(path, factory=factory, **options) for path in (learnt, regular) if path is not None
    ]
    tell_reader(networks[0].model, reader)
    return networks


def taps_of(networks: Sequence[Network], record: PixelComparison) -> TapDisplay | None:
    """The taps for a compared pixel and its class; None where a network's places cannot be followed."""
    gradient = record.gradients[0]
    try:
        return TapDisplay.from_networks(
            networks[:2], gradient.image, record.pixel, class_id=gradient.class_id
        )
    except IcnnError:
        return None


def watch_all(networks: Sequence[Network], image: Any, offsets: OffsetSource | None = None) -> list[Watched]:
    """Show every network an image, the first with its offsets."""
    return [
        watch(
            network.model, image, network=network.name, classes=network.classes, size=network.size,
            preparation=network.prepared, offsets=None if number else offsets,
        )
        for number, network in enumerate(networks)
    ]  # fmt: skip
