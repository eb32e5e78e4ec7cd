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

_LONGEST = (
    "test_explorer_browser.py", "test_at_home_in_torch.py", "test_ops_fused.py", "test_cli_report.py",
    "test_cli_kernels.py", "test_report_browser.py", "test_cli_heatmap.py", "test_figures_browser.py",
    "test_ops_backends.py", "test_own_networks.py", "test_ops_sparse.py", "test_training_surroundings.py",
    "test_training_killed.py", "test_notebooks.py", "test_training_processes.py", "test_cli_survey.py", "test_start.py",
    "test_ops_fused_compile.py", "test_operator_measures.py", "test_builtin_pair.py", "test_cli_ablate.py",
    "test_at_home_in_processes.py", "test_damaged_files.py", "test_agreement.py", "test_cli_explore.py",
)  # fmt: skip
"""Files of tests that take 5 seconds and more, the longest first."""

os.environ["MPLBACKEND"] = "Agg"  # before anything imports matplotlib, in child processes too


def pytest_configure(config: pytest.Config) -> None:
    """With workers (-n) a file's tests stay on one of them, for they share what takes long to make, and every worker
    computes in one thread: two of two threads each would wait for each other. The longest files come first, else one
    worker would be at them when the others are done."""
    if getattr(config.option, "numprocesses", None):
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        if config.option.dist == "load":
            config.option.dist = "loadfile"
            config.option.loadscopereorder = False  # by the number of tests


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        rank = {name: number for number, name in enumerate(_LONGEST)}
        items.sort(key=lambda item: rank.get(item.path.name, len(rank)))


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
def run_main(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run a console script's `main` in this process: run_main(main, "kernels", "--json") -> Ended."""

    def run(main: Callable[[], object], *arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["icnn", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return Ended(int(ended.value.code or 0), printed.out, printed.err)

    return run


@pytest.fixture(autouse=True)
def loggers_stay_as_they_were() -> Iterator[None]:
    """Commands in this process set levels and handlers, or silence all; what comes after them must hear warnings."""
    loggers = [logging.getLogger(name) for name in (None, "icnn_core", "icnn_viz")]
    before = [(logger.level, logger.handlers[:]) for logger in loggers[1:]]
    root, disabled = loggers[0].level, logging.root.manager.disable
    yield
    loggers[0].setLevel(root)
    logging.disable(disabled)
    for logger, (level, handlers) in zip(loggers[1:], before, strict=True):
        logger.setLevel(level)
        logger.handlers[:] = handlers
