"""The explorer in a real browser: clicks, keys, themes, the address bar, dropped-in files, brushes."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from icnn_viz.displays.pixels import Question
from icnn_viz.explorer.export import LEVELS, write_page
from icnn_viz.explorer.session import Session
from icnn_viz.figures.zoo import most_changed

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from playwright.sync_api import Browser, Page, Request, Response, Route, expect

SIZE = {"width": 1280, "height": 800}
expect.set_options(timeout=30_000)


@pytest.fixture(scope="module")
def session(make_session: Callable[..., Session], make_cloud: Callable[..., Any]) -> Session:
    states = [
        [make_cloud("first", channels=12, spread=n / 9), make_cloud("last", channels=8, spread=n / 9)]
        for n in (1, 2, 3)
    ]
    made = make_session(read_run=lambda: ([0, 50, 90], states))
    made.clouds[:] = states[-1]
    return made


@pytest.fixture(scope="module")
def address(session: Session) -> Iterator[str]:
    from icnn_viz.explorer.server import bind, make_app

    session.answer(
        Question("0", (9, 20))
    )  # what it imports, and how long that takes, is not the pages' matter
    server = bind(make_app(session), "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh page, which fails the test if anything goes wrong inside it."""
    context = browser.new_context(viewport=SIZE, accept_downloads=True)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    yield page
    context.close()
    assert not wrong


def open_heatmaps(page: Page, address: str, query: str = "") -> None:
    page.goto(address + "/" + query)
    settle(page)


def settle(page: Page) -> None:
    expect(page.locator("#status.done")).to_be_visible()
    wait_until(page, drawn("heat"))


def drawn(graph: str) -> str:
    """Whether plotly has drawn a figure."""
    return f"!!document.querySelector('#{graph} .js-plotly-plot .nsewdrag')"


def wait_until(page: Page, expression: str) -> None:
    """Ask again and again: Playwright's own waiting needs `eval`, which the pages' policy forbids."""
    wait_for(page, lambda: page.evaluate(expression))


def wait_for(page: Page, is_so: Callable[[], bool]) -> None:
    """Ask again and again, for half a minute, while the page goes on."""
    until = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < until, "it is still not so"
        page.wait_for_timeout(50)


def expect_cross(page: Page, x: int, y: int) -> None:
    """The figure's cross stands, or will soon, on pixel x, y."""
    wait_until(
        page,
        "(() => { const d = document.querySelector('#heat .js-plotly-plot').data;"
        f" const c = d.filter(t => t.name === 'cross')[0]; return c.x[0] === {x} && c.y[0] === {y}; }})()",
    )


def place_of(page: Page, graph: str, x: float, y: float, panel: int = 1) -> list[float]:
    """Where on the screen a point of a panel is, of which the figure speaks as x, y."""
    return page.evaluate(
        """([id, panel, x, y]) => {
            const graph = document.querySelector(`#${id}.js-plotly-plot, #${id} .js-plotly-plot`);
            const layout = graph._fullLayout;
            const [xa, ya] = [layout['xaxis' + panel], layout['yaxis' + panel]];
            const box = graph.getBoundingClientRect();
            return [box.left + xa._offset + xa.l2p(x), box.top + ya._offset + ya.l2p(y)];
        }""",
        [graph, "" if panel == 1 else panel, x, y],
    )


def click_on(page: Page, panel: int, x: float, y: float) -> None:
    """Click on pixel x, y of a panel of the first page's figure."""
    page.mouse.click(*place_of(page, "heat", x, y, panel))


def drag(page: Page, start: list[float], end: list[float]) -> None:
    """Press the mouse in one place of the screen and let it go in another."""
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=6)
    page.mouse.up()


@pytest.mark.parametrize("panel", [1, 2, 3, 4])
def test_a_click_on_any_panel_chooses_its_pixel(page: Page, address: str, panel: int) -> None:
    open_heatmaps(page, address)
    click_on(page, panel, 30, 5)
    expect(page.locator("#words")).to_contain_text("x = 30, y = 5")
    expect_cross(page, 30, 5)
    assert page.locator("#x").input_value() == "30"
    expect(page).to_have_url(re.compile("x=30&y=5"))
    expect(page.locator("#measures table")).to_contain_text("Gini index")


