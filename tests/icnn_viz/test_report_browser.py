"""A report in a real browser: menus, themes, tables, pictures to turn, print; and names that hold scripts."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from PIL import Image

from icnn_core.checkpoint import Checkpoint, IrregularLayer
from icnn_viz.displays import KernelDisplay
from icnn_viz.heatmaps import measure_heatmap, to_heatmap
from icnn_viz.records import PixelComparison, PixelGradient, PositionCloud
from icnn_viz.report import Findings, build_report, write_report
from icnn_viz.report.pictures import Picture

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

EVIL = "</script><script>window.hit=1</script><img src=x onerror=window.hit=1>\"' onload='window.hit=1"

GROUNDS = {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 22, 26)"}


@pytest.fixture(scope="module")
def path(
    tmp_path_factory: pytest.TempPathFactory,
    make_cloud: Callable[..., PositionCloud],
    make_gradient: Callable[..., PixelGradient],
) -> Path:
    """A page of three layers, one with a hostile name, and two pixels of a hostile class."""
    folder = tmp_path_factory.mktemp("browser")
    names = ("stem", EVIL, "head")
    clouds = [make_cloud(name, channels=12 + n, depth=n, seed=n) for n, name in enumerate(names)]
    (folder / "net.pt").write_bytes(b"abc")
    state = {f"{name}.{part}": torch.zeros(2, 12, 3, 3) for name in names for part in ("weight", "positions")}
    layers = tuple(IrregularLayer(name, (3, 3), (2, 3), "channel") for name in names)
    checkpoint = Checkpoint(folder / "net.pt", state, layers, metrics={"iou": {EVIL: 0.25, "sky": 0.5}})
    comparisons = []
    for pixel in ((9, 20), (3, 4)):
        gradients = [make_gradient(f"net {n}", n, pixel=pixel, classes=("ground", EVIL)) for n in (0, 1)]
        maps = [to_heatmap(gradient) for gradient in gradients]
        comparisons.append(
            PixelComparison(gradients, maps, [measure_heatmap(one) for one in maps], EVIL, EVIL)
        )
    display = KernelDisplay(clouds)
    tables = display.tables()
    findings = Findings(
        {"irregular": checkpoint}, display, tables, comparisons, commands=[(EVIL, EVIL)], notes=(EVIL,)
    )
    with pytest.MonkeyPatch.context() as patch:  # plain pictures: drawing is tested elsewhere
        patch.setattr("icnn_viz.report.panels.make_picture", make_plain)
        return write_report(build_report(findings), folder / "page.html")


def make_plain(draw: object, budget: object, alt: str, dark: bool = True, vector: bool = False) -> Picture:
    uris = []
    for colour in ("white", "black"):
        buffer = io.BytesIO()
        Image.new("RGB", (850 if "pixel" in alt else 400, 465), colour).save(buffer, "PNG")
        uris.append("data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode())
    return Picture(*uris, 850 if "pixel" in alt else 400, 465, alt)


@pytest.fixture
def page(browser: Browser, path: Path) -> Iterator[Page]:
    """The page, opened at 1280 × 800 in a light theme; fails if the browser complained of anything."""
    page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme="light")
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url) if request.url.startswith("http") else None)
    page.goto(path.as_uri())
    yield page
    assert said == []
    page.close()


def shown(page: Page, selector: str) -> list[str]:
    """The alternative texts of the pictures that are seen."""
    return page.eval_on_selector_all(
        selector, "all => all.filter(one => one.checkVisibility()).map(one => one.alt)"
    )


def test_hostile_names_are_text_and_nothing_more(page: Page) -> None:
    page.select_option("#menu-layer", index=1)
    page.click("[data-part=layer]:not(.closed) .space .turn")
    page.wait_for_selector("[data-part=layer]:not(.closed) .stage canvas")
    assert page.evaluate("window.hit") is None
    assert page.text_content("[data-part=layer]:not(.closed) h3") == EVIL
    assert (
        page.eval_on_selector_all("main img", "all => all.filter(i => !i.src.startsWith('data:')).length")
        == 0
    )
    assert str(page.text_content("[data-part=layer]:not(.closed) .note")).startswith("13 channels")


def test_the_policy_stops_a_script_that_is_not_the_page_s_own(
    browser: Browser, path: Path, tmp_path: Path
) -> None:
    text = path.read_text(encoding="utf-8").replace("<main", "<script>window.hit=1</script><main", 1)
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    page = browser.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    assert page.evaluate("window.hit") is None
    assert page.text_content("#theme") in ("Dark theme", "Light theme")  # its own still run
    page.close()


def test_the_menu_shows_one_layer(page: Page) -> None:
    heads = "[data-part=layer] h3"
    seen = f"() => [...document.querySelectorAll('{heads}')].filter(h => h.checkVisibility()).map(h => h.textContent)"
    assert page.evaluate(seen) == ["stem"]
    page.get_by_label("Layer: the next one").press("Enter")
    page.get_by_label("Layer: the next one").press("Enter")
    page.get_by_label("Layer: the next one").press("Enter")
    assert page.evaluate(seen) == ["head"]
    assert page.locator("#menu-layer").input_value() == "head"


def test_without_scripts_all_layers_are_shown(browser: Browser, path: Path) -> None:
    page = browser.new_page(java_script_enabled=False, color_scheme="dark")
    page.goto(path.as_uri())
    for layer in range(3):
        assert page.locator("[data-part=layer] h3").nth(layer).is_visible()
    assert page.locator("img.dark").first.is_visible()
    assert not page.locator("img.light").first.is_visible()
    assert not page.locator("button").first.is_visible()
    page.close()


def test_the_theme_follows_the_system_and_the_button(page: Page) -> None:
    from playwright.sync_api import expect

    def wait_for(theme: str) -> None:
        expect(page.locator("html")).to_have_attribute("data-theme", theme)
        assert ground() == GROUNDS[theme]

    def ground() -> str:
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    wait_for("light")
    page.emulate_media(color_scheme="dark")
    wait_for("dark")
    assert shown(page, "img.light") == []
    page.click("#theme")
    wait_for("light")
    assert shown(page, "img.dark") == []
    page.reload()
    wait_for("light")  # the choice is kept
    page.click("#theme")
    wait_for("dark")
    page.emulate_media(media="print")
    assert ground() == GROUNDS["light"]
    assert shown(page, "img.dark") == []


def test_a_cloud_is_turned_and_put_back(page: Page) -> None:
    box = "[data-part=layer]:not(.closed) .space"
    page.focus(f"{box} .turn")
    page.keyboard.press("Enter")
    page.wait_for_selector(f"{box} .stage canvas")
    assert page.get_attribute(f"{box} .turn", "aria-pressed") == "true"
    assert not page.is_visible(f"{box} img")
    buttons = page.eval_on_selector_all(".modebar-btn", "all => all.map(one => one.dataset.title)")
    assert "Download plot as a PNG" in buttons
    assert not [title for title in buttons if "hare" in title or "loud" in title]  # data stay here
    before = page.evaluate(f"document.querySelector('{box} .stage').layout.paper_bgcolor")
    page.click("#theme")
    assert page.evaluate(f"document.querySelector('{box} .stage').layout.paper_bgcolor") != before
    assert (
        page.evaluate(f"document.querySelector('{box} .stage').data.length") == 10
    )  # nine slots, and their posts
    page.emulate_media(media="print")
    assert page.is_visible(f"{box} img.light")
    assert not page.is_visible(f"{box} .stage")
    page.emulate_media(media="screen")
    page.click(f"{box} .turn")
    assert page.query_selector(f"{box} canvas") is None


def column(page: Page, table: str, name: str) -> list[str]:
    place = f"#{table} th[data-name={name}]"
    number = page.eval_on_selector(place, "head => head.cellIndex + 1")
    return page.eval_on_selector_all(
        f"#{table} td:nth-child({number})", "all => all.map(cell => cell.textContent)"
    )


def test_tables_are_sorted_by_the_keyboard_too(page: Page) -> None:
    head = "#table-layers th[data-name=shapes]"
    assert column(page, "table-layers", "shapes") == ["12", "13", "14"]
    page.click(f"{head} button")
    assert page.get_attribute(head, "aria-sort") == "ascending"
    page.keyboard.press("Enter")
    assert page.get_attribute(head, "aria-sort") == "descending"
    assert column(page, "table-layers", "shapes") == ["14", "13", "12"]
    page.click("#table-layers th[data-name=layer] button")
    assert page.get_attribute(head, "aria-sort") == "none"
    assert column(page, "table-layers", "layer")[1:] == ["head", "stem"]


def test_tables_are_downloaded_with_all_digits(page: Page, tmp_path: Path) -> None:
    page.click("#table-layers th[data-name=shapes] button")
    page.click("#table-layers th[data-name=shapes] button")
    with page.expect_download() as waited:
        page.click("button[data-table=table-layers]")
    waited.value.save_as(tmp_path / waited.value.suggested_filename)
    with (tmp_path / "layers.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["layer"] for row in rows] == ["head", EVIL, "stem"]
    shown_as = column(page, "table-layers", "mean_displacement")
    assert [f"{float(row['mean_displacement']):.3f}" for row in rows] == shown_as
    assert all(len(row["mean_displacement"]) > 8 for row in rows)


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_sticks_out_of_the_window(browser: Browser, path: Path, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.goto(path.as_uri())
    page.eval_on_selector_all("details", "all => all.forEach(one => one.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    broken = page.eval_on_selector_all(
        "main img",
        "all => all.filter(i => i.checkVisibility() && !(i.complete && i.naturalWidth)).map(i => i.alt)",
    )
    assert broken == []
    page.close()


@pytest.mark.parametrize(("width", "pairs"), [(1280, True), (1920, True), (390, False)])
def test_two_figures_fill_the_width_or_stand_below_each_other(
    browser: Browser, path: Path, width: int, pairs: bool
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.goto(path.as_uri())
    box = "all => all.map(one => one.getBoundingClientRect().toJSON())"
    whole = page.locator("main").bounding_box()
    assert whole is not None
    for part, narrow in (
        ("[data-part=layer]:not(.closed) .figures > figure", (0, 1)),
        (".first > figure", (0, 1)),
    ):
        boxes = page.eval_on_selector_all(part, box)
        one, other = (boxes[number] for number in narrow)
        assert (other["left"] > one["right"]) == pairs
        assert (other["top"] >= one["bottom"]) != pairs
        assert one["left"] - whole["x"] == pytest.approx(whole["x"] + whole["width"] - other["right"], abs=1)
        images = page.eval_on_selector_all(f"{part} img.light", box)
        if pairs:
            assert images[0]["width"] == pytest.approx(one["width"], abs=1)
    page.close()


def test_print_cuts_no_table(browser: Browser, path: Path) -> None:
    page = browser.new_page(
        viewport={"width": 688, "height": 1017}
    )  # what margins leave of A4, in CSS pixels
    page.goto(path.as_uri())
    page.eval_on_selector_all("details", "all => all.forEach(one => one.open = true)")
    page.emulate_media(media="print")
    sizes = page.eval_on_selector_all(
        "table", "all => all.map(one => [one.id, one.getBoundingClientRect().right])"
    )
    assert {"table-layers", "table-slots", "table-measures"} <= {name for name, _ in sizes}
    assert [(name, right) for name, right in sizes if right > 688] == []
    page.close()


def test_it_prints_every_layer_as_still_pictures(page: Page, tmp_path: Path) -> None:
    page.emulate_media(media="print")
    alts = shown(page, "[data-part=layer] img")
    assert len(alts) == 15  # five a layer
    assert page.locator("nav:visible, select:visible, .turn:visible").count() == 0
    page.pdf(path=tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").stat().st_size > 20_000
