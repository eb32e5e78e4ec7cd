"""Pages of clouds and trajectories in a real browser."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import plotly.graph_objects as go
import pytest

from icnn_viz.figures.cloud_pages import draw_cloud_interactive
from icnn_viz.figures.style import get_look, luminance
from icnn_viz.figures.trajectory import draw_trajectory_interactive
from icnn_viz.figures.write import write_figure
from icnn_viz.records import PositionCloud

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

EVIL = "<b>bold</b><img src=x onerror=window.hit=1>"


def open_page(browser: Browser, path: Path) -> Page:
    """The page, which asks for nothing and is refused nothing by its own policy."""
    page = browser.new_page(viewport={"width": 900, "height": 600})
    page.on("console", lambda said: said.type != "error" or pytest.fail(said.text))
    page.on(
        "request", lambda asked: asked.url.startswith(("file:", "data:", "blob:")) or pytest.fail(asked.url)
    )
    page.goto(path.as_uri())
    return page


def contrasts(page: Page, item: str) -> list[float]:
    """Of the text on its ground (WCAG 2), for each item."""
    colours = page.eval_on_selector_all(
        item,
        "all => all.map(one => ['rect', 'text'].map(tag => getComputedStyle(one.querySelector(tag)).fill))",
    )
    pairs = [[luminance(to_hex(colour)) for colour in pair] for pair in colours]
    return [(max(pair) + 0.05) / (min(pair) + 0.05) for pair in pairs]


def to_hex(rgb: str) -> str:
    return "#" + bytes(int(part) for part in rgb[4:-1].split(",")).hex()


def test_a_page_of_clouds_keeps_its_data_and_can_be_read_in_the_dark(
    browser: Browser, make_cloud: Callable[..., PositionCloud], tmp_path: Path
) -> None:
    clouds = [make_cloud(name, depth=n) for n, name in enumerate(("stem", EVIL, "head"))]
    page = open_page(browser, write_figure(draw_cloud_interactive(clouds, theme="dark"), tmp_path / "a.html"))
    titles = page.eval_on_selector_all(".modebar-btn", "all => all.map(one => one.dataset.title)")
    assert titles
    assert not [title for title in titles if "hare" in title]
    page.click(".updatemenu-header")
    items = page.locator(".updatemenu-dropdown-button")
    items.nth(2).wait_for()
    items.nth(2).hover()
    assert min(contrasts(page, ".updatemenu-dropdown-button")) > 4.5
    assert items.nth(1).text_content() == EVIL
    items.nth(1).click()
    page.locator(".gtitle", has_text="onerror").wait_for()
    assert page.evaluate("window.hit") is None
    page.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_near_points_are_larger_and_stronger_however_the_cloud_is_turned(
    browser: Browser, make_cloud: Callable[..., PositionCloud], tmp_path: Path, theme: str
) -> None:
    cloud = make_cloud(channels=9, spread=0.2)
    page = open_page(browser, write_figure(draw_cloud_interactive([cloud], theme=theme), tmp_path / "a.html"))
    page.locator("canvas").first.wait_for()
    seen = [
        page.evaluate(
            """async (eye) => {
                const graph = document.getElementById("figure");
                await Plotly.relayout(graph, { "scene.camera.eye": eye });
                await new Promise((done) => setTimeout(done, 500));
                const slots = [0, 8].map((slot) => graph._fullData[slot].marker);
                return slots.map(({ size, color }) => [Math.min(...size), Math.max(...size), color[0]]);
            }""",
            {"x": x, "y": y, "z": 0.9},
        )
        for x, y in ((0.9, -1.9), (-0.9, 1.9))
    ]
    (upper_left, lower_right), (turned_upper_left, turned_lower_right) = seen
    assert upper_left[1] < lower_right[0]
    assert turned_lower_right[1] < turned_upper_left[0]
    ground = luminance(get_look(theme).background)
    far, near = (abs(luminance(to_hex(slot[2])) - ground) for slot in (upper_left, turned_upper_left))
    assert far < near
    page.close()


def test_points_in_space_with_colours_of_their_own_keep_them(browser: Browser, tmp_path: Path) -> None:
    figure = go.Figure()
    place = {"x": [0, 1, 2], "y": [3, 5, 4], "z": [1, 7, 9], "mode": "markers"}
    figure.add_scatter3d(**place, marker={"color": ["red", "#00ff00", "blue"], "size": [4, 5, 6]})
    figure.add_scatter3d(**place)
    figure.add_scatter(x=[0, 1], y=[2, 3], mode="markers", marker={"color": "#102030", "size": 7})
    page = browser.new_page()
    failed: list[str] = []
    page.on("pageerror", lambda error: failed.append(str(error)))
    page.goto(write_figure(figure, tmp_path / "own.html").as_uri())
    page.locator("canvas").first.wait_for()
    page.evaluate("Plotly.relayout('figure', { 'scene.camera.eye': { x: 2, y: 1, z: 0.5 } })")
    colours = page.evaluate(
        "document.getElementById('figure').data.map((trace) => (trace.marker || {}).color)"
    )
    assert colours == [["red", "#00ff00", "blue"], None, "#102030"]
    assert failed == []
    page.close()


def test_a_trajectory_plays(
    browser: Browser, make_cloud: Callable[..., PositionCloud], tmp_path: Path
) -> None:
    clouds = [make_cloud(spread=spread) for spread in (0.1, 0.4)]
    figure = draw_trajectory_interactive(clouds, [0, 1500], theme="dark")
    page = open_page(browser, write_figure(figure, tmp_path / "b.html"))
    assert "iteration 0" in str(page.text_content(".slider-container"))
    page.locator(".updatemenu-button", has_text="play").click()
    page.locator(".slider-container", has_text="iteration 1,500").wait_for()
    assert min(contrasts(page, ".updatemenu-button")) > 4.5
    page.close()


def test_a_page_of_clouds_runs_its_own_scripts_alone(
    make_cloud: Callable[..., PositionCloud], tmp_path: Path
) -> None:
    path = write_figure(draw_cloud_interactive([make_cloud(EVIL)]), tmp_path / "a.html")
    text = path.read_text()
    policy = re.search(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    assert policy.start() < text.index("<script")
    rules = dict(rule.split(" ", 1) for rule in policy[1].split("; "))
    assert rules["default-src"] == "'none'"
    scripts = re.findall(r"<script[^>]*>(.*?)</script>", text, re.DOTALL)
    hashes = {base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in scripts}
    assert set(rules["script-src"].split()) == {f"'sha256-{one}'" for one in hashes}
    assert not re.findall(r"<(?:script|link|img|iframe)[^>]* (?:src|href)=", text)
