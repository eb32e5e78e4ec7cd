"""`icnn-viz taps`, its figure and its page."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from icnn_viz import KernelDisplay, TapDisplay
from icnn_viz.cli import main
from icnn_viz.data import builtin_path
from icnn_viz.displays.sources import read_display
from icnn_viz.figures.tap_pages import draw_taps_interactive
from icnn_viz.figures.taps import draw_taps
from icnn_viz.figures.write import write_figure

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PAIR = [builtin_path(f"shapes-{kind}.safetensors") for kind in ("irregular", "regular")]


@pytest.fixture(scope="module")
def display() -> TapDisplay:
    return TapDisplay.from_checkpoints(
        PAIR[0], PAIR[1], builtin_path("sample.png"), (45, 74), depth=2, device="cpu", most=2000
    )


def test_the_built_in_pair_is_shown_beside_its_lattice(display: TapDisplay) -> None:
    (regular, learnt), (_, two) = display.rows
    # Features lie 8 pixels apart, and the classifier's slots as many features as it is dilated.
    step = 8 * learnt.slots[8, 0]
    expected = [(45 + step * y, 74 + step * x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    assert np.allclose(regular.at, expected)
    assert np.allclose(np.unique(learnt.regular.round(6), axis=0), expected)
    kernels = read_display([])
    assert isinstance(kernels, KernelDisplay)
    [channels] = [len(cloud.points) for cloud in kernels.clouds if cloud.layer == "classifier.fc1"]
    assert 0.9 * 9 * channels < len(learnt.at) <= 9 * channels
    assert learnt.class_name == "hook"
    assert len(two.at) <= 2000
    assert two.layers[0] == learnt.layers[0]


def test_the_figure_draws_every_point_where_it_lands(display: TapDisplay) -> None:
    figure = draw_taps(display.rows)
    panels = [ax for ax in figure.axes if ax.get_xlabel() or ax.get_title(loc="left")]
    assert [ax.get_title(loc="left").split(":")[0] for ax in panels] == ["regular", "learnt"] * 2
    [dots] = [artist for artist in panels[1].collections if artist.get_gid() == "taps"]
    learnt, places = display.rows[0][1], np.asarray(dots.get_offsets())
    assert len(places) == len(learnt.at)
    largest = np.abs(learnt.weight).argmax()
    assert np.allclose(places[0], learnt.at[largest][::-1])
    hollow = np.asarray(dots.get_facecolors())[:, 3] == 0  # type: ignore[attr-defined]
    assert hollow.sum() == (learnt.weight < 0).sum() > 0


def test_a_page_goes_through_layers_and_from_regular_to_learnt(
    browser: Browser, display: TapDisplay, tmp_path: Path
) -> None:
    page = browser.new_page(viewport={"width": 900, "height": 700})
    page.on("pageerror", lambda error: pytest.fail(error.message))
    page.goto(write_figure(display.page(theme="dark"), tmp_path / "a.html").as_uri())
    shown = "() => { const t = figure.data.filter(t => t.visible && t.name != 'cross'); return [t.length, t[0].name] }"
    assert page.evaluate(shown) == [1, "classifier.fc1"]
    first = "() => Array.from(figure._fullData.find(t => t.visible === true).x).slice(0, 5)"
    learnt = page.evaluate(first)
    box = page.locator(".slider-rail-rect").last.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 2, box["y"] + 3)
    taps = display.rows[0][1]
    order = np.argsort(-np.abs(taps.weight), kind="stable")[:5]
    assert np.allclose(learnt, taps.at[order, 1], atol=1e-3)
    there = f"expected => ({first})().every((x, n) => Math.abs(x - expected[n]) < 1e-3)"
    page.wait_for_function(there, arg=taps.regular[order, 1].tolist())  # they travel for a while
    rail = page.locator(".slider-rail-rect").first.bounding_box()
    assert rail is not None
    page.mouse.click(rail["x"] + 2, rail["y"] + 3)
    page.wait_for_function(f"name => ({shown})()[1] === name", arg="backbone.stem.conv")
    assert page.evaluate(shown) == [1, "backbone.stem.conv"]
    title = page.locator(".gtitle")
    assert "size of the weight" in str(title.text_content()), "of a layer whose weights are of no class"
    page.set_viewport_size({"width": 390, "height": 800})
    page.wait_for_timeout(300)
    box = title.bounding_box()
    assert box is not None
    assert box["x"] + box["width"] <= 390
    page.close()


def test_a_page_needs_a_layer() -> None:
    with pytest.raises(Exception, match="taps of a layer"):
        draw_taps_interactive([])


def test_the_command_writes_figure_page_and_table(run_main: Callable[..., Any], tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["-p", "74,45", "--depth", "1", "-o", out, "--json", "--class", "ring", "--device", "cpu"]
    found = json.loads(run_main(main, "taps", *options).out)
    assert sorted(path.name for path in out.iterdir() if path.name[0] != ".") == [
        "taps-x74-y45.html",
        "taps-x74-y45.png",
        "taps.csv",
    ]
    table = pd.read_csv(out / "taps.csv")
    assert set(table["places"]) == {"regular", "learnt"}
    assert set(table["class"]) == {"ring"}
    assert found["class"] == "ring"
    assert found["panels"][0]["points"] == 9
    assert len(table[table["places"] == "learnt"]) == found["panels"][1]["points"]


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        ([], 2, "--pixel x,y"),
        (["-p", "74,45", "--layout", "yx"], 2, "without --offsets"),
        (["-p", "740,45"], 1, "--pixel"),
        (["-p", "74,45", "--layer", "fc2"], 1, "classifier.fc1"),
        (["-p", "74,45", "--offsets", "classifier.fc2"], 1, "classifier.fc1"),
    ],
)
def test_what_cannot_be_is_said(
    run_main: Callable[..., Any], tmp_path: Path, options: list[str], status: int, said: str
) -> None:
    ended = run_main(main, "taps", *options, "-o", tmp_path / "out", "--device", "cpu")
    assert ended.code == status
    assert said in ended.err
