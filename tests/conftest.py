"""What every test may use: the optional data folder, and figures without a display."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ["MPLBACKEND"] = "Agg"  # before anything imports matplotlib, in child processes too


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The optional data folder: `$ICNN_DATA`, or `../shared/data` beside the repository; else skips."""
    named = os.environ.get("ICNN_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no data folder at {folder}; set ICNN_DATA to one")
    return folder
