"""SurveyDisplay: many pixels of a labelled data set through two or more networks, paired, resumable."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from icnn_core.errors import ArgumentError, check_name
from icnn_core.evaluation.samples import warn_of_another_shape
from icnn_core.identity import describe_data, digest_weights, keep_identity
from icnn_core.text import counted
from icnn_viz.displays.datasets import check_networks
from icnn_viz.displays.drawings import to_file_names
from icnn_viz.displays.pixels import (
    METHODS,
    REDUCTIONS,
    TARGETS,
    choose_targets,
    follow,
    reduction_of,
    to_comparison,
)
from icnn_viz.displays.rows import KEY, RowFile, read_rows
from icnn_viz.displays.survey_average import AverageFile, read_average, write_maps
from icnn_viz.displays.survey_summary import GROUPS, name_of_pair, summarise
from icnn_viz.displays.tables import Tables, write_tables
from icnn_viz.heatmaps import LabelledPixel, choose_pixels, find_pixels
from icnn_viz.records import name_class

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure

    from icnn_core.datasets.registry import SegmentationDataset
    from icnn_viz.displays.drawings import Track
    from icnn_viz.gradients import Network, Target
    from icnn_viz.heatmaps import AverageMap
    from icnn_viz.records import PixelGradient

SURVEY_VIEWS = ("differences", "average")
_FEWEST = 50  # images among whose objects pixels are chosen
_SETTINGS = ("split", "pixels", "stratify", "target", "method", "reduction", "smoothing", "seed")


@dataclass(frozen=True)
class SurveyProgress:
    """How far a survey is: pixels done of all, and where this process spent its time, in seconds."""

    done: int
    total: int
    seconds: float
    seconds_in_networks: float


class SurveyDisplay:
    """Measures of heatmaps at many pixels of a data set, and their paired differences between networks.

    A survey goes on where it stopped, in its folder; several processes (as `accelerate launch` and `torchrun` start
    them) share the work. `plot` keeps its figure as `figure_` and returns the display.

    Args:
        networks: two or more; differences are those of the first from each other one.
        dataset: images with labels.
        folder: where rows are kept; None = a temporary one, as long as the display lives.
        split: of the data set, shown to the reader.
        pixels: how many.
        stratify: factors whose combinations get even shares: class, boundary, elongation.
        method, reduction, smoothing, seed: as for one pixel.
        target: whose logit is followed in all networks: "true", the pixel's class by its label, or "predicted", the one
            that the first network predicts there.

    Raises:
        ArgumentError: fewer than two networks, or two of one name. CheckpointError: other classes than the data set's.
        NameNotFoundError: no such method, reduction or target.
    """

    def __init__(
        self,
        networks: Sequence[Network],
        dataset: SegmentationDataset,
        *,
        folder: str | Path | None = None,
        split: str = "",
        pixels: int = 200,
        stratify: Sequence[str] = ("class",),
        method: str = "gradient",
        reduction: str = "",
        smoothing: float = 0.0,
        target: str = "true",
        seed: int = 0,
    ) -> None:
        reduction = reduction or reduction_of(method)
        for what, name, known in (
            ("method", method, METHODS),
            ("reduction", reduction, REDUCTIONS),
            ("target", target, TARGETS),
        ):
            check_name("SurveyDisplay", f"a known {what}", name, known)
        if len({network.name for network in networks}) < max(2, len(networks)):
            needed = "two or more networks, each of its own name"
            got = ", ".join(network.name for network in networks) or "none"
            fix = "Give networks to compare, with labels that differ."
            raise ArgumentError("SurveyDisplay", needed=needed, got=got, fix=fix)
        check_networks(networks, dataset)
        self.networks, self.dataset, self.split = list(networks), dataset, split
        self.pixels, self.stratify, self.seed = pixels, tuple(stratify), seed
        self.method, self.reduction, self.smoothing, self.target = method, reduction, smoothing, target
        self.folder = Path(folder or tempfile.mkdtemp())
        if folder is None:
            weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self.figure_: Figure | None = None
        self._tables: Tables | None = None

    def identity(self) -> dict[str, Any]:
        """All that decides the numbers; a folder holds the rows of one identity alone."""
        return {
            "networks": {network.name: digest_weights(network.model) for network in self.networks},
            "sizes": {network.name: network.size for network in self.networks},
            "channels": {n.name: [list(n.prepared.mean), list(n.prepared.std)] for n in self.networks},
            "preparation": {
                n.name: {k: v for k, v in n.prepared.to_plain().items() if k not in ("mean", "std", "source")}
                for n in self.networks
            },
            "data": describe_data(self.dataset),
            **{name: getattr(self, name) for name in _SETTINGS},
        }

    def folder_name(self) -> str:
        """A name for the folder that no other survey has."""
        found = hashlib.sha256(json.dumps(self.identity(), sort_keys=True).encode()).hexdigest()[:8]
        return to_file_names(["-".join([*filter(None, (self.dataset.name, self.split)), found])])[0]

    def run(self, track: Track = iter) -> SurveyProgress:
        """Look at all pixels of this process's share that no row tells of yet.

        Rows go to `folder`/rows/<process>.csv as they come.

        Args:
            track: goes through the images and shows how far it is.

        Raises:
            ArgumentError: the folder holds another survey, or an unknown factor of `stratify`.
        """
        started, in_networks = time.perf_counter(), 0.0
        plan = self._load_plan(track)
        for network in self.networks:
            warn_of_another_shape(self.dataset, network.size)
        # This process's number and how many there are, as `accelerate launch` and `torchrun` tell them:
        rank, world = int(os.environ.get("RANK", 0)), max(1, int(os.environ.get("WORLD_SIZE", 1)))
        known, added = set(self._rows()[KEY]), self.average().ids
        todo = [(n, p) for n, p in enumerate(plan) if not {n} <= known & added and p.image % world == rank]
        rows = RowFile(self.folder / "rows" / f"{rank}.csv", len(self.networks))
        sums = AverageFile(self.folder / "maps" / f"{rank}.npz", len(self.networks))
        groups = [(index, list(group)) for index, group in itertools.groupby(todo, lambda one: one[1].image)]
        waiting: Future[None] | None = None
        # Rows are measured and written while the networks are at work on the next image.
        with closing(sums), ThreadPoolExecutor(1) as writer:
            for index, group in track(groups):
                tensor, mask = self.dataset[index]
                image, labels = tensor.permute(1, 2, 0).numpy(), mask.numpy()
                begun = time.perf_counter()
                targets = choose_targets([pixel.pixel for _, pixel in group], labels, self.target)
                columns = follow(self.networks, image, targets, self.method, self.seed)
                in_networks += time.perf_counter() - begun
                if waiting is not None:
                    waiting.result()
                new = [n for n, _ in group if n not in known], [n for n, _ in group if n not in added]
                waiting = writer.submit(self._write, rows, sums, new, group, columns, labels)
            if waiting is not None:
                waiting.result()
        self._tables = None
        done = len(set(self._rows()[KEY]))
        return SurveyProgress(done, len(plan), time.perf_counter() - started, in_networks)

    def tables(self) -> Tables:
        """ "measures": a row per pixel and network; "differences": paired, with intervals; "effects": what the paper
        says of receptive fields, judged; "average": the mean share of the energy within each distance of the pixel, a
        column a network. Runs what is left to run."""
        if self._tables is None:
            self.run()
            from icnn_viz.statistics.effects import judge_effects

            labels = [network.name for network in self.networks]
            rows = self._rows()
            makers: dict[str, Callable[[], pd.DataFrame]] = {"measures": lambda: rows}
            makers |= {"differences": lambda: summarise(rows, labels, self.dataset.classes, self.seed)}
            makers |= {"average": self._curves}
            self._tables = tables = Tables(
                makers | {"effects": lambda: judge_effects(survey=tables["differences"], seed=self.seed)}
            )
        return self._tables

    def summary(self) -> pd.DataFrame:
        """The differences over all pixels, a row a measure and pair of networks."""
        differences = self.tables()["differences"]
        return differences.loc[differences["group"] == "all"].drop(columns=["group", "stratum"])

    def zero_maps(self) -> dict[str, int]:
        """By network how many heatmaps are zero everywhere: they have no shares, and are left out of differences."""
        measures = self.tables()["measures"]
        return {
            n.name: int((measures.loc[measures["model"] == n.name, "energy"] == 0).sum())
            for n in self.networks
        }

    def average(self) -> AverageMap:
        """The maps of all pixels so far, centred on these, added up: by network, as shares of their energy."""
        return read_average(sorted((self.folder / "maps").glob("[!.]*.npz")), len(self.networks))

    def plot(self, against: int = 1, *, view: str = "differences", theme: str = "light") -> Self:
        """Draw the first network beside another one, by its number: "differences" of measures, or the "average" map."""
        self.figure_ = self.draw(against, view=view, theme=theme)
        return self

    def draw(self, against: int = 1, *, view: str = "differences", theme: str = "light") -> Figure:
        """The figure that `plot` keeps.

        Raises:
            ArgumentError: too few images for intervals, or no map with energy. NameNotFoundError: no such view.
        """
        from icnn_viz.figures.average import draw_average
        from icnn_viz.figures.survey import draw_survey

        check_name("SurveyDisplay", "a view", view, SURVEY_VIEWS)
        first, other = self.networks[0].name, self.networks[against].name
        if view == "average":
            shown = {"places": (0, against), "title": self.describe(), "theme": theme}
            return draw_average(self.average(), first, other, **shown)
        return draw_survey(self._differences(other), first, other, title=self.describe(), theme=theme)

    def describe(self) -> str:
        """What was looked at, in a line: data, pixels, method, whose logit, and how many maps were left out."""
        rows, zeros = self.tables()["measures"], sum(self.zero_maps().values())
        named = " ".join(part for part in (self.dataset.name, self.split) if part)
        parts = [
            named,
            f"{counted(len(set(rows[KEY])), 'pixel')} of {counted(len(set(rows['image'])), 'image')}",
        ]
        parts.append(f"{self.method}, logit of the {TARGETS[self.target]}")
        return " · ".join(parts + [f"{counted(zeros, 'map')} zero everywhere, left out"] * bool(zeros))

    def left_out(self) -> str:
        """Why there is no figure of differences, in a sentence; "" where there is one."""
        from icnn_viz.figures.survey import has_intervals

        if any(has_intervals(self._differences(network.name)) for network in self.networks[1:]):
            return ""
        return "No figure of differences: fewer than five images spoke, so there are no intervals."

    def write(self, formats: Sequence[str] = ("png",), *, theme: str = "light") -> list[Path]:
        """Write measures.csv, differences.csv, average.csv and average.npz, and two figures per pair of networks, into
        the folder."""
        from icnn_viz.figures.survey import has_intervals
        from icnn_viz.figures.write import write_figure

        written, average = write_tables(self.tables(), self.folder), self.average()
        names = [network.name for network in self.networks]
        written.append(write_maps(average, names, self.folder / "average.npz"))
        drawn = []
        for number, network in enumerate(names[1:], 1):
            views = ["differences"] * has_intervals(self._differences(network)) + ["average"] * bool(
                average.pixels
            )
            for view in views:
                figure = self.draw(number, view=view, theme=theme)
                path = self.folder / name_of_pair(network, number, view)
                drawn += [write_figure(figure, f"{path}.{kind}") for kind in dict.fromkeys(formats)]
        return drawn + written

    def __repr__(self) -> str:
        names = " | ".join(network.name for network in self.networks)
        return f"SurveyDisplay of {counted(self.pixels, 'pixel')} of {self.dataset.name} through {names}"

    def _repr_html_(self) -> str:
        from icnn_viz.displays.page import to_html_table, to_image_tag

        whole = self.summary().drop(columns="model")
        return f"<div>{to_html_table(whole.round(4), self.describe())}{to_image_tag(self.figure_)}</div>"

    def _differences(self, other: str) -> pd.DataFrame:
        differences = self.tables()["differences"]
        return differences.loc[differences["against"] == other]

    def _rows(self) -> pd.DataFrame:
        """The rows of all processes so far, by pixel."""
        return read_rows(sorted((self.folder / "rows").glob("[!.]*.csv")), len(self.networks))

    def _load_plan(self, track: Track) -> list[LabelledPixel]:
        """The pixels to look at, in order: chosen once, from one image a pixel or 50, and kept in `folder`/plan.csv."""
        import numpy as np
        import pandas as pd

        path, settings = self.folder / "plan.csv", self.folder / "survey.json"
        if path.exists() or settings.exists():
            keep_identity(settings, self.identity(), ArgumentError)
        if path.exists():
            return [_to_pixel(row) for row in pd.read_csv(path).to_dict("records")]
        order = np.random.default_rng(self.seed).permutation(len(self.dataset))
        candidates: list[LabelledPixel] = []
        for index in track(sorted(order[: max(_FEWEST, self.pixels)].tolist())):
            labels = self.dataset[index][1].numpy()
            candidates += find_pixels(index, labels, self.dataset.ignore_index, self.seed)
        plan = choose_pixels(candidates, self.pixels, self.stratify, self.seed)
        keep_identity(settings, self.identity(), ArgumentError)
        rows = [
            {"image": p.image, "x": p.pixel[1], "y": p.pixel[0], "label": p.label}
            | {"boundary": p.boundary, "elongation": p.elongation, "area": p.area}
            for p in plan
        ]
        write_tables({"plan": pd.DataFrame(rows)}, self.folder)
        return plan

    def _curves(self) -> pd.DataFrame:
        import pandas as pd

        curves = self.average().mean_curves()
        columns = {network.name: curve for network, curve in zip(self.networks, curves, strict=True)}
        return pd.DataFrame({"distance": range(curves.shape[1]), **columns})

    def _write(
        self,
        rows: RowFile,
        sums: AverageFile,
        new: tuple[Sequence[int], Sequence[int]],
        group: Sequence[tuple[int, LabelledPixel]],
        columns: Sequence[tuple[Target, list[PixelGradient]]],
        labels: np.ndarray,
    ) -> None:
        """Per pixel a row for each network, and its maps into the average; what is `new` to either."""
        classes = tuple(self.dataset.classes)
        for (number, pixel), (_, gradients) in zip(group, columns, strict=True):
            record = to_comparison(gradients, self.reduction, self.smoothing, labels, classes=classes)
            if number in new[0]:
                rows.append(
                    [
                        {KEY: number, "image": pixel.image, "x": pixel.pixel[1], "y": pixel.pixel[0]}
                        | {column: pixel.stratum(factor, classes) for factor, column in GROUPS.items()}
                        | {"area": pixel.area, "target": name_class(gradient.class_id, classes)}
                        | {"model": gradient.network, **_answer(gradient, pixel.label, classes), **measures}
                        for gradient, measures in zip(gradients, record.measures, strict=True)
                    ]
                )
            if number in new[1]:
                sums.add(number, record.heatmaps)


def _to_pixel(row: dict[Any, Any]) -> LabelledPixel:
    place = (int(row["y"]), int(row["x"]))
    return LabelledPixel(
        int(row["image"]), place, int(row["label"]), float(row["boundary"]), float(row["elongation"]), int(row["area"])
    )  # fmt: skip


def _answer(gradient: PixelGradient, label: int, classes: Sequence[str]) -> dict[str, Any]:
    predicted = int(gradient.prediction[gradient.pixel])
    right = int(predicted == label)
    return {"predicted": name_class(predicted, classes), "correct": right, "logit": gradient.logit}
