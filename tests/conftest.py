"""What every test may use: the optional data folder, and figures without a display."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

os.environ["MPLBACKEND"] = "Agg"  # before anything imports matplotlib, in child processes too


def pytest_configure(config: pytest.Config) -> None:
    """With workers (-n) a file's tests stay on one of them, for they share what takes long to make, and every worker
    computes in one thread: two of two threads each would wait for each other."""
    if getattr(config.option, "numprocesses", None):
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        if config.option.dist == "load":
            config.option.dist = "loadfile"


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The optional data folder: `$ICNN_DATA`, or `../shared/data` beside the repository; else skips."""
    named = os.environ.get("ICNN_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no data folder at {folder}; set ICNN_DATA to one")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium without a window, for a file's tests; skips where playwright or the browser is missing.

    Not for the whole session: while it is open, no other test of this process may run an event loop.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome")
    path = os.environ.get("ICNN_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip("no chromium; install it, or name one with ICNN_CHROMIUM")
    options = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"]  # WebGL without a graphics card
    options += ["--no-sandbox"] if os.geteuid() == 0 else []  # which Chromium refuses to root
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=path, args=options)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def triton_interpreter() -> None:
    """Skips where Triton's kernels cannot be interpreted on the CPU."""
    triton = pytest.importorskip("triton", reason="Triton is not installed")
    numpy = importlib.metadata.version("numpy")
    if triton.__version__ < "3.7" and tuple(map(int, numpy.split(".")[:2])) >= (2, 4):
        pytest.skip(f"the interpreter of Triton {triton.__version__} needs NumPy < 2.4")


@dataclass(frozen=True)
class Ended:
    """How a console script ended: its exit code and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def run_main(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Ended]]:
    """Run a console script's `main` in this process: run_main(main, "kernels", "--json") -> Ended."""
    loggers = [logging.getLogger(name) for name in ("icnn_core", "icnn_viz")]
    before = [(logger.level, logger.handlers[:]) for logger in loggers]

    def run(main: Callable[[], object], *arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["icnn", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return Ended(int(ended.value.code or 0), printed.out, printed.err)

    yield run
    for logger, (level, handlers) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.handlers[:] = handlers