def test_the_latest_click_wins(
    page: Page, address: str, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    network: Any = session.networks[-1]  # after it nobody asks whether the question is the latest
    look, may_go = network.look, threading.Event()

    def look_long(image: np.ndarray, targets: Any, *rest: Any) -> Any:
        assert targets[0].pixel != (4, 3) or may_go.wait(60)
        return look(image, targets, *rest)

    monkeypatch.setattr(network, "look", look_long)
    answers: list[tuple[str, Response]] = []
    page.on("response", lambda got: answers.extend((pixel, got) for pixel in asked_pixel(got.request)))
    open_heatmaps(page, address, "?x=33&y=20")  # which is remembered
    click_on(page, 2, 3, 4)
    expect(page.locator("#status.busy")).to_be_visible()
    wait_for(page, lambda: page.locator("#x").input_value() == "3")
    click_on(page, 2, 33, 20)
    wait_for(page, lambda: [pixel for pixel, _ in answers] == ["33, 20", "33, 20"])
    expect_shown(page, 33, 20)
    may_go.set()
    wait_for(page, lambda: [pixel for pixel, _ in answers[2:]] == ["3, 4"])
    late = answers[2][1].json()["response"]["answer"]["data"]
    assert late["figure"]
    page.evaluate(
        "data => window.dash_clientside.set_props('answer', { data })", late
    )  # did Dash not drop it
    page.wait_for_timeout(500)
    expect_shown(page, 33, 20)


def expect_shown(page: Page, x: int, y: int) -> None:
    expect(page.locator("#words")).to_contain_text(f"x = {x}, y = {y}")
    expect_cross(page, x, y)


def asked_pixel(request: Request) -> list[str]:
    """ "x, y" of a request that asks for heatmaps, in a list; else nothing."""
    body = request.post_data or ""
    if "_dash-update-component" not in request.url or '"output":"answer.data"' not in body:
        return []
    ask = json.loads(body)["inputs"][0]["value"]
    return [f"{ask['x']}, {ask['y']}"]


def test_quick_clicks_are_clicks_and_a_double_click_ends_the_zoom(page: Page, address: str) -> None:
    open_heatmaps(page, address)
    drag(page, place_of(page, "heat", 4, 2, 2), place_of(page, "heat", 32, 19, 2))
    wait_for(page, lambda: shown_range(page)[0] > 3)
    zoomed = shown_range(page)
    places = [place_of(page, "heat", x, y, 2) for x, y in ((8, 5), (28, 15), (12, 16))]
    for place in places:  # well within the time in which plotly takes two for a double click
        page.mouse.click(*place)
    expect_shown(page, 12, 16)
    assert shown_range(page) == pytest.approx(zoomed)
    page.mouse.dblclick(*places[0])
    expect_shown(page, 8, 5)
    wait_for(page, lambda: shown_range(page) == [-0.5, 36.5, 23.5, -0.5])


def test_a_finger_chooses_its_pixel(browser: Browser, address: str) -> None:
    page = browser.new_page(viewport=SIZE, has_touch=True)
    open_heatmaps(page, address)
    page.touchscreen.tap(*place_of(page, "heat", 28, 15, 4))
    expect_shown(page, 28, 15)
    page.close()


def shown_range(page: Page) -> list[float]:
    """The first and last x, and y, of what the zoom shows."""
    return page.evaluate(
        "(() => { const l = document.querySelector('#heat .js-plotly-plot')._fullLayout;"
        " return [...l.xaxis3.range, ...l.yaxis3.range]; })()"
    )


def test_keys_move_the_pixel_and_stop_at_the_border(page: Page, address: str) -> None:
    open_heatmaps(page, address, "?x=30&y=2")
    page.locator("#panel").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")
    expect(page.locator("#words")).to_contain_text("x = 31, y = 1")
    page.keyboard.press("Shift+ArrowRight")
    expect(page.locator("#words")).to_contain_text("x = 36, y = 1")
    page.locator("#x").fill("4")
    page.locator("#x").press("ArrowUp")  # in a field, arrows are the field's
    expect(page.locator("#words")).to_contain_text("x = 5, y = 1")


def test_a_shared_address_shows_the_same_view(page: Page, address: str) -> None:
    query = "?image=1&x=7&y=21&method=guided&class=2&smoothing=1.5&difference=raw&opacity=60"
    open_heatmaps(page, address, query)
    expect(page.locator("#words")).to_contain_text("“bar”")
    expect(page.locator("#words")).to_contain_text("smoothed")
    expect(page).to_have_url(address + "/" + query)
    expect_cross(page, 7, 21)
    opacity = (
        "() => document.querySelector('#heat .js-plotly-plot').data.find(t => t.type === 'heatmap').opacity"
    )
    wait_until(page, f"({opacity})() === 0.6")


def test_pages_keep_their_views_when_one_goes_away_and_comes_back(page: Page, address: str) -> None:
    open_heatmaps(page, address, "?x=7&y=21")
    page.get_by_role("link", name="Kernels").click()
    expect(page.locator("#plane .js-plotly-plot")).to_be_visible()
    page.get_by_role("link", name="Heatmaps").click()
    settle(page)
    expect_cross(page, 7, 21)
    page.go_back()
    expect(page.locator("#plane .js-plotly-plot")).to_be_visible()


def test_figures_follow_the_theme(page: Page, address: str) -> None:
    page.emulate_media(color_scheme="dark")
    open_heatmaps(page, address)
    ground = "() => document.querySelector('#heat .js-plotly-plot').layout.paper_bgcolor"
    wait_until(page, f"({ground})() === '#14161a'")
    page.get_by_role("button", name="Light theme").click()
    wait_until(page, f"({ground})() === '#ffffff'")
    page.reload()
    settle(page)
    wait_until(page, f"({ground})() === '#ffffff'")


def upload(page: Page, name: str, data: bytes) -> None:
    page.locator("#upload input[type=file]").set_input_files(
        {"name": name, "mimeType": "image/png", "buffer": data}
    )


def test_an_image_is_dropped_in_and_bad_ones_refused(page: Page, address: str) -> None:
    open_heatmaps(page, address)
    note = page.locator("#upload-note")
    upload(page, "text.png", b"this is no image")
    expect(note).to_contain_text("needs an image file")
    upload(page, "huge.png", b"\x00" * (13 * 2**20))
    expect(note).to_contain_text("more than 12 MiB")
    buffer = BytesIO()
    Image.fromarray(np.full((30, 50, 3), 90, np.uint8)).save(buffer, "PNG")
    upload(page, "<b>mine</b>.png", buffer.getvalue())
    expect(page.locator("#words")).to_contain_text("x = 18, y = 12")
    expect(page).to_have_url(re.compile("image=u"))
    expect(page.locator("#y")).to_have_attribute("max", "29")
    expect(page.locator("#image")).to_contain_text("<b>mine</b>.png")


def test_what_is_seen_is_saved(page: Page, address: str) -> None:
    open_heatmaps(page, address, "?x=7&y=21")
    for button, name in (("measures-csv", "icnn-measures-x7-y21.csv"), ("maps-csv", "icnn-maps-x7-y21.csv")):
        with page.expect_download() as saved:
            page.locator(f"#{button}").click()
        assert saved.value.suggested_filename == name
        assert Path(saved.value.path()).read_text().count("\n") > 10
    with page.expect_download() as saved:
        page.locator("#heat-png").click()
    assert Path(saved.value.path()).read_bytes().startswith(b"\x89PNG")


def test_the_image_is_painted_before_any_script_and_no_empty_axes_after(
    page: Page, address: str, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    network: Any = session.networks[-1]
    look, may_go = network.look, threading.Event()
    held: list[Route] = []
    may_load: list[bool] = []

    def look_long(*asked: Any) -> Any:
        assert may_go.wait(60)
        return look(*asked)

    monkeypatch.setattr(network, "look", look_long)
    page.route(re.compile(r"\.js"), lambda route: route.continue_() if may_load else held.append(route))
    page.goto(address + "/?image=1&x=5&y=23", wait_until="commit")
    photo = page.locator("#first img")
    expect(photo).to_be_visible()
    box = photo.bounding_box()
    assert box is not None
    assert min(box["width"], box["height"]) > 300
    may_load.append(True)
    for route in held:
        route.continue_()
    expect(page.locator("#status.busy")).to_be_visible()
    expect(page.locator("#panel > img")).to_be_visible()
    expect(photo).to_be_hidden()
    wait_until(page, drawn("heat"))
    assert page.locator("#heat").is_visible() is False  # plotly's axes from -1 to 6
    may_go.set()
    settle(page)
    expect(page.locator("#panel > img")).to_be_hidden()
    expect(page.locator("#heat")).to_be_visible()
    expect(page.locator("#words")).to_contain_text(
        re.compile("^irregular: .* of its energy")
    )  # seconds come last
    expect(page.locator("#took")).to_contain_text("networks")


def test_colours_that_end_elsewhere_say_so(page: Page, address: str) -> None:
    open_heatmaps(page, address, "?x=30&y=5")
    top = "document.querySelector('#heat .js-plotly-plot').layout.coloraxis.cmax"
    before = page.evaluate(top)
    assert "colours" not in (page.locator("#status").text_content() or "")
    page.locator("#smoothing").fill("3")
    wait_for(page, lambda: page.evaluate(top) != before)
    now = page.evaluate(top)
    shown = [page.evaluate(f"({value}).toPrecision(3)") for value in (now, before)]
    said = "now end at {}, before at {}".format(*shown)
    expect(page.locator("#status")).to_contain_text(said)


@pytest.mark.parametrize("path", ["/", "/kernels", "/trajectories"])
def test_nothing_sticks_out_of_a_telephone(browser: Browser, address: str, path: str) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(address + path)
    graph = {"/": "heat", "/kernels": "plane", "/trajectories": "run"}[path]
    wait_until(page, drawn(graph))
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()


def test_points_brushed_in_the_plane_are_seen_in_space(page: Page, address: str, session: Session) -> None:
    page.goto(address + "/kernels?layer=1")
    expect(page.locator("#space canvas").first).to_be_visible()
    wait_until(page, drawn("plane"))
    expect(page.locator("#space canvas").first).to_be_visible()
    turned = turn(page)
    drag(page, place_of(page, "plane", -1.4, -0.9), place_of(page, "plane", 1.4, 0.9))
    points = session.clouds[1].points
    inside = int(((np.abs(points[..., 0]) < 0.9) & (np.abs(points[..., 1]) < 1.4)).sum())
    expect(page.locator("#brushed")).to_have_text(re.compile(r"\d+ of 72 points brushed"))
    counted = int((page.locator("#brushed").text_content() or "").split()[0])
    assert abs(counted - inside) <= 1  # the mouse moves in whole pixels
    traces = "document.querySelector('#space .js-plotly-plot')?._fullData"
    brushed = f"() => {traces}?.find(t => t.name === 'brushed')?.x.length"
    wait_until(page, f"({brushed})() === {counted}")
    assert "brush=box" in page.url
    assert camera(page) == pytest.approx(turned)  # nothing turns back


def camera(page: Page) -> list[float]:
    """From where the cloud in space is seen."""
    eye = "document.querySelector('#space .js-plotly-plot')._fullLayout.scene._scene.getCamera().eye"
    return page.evaluate(f"(() => {{ const eye = {eye}; return [eye.x, eye.y, eye.z]; }})()")


def turn(page: Page) -> list[float]:
    """Turn the cloud in space by hand."""
    before, box = camera(page), page.locator("#space").bounding_box()
    assert box
    middle = [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2]
    drag(page, middle, [middle[0] - 90, middle[1] - 20])
    wait_for(page, lambda: camera(page) != pytest.approx(before))
    return camera(page)


def test_the_cloud_in_space_is_drawn(page: Page, address: str) -> None:
    page.goto(address + "/kernels?layer=0")
    expect(page.locator("#space canvas").first).to_be_visible()
    wait_for(page, lambda: len(colourful(page)) > 100)


def test_a_click_on_a_point_shows_its_channel(page: Page, address: str) -> None:
    page.goto(address + "/kernels?layer=0")
    expect(page.locator("#plane .js-plotly-plot .points path").first).to_be_visible()
    x, y = page.evaluate(
        "(({ x, y }) => [x[7], y[7]])(document.querySelector('#plane .js-plotly-plot')._fullData[0])"
    )
    place = place_of(page, "plane", x, y)
    page.mouse.move(*place)
    expect(page.locator("#plane .hoverlayer .hovertext")).to_contain_text("shape 7")
    page.mouse.click(*place)
    expect(page.locator("#channel")).to_have_value("7")
    expect(page).to_have_url(re.compile("channel=7"))


def test_a_click_on_a_small_shape_shows_it_large(page: Page, address: str, session: Session) -> None:
    page.goto(address + "/kernels?layer=0")
    wait_until(page, drawn("zoo"))
    second = most_changed(session.clouds[0])[1][1]
    x, y = page.evaluate(
        "(({ x, y }) => [x[1], y[1]])(document.querySelector('#zoo .js-plotly-plot')._fullData[0])"
    )
    page.mouse.click(*place_of(page, "zoo", x, y))
    expect(page.locator("#channel")).to_have_value(str(second))
    expect(page.locator("#shape .gtitle")).to_contain_text(f"input channel {second}")


def test_a_click_on_a_point_in_space_shows_its_channel(page: Page, address: str) -> None:
    page.goto(address + "/kernels?layer=0&third_axis=weight")
    expect(page.locator("#space canvas").first).to_be_visible()
    spots: list[tuple[int, int]] = []
    wait_for(page, lambda: bool(spots.extend(colourful(page)) or len(spots) > 100))
    box = page.locator("#space").bounding_box()
    assert box
    hover, channel = page.locator("#space .hovertext"), "0"
    for x, y in spots[::97]:
        page.mouse.move(box["x"] + x, box["y"] + y)
        page.wait_for_timeout(200)
        if hover.count() and (found := re.match(r"channel (\d+)", hover.text_content() or "")):
            channel = found[1]
        if channel != "0":
            break
    assert channel != "0"
    page.mouse.down()  # until a frame is drawn: without a graphics card it may take long
    expect(page.locator("#channel")).to_have_value(channel)
    page.mouse.up()


def colourful(page: Page) -> list[tuple[int, int]]:
    """The pixels of the cloud in space, x and y, that are not grey."""
    picture = np.array(Image.open(BytesIO(page.locator("#space").screenshot())).convert("RGB")).astype(int)
    y, x = np.nonzero(np.ptp(picture, axis=-1) > 60)
    return list(zip(x.tolist(), y.tolist(), strict=True))


def test_the_run_is_played(page: Page, address: str) -> None:
    page.goto(address + "/trajectories")
    expect(page.locator("#run .js-plotly-plot")).to_contain_text("iteration")
    expect(page.locator("#run .js-plotly-plot")).to_contain_text("last")
    expect(page.locator("#run .slider-label").first).to_have_text("iteration 0")
    page.locator("#run .updatemenu-button").filter(has_text="play").click()
    expect(page.locator("#run .slider-label").first).to_have_text("iteration 90")


def test_the_frozen_page_works_without_a_server(page: Page, session: Session, tmp_path: Path) -> None:
    path = write_page(session, tmp_path / "page.html", most_pixels=12).path
    page.goto(path.as_uri())
    expect(page.locator("#words")).to_contain_text("depends on")
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZE["width"]
    page.mouse.click(*place_of(page, "graph", 36, 23, panel=2))
    expect(page.locator("#x")).to_have_value("32")
    expect(page.locator("#y")).to_have_value("20")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#x")).to_have_value("23")
    value, top = page.evaluate(
        "() => [byId('graph').data.filter((trace) => trace.type === 'heatmap')[0].z[chosen.y][chosen.x], chosen.top]"
    )
    root = np.sqrt(session.answer(Question("0", (20, 23))).heatmaps[1].values[20, 23] / top)
    assert value == pytest.approx(top * (np.rint(LEVELS * root) / LEVELS) ** 2, rel=1e-5)
    page.locator("#difference").select_option("raw")
    title = "byId('graph').layout.coloraxis2.colorbar.title.text"
    wait_until(page, f"{title}.startsWith('difference<br>(logit')")
    second, first, raw = page.evaluate(
        "() => byId('graph').data.filter((trace) => trace.type === 'heatmap').map(({ z }) => z[chosen.y][chosen.x])"
    )
    assert raw == pytest.approx(first - second)
    with page.expect_download() as saved:
        page.get_by_role("button", name="CSV").click()
    assert Path(saved.value.path()).read_text().startswith('y,x,"irregular","regular"\n')
