"""The scripts of benchmarks/ start wherever the packages are installed."""

from __future__ import annotations

import sys
from pathlib import Path


def test_no_script_hides_a_module_of_python() -> None:
    """A script's folder comes first on its path: beside operator.py not even `import re` works."""
    names = {path.stem for path in (Path(__file__).parents[2] / "benchmarks").glob("*.py")}
    assert {"time_operator", "compare_backends"} <= names
    assert not names & sys.stdlib_module_names
