"""KernelPairDisplay: the shapes of two networks, or of one network in two states, compared layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from icnn_core.errors import ArgumentError
from icnn_viz.displays.drawings import Drawing, Track, write_drawings
from icnn_viz.displays.kernels import KernelDisplay
from icnn_viz.displays.tables import Tables, write_tables
from icnn_viz.statistics.pairing import NUMBERED, REORDERED, RESCALED, pair_layers, to_slots_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_TOLD = {
    REORDERED: "slots stand in another order in the second; they were paired by their places",
    RESCALED: "slots lie at another spacing in the second; they were paired by row and column, displacements in px",
    NUMBERED: "no regular positions; slots were paired by number, and positions compared",
}


class KernelPairDisplay:
    """Two KernelDisplays whose layers of the same name are compared; a single layer on each side, whatever the names.

    Args:
        first, second: what is compared.
        names: of the two, shown to the reader.

    Raises:
        ArgumentError: no layer in common.
    """

    def __init__(self, first: KernelDisplay, second: KernelDisplay, names: Sequence[str]) -> None:
        if not pair_layers(first.clouds, second.clouds)[0]:
            needed, fix = "two runs with layers of the same names", "Compare one architecture."
            raise ArgumentError("kernels", needed=needed, got="none in common", fix=fix)
        self.displays, self.names = (first, second), tuple(names)

    def draw(self, *, theme: str = "light") -> Figure:
        """The layers that both have on one sheet."""
        from icnn_viz.figures.runs import draw_runs
        from icnn_viz.statistics.gaussian import fit_gaussians

        pairs, *_ = pair_layers(self.displays[0].clouds, self.displays[1].clouds)
        clouds = [first for first, _ in pairs]
        first = [fit_gaussians(cloud) for cloud in clouds]
        second = [fit_gaussians(to_slots_of(cloud, other)) for cloud, other in pairs]
        return draw_runs(clouds, first, second, names=(self.names[0], self.names[1]), theme=theme)

    def write(
        self,
        folder: str | Path,
        formats: Sequence[str] = ("png",),
        table_formats: Sequence[str] = ("csv",),
        *,
        theme: str = "light",
        seed: int = 0,
        track: Track = iter,
        on_tables: Callable[[Tables], object] = lambda tables: None,
    ) -> list[Path]:
        """Write both tables and the figure into a folder; `on_tables` is called with the tables before."""
        tables = self.tables(seed=seed)
        on_tables(tables)
        written = write_tables(tables, Path(folder), table_formats)
        drawing = Drawing("runs", partial(self.draw, theme=theme))
        return written + write_drawings([drawing], formats, Path(folder), track)

    def tables(self, *, seed: int = 0) -> Tables:
        """The comparison, one row a slot (`compare_runs`), and the layers of both (`measure_layers`)."""
        from icnn_viz.statistics.distances import compare_runs

        first, second = (display.clouds for display in self.displays)
        return Tables(
            {
                "comparison": lambda: compare_runs(first, second, seed=seed),
                "layers": lambda: self._layers(seed),
            }
        )

    def _layers(self, seed: int) -> pd.DataFrame:
        import pandas as pd

        from icnn_viz.statistics.layers import measure_layers

        runs = dict(zip(self.names, self.displays, strict=True))
        tables = [measure_layers(one.clouds, seed=seed).assign(run=name) for name, one in runs.items()]
        return pd.concat(tables, ignore_index=True)


def to_notes(comparison: pd.DataFrame) -> list[str]:
    """What a reader of the comparison must be told: layers that one lacks, slots that were not simply the same."""
    notes = []
    for side, word in (("a", "first"), ("b", "second")):
        lone = comparison.loc[comparison["state"] == f"only in the {word}", f"layer_{side}"]
        notes += [f"Only in the {word}, and not compared: {', '.join(lone)}."] if len(lone) else []
    for pairing, words in _TOLD.items():
        layers = comparison.loc[comparison["pairing"] == pairing, "layer_a"].unique()
        notes += [f"{', '.join(layers)}: {words}."] if len(layers) else []
    renamed = comparison.loc[comparison["layer_a"] != comparison["layer_b"], ["layer_a", "layer_b"]].dropna()
    notes += [
        f"{a} of the first was compared with {b} of the second."
        for a, b in set(renamed.to_records(index=False).tolist())
    ]
    return notes
