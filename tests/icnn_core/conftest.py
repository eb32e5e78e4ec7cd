"""What the tests of the back ends share."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

_BECOME_TWO = """
import os, signal, sys

def become_two():
    # Go on as two processes of one group; the one that was started ends as they do.
    ranks = set()
    for rank in "01":
        child = os.fork()
        if child == 0:
            os.environ |= {"RANK": rank, "LOCAL_RANK": rank}
            return
        ranks.add(child)
    while ranks:
        child, status = os.wait()
        ranks.remove(child)
        if status:
            for other in ranks:  # which would wait for it
                os.kill(other, signal.SIGKILL)
            sys.exit(1)
    sys.exit()
"""


@pytest.fixture(scope="session")
def run_two_processes() -> Callable[[Path, str], None]:
    """Runs a script with a folder as its argument, from where it says `become_two()` in two processes of a group:
    what it imports before is imported once."""
    if not hasattr(os, "fork"):
        pytest.skip("processes cannot be forked here")

    def run(folder: Path, script: str) -> None:
        path = folder / "both.py"
        path.write_text(_BECOME_TWO + script, encoding="utf-8")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
        environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        environment |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        ended = subprocess.run(
            [sys.executable, str(path), str(folder)], env=environment, timeout=900,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stdout

    return run


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """PyTorch computes with so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)
