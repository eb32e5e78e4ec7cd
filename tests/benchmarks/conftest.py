"""The scripts in benchmarks/ are no package: their folder goes on the path, last."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
