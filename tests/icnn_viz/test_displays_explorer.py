"""HeatmapExplorer: a click gives the numbers of pixel_gradient; without widgets it stands still and says why."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from icnn_core.checkpoint import write_checkpoint
from icnn_core.errors import ArgumentError, NameNotFoundError
from icnn_core.models.deeplab import deeplab_largefov
from icnn_core.surgery import make_irregular
from icnn_viz import HeatmapExplorer
from icnn_viz.displays.latest import LatestOnly
from icnn_viz.displays.panel import ClickPanel
from icnn_viz.figures.panels import format_value
from icnn_viz.gradients import pixel_gradient
from icnn_viz.heatmaps import to_heatmap

CLASSES = ("ground", "<b>square</b>", "bar")
Published = Callable[[HeatmapExplorer], list[dict[str, str]]]


def _network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.Conv2d(5, 3, 5, padding=2)).eval()


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (24, 37, 3), np.uint8)


@pytest.fixture(scope="module")
def models() -> tuple[nn.Module, nn.Module]:
    models = _network(0), _network(1)
    make_irregular(models[0], shift=0.5)
    return models


@pytest.fixture
def explorer(models: tuple[nn.Module, nn.Module], image: np.ndarray) -> HeatmapExplorer:
    return HeatmapExplorer(*models, image, classes=CLASSES)


def _click(explorer: HeatmapExplorer, panel: int, y: float, x: float) -> None:
    """What the browser sends on a click into a panel's heatmap (of several traces: the covering one)."""
    assert explorer.figure is not None
    index = [i for i, trace in enumerate(explorer.figure.data) if trace.type == "heatmap"][panel]
    points = {"trace_indexes": [index], "point_indexes": [[round(y), round(x)]], "xs": [x], "ys": [y]}
    state = {"alt": False, "ctrl": False, "meta": False, "shift": False, "button": 0, "buttons": 1}
    explorer.figure._js2py_pointsCallback = {
        "event_type": "plotly_click",
        "points": points,
        "device_state": state,
        "selector": None,
    }


def _maps(explorer: HeatmapExplorer) -> list[Any]:
    assert explorer.figure is not None
    return [t for t in explorer.figure.data if t.type == "heatmap" and t.name != "click"]


def _panel(explorer: HeatmapExplorer) -> ClickPanel:
    assert explorer._panel is not None
    return explorer._panel


@pytest.mark.parametrize("panel", [0, 1, 3])
def test_a_click_shows_the_numbers_of_pixel_gradient(
    explorer: HeatmapExplorer, models: tuple[nn.Module, nn.Module], image: np.ndarray, panel: int
) -> None:
    assert explorer.choice.pixel == (12, 18)
    _click(explorer, panel, y=9.2, x=29.8)
    class_id = pixel_gradient(models[0], image, (9, 30)).class_id
    wanted = [to_heatmap(pixel_gradient(m, image, (9, 30), class_id=class_id)).values for m in models]
    shares = [value / value.sum() for value in wanted]
    shown = [np.asarray(trace.z) for trace in _maps(explorer)]
    for values, there in zip([*wanted[::-1], shares[0] - shares[1]], shown, strict=True):
        np.testing.assert_allclose(there, values, rtol=1e-6, atol=1e-12)
    assert explorer.figure is not None
    crosses = [trace for trace in explorer.figure.data if trace.name == "cross"]
    assert {(cross.y[0], cross.x[0]) for cross in crosses} == {(9, 30)}
    assert explorer.display.records[0].gradients[0].pixel == (9, 30)
    assert re.fullmatch(r"\d+\.\d\d s\. Click on another pixel\.", _panel(explorer).said.value)


def test_menus_choose_class_method_and_colours(
    explorer: HeatmapExplorer, models: tuple[nn.Module, nn.Module], image: np.ndarray
) -> None:
    menus = _panel(explorer).menus
    assert [label for label, _ in menus["class_id"].options] == ["predicted at the pixel", *CLASSES]
    menus["class_id"].value = 2
    menus["method"].value = "gradient*input"
    menus["reduction"].value = "sum"
    wanted = pixel_gradient(models[1], image, (12, 18), class_id=2, method="gradient*input")
    np.testing.assert_allclose(_maps(explorer)[0].z, to_heatmap(wanted, "sum").values, rtol=1e-6)
    assert explorer.figure is not None
    assert "gradient*input" in explorer.figure.layout.title.text
    assert "“bar”" in explorer.figure.layout.title.text
    _click(explorer, 0, y=3, x=4)
    assert explorer.choice.class_id == 2


