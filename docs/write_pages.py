"""Photographs the report and the explorer of the built-in pair in both themes: `python docs/write_pages.py`.

It needs the tests' extra and a Chromium.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

FOLDER = Path(__file__).parent / "images"
SIZE = {"width": 1280, "height": 900}
PROGRAM = [sys.executable, "-m", "icnn_viz.cli"]


@contextmanager
def explorer() -> Iterator[str]:
    """The address of a running explorer."""
    command = [*PROGRAM, "explore", "--no-browser", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            found = (re.search(r"http://\S+", line) for line in process.stdout)
            yield next(address[0] for address in found if address)
        finally:
            process.send_signal(signal.SIGINT)


def photograph(browser: Any, address: str, name: str, wait: str) -> None:
    """NAME.png and NAME-dark.png: a page's first screen, once what `wait` selects is there."""
    for theme in ("light", "dark"):
        page = browser.new_page(viewport=SIZE, color_scheme=theme)
        page.goto(address)
        page.wait_for_selector(wait, timeout=120_000)
        page.wait_for_timeout(3_000)  # figures are drawn after they are there
        path = FOLDER / f"{name}{'' if theme == 'light' else '-dark'}.png"
        page.screenshot(path=path)
        page.close()
        Image.open(path).convert("RGB").save(path, optimize=True)


def main() -> None:
    """Write page-report and page-explorer."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver, explorer() as address:
        report = Path(folder) / "report.html"
        subprocess.run([*PROGRAM, "report", "--out", report], check=True, stdout=subprocess.DEVNULL)
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        photograph(browser, report.as_uri(), "page-report", "h1")
        photograph(browser, address, "page-explorer", "#status.done")


if __name__ == "__main__":
    main()
