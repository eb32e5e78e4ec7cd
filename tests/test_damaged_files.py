"""A tenth of the damaged files that benchmarks/damaged_files.py tries: each is read, or refused in a line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="processes are forked, memory is Linux's count"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


def test_damaged_files_are_read_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1] / "benchmarks"))
    import damaged_files

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = damaged_files.run(40, seed=1)
    finally:
        torch.set_num_threads(threads)
    assert [row for row in found if row[2] not in ("read", "refused")] == []
    assert {row[2] for row in found} == {"read", "refused"}
