"""Draws the pictures of the documentation, in both themes: `python docs/write_images.py`.

Those of the gallery are of the built-in pair, by the code that the page shows; surveys of the tables in docs/results.
Pictures of CamVid and VOC need what the repository does not hold: `--trained FOLDER` with the runs of
docs/results/photos.md, as `camvid/irregular/seed-0/last.pt`, `camvid/regular/seed-0/last.pt` and the same under `voc`,
and `--data FOLDER` with `camvid` and `voc12_animals/VOCdevkit`. `--survey FOLDER` keeps the survey of the average map
(that of docs/heatmaps.md), which takes minutes, so that it goes on where it stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from gallery import list_gallery, write_marks

from icnn_core.datasets.registry import open_dataset
from icnn_viz.displays import HeatmapDisplay, KernelDisplay, SurveyDisplay
from icnn_viz.displays.images import read_image, read_labels
from icnn_viz.figures.style import THEMES
from icnn_viz.figures.survey import draw_survey
from icnn_viz.figures.write import write_figure
from icnn_viz.gradients import load_pair

DOCS = Path(__file__).parent
FOLDER = DOCS / "images"
DPI = 200  # speckled grids take half
VOC = "voc12_animals/VOCdevkit/VOC2012"
CAR, STREET = (230, 120), [(230, 120), (200, 240), (320, 300), (120, 60)]
CAT = [(196, 131), (230, 230), (330, 180), (351, 339)]
PAIR = ("irregular", "regular")
CLOUDS = {"camvid-fire-cloud": "features.12.expand3x3", "camvid-fc1-cloud": "classifier.fc1"}
Pictures = Iterator[tuple[str, Callable[..., Any]]]


def main() -> None:
    """Write NAME.png and NAME-dark.png."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for option in ("--trained", "--data", "--survey"):
        parser.add_argument(option, type=Path, metavar="FOLDER")
    parser.add_argument("--only", default="", metavar="TEXT", help="pictures whose names begin so")
    chosen = parser.parse_args()
    pictures = [*list_gallery(), *list_surveys()]
    if chosen.trained and chosen.data:
        pictures += list_trained(chosen.trained, chosen.data, chosen.survey)
    for name, draw in pictures:
        if name.startswith(chosen.only):
            for theme in THEMES:
                path = FOLDER / f"{name}{'' if theme == 'light' else f'-{theme}'}.png"
                write_figure(draw(theme=theme), path, dpi=DPI // 2 if name.endswith("grid") else DPI)
    write_marks({name for name, _ in pictures if name.startswith(chosen.only)})


def list_surveys() -> Pictures:
    """The surveys' differences, of their tables."""
    for name, title in (("camvid", "CamVid test"), ("voc", "VOC animals val")):
        table = pd.read_csv(DOCS / "results" / f"heatmaps_{name}.csv")
        table = table.loc[table["against"] == "regular"]
        pixels, images = (
            int(table.loc[table["group"] == "all", key].iloc[0]) for key in ("pixels", "images")
        )
        title = f"{title} · {pixels} pixels of {images} images · gradient, logit of the true class"
        yield f"heatmaps-{name}-survey", partial(draw_survey, table, "irregular", "regular", title=title)


def list_trained(trained: Path, data: Path, survey: Path | None) -> Pictures:
    """Of pairs that are not in the repository. Photos may not be copied: the maps stand without them."""

    def look(name: str, image: str, labels: str, pixels: Any, **options: Any) -> HeatmapDisplay:
        pair = [trained / name / row / "seed-0" / "last.pt" for row in PAIR]
        array = read_image(data / image, 2048)
        known = read_labels(data / labels, array.shape[:2], 2048)
        return HeatmapDisplay.from_checkpoints(*pair, array, pixels, labels=known, device="cpu", **options)

    street = ("camvid", "camvid/test/0001TP_010320.jpg", "camvid/testannot/0001TP_010320.png")
    stem = "2009_002753"
    cat = ("voc", f"{VOC}/JPEGImages/{stem}.jpg", f"{VOC}/SegmentationClassAug/{stem}.png")
    yield "camvid-heatmap", partial(look(*street, CAR).draw, "comparison", photo=False)
    yield "heatmaps-camvid-grid", partial(look(*street, STREET).draw, "grid", photo=False)
    yield "heatmaps-voc-grid", partial(look(*cat, CAT, class_id="cat").draw, "grid", photo=False)
    display = KernelDisplay.from_checkpoint(trained / "camvid" / PAIR[0] / "seed-0" / "last.pt")
    for name, layer in CLOUDS.items():
        whole = next((cloud.layer for cloud in display.clouds if cloud.layer.endswith(layer)), None)
        if whole:
            yield name, partial(display.draw, "cloud", whole)
    files = (trained / "camvid" / row / "seed-0" / "last.pt" for row in PAIR)
    networks = load_pair(*files, controls=True)
    options: dict[str, Any] = {"pixels": 500, "stratify": ("class", "boundary"), "split": "test"}
    many = SurveyDisplay(networks, open_dataset("camvid", data / "camvid", "test"), folder=survey, **options)
    yield "heatmaps-camvid-average", partial(many.draw, view="average")


if __name__ == "__main__":
    main()