def test_the_difference_is_raw_on_request_and_asks_no_network(
    explorer: HeatmapExplorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = explorer.display
    monkeypatch.setattr(explorer, "_networks", [])
    _panel(explorer).menus["difference"].value = "raw"
    second, first, shown = (np.asarray(trace.z) for trace in _maps(explorer))
    np.testing.assert_allclose(shown, first - second, rtol=1e-5, atol=1e-9)
    assert explorer.display is before
    with pytest.raises(NameNotFoundError, match="shares or raw"):
        explorer.choose(difference="both")
    assert explorer.choice.difference == "raw"


def test_choosing_in_code_moves_the_menus(explorer: HeatmapExplorer) -> None:
    assert explorer.choose(pixel=(5, 30), method="gradient*input", class_id=0) is explorer
    assert _panel(explorer).menus["method"].value == "gradient*input"
    assert _panel(explorer).menus["class_id"].value == 0


def test_what_cannot_be_is_said_and_nothing_changes(image: np.ndarray) -> None:
    without_relu = nn.Conv2d(3, 3, 5, padding=2)
    explorer = HeatmapExplorer(without_relu, without_relu, image)
    before = np.array(_maps(explorer)[0].z)
    _panel(explorer).menus["method"].value = "guided"
    assert "not supported" in _panel(explorer).said.value
    assert _panel(explorer).menus["method"].value == "gradient"
    np.testing.assert_array_equal(_maps(explorer)[0].z, before)
    with pytest.raises(ArgumentError):
        explorer.choose(pixel=(24, 0))
    assert explorer.choice.pixel == (12, 18)


def test_every_click_brings_the_measures_of_both_networks(explorer: HeatmapExplorer) -> None:
    before = _panel(explorer).measures.value
    _click(explorer, 2, y=23, x=36)
    table = _panel(explorer).measures.value
    assert table != before
    row = re.search(r"<tr><th[^>]*>smallest area with 90 % of the energy \(pixels\)</th>.*?</tr>", table)
    assert row is not None
    shown = re.findall(r"<td[^>]*>([^<]+)</td>", row[0])
    assert shown == [format_value(found["area_90"]) for found in explorer.display.records[0].measures]


def test_the_menu_of_classes_says_what_it_begins_with_and_takes_classes_without_a_name(
    models: tuple[nn.Module, nn.Module], image: np.ndarray
) -> None:
    explorer = HeatmapExplorer(*models, image)
    menu = _panel(explorer).menus["class_id"]
    assert menu.label == "predicted at the pixel"
    explorer.choose(class_id=2)
    assert menu.label == "2"
    menu.label = "predicted at the pixel"
    assert explorer.choice.class_id is None
    assert _panel(HeatmapExplorer(*models, image, class_id=1)).menus["class_id"].label == "1"


def test_of_clicks_that_wait_the_latest_is_answered_alone() -> None:
    answers: list[dict[str, Any]] = []

    async def click() -> None:
        latest = LatestOnly(lambda wishes: answers.append(dict(wishes)))
        for x in range(5):
            latest.ask(pixel=(3, x))
        latest.ask(method="guided")
        await asyncio.sleep(0.2)
        latest.ask(pixel=(1, 1))
        await asyncio.sleep(0.2)

    asyncio.run(click())
    assert answers == [{"pixel": (3, 4), "method": "guided"}, {"pixel": (1, 1)}]


def test_clicks_in_a_loop_end_at_the_latest(
    explorer: HeatmapExplorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[tuple[int, int]] = []
    look = explorer._look
    monkeypatch.setattr(explorer, "_look", lambda choice: looks.append(choice.pixel) or look(choice))

    async def click() -> None:
        for x in (3, 30, 7):
            _click(explorer, 0, y=5, x=x)
        await asyncio.sleep(0.2)

    asyncio.run(click())
    assert looks == [(5, 7)]
    assert explorer.choice.pixel == (5, 7)


def test_a_menu_that_goes_back_before_the_answer_shows_what_it_says(explorer: HeatmapExplorer) -> None:
    menu = _panel(explorer).menus["method"]

    async def choose() -> None:
        menu.value = "gradient*input"
        menu.value = "gradient"
        await asyncio.sleep(0.2)

    asyncio.run(choose())
    assert explorer.choice.method == menu.value == "gradient"


def test_classes_without_a_name_chosen_in_code_stay_chosen_and_are_looked_at_once(
    models: tuple[nn.Module, nn.Module], image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    explorer = HeatmapExplorer(*models, image)
    looks: list[int | None] = []
    look = explorer._look
    monkeypatch.setattr(explorer, "_look", lambda choice: looks.append(choice.class_id) or look(choice))

    async def choose() -> None:
        explorer.choose(class_id=1)
        explorer.choose(class_id=2)
        await asyncio.sleep(0.2)

    asyncio.run(choose())
    assert explorer.choice.class_id == 2
    assert looks == [1, 2]
    assert _panel(explorer).menus["class_id"].label == "2"


def test_what_a_network_raises_is_said_and_raised(
    explorer: HeatmapExplorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(choice: object) -> None:
        raise RuntimeError("out of <memory>")

    monkeypatch.setattr(explorer, "_look", fail)
    with pytest.raises(RuntimeError):
        explorer._answer({"pixel": (1, 1)})
    assert _panel(explorer).said.value == "RuntimeError: out of &lt;memory&gt;"
    assert explorer.choice.pixel == (12, 18)


def test_a_page_opened_later_gets_the_latest_look(explorer: HeatmapExplorer) -> None:
    _click(explorer, 0, y=4, x=31)
    assert explorer.figure is not None
    state = explorer.figure.get_state()
    crosses = [trace for trace in state["_widget_data"] if trace.get("name") == "cross"]
    assert {(cross["y"][0], cross["x"][0]) for cross in crosses} == {(4, 31)}
    assert "x = 31, y = 4" in state["_widget_layout"]["title"]["text"]


def test_the_figure_has_no_button_that_sends_data_away_or_selects(explorer: HeatmapExplorer) -> None:
    assert explorer.figure is not None
    assert "sendChartToCloud" in explorer.figure.layout.modebar.remove
    assert "lasso2d" in explorer.figure.layout.modebar.remove


def test_the_cross_is_whole_at_the_border(explorer: HeatmapExplorer) -> None:
    assert explorer.figure is not None
    crosses = [trace for trace in explorer.figure.data if trace.name == "cross"]
    assert [cross.cliponaxis for cross in crosses] == [False] * len(crosses)


def test_clicks_beside_the_pixels_do_nothing(explorer: HeatmapExplorer) -> None:
    assert explorer.figure is not None
    explorer.figure.data[1]._dispatch_on_click(type("Points", (), {"xs": [], "ys": []})(), None)
    assert explorer.choice.pixel == (12, 18)


def test_names_of_classes_are_text(explorer: HeatmapExplorer) -> None:
    explorer.choose(class_id=1)
    assert explorer.figure is not None
    assert "&lt;b&gt;square" in explorer.figure.layout.title.text


def test_a_notebook_gets_a_widget(explorer: HeatmapExplorer) -> None:
    bundle = explorer._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert "application/vnd.jupyter.widget-view+json" in data
    assert repr(explorer) == "HeatmapExplorer of irregular and regular at (y, x) = (12, 18), method gradient"


@pytest.mark.parametrize("missing", ["anywidget", "ipywidgets"])
def test_without_widgets_it_is_a_still_comparison_that_says_how_to_install_them(
    models: tuple[nn.Module, nn.Module],
    image: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    published: Published,
    missing: str,
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    explorer = HeatmapExplorer(*models, image, classes=CLASSES)
    assert explorer.figure is None
    bundles = published(explorer)
    assert len(bundles) == 1
    page = bundles[0]["text/html"]
    assert 'pip install "icnn-viz[notebook]"'.replace('"', "&quot;") in page
    first = page[page.index("data:image/png") :]
    explorer.choose(pixel=(5, 30))
    again = explorer._repr_mimebundle_()["text/html"]
    assert "data:image/png" in again
    assert again[again.index("data:image/png") :] != first


def test_it_is_made_of_checkpoints_too(tmp_path: Any, image: np.ndarray) -> None:
    torch.manual_seed(0)
    model = deeplab_largefov("tiny", 3)
    make_irregular(model, "classifier", shift=0.5)
    path = write_checkpoint(tmp_path / "net.pt", model, classes=CLASSES)
    explorer = HeatmapExplorer.from_checkpoints(path, None, image, pixel=(3, 4), theme="dark")
    assert "irregular and irregular, snapped to slots at (y, x) = (3, 4)" in repr(explorer)
