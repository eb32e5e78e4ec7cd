"""KernelDisplay: the shapes of a network's kernels, read once, fitted once, drawn and tabled as often as wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from icnn_core.errors import ArgumentError, NameNotFoundError, check_name
from icnn_core.text import counted
from icnn_viz.displays.page import to_html_table, to_image_tag
from icnn_viz.displays.suited import suiting, why_not
from icnn_viz.displays.tables import Tables
from icnn_viz.positions import (
    clouds_from_deformable,
    clouds_from_model,
    read_clouds,
    read_dcls,
    read_snapshots,
    select_layers,
    to_cloud,
)
from icnn_viz.records import GaussianFit, PositionCloud
from icnn_viz.statistics.gaussian import fit_gaussians

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import Tensor, nn

    from icnn_core.checkpoint import Checkpoint
    from icnn_viz.displays.drawings import KernelOptions, Track

LAYER_VIEWS = ("cloud", "zoo", "histogram", "3d", "field", "qq", "inspect")
"""Views of one layer."""
NETWORK_VIEWS = ("strip", "layers", "depth", "rose", "heat")
"""Views of all layers together."""
RUN_VIEWS = ("trajectory",)
"""Views of one layer over a run's snapshots."""
_TAKE_AXES = ("cloud", "qq")


class KernelDisplay:
    """The clouds of some layers and their Gaussians.

    `plot` draws one view, keeps it as `figure_` and returns the display; it never shows and never saves. In a notebook
    the display shows the figure last drawn, and until there is one its layers.

    Args:
        clouds: one a layer, in network order; of a run those of its last snapshot.
        steps, snapshots: of a run its iterations, and the clouds at each.

    Attributes:
        clouds, steps, snapshots: as given.
        fits: one GaussianFit a layer; refit with `fit`.
        figure_: the figure last drawn, or None.
    """

    def __init__(
        self,
        clouds: Iterable[PositionCloud],
        *,
        steps: Sequence[int] = (),
        snapshots: Sequence[Sequence[PositionCloud]] = (),
    ) -> None:
        self.clouds = list(clouds)
        self.steps, self.snapshots = tuple(steps), tuple(snapshots)
        if not self.clouds:
            fix = "Give a network with irregular layers."
            raise ArgumentError("KernelDisplay", needed="at least one layer", got="none", fix=fix)
        self.fits: list[GaussianFit] = [fit_gaussians(cloud) for cloud in self.clouds]
        self.figure_: Figure | None = None
        self._measured: dict[int, pd.DataFrame] = {}
        self._resampled: dict[int, pd.DataFrame] = {}

    @classmethod
    def from_snapshots(cls, source: str | Path | Sequence[str | Path], layers: Sequence[str] = ()) -> Self:
        """Of a run: its snapshots, or a folder of them. See `read_snapshots`."""
        steps, snapshots = read_snapshots(source)
        chosen = [select_layers(clouds, layers) for clouds in snapshots]
        return cls(chosen[-1], steps=steps, snapshots=chosen)

    @classmethod
    def from_checkpoint(cls, path: str | Path | Checkpoint, layers: Sequence[str] = ()) -> Self:
        """Of a checkpoint's irregular layers, or of those that match a pattern. See `read_clouds`, `select_layers`."""
        return cls(select_layers(read_clouds(path), layers))

    @classmethod
    def from_model(cls, model: nn.Module, layers: Sequence[str] = ()) -> Self:
        """Of a network's irregular layers, as they are now."""
        return cls(select_layers(clouds_from_model(model), layers))

    @classmethod
    def from_arrays(cls, positions: np.ndarray, **options: Any) -> Self:
        """Of one layer's positions; `options` as of `to_cloud`."""
        return cls([to_cloud(positions, **options)])

    @classmethod
    def from_dcls(cls, path: str | Path, version: str, kernel_size: int | tuple[int, int]) -> Self:
        """Of a state dict with DCLS layers. See `read_dcls`."""
        return cls(read_dcls(path, version, kernel_size))

    @classmethod
    def from_deformable(cls, model: nn.Module, images: Iterable[Tensor]) -> Self:
        """Of a network's deformable convolutions over images. See `clouds_from_deformable`."""
        return cls(clouds_from_deformable(model, images))

    def fit(self, *, weighted: bool = False) -> Self:
        """Fit the Gaussians anew. See `fit_gaussians`."""
        self.fits = [fit_gaussians(cloud, weighted=weighted) for cloud in self.clouds]
        return self

    def plot(
        self,
        view: str = "cloud",
        layer: str | int = -1,
        *,
        ax: Axes | None = None,
        theme: str = "light",
        **options: Any,
    ) -> Self:
        """Draw a view: of one layer (cloud, zoo, histogram, 3d, field, qq, inspect) or of all (strip, layers, depth,
        rose, heat); of a run, a layer's trajectory. Where a layer has no cloud of its own, the cloud gives way: to the
        histogram where weights have no regular places, to the row of all single shapes where it has but one.

        Args:
            layer: index, or a pattern whose first match is taken; by default the deepest layer.
            ax: axes to draw into, for "cloud" and "qq".
            options: of the view: see the function that draws it (`draw_cloud`, `draw_shape` for "inspect", …). Views
                of all layers take `seed`, of the intervals in "strip" and
                "depth".

        Raises:
            NameNotFoundError: an unknown view or layer. ArgumentError: a view that takes no axes.
        """
        self.figure_ = self.draw(view, layer, theme=theme, **({} if ax is None else {"ax": ax}), **options)
        return self

    def draw(self, view: str, layer: str | int = -1, *, theme: str = "light", **options: Any) -> Figure:
        """The figure that `plot` keeps."""
        views = LAYER_VIEWS + NETWORK_VIEWS + RUN_VIEWS
        check_name("KernelDisplay", "a view", view, views)
        if "ax" in options and view not in _TAKE_AXES:
            got = f"ax for the view {view}"
            raise ArgumentError("KernelDisplay", needed="no ax", got=got, fix="It fills a figure of its own.")
        if view in NETWORK_VIEWS:
            return self._draw_network(view, theme=theme, **options)
        number = self._index(layer)
        view = self._suiting(view, number)
        if view in RUN_VIEWS:
            from icnn_viz.figures.trajectory import draw_trajectory

            return draw_trajectory(self.path_of(number), self.steps, theme=theme, **options)
        if view == "zoo" and len(self.clouds[number].points) == 1:
            from icnn_viz.figures.zoo import draw_single_shapes

            return draw_single_shapes(self.single_shapes(), theme=theme, **options)
        return _draw_layer(view, self.clouds[number], self.fits[number], theme=theme, **options)

    def _suiting(self, view: str, number: int) -> str:
        """The view, or what is shown instead of a cloud that says nothing of the layer.

        Raises:
            ArgumentError: the view says nothing of the layer.
        """
        reason = why_not(view, self.clouds[number])
        if not reason:
            return view
        if view != "cloud":
            raise _refuse(view, self.clouds[number].layer, reason)
        return "zoo" if self.clouds[number].regular else "histogram"

    def single_shapes(self) -> list[PositionCloud]:
        """The clouds of layers that have one shape for all their channels."""
        return [cloud for cloud in self.clouds if len(cloud.points) == 1]

    def path_of(self, layer: int) -> list[PositionCloud]:
        """A layer's clouds over the snapshots.

        Raises:
            ArgumentError: there are no snapshots.
        """
        if not self.snapshots:
            fix = "Read them: KernelDisplay.from_snapshots."
            raise ArgumentError("KernelDisplay", needed="a run's snapshots", got="none", fix=fix)
        return [clouds[layer] for clouds in self.snapshots]

    def most_moved(self) -> int:
        """The number of the layer whose positions lie farthest from their slots, on average: of those with shapes
        enough for claims on their clouds, if there are any."""
        import numpy as np

        from icnn_viz.statistics.rules import ClaimRules

        shapes = [len(cloud.points) for cloud in self.clouds]
        enough = ClaimRules().shapes if max(shapes) >= ClaimRules().shapes else 0
        moved = [np.abs(cloud.displacements[np.isfinite(cloud.displacements)]) for cloud in self.clouds]
        far = [
            each.mean() if each.size and n >= enough else -1.0 for each, n in zip(moved, shapes, strict=True)
        ]
        return int(np.argmax(far))

    def tables(self, *, seed: int = 0) -> Tables:
        """All that is counted and tested: positions, gaussians, layers, tests, claims and effects, each when asked for.

        Effects are claims that need more than shapes; what they alone cannot say is "cannot be said here".

        Args:
            seed: of the resamples, permutations and subsamples.
        """
        from icnn_viz.statistics.claims import judge_claims
        from icnn_viz.statistics.effects import judge_effects
        from icnn_viz.statistics.rules import ClaimRules

        return Tables(
            {
                "positions": self.to_frame,
                "gaussians": self._shapes,
                "layers": lambda: self._layers(seed),
                "tests": lambda: self._tests(seed),
                "claims": lambda: judge_claims(self.clouds, ClaimRules(seed=seed)),
                "effects": lambda: judge_effects(self.clouds, seed=seed),
            }
        )

    def write(
        self,
        folder: str | Path,
        views: Sequence[str] = (),
        formats: Sequence[str] = ("png", "html"),
        table_formats: Sequence[str] = ("csv",),
        *,
        options: KernelOptions | None = None,
        processes: int = 1,
        drawing: Track = iter,
        measuring: Track = iter,
        on_tables: Callable[[Tables], object] = lambda tables: None,
    ) -> list[Path]:
        """Write all tables and the figures of views into a folder: what `icnn-viz kernels` does.

        Args:
            views: see `expand_views`; by default those that suit the layers.
            formats, table_formats: of figures, each in those that suit it; of tables.
            processes: see `write_drawings`.
            drawing, measuring: go through figures and tables, and show how far they are.
            on_tables: called with the tables when they are written, before figures are if one process draws.

        Raises:
            ArgumentError: parquet without pyarrow.
        """
        from icnn_viz.displays.drawings import KernelOptions, draw_views, write_drawings
        from icnn_viz.displays.suited import expand_views
        from icnn_viz.displays.tables import write_tables

        options, folder, written = options or KernelOptions(), Path(folder), list[Path]()
        tables = self.tables(seed=options.seed)

        def measure() -> None:
            written.extend(write_tables(tables, folder, table_formats, measuring))
            on_tables(tables)

        drawings = draw_views(self, expand_views(views, self), options)
        figures = write_drawings(drawings, formats, folder, drawing, processes=processes, meanwhile=measure)
        return written + figures

    def to_frame(self) -> pd.DataFrame:
        """All positions, one row a point. See `PositionCloud.to_frame`."""
        import pandas as pd

        return pd.concat([cloud.to_frame() for cloud in self.clouds], ignore_index=True)

    def summary(self) -> pd.DataFrame:
        """One row a layer. See `summarise_clouds`."""
        from icnn_viz.statistics.summary import summarise_clouds

        return summarise_clouds(self.clouds)

    def __repr__(self) -> str:
        names = ", ".join(cloud.layer for cloud in self.clouds)
        return f"KernelDisplay of {counted(len(self.clouds), 'layer')}: {names}"

    def _repr_html_(self) -> str:
        if self.figure_ is not None:  # the table would come again with each
            return f"<div>{to_image_tag(self.figure_)}</div>"
        summary = self.summary()
        shown = summary[["layer", "kernel_size", "dilation", "shapes", "state"]].assign(
            mean=summary["mean_displacement"].round(3),
            largest=summary["largest_displacement"].round(3),
            outside=summary["share_outside"].round(3),
        )
        note = "mean and largest displacement in input pixels; outside: share beyond the regular square"
        return f"<div>{to_html_table(shown, note)}</div>"

    def _shapes(self) -> pd.DataFrame:
        import pandas as pd

        from icnn_viz.statistics.gaussian import to_shapes

        return pd.concat([to_shapes(fit) for fit in self.fits], ignore_index=True)

    def _layers(self, seed: int) -> pd.DataFrame:
        from icnn_viz.statistics.spreads import test_spreads

        spreads = test_spreads(self.clouds, seed=seed).drop(columns=["state", "slots", "outer_to_centre"])
        spreads = spreads.rename(columns={"p": "p_spread", "q": "q_spread"})
        return self._measure(seed).merge(spreads, on=["layer", "depth"])

    def _tests(self, seed: int) -> pd.DataFrame:
        from icnn_viz.statistics.centres import test_centres
        from icnn_viz.statistics.normality import test_normality
        from icnn_viz.statistics.spreads import radial_spreads

        slot = ["layer", "depth", "slot", "state"]
        centres = test_centres(self.clouds).rename(columns={"p": "p_centre", "q": "q_centre"})
        tests = test_normality(self.clouds, seed=seed).merge(centres.drop(columns="points"), on=slot)
        return tests.merge(radial_spreads(self.clouds), on=slot, how="left")

    def _draw_network(self, view: str, *, seed: int = 0, **options: Any) -> Figure:
        from icnn_viz.figures.depth import draw_depth
        from icnn_viz.figures.heat import draw_heat
        from icnn_viz.figures.layers import draw_layers
        from icnn_viz.figures.rose import draw_rose
        from icnn_viz.figures.strip import draw_strip
        from icnn_viz.statistics.depth import depth_trends, in_spacings

        chosen = suiting(view, self.clouds)
        if not chosen:
            raise _refuse(view, "these layers", why_not(view, self.clouds[0]))
        clouds, fits = [self.clouds[n] for n in chosen], [self.fits[n] for n in chosen]
        if view in ("strip", "depth"):
            found = self._intervals(seed)
            layers = found.loc[found["layer"].isin([cloud.layer for cloud in clouds])]
            if view == "strip":
                return draw_strip(clouds, fits, layers, **options)
            trend = depth_trends(in_spacings(self._measure(seed), self.clouds))
            return draw_depth(layers, trend, **options)
        draw = {"heat": draw_heat, "layers": draw_layers, "rose": draw_rose}[view]
        return draw(clouds, fits, **options)

    def _intervals(self, seed: int) -> pd.DataFrame:
        """Of strip and depth, lengths in grid spacings, resampled once for all themes."""
        from icnn_viz.statistics.bootstrap import bootstrap_layers
        from icnn_viz.statistics.depth import in_spacings

        if seed not in self._resampled:
            self._resampled[seed] = in_spacings(bootstrap_layers(self.clouds, seed=seed), self.clouds)
        return self._resampled[seed]

    def _measure(self, seed: int) -> pd.DataFrame:
        from icnn_viz.statistics.layers import measure_layers

        if seed not in self._measured:
            self._measured[seed] = measure_layers(self.clouds, seed=seed)
        return self._measured[seed]

    def _index(self, layer: str | int) -> int:
        if isinstance(layer, int):
            if not -len(self.clouds) <= layer < len(self.clouds):
                needed = f"a layer below {len(self.clouds)}"
                raise NameNotFoundError("KernelDisplay", needed=needed, got=str(layer), fix="Count from 0.")
            return layer
        chosen = select_layers(self.clouds, [layer])[0]
        return next(number for number, cloud in enumerate(self.clouds) if cloud is chosen)


def _refuse(view: str, what: str, reason: str) -> ArgumentError:
    needed, fix = "layers of which it says something", "Draw zoo, inspect, 3d or, of many shapes, histogram."
    return ArgumentError(f"the view {view}", needed=needed, got=f"{what}: {reason}", fix=fix)


def _draw_layer(view: str, cloud: PositionCloud, fit: GaussianFit, **options: Any) -> Figure:
    from icnn_viz.figures.clouds import draw_cloud
    from icnn_viz.figures.clouds_3d import draw_cloud_3d
    from icnn_viz.figures.field import draw_field
    from icnn_viz.figures.histogram import draw_histogram
    from icnn_viz.figures.inspect import draw_shape
    from icnn_viz.figures.qq import draw_qq
    from icnn_viz.figures.zoo import draw_zoo

    if view == "3d":
        return draw_cloud_3d(cloud, **options)
    if view == "inspect":
        return draw_shape(cloud, **options)
    if view in ("zoo", "histogram"):
        return (draw_zoo if view == "zoo" else draw_histogram)(cloud, **options)
    return {"cloud": draw_cloud, "field": draw_field, "qq": draw_qq}[view](cloud, fit, **options)
