"""From a click in the explorer to the picture: how long that takes beyond the networks' own time.

    python benchmarks/explorer.py                                    # the built-in pair, the sample image
    python benchmarks/explorer.py CKPT --regular CKPT --data camvid --root CamVid --split test

Serves the pages to a Chromium without a window and clicks with its mouse. A click ends with the frame in which the
figure's cross stands on the pixel, by the browser's clock. "beyond" takes off the time spent in the networks: a pixel
not seen before, and the same pixels again, whose gradients are remembered. Needs the extra "test" and a Chromium.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study import print_table

from icnn_core.datasets.registry import open_dataset
from icnn_core.ops.benchmark import describe_machine
from icnn_viz.cli._options import BUILTIN
from icnn_viz.data import builtin_path
from icnn_viz.explorer.server import bind, make_app
from icnn_viz.explorer.session import Looker, Session
from icnn_viz.explorer.shelf import Shelf, make_shelf
from icnn_viz.gradients import load_pair
from icnn_viz.records import PixelComparison

if TYPE_CHECKING:
    from playwright.sync_api import Page

PLACE_OF = """([x, y]) => {
    const graph = document.querySelector('#heat .js-plotly-plot'), layout = graph._fullLayout;
    const box = graph.getBoundingClientRect();
    const [xa, ya] = [layout.xaxis, layout.yaxis];
    return [box.left + xa._offset + xa.l2p(x), box.top + ya._offset + ya.l2p(y)];
}"""
WATCH = """() => {
    const graph = document.querySelector('#heat .js-plotly-plot');
    const cross = () => graph.data.filter(t => t.name === 'cross').map(t => t.x[0] + ',' + t.y[0])[0];
    window.addEventListener('pointerdown', () => { window.began = performance.now(); window.ended = null; }, true);
    graph.on('plotly_afterplot', () => requestAnimationFrame(() => {
        window.ended = performance.now(); window.crossAt = cross(); }));
}"""


def main() -> None:
    """Click on pixels twice, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", nargs="?", type=Path, default=builtin_path(BUILTIN[0]))
    parser.add_argument("--regular", type=Path)
    parser.add_argument("--data", help="images of this data set instead of the sample")
    parser.add_argument("--root", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--clicks", type=int, default=20)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    if chosen.checkpoint == builtin_path(BUILTIN[0]):
        chosen.regular = chosen.regular or builtin_path(BUILTIN[1])
    dataset = open_dataset(chosen.data, chosen.root, chosen.split) if chosen.data else None
    shelf = make_shelf((), dataset, f"{chosen.data} {chosen.split}", 2048)
    networks = load_pair(chosen.checkpoint, chosen.regular, device=chosen.device, seed=chosen.seed)
    inside: list[float] = []
    session = TimedSession(networks, shelf, inside, seed=chosen.seed)
    height, width = shelf.get(next(iter(shelf.names()))).image.shape[:2]
    draw = random.Random(chosen.seed)
    pixels = [(draw.randrange(width), draw.randrange(height)) for _ in range(chosen.clicks)]
    found = _click_all(session, pixels, inside)
    print(
        " · ".join(f"{key}: {value}" for key, value in describe_machine().items()),
        f"· {os.cpu_count()} cores",
    )
    print(f"{width} × {height} pixels, {', '.join(network.name for network in networks)}\n")
    print_table(
        ("clicks", "n", "median s", "of it networks", "beyond: median s", "90 % below", "largest"),
        [_cells(name, times) for name, times in found.items()],
    )


class TimedSession(Session):
    """Appends to `inside` the seconds that each answer took in the networks."""

    def __init__(self, networks: Sequence[Looker], shelf: Shelf, inside: list[float], *, seed: int) -> None:
        super().__init__(networks, shelf, seed=seed)
        self._inside = inside

    def answer(self, *arguments: Any, **named: Any) -> PixelComparison:
        found = super().answer(*arguments, **named)
        self._inside.append(found.seconds)
        return found


def _click_all(
    session: Session, pixels: list[tuple[int, int]], inside: list[float]
) -> dict[str, list[tuple[float, float]]]:
    """(seconds from click to picture, seconds of them in the networks), for new pixels and for the same again."""
    from playwright.sync_api import sync_playwright

    server = bind(make_app(session), "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    names = ("chromium", "chromium-browser", "google-chrome")
    path = os.environ.get("ICNN_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if path is None:
        raise SystemExit("No Chromium: install it, or name one with ICNN_CHROMIUM.")
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    try:
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=path, args=options)
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(f"http://127.0.0.1:{server.port}/")
            page.locator("#status.done").wait_for()
            page.wait_for_timeout(1000)
            page.evaluate(WATCH)
            new = [_click(page, pixel, inside) for pixel in pixels]
            again = [_click(page, pixel, inside) for pixel in pixels]
            browser.close()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    return {"a new pixel": new, "again, from memory": again}


def _click(page: Page, pixel: tuple[int, int], inside: list[float]) -> tuple[float, float]:
    place = page.evaluate(PLACE_OF, list(pixel))
    before = len(inside)
    page.evaluate("() => { window.crossAt = null; }")
    page.mouse.click(*place)
    for _ in range(6000):
        drawn = page.evaluate(
            "() => window.ended && window.crossAt ? [window.ended - window.began, window.crossAt] : null"
        )
        if drawn and len(inside) > before:
            x, y = (int(float(part)) for part in drawn[1].split(","))
            if max(abs(x - pixel[0]), abs(y - pixel[1])) <= 2:  # the mouse moves in whole screen pixels
                return drawn[0] / 1e3, sum(inside[before:])
        page.wait_for_timeout(10)
    raise SystemExit(f"No picture of pixel {pixel} within a minute.")


def _cells(name: str, times: list[tuple[float, float]]) -> tuple[str, ...]:
    whole, own = zip(*times, strict=True)
    beyond = sorted(a - b for a, b in times)
    high = beyond[round(0.9 * (len(beyond) - 1))]
    values = (statistics.median(whole), statistics.median(own), statistics.median(beyond), high, beyond[-1])
    return (name, str(len(times)), *(f"{value:.2f}" for value in values))


if __name__ == "__main__":
    main()
